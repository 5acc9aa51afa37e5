#include "coordinator/spec/spec.h"

#include "base/err.h"
#include "coordinator/spec/load.h"

#include <openssl/evp.h>
#include <string.h>

/* --set as a text of its own, one per line, so that its messages have lines like all others. */
static struct diag_text sets_text(struct arena *a, const struct spec_source *src)
{
	struct buf b;
	buf_init(&b);
	for (size_t i = 0; i < src->sets_nr; i++)
		buf_printf(&b, "%s\n", src->sets[i]);
	struct diag_text t = {"--set", arena_memdup(a, buf_cstr(&b), b.len + 1), b.len};
	buf_done(&b);
	return t;
}

static struct yaml_node *read_tree(struct diag_log *log, const struct spec_source *src)
{
	struct yaml_node *base = yaml_parse(log, DIAG_BASE), *over = NULL;
	if (src->overlay_text)
		over = yaml_parse(log, DIAG_OVERLAY);
	if (!base || (src->overlay_text && !over))
		return NULL;
	return over ? yaml_merge(log->a, base, over) : base;
}

/* Written out, defaults make a file larger. What is accepted must be readable again, so the limits hold there
 * too. */
static void check_canonical(struct diag_log *log, const struct spec *s)
{
	struct buf b;
	struct arena scratch;
	struct spec_diags found = {0};
	buf_init(&b);
	arena_init(&scratch);
	spec_render_canonical(s, &b);
	struct diag_log again = {
		.a = &scratch, .diags = &found, .texts = {{"canonical", buf_cstr(&b), b.len}}};
	if (!yaml_parse(&again, DIAG_BASE))
		diag_add(log, (struct diag_place){.source = DIAG_BASE}, 1103, NULL,
			 "the file breaks a limit once its defaults are written out: %s", found.v[0].text);
	arena_done(&scratch);
	buf_done(&b);
}

int spec_load(struct arena *a, const struct spec_source *src, struct spec *out, struct spec_diags *diags)
{
	struct diag_log log = {.a = a,
			       .diags = diags,
			       .texts = {{src->file, src->text, src->len},
					 {src->overlay_file, src->overlay_text, src->overlay_len},
					 sets_text(a, src)}};
	*diags = (struct spec_diags){0};
	struct spec s = {0};
	struct yaml_node *root = read_tree(&log, src);
	if (root) {
		struct values values;
		values_load(&log, root, src, &values);
		load_fields(&log, root, &values, &s);
		if (root->kind == YAML_MAP) {
			check_spec(&log, root, &s);
			values_unused(&log, &values);
		}
	}
	if (!diags->errors) {
		check_settle(root, &s);
		check_canonical(&log, &s);
	}
	diag_sort(diags);
	if (diags->errors)
		return E_SPEC;
	*out = s;
	return 0;
}

int spec_from_canonical(struct arena *a, const char *json, size_t len, struct spec *out,
			struct spec_diags *diags)
{
	struct spec_source src = {.file = "canonical", .text = json, .len = len};
	return spec_load(a, &src, out, diags);
}

struct digest spec_digest(const struct spec *s)
{
	struct buf b;
	struct digest d;
	unsigned int len = sizeof(d.b);
	buf_init(&b);
	spec_render_canonical(s, &b);
	PRE(EVP_Digest(b.data, b.len, d.b, &len, EVP_sha256(), NULL) == 1);
	buf_done(&b);
	return d;
}

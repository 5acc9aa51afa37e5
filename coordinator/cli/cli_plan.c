#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/cli.h"

/* ---- text ---- */

static void put_wave(struct buf *out, const Admin__PlanWave *w, const Admin__Plan *p,
		     const struct cli_screen *s)
{
	char line[256], bake[24], names[128] = "";
	uint32_t percent = p->hosts ? w->hosts * 100 / p->hosts : 0;
	int n = snprintf(line, sizeof line, "  wave %-2u %-12s %4u hosts (%u%%)", w->index + 1, w->region,
			 w->hosts, percent);
	for (size_t i = 0; i < w->n_after && n < 200; i++)
		n += snprintf(line + n, sizeof line - (size_t)n, "%s%u", i ? ", " : "  after wave ",
			      w->after[i] + 1);
	if (w->bake_ms && n < 200)
		n += snprintf(line + n, sizeof line - (size_t)n, "  then bake %s",
			      cli_age(bake, sizeof bake, w->bake_ms));
	if (w->n_names && w->n_names <= 3)
		snprintf(names, sizeof names, "  %.30s%s%.30s%s%.30s", w->names[0],
			 w->n_names > 1 ? ", " : "", w->n_names > 1 ? w->names[1] : "",
			 w->n_names > 2 ? ", " : "", w->n_names > 2 ? w->names[2] : "");
	snprintf(line + strlen(line), sizeof line - strlen(line), "%s", names);
	cli_put_cut(out, line, s->width);
	buf_puts(out, "\n");
}

static void put_list(struct buf *out, char **v, size_t nr, const struct cli_screen *s)
{
	for (size_t i = 0; i < nr; i++) {
		buf_puts(out, "  ");
		cli_put_cut(out, v[i], s->width > 2 ? s->width - 2 : 0);
		buf_puts(out, "\n");
	}
}

void cli_plan_text(struct buf *out, const Admin__Plan *p, const struct cli_screen *s)
{
	char size[32], id[DEPLOYMENT_ID_CAP], line[320];
	deployment_id_text((struct deployment_id){p->deployment}, id);
	snprintf(line, sizeof line, "Plan %.10s  %s %s %s %s  %s   (state %llu, %u region%s, %u hosts)", id,
		 p->app, p->from_version[0] ? p->from_version : "(none)", s->utf8 ? "→" : "->", p->version,
		 p->env, (unsigned long long)p->state_index, p->regions, p->regions == 1 ? "" : "s",
		 p->hosts);
	cli_put_cut(out, line, s->width);
	buf_puts(out, "\n  artifact   sha256:");
	for (size_t i = 0; i < 6 && i < p->artifact.len; i++)
		buf_printf(out, "%02x", p->artifact.data[i]);
	buf_printf(out, "  %s\n", cli_bytes(size, sizeof size, p->size_bytes));
	put_list(out, p->changes, p->n_changes, s);
	for (size_t i = 0; i < p->n_waves; i++)
		put_wave(out, p->waves[i], p, s);
	put_list(out, p->notes, p->n_notes, s);
	if (p->auto_rollback)
		buf_printf(out, "  rollback: automatic%s%s\n", p->from_version[0] ? ", back to " : "",
			   p->from_version);
	else
		buf_puts(out, "  rollback: none by itself; wavetrain rollback takes hosts back\n");
	if (p->severe)
		buf_printf(out, "  attention: %s\n", p->severe_why);
	if (p->no_change)
		buf_puts(out, "No change: every host runs this already.\n");
}

/* ---- saved plans ---- */

static char *to_hex(struct cli *c, const uint8_t *p, size_t n)
{
	char *out = arena_alloc(&c->arena, 2 * n + 1);
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
	return out;
}

static bool from_hex(const char *s, struct buf *out)
{
	for (; s[0] && s[1]; s += 2) {
		unsigned v;
		if (sscanf(s, "%2x", &v) != 1)
			return false;
		uint8_t b = (uint8_t)v;
		buf_put(out, &b, 1);
	}
	return s[0] == '\0';
}

int cli_plan_save(struct cli *c, const Admin__Plan *p, const struct buf *spec, const char *path)
{
	size_t n = admin__plan__get_packed_size(p);
	uint8_t *bytes = arena_alloc(&c->arena, n);
	admin__plan__pack(p, bytes);
	json_t *o = json_pack("{s:s,s:o,s:s,s:s%}", "schema", "wavetrain/plan/v1", "plan", cli_json(&p->base),
			      "message", to_hex(c, bytes, n), "spec", (const char *)spec->data, spec->len);
	int rc = o ? json_dump_file(o, path, JSON_INDENT(2)) : -1;
	json_decref(o);
	if (rc != 0)
		return cli_error(c, EXIT_FAILED, "E_IO", "choose a path you may write to",
				 "the plan could not be written to %s", path);
	cli_note(c, "Plan saved. Apply it: wavetrain deploy --plan %s", path);
	return EXIT_DONE;
}

static bool unpack_plan(const char *message, Admin__Plan **p)
{
	struct buf bytes;
	buf_init(&bytes);
	bool ok = message && from_hex(message, &bytes);
	*p = ok ? admin__plan__unpack(NULL, bytes.len, bytes.data) : NULL;
	buf_done(&bytes);
	return *p != NULL;
}

int cli_plan_load(struct cli *c, const char *path, Admin__Plan **p, struct buf *spec)
{
	json_error_t je;
	json_t *o = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
	if (!o)
		return cli_error(c, EXIT_USAGE, "E_INVALID",
				 "make it with: wavetrain plan APP VERSION -e ENV --out FILE",
				 "the plan %s cannot be read: %s", path, je.text);
	const char *schema = json_string_value(json_object_get(o, "schema"));
	const char *text = json_string_value(json_object_get(o, "spec"));
	bool ok = schema && strcmp(schema, "wavetrain/plan/v1") == 0 && text &&
		  unpack_plan(json_string_value(json_object_get(o, "message")), p);
	if (ok)
		buf_puts(spec, text);
	json_decref(o);
	return ok ? EXIT_DONE
		  : cli_error(c, EXIT_USAGE, "E_INVALID",
			      "make it with: wavetrain plan APP VERSION -e ENV --out FILE",
			      "%s is no saved plan of this release", path);
}

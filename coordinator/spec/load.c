#include "coordinator/spec/load.h"

#include "coordinator/spec/fields.h"
#include "base/notation.h"
#include "coordinator/spec/scalar.h"

#include <stdlib.h>
#include <string.h>

/* Groups lie at most five deep in the table, so the recursion below is bounded by the table, not by the file.
 */
struct loader {
	struct diag_log *log;
	struct values *values;
};

static void load_group(struct loader *l, const struct group *g, const struct yaml_node *n, char *base,
		       const char *path, struct diag_place at);

static const char *join(struct arena *a, const char *path, const char *name)
{
	return *path ? arena_printf(a, "%s.%s", path, name) : arena_strdup(a, name);
}

static void wrong_type(struct loader *l, const struct yaml_node *n, const char *path, const char *want)
{
	bool template_like = n->kind == YAML_MAP && n->nr == 1 && n->pairs[0].key->kind == YAML_MAP;
	diag_add(l->log, n->at, template_like ? 1111 : 1106, NULL, "'%s' must be %s, and is %s", path, want,
		 yaml_kind_name(n));
}

static int amount_set(const char *text, struct spec_amount *out)
{
	permille p;
	uint32_t v;
	if (scalar_percent(text, &p))
		*out = (struct spec_amount){true, p};
	else if (scalar_uint(text, &v))
		*out = (struct spec_amount){false, v};
	else
		return 1109;
	return 0;
}

static int word_set(const struct field *f, const char *text, void *at)
{
	for (uint32_t i = 0; f->words[i]; i++)
		if (!strcmp(f->words[i], text)) {
			uint32_t v = i + 1;
			memcpy(at, &v, sizeof(v));
			return 0;
		}
	return 1116;
}

static int in_range(const struct field *f, int64_t v)
{
	return (f->min || f->max) && (v < f->min || v > f->max) ? 1110 : 0;
}

static int text_set(const struct field *f, const char *text, const char **at)
{
	*at = text;
	if (f->type == FIELD_NAME)
		return name_ok(text) ? 0 : 1117;
	if (f->type == FIELD_ADDRESS)
		return scalar_address(text) ? 0 : 1145;
	if (f->type == FIELD_SCHEMA)
		return strcmp(text, "wavetrain/v1") ? 1119 : 0;
	return *text ? 0 : 1110;
}

/* Put one scalar at its place. 0, or the code of what is wrong with it. `text` must outlive the spec. */
static int scalar_set(const struct field *f, const char *text, void *at)
{
	switch (f->type) {
	case FIELD_BOOL:
		return scalar_bool(text, at) ? 0 : 1106;
	case FIELD_COUNT:
		return scalar_uint(text, at) ? in_range(f, *(uint32_t *)at) : 1106;
	case FIELD_DURATION:
		return notation_duration(text, at) ? in_range(f, *(int64_t *)at) : 1107;
	case FIELD_SIZE:
		return notation_size(text, at) ? 0 : 1108;
	case FIELD_PERCENT:
		return scalar_percent(text, at) ? 0 : 1109;
	case FIELD_AMOUNT:
		return amount_set(text, at);
	case FIELD_WORD:
		return word_set(f, text, at);
	case FIELD_RANGE:
		return scalar_range(text, at) ? 0 : 1110;
	case FIELD_NAME:
	case FIELD_TEXT:
	case FIELD_ADDRESS:
	case FIELD_SCHEMA:
		return text_set(f, text, at);
	case FIELD_ARGV:
	case FIELD_COMMAND:
	case FIELD_LABELS:
	case FIELD_ENV:
	case FIELD_GROUP:
	case FIELD_LIST:
	case FIELD_VALUES:
	case FIELD_ANY:
		break;
	}
	return 1106;
}

/* Whether the YAML type of a scalar that holds no template suits the field; its notation is looked at later.
 */
static bool core_suits(const struct field *f, const struct yaml_node *n)
{
	enum yaml_core c = yaml_core_type(n);
	if (f->type == FIELD_BOOL)
		return c == YAML_BOOL;
	if (f->type == FIELD_COUNT)
		return c == YAML_INT;
	if (f->type == FIELD_AMOUNT)
		return c == YAML_INT || (c == YAML_STR && strchr(n->text, '%')) ||
		       (c == YAML_STR && n->plain);
	if (f->type == FIELD_RANGE || f->type == FIELD_DURATION || f->type == FIELD_SIZE ||
	    f->type == FIELD_PERCENT)
		return c == YAML_STR || c == YAML_INT || c == YAML_FLOAT;
	return c == YAML_STR;
}

static const char *limits_text(struct arena *a, const struct field *f)
{
	char lo[SCALAR_CAP], hi[SCALAR_CAP];
	if (f->type == FIELD_DURATION)
		return arena_printf(a, "must lie between %s and %s", notation_duration_text(f->min, lo),
				    notation_duration_text(f->max, hi));
	if (f->type == FIELD_COUNT)
		return arena_printf(a, "must lie between %lld and %lld", (long long)f->min,
				    (long long)f->max);
	if (f->type == FIELD_RANGE)
		return "must be HTTP status codes from 100 to 599, such as 200 or 200-399";
	return "must not be empty";
}

static void report_scalar(struct loader *l, const struct field *f, const struct yaml_node *n,
			  const char *text, const char *path, int code)
{
	struct arena *a = l->log->a;
	const char *shown = diag_show(a, text);
	if (code == 1110) {
		diag_add(l->log, n->at, code, NULL, "'%s' is '%s', and %s", path, shown, limits_text(a, f));
	} else if (code == 1116) {
		size_t nr = 0;
		const char *list = "";
		for (; f->words[nr]; nr++)
			list = arena_printf(a, "%s%s%s", list, nr ? ", " : "", f->words[nr]);
		diag_add(l->log, n->at, code, diag_suggest(l->log, text, f->words, nr),
			 "'%s' is '%s', and must be one of: %s", path, shown, list);
	} else if (code == 1117) {
		diag_add(l->log, n->at, code, NULL, "'%s' is not a name (a-z 0-9 . _ -, at most 64)", shown);
	} else {
		diag_add(l->log, n->at, code, NULL, "'%s' is not %s", shown, fields_type_name(f->type));
	}
}

static void load_scalar(struct loader *l, const struct field *f, const struct yaml_node *n, void *at,
			const char *path)
{
	if (n->kind != YAML_SCALAR) {
		wrong_type(l, n, path, fields_type_name(f->type));
		return;
	}
	bool template = strstr(n->text, "{{") != NULL;
	if (!template && !core_suits(f, n)) {
		wrong_type(l, n, path, fields_type_name(f->type));
		return;
	}
	const char *text = values_render(l->log, l->values, n, f->flags & FIELD_TEMPLATE);
	if (!text)
		return;
	/* Read into a spare place first: what is wrong must not reach the spec. */
	union {
		int64_t i;
		uint64_t u;
		const char *s;
		struct spec_amount amount;
		struct spec_range range;
	} spare;
	memset(&spare, 0, sizeof(spare));
	int code = scalar_set(f, text, &spare);
	if (code)
		report_scalar(l, f, n, text, path, code);
	else if (scalar_set(f, text, at))
		PRE(!"the same text fits twice");
}

/* Texts in lists and mappings may be written as numbers or booleans: PORT: 8080. */
static const char *loose_text(struct loader *l, const struct field *f, const struct yaml_node *n,
			      const char *path)
{
	if (n->kind != YAML_SCALAR || yaml_core_type(n) == YAML_NULL) {
		wrong_type(l, n, path, "a text");
		return NULL;
	}
	return values_render(l->log, l->values, n, f->flags & FIELD_TEMPLATE);
}

static void load_argv(struct loader *l, const struct field *f, const struct yaml_node *n,
		      struct spec_strings *out, const char *path)
{
	struct arena *a = l->log->a;
	if (f->type == FIELD_COMMAND && n->kind == YAML_SCALAR && yaml_core_type(n) == YAML_STR) {
		const char *text = values_render(l->log, l->values, n, f->flags & FIELD_TEMPLATE);
		out->v = arena_array(a, const char *, 3);
		out->v[0] = "/bin/sh";
		out->v[1] = "-c";
		out->v[2] = text ? text : "";
		out->nr = 3;
		return;
	}
	if (n->kind != YAML_LIST) {
		wrong_type(l, n, path, fields_type_name(f->type));
		return;
	}
	out->v = arena_array(a, const char *, n->nr + 1);
	out->nr = 0;
	for (size_t i = 0; i < n->nr; i++) {
		const char *text = loose_text(l, f, n->items[i], arena_printf(a, "%s[%zu]", path, i));
		if (text)
			out->v[out->nr++] = text;
	}
	if (!n->nr || (out->nr == n->nr && !*out->v[0]))
		diag_add(l->log, n->at, 1110, NULL, "'%s' names no program", path);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct spec_pair *)a)->key, ((const struct spec_pair *)b)->key);
}

static void load_pairs(struct loader *l, const struct field *f, const struct yaml_node *n,
		       struct spec_pairs *out, const char *path)
{
	if (n->kind != YAML_MAP) {
		wrong_type(l, n, path, fields_type_name(f->type));
		return;
	}
	out->v = arena_array(l->log->a, struct spec_pair, n->nr + 1);
	out->nr = 0;
	for (size_t i = 0; i < n->nr; i++) {
		const struct yaml_node *k = n->pairs[i].key;
		bool ok = f->type == FIELD_ENV ? scalar_env_name(k->text) : name_ok(k->text);
		if (!ok)
			diag_add(l->log, k->at, 1117, NULL, "'%s' in '%s' is not a name %s",
				 diag_show(l->log->a, k->text), path,
				 f->type == FIELD_ENV ? "of an environment variable"
						      : "(a-z 0-9 . _ -, at most 64)");
		const char *text = loose_text(l, f, n->pairs[i].value, path);
		if (ok && text)
			out->v[out->nr++] = (struct spec_pair){k->text, text};
	}
	if (out->nr)
		qsort(out->v, out->nr, sizeof(out->v[0]), by_key);
}

struct list_slot {
	void *v;
	size_t nr;
};

static void load_list(struct loader *l, const struct field *f, const struct yaml_node *n, void *at,
		      const char *path)
{
	if (n->kind != YAML_LIST) {
		wrong_type(l, n, path, fields_type_name(f->type));
		return;
	}
	if (!n->nr && (f->flags & FIELD_REQUIRED))
		diag_add(l->log, n->at, 1115, NULL, "'%s' is empty", path);
	struct list_slot slot = {arena_alloc_n(l->log->a, n->nr + 1, f->group->size), n->nr};
	for (size_t i = 0; i < n->nr; i++)
		load_group(l, f->group, n->items[i], (char *)slot.v + i * f->group->size,
			   arena_printf(l->log->a, "%s[%zu]", path, i), n->items[i]->at);
	memcpy(at, &slot, sizeof(slot));
}

static void load_field(struct loader *l, const struct field *f, const struct yaml_node *n, char *base,
		       const char *path)
{
	void *at = base + f->at;
	if (f->type == FIELD_VALUES)
		return;
	if (f->type == FIELD_GROUP) {
		load_group(l, f->group, n, at, path, n->at);
		if (f->flags & FIELD_PRESENCE)
			*(bool *)at = true;
	} else if (f->type == FIELD_LIST) {
		load_list(l, f, n, at, path);
	} else if (f->type == FIELD_ARGV || f->type == FIELD_COMMAND) {
		load_argv(l, f, n, at, path);
	} else if (f->type == FIELD_LABELS || f->type == FIELD_ENV) {
		load_pairs(l, f, n, at, path);
	} else {
		load_scalar(l, f, n, at, path);
	}
}

static void put_defaults(const struct group *g, char *base)
{
	for (size_t i = 0; i < g->nr; i++) {
		const struct field *f = &g->fields[i];
		if (f->type == FIELD_GROUP)
			put_defaults(f->group, base + f->at);
		else if (f->dflt && scalar_set(f, f->dflt, base + f->at))
			PRE(!"a default of the field table fits its own field");
	}
}

static void unknown_key(struct loader *l, const struct group *g, const struct yaml_node *key,
			const char *path)
{
	struct arena *a = l->log->a;
	const char **names = arena_array(a, const char *, g->nr + 1);
	for (size_t i = 0; i < g->nr; i++)
		names[i] = g->fields[i].name;
	diag_add(l->log, key->at, 1101, diag_suggest(l->log, key->text, names, g->nr), "unknown key '%s'%s%s",
		 diag_show(a, key->text), *path ? " in " : "", path);
}

static void load_group(struct loader *l, const struct group *g, const struct yaml_node *n, char *base,
		       const char *path, struct diag_place at)
{
	struct arena *a = l->log->a;
	put_defaults(g, base);
	if (n->kind != YAML_MAP) {
		wrong_type(l, n, *path ? path : "the file", "a mapping");
		return;
	}
	for (size_t i = 0; i < n->nr; i++) {
		const char *key = n->pairs[i].key->text;
		const struct field *f = fields_find(g, key);
		if (f)
			load_field(l, f, n->pairs[i].value, base, join(a, path, f->name));
		else if (strncmp(key, "x-", 2))
			unknown_key(l, g, n->pairs[i].key, path);
	}
	for (size_t i = 0; i < g->nr; i++)
		if ((g->fields[i].flags & FIELD_REQUIRED) && !yaml_get(n, g->fields[i].name))
			diag_add(l->log, at, 1115, NULL, "required key '%s' is missing%s%s",
				 g->fields[i].name, *path ? " in " : "", path);
}

void load_fields(struct diag_log *log, const struct yaml_node *root, struct values *values, struct spec *out)
{
	struct loader l = {log, values};
	load_group(&l, &fields_top, root, (char *)out, "", root->at);
}

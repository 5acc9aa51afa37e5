/* What else follows from the field table: the JSON Schema, the reference page, and names for completion. */
#include "coordinator/spec/fields.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NAME_PATTERN	 "^[a-z0-9][a-z0-9._-]{0,63}$"
#define ENV_PATTERN	 "^[A-Za-z_][A-Za-z0-9_]*$"
#define DURATION_PATTERN "^(0|([0-9]+(ms|s|m|h|d))+)$"
#define SIZE_PATTERN	 "^(0|[0-9]+(B|KiB|MiB|GiB|TiB))$"
#define PERCENT_PATTERN	 "^[0-9]{1,3}(\\.[0-9])?%$"
#define RANGE_PATTERN	 "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"
#define TEMPLATE_PATTERN "\\{\\{ *[A-Za-z0-9._-]+ *\\}\\}"

static json_t *group_schema(const struct group *g);

static json_t *pattern(const char *p)
{
	return json_pack("{s:s, s:s}", "type", "string", "pattern", p);
}

/* `s`, or a text with a template in it, which is checked when its value is known. */
static json_t *or_template(json_t *s)
{
	return json_pack("{s:[o, o]}", "anyOf", s, pattern(TEMPLATE_PATTERN));
}

static json_t *or_zero(json_t *s)
{
	return json_pack("{s:[o, {s:i}, o]}", "anyOf", s, "const", 0, pattern(TEMPLATE_PATTERN));
}

static json_t *count_schema(const struct field *f)
{
	json_t *s = json_pack("{s:s, s:I}", "type", "integer", "minimum", (json_int_t)f->min);
	if (f->max)
		json_object_set_new(s, "maximum", json_integer(f->max));
	return s;
}

static json_t *words_schema(const struct field *f)
{
	json_t *words = json_array();
	for (size_t i = 0; f->words[i]; i++)
		json_array_append_new(words, json_string(f->words[i]));
	return json_pack("{s:o}", "enum", words);
}

static json_t *loose_text(void)
{
	return json_pack("{s:[s, s, s]}", "type", "string", "number", "boolean");
}

static json_t *argv_schema(void)
{
	return json_pack("{s:s, s:i, s:o}", "type", "array", "minItems", 1, "items", loose_text());
}

static json_t *map_schema(const char *names, json_t *values)
{
	return json_pack("{s:s, s:{s:s}, s:o}", "type", "object", "propertyNames", "pattern", names,
			 "additionalProperties", values);
}

static json_t *amount_schema(void)
{
	return json_pack("{s:[{s:s, s:i}, o, o]}", "anyOf", "type", "integer", "minimum", 0,
			 pattern(PERCENT_PATTERN), pattern(TEMPLATE_PATTERN));
}

static json_t *type_schema(const struct field *f)
{
	switch (f->type) {
	case FIELD_SCHEMA:
		return json_pack("{s:s}", "const", "wavetrain/v1");
	case FIELD_NAME:
		return or_template(pattern(NAME_PATTERN));
	case FIELD_TEXT:
	case FIELD_ADDRESS:
		return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
	case FIELD_BOOL:
		return or_template(json_pack("{s:s}", "type", "boolean"));
	case FIELD_COUNT:
		return or_template(count_schema(f));
	case FIELD_DURATION:
		return or_zero(pattern(DURATION_PATTERN));
	case FIELD_SIZE:
		return or_zero(pattern(SIZE_PATTERN));
	case FIELD_PERCENT:
		return or_template(pattern(PERCENT_PATTERN));
	case FIELD_AMOUNT:
		return amount_schema();
	case FIELD_WORD:
		return or_template(words_schema(f));
	case FIELD_RANGE:
		return json_pack("{s:[o, {s:s, s:i, s:i}, o]}", "anyOf", pattern(RANGE_PATTERN), "type",
				 "integer", "minimum", 100, "maximum", 599, pattern(TEMPLATE_PATTERN));
	case FIELD_ARGV:
		return argv_schema();
	case FIELD_COMMAND:
		return json_pack("{s:[o, {s:s, s:i}]}", "anyOf", argv_schema(), "type", "string", "minLength",
				 1);
	case FIELD_LABELS:
		return map_schema(NAME_PATTERN, loose_text());
	case FIELD_ENV:
		return map_schema(ENV_PATTERN, loose_text());
	case FIELD_GROUP:
		return group_schema(f->group);
	case FIELD_LIST:
		return json_pack("{s:s, s:o}", "type", "array", "items", group_schema(f->group));
	case FIELD_VALUES:
		return json_pack("{s:s, s:o}", "type", "object", "additionalProperties",
				 group_schema(f->group));
	case FIELD_ANY:
		return loose_text();
	}
	return NULL;
}

static json_t *group_schema(const struct group *g)
{
	json_t *props = json_object(), *required = json_array();
	for (size_t i = 0; i < g->nr; i++) {
		const struct field *f = &g->fields[i];
		json_t *s = type_schema(f);
		PRE(s);
		json_object_set_new(s, "description", json_string(f->doc));
		if (f->dflt)
			json_object_set_new(s, "default",
					    f->type == FIELD_BOOL    ? json_boolean(!strcmp(f->dflt, "true"))
					    : f->type == FIELD_COUNT ? json_integer(atoll(f->dflt))
								     : json_string(f->dflt));
		json_object_set_new(props, f->name, s);
		if (f->flags & FIELD_REQUIRED)
			json_array_append_new(required, json_string(f->name));
	}
	/* Keys that begin with x- are the user's own. */
	return json_pack("{s:s, s:b, s:{s:b}, s:o, s:o}", "type", "object", "additionalProperties", 0,
			 "patternProperties", "^x-", 1, "properties", props, "required", required);
}

void spec_schema_json(struct buf *out)
{
	json_t *s = group_schema(&fields_top);
	json_object_set_new(s, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
	json_object_set_new(s, "$id", json_string("urn:wavetrain:deployment-file:v1"));
	json_object_set_new(s, "title", json_string("wavetrain deployment file"));
	char *text = json_dumps(s, JSON_INDENT(2) | JSON_SORT_KEYS);
	PRE(text);
	buf_puts(out, text);
	buf_puts(out, "\n");
	free(text);
	json_decref(s);
}

/* In a table cell a | would end the cell. */
static void put_words(struct buf *out, const struct field *f)
{
	for (size_t i = 0; f->words[i]; i++)
		buf_printf(out, "%s`%s`", i ? ", " : "", f->words[i]);
}

static void put_row(struct buf *out, const struct field *f)
{
	buf_printf(out, "| `%s` | ", f->name);
	if (f->type == FIELD_WORD)
		put_words(out, f);
	else
		buf_puts(out, fields_type_name(f->type));
	buf_puts(out, " | ");
	if (f->flags & FIELD_REQUIRED)
		buf_puts(out, "**required**");
	else if (f->dflt)
		buf_printf(out, "`%s`", f->dflt);
	buf_printf(out, " | %s%s |\n", f->doc, f->flags & FIELD_TEMPLATE ? " (T)" : "");
}

static void put_group(struct buf *out, const struct group *g, const char *path, int depth)
{
	if (!g->nr)
		return;
	buf_printf(out, "\n%s `%s`\n\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n",
		   depth ? "###" : "##", *path ? path : "top level");
	for (size_t i = 0; i < g->nr; i++)
		put_row(out, &g->fields[i]);
	for (size_t i = 0; i < g->nr; i++) {
		const struct field *f = &g->fields[i];
		if (!f->group)
			continue;
		struct arena a;
		arena_init(&a);
		put_group(out, f->group,
			  arena_printf(&a, "%s%s%s%s", path, *path ? "." : "", f->name,
				       f->type == FIELD_LIST	 ? "[]"
				       : f->type == FIELD_VALUES ? ".NAME"
								 : ""),
			  depth + 1);
		arena_done(&a);
	}
}

void spec_reference_md(struct buf *out)
{
	buf_puts(
		out,
		"# The deployment file\n\n"
		"Generated from `coordinator/spec/fields.c`; a test fails when this page differs. Do not "
		"edit it.\n\n"
		"YAML 1.2 (JSON is a part of it), UTF-8, at most 1 MiB, 10,000 values and 64 levels with "
		"aliases written out.\n"
		"What hosts get of it, with values and defaults written out, has at most 64 KiB; `plan` says "
		"when it has more.\n"
		"Unknown and duplicate keys are errors; keys that begin with `x-` are ignored. There are no "
		"merge keys and no\n"
		"tags.\n\n"
		"An environment may have an overlay beside the file: for `-e staging` (or "
		"`WAVETRAIN_ENV=staging`) `deploy.staging.yaml`\n"
		"lies over `deploy.yaml` when it is there, and `wavetrain lint -e staging` checks both. "
		"Mappings are merged key by key;\n"
		"lists and everything else of the overlay replace what the file says. An overlay takes no "
		"key away: where keys exclude\n"
		"each other (`rolling` and `recreate`), leave them out of the file and give one in each "
		"overlay.\n\n"
		"Durations: `500ms 90s 5m 1h30m 2d`. Sizes: `512KiB 64MiB 2GiB`. Shares: `10%` or `2.5%`.\n\n"
		"Templates stand in quotes: `\"{{ values.port }}\"` anywhere, and where a key is marked (T) "
		"also `{{ host }}`,\n"
		"`{{ region }}`, `{{ version }}` and `{{ labels.NAME }}`, which are filled in on each "
		"host.\n");
	put_group(out, &fields_top, "", 0);
}

size_t spec_complete(struct arena *a, const char *path, const char ***names)
{
	const struct group *g = &fields_top;
	while (*path && g) {
		size_t n = strcspn(path, ".");
		const struct field *f = fields_find(g, arena_printf(a, "%.*s", (int)n, path));
		path += n + (path[n] == '.');
		g = f ? f->group : NULL;
		if (f && f->type == FIELD_VALUES && *path) /* past the name that the user chose */
			path += strcspn(path, ".") + (path[strcspn(path, ".")] == '.');
	}
	if (!g)
		return 0;
	*names = arena_array(a, const char *, g->nr + 1);
	for (size_t i = 0; i < g->nr; i++)
		(*names)[i] = g->fields[i].name;
	return g->nr;
}

#include "coordinator/spec/fields.h"
#include "base/notation.h"
#include "coordinator/spec/scalar.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *group_json(const struct group *g, const char *base);

static json_t *strings_json(const struct spec_strings *s)
{
	json_t *out = s->nr ? json_array() : NULL;
	for (size_t i = 0; i < s->nr; i++)
		json_array_append_new(out, json_string(s->v[i]));
	return out;
}

/* A required map is written even when it is empty: the form must load back. */
static json_t *pairs_json(const struct field *f, const struct spec_pairs *p)
{
	json_t *out = p->nr || (f->flags & FIELD_REQUIRED) ? json_object() : NULL;
	for (size_t i = 0; i < p->nr; i++)
		json_object_set_new(out, p->v[i].key, json_string(p->v[i].value));
	return out;
}

static json_t *list_json(const struct field *f, const void *at)
{
	struct {
		const char *v;
		size_t nr;
	} slot;
	memcpy(&slot, at, sizeof(slot));
	json_t *out = slot.nr ? json_array() : NULL;
	for (size_t i = 0; i < slot.nr; i++)
		json_array_append_new(out, group_json(f->group, slot.v + i * f->group->size));
	return out;
}

static json_t *word_json(const struct field *f, const void *at)
{
	uint32_t v;
	memcpy(&v, at, sizeof(v));
	return v ? json_string(f->words[v - 1]) : NULL;
}

/* A number or duration without a default that is 0 was not given. */
static json_t *count_json(const struct field *f, uint32_t n)
{
	return n || f->dflt ? json_integer(n) : NULL;
}

static json_t *duration_json(const struct field *f, int64_t ms)
{
	char text[SCALAR_CAP];
	return ms || f->dflt ? json_string(notation_duration_text(ms, text)) : NULL;
}

/* NULL when the field is not given. */
static json_t *field_json(const struct field *f, const void *at)
{
	char text[SCALAR_CAP];
	const struct spec_amount *amount = at;
	const char *const *s = at;
	switch (f->type) {
	case FIELD_SCHEMA:
	case FIELD_NAME:
	case FIELD_TEXT:
	case FIELD_ADDRESS:
		return *s ? json_string(*s) : NULL;
	case FIELD_BOOL:
		return json_boolean(*(const bool *)at);
	case FIELD_COUNT:
		return count_json(f, *(const uint32_t *)at);
	case FIELD_DURATION:
		return duration_json(f, *(const int64_t *)at);
	case FIELD_SIZE:
		return json_string(notation_size_text(*(const uint64_t *)at, text));
	case FIELD_PERCENT:
		return json_string(scalar_percent_text(*(const permille *)at, text));
	case FIELD_AMOUNT:
		return amount->is_share ? json_string(scalar_percent_text(amount->v, text))
					: json_integer(amount->v);
	case FIELD_WORD:
		return word_json(f, at);
	case FIELD_RANGE:
		return json_string(scalar_range_text(*(const struct spec_range *)at, text));
	case FIELD_ARGV:
	case FIELD_COMMAND:
		return strings_json(at);
	case FIELD_LABELS:
	case FIELD_ENV:
		return pairs_json(f, at);
	case FIELD_GROUP:
		return (f->flags & FIELD_PRESENCE) && !*(const bool *)at ? NULL : group_json(f->group, at);
	case FIELD_LIST:
		return list_json(f, at);
	case FIELD_VALUES:
	case FIELD_ANY:
		break;
	}
	return NULL;
}

static json_t *group_json(const struct group *g, const char *base)
{
	json_t *out = json_object();
	for (size_t i = 0; i < g->nr; i++) {
		json_t *v = field_json(&g->fields[i], base + g->fields[i].at);
		if (v)
			json_object_set_new(out, g->fields[i].name, v);
	}
	return out;
}

void spec_render_canonical(const struct spec *s, struct buf *out)
{
	json_t *j = group_json(&fields_top, (const char *)s);
	/* `status` says something about http only, and would be refused beside tcp or exec. */
	static const char *const probes[] = {"start", "ready", "live"};
	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		json_t *p = json_object_get(json_object_get(j, "health"), probes[i]);
		if (p && !json_object_get(p, "http"))
			json_object_del(p, "status");
	}
	char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
	PRE(text);
	buf_puts(out, text);
	free(text);
	json_decref(j);
}

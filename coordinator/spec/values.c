#include "coordinator/spec/values.h"

#include "base/template.h"
#include "coordinator/spec/fields.h"
#include "base/notation.h"
#include "coordinator/spec/scalar.h"

#include <stdio.h>
#include <string.h>

static struct value *find(const struct values *v, const char *name)
{
	for (size_t i = 0; i < v->nr; i++)
		if (!strcmp(v->v[i].name, name))
			return &v->v[i];
	return NULL;
}

static bool fits(const char *type, const char *text)
{
	int64_t i;
	uint64_t u;
	permille p;
	bool b;
	if (!strcmp(type, "int"))
		return scalar_int(text, &i);
	if (!strcmp(type, "duration"))
		return notation_duration(text, &i);
	if (!strcmp(type, "size"))
		return notation_size(text, &u);
	if (!strcmp(type, "bool"))
		return scalar_bool(text, &b);
	if (!strcmp(type, "percent"))
		return scalar_percent(text, &p);
	return true;
}

/* A quoted "80" is a text to YAML, and a bare true is no text: the declared type decides which may stand. */
static bool core_fits(const char *type, const struct yaml_node *n)
{
	if (n->kind != YAML_SCALAR)
		return false;
	enum yaml_core core = yaml_core_type(n);
	if (!strcmp(type, "int"))
		return core == YAML_INT;
	if (!strcmp(type, "bool"))
		return core == YAML_BOOL;
	if (!strcmp(type, "duration") || !strcmp(type, "size"))
		return core == YAML_STR || !strcmp(n->text, "0");
	return core == YAML_STR;
}

static void set_text(struct diag_log *log, struct value *v, const char *text, bool core_ok,
		     struct diag_place at)
{
	struct arena *a = log->a;
	v->bad = true;
	if (strstr(text, "{{"))
		diag_add(log, at, 1122, NULL, "value '%s' may not hold a template", v->name);
	else if (!core_ok || !fits(v->type, text))
		diag_add(log, at, 1122, NULL, "'%s' does not fit value '%s', declared as %s",
			 diag_show(a, text), diag_show(a, v->name), v->type);
	else
		v->bad = false;
	v->text = text;
}

static const char *type_of(struct diag_log *log, const struct yaml_node *decl, struct diag_place at)
{
	const struct field *f = fields_find(fields_find(&fields_top, "values")->group, "type");
	struct yaml_node *t = yaml_get(decl, "type");
	size_t nr = 0;
	for (; f->words[nr]; nr++)
		if (t && t->kind == YAML_SCALAR && !strcmp(t->text, f->words[nr]))
			return f->words[nr];
	if (!t)
		diag_add(log, at, 1115, NULL, "'type' is missing in the declaration of a value");
	else
		diag_add(log, t->at, 1116,
			 t->kind == YAML_SCALAR ? diag_suggest(log, t->text, f->words, nr) : NULL,
			 "the type of a value is one of string, int, duration, size, bool, percent");
	return NULL;
}

static void declare(struct diag_log *log, const struct yaml_pair *p, struct values *out)
{
	static const char *const keys[] = {"type", "default"};
	const char *name = p->key->text;
	if (p->value->kind != YAML_MAP) {
		diag_add(log, p->value->at, 1106, NULL, "value '%s' must be a mapping with 'type', and is %s",
			 diag_show(log->a, name), yaml_kind_name(p->value));
		return;
	}
	for (size_t i = 0; i < p->value->nr; i++) {
		const struct yaml_node *k = p->value->pairs[i].key;
		if (strcmp(k->text, "type") && strcmp(k->text, "default") && strncmp(k->text, "x-", 2))
			diag_add(log, k->at, 1101, diag_suggest(log, k->text, keys, 2),
				 "unknown key '%s' in values.%s", diag_show(log->a, k->text),
				 diag_show(log->a, name));
	}
	struct value *v = &out->v[out->nr++];
	*v = (struct value){.name = name, .type = type_of(log, p->value, p->key->at), .at = p->key->at};
	struct yaml_node *d = yaml_get(p->value, "default");
	v->bad = !v->type;
	if (v->type && d)
		set_text(log, v, d->kind == YAML_SCALAR ? d->text : "(not a scalar)", core_fits(v->type, d),
			 d->at);
}

static const char *suggest_value(struct diag_log *log, const struct values *v, const char *name)
{
	if (log->diags->nr == SPEC_DIAGS_MAX)
		return NULL;
	const char **names = arena_array(log->a, const char *, v->nr + 1);
	for (size_t i = 0; i < v->nr; i++)
		names[i] = v->v[i].name;
	return diag_suggest(log, name, names, v->nr);
}

static void set_one(struct diag_log *log, struct values *v, const char *set, int line)
{
	size_t n = strcspn(set, "=");
	struct diag_place at = {.source = DIAG_SETS, .line = line, .col = 1, .len = (int)n};
	const char *name = arena_printf(log->a, "%.*s", (int)n, set);
	struct value *known = find(v, name);
	if (!set[n])
		diag_add(log, at, 1122, NULL, "--set %s lacks '=VALUE'", diag_show(log->a, set));
	else if (!known)
		diag_add(log, at, 1120, suggest_value(log, v, name),
			 "--set names '%s', which is not declared under 'values'", diag_show(log->a, name));
	else if (known->type)
		set_text(log, known, arena_strdup(log->a, set + n + 1), true, at);
}

void values_load(struct diag_log *log, const struct yaml_node *root, const struct spec_source *src,
		 struct values *out)
{
	const struct yaml_node *n = yaml_get(root, "values");
	*out = (struct values){0};
	if (n && n->kind != YAML_MAP)
		diag_add(log, n->at, 1106, NULL,
			 "'values' must be a mapping of names to declarations, and is %s", yaml_kind_name(n));
	if (n && n->kind == YAML_MAP) {
		out->v = arena_array(log->a, struct value, n->nr + 1);
		for (size_t i = 0; i < n->nr; i++)
			declare(log, &n->pairs[i], out);
	}
	for (size_t i = 0; i < src->sets_nr; i++)
		set_one(log, out, src->sets[i], (int)i + 1);
}

void values_unused(struct diag_log *log, const struct values *v)
{
	for (size_t i = 0; i < v->nr; i++)
		if (!v->v[i].used)
			diag_add(log, v->v[i].at, 1203, NULL, "value '%s' is declared but not used",
				 diag_show(log->a, v->v[i].name));
}

static bool host_name(const char *name)
{
	return !strcmp(name, "host") || !strcmp(name, "region") || !strcmp(name, "version") ||
	       (!strncmp(name, "labels.", 7) && name[7]);
}

static const char *suggest_variable(struct diag_log *log, const struct values *v, const char *name)
{
	struct arena *a = log->a;
	if (log->diags->nr == SPEC_DIAGS_MAX)
		return NULL;
	const char **names = arena_array(a, const char *, v->nr + 3);
	for (size_t i = 0; i < v->nr; i++)
		names[i] = arena_printf(a, "values.%s", v->v[i].name);
	names[v->nr] = "host";
	names[v->nr + 1] = "region";
	names[v->nr + 2] = "version";
	return diag_suggest(log, name, names, v->nr + 3);
}

/* What stands for {{ name }}; NULL after reporting, "" for a value whose fault was reported already (*quiet).
 */
static const char *fill(struct diag_log *log, struct values *v, const struct yaml_node *n, const char *name,
			bool host_ok, bool *quiet)
{
	struct arena *a = log->a;
	struct value *val = strncmp(name, "values.", 7) ? NULL : find(v, name + 7);
	if (host_name(name) && host_ok)
		return arena_printf(a, "{{ %s }}", name);
	if (host_name(name))
		diag_add(log, n->at, 1123, NULL, "'%s' is known only on the host and cannot stand here",
			 diag_show(a, name));
	else if (!val)
		diag_add(log, n->at, 1120, suggest_variable(log, v, name), "unknown template variable '%s'",
			 diag_show(a, name));
	else if (val->bad)
		*quiet = true;
	else if (!val->text)
		diag_add(log, n->at, 1124, NULL,
			 "value '%s' has no default and is not given; use --set %s=...",
			 diag_show(a, val->name), diag_show(a, val->name));
	if (val)
		val->used = true;
	if (val && val->text && (v->rendered += strlen(val->text)) > SPEC_BYTES_MAX) {
		if (v->rendered - strlen(val->text) <= SPEC_BYTES_MAX)
			diag_add(log, n->at, 1103, NULL,
				 "larger than 1 MiB here once values are written out");
		return NULL;
	}
	return val && !val->bad ? val->text : NULL;
}

const char *values_render(struct diag_log *log, struct values *v, const struct yaml_node *n, bool host_ok)
{
	const char *text = n->text;
	struct buf out;
	bool good = true, quiet = false;
	buf_init(&out);
	for (;;) {
		struct template_piece p = template_next(log->a, text);
		buf_put(&out, text, p.before);
		if (!p.name)
			break;
		if (!p.rest) {
			diag_add(log, n->at, 1121, NULL, "malformed template; write {{ name }}");
			good = false;
			break;
		}
		const char *with = fill(log, v, n, p.name, host_ok, &quiet);
		good &= with != NULL;
		buf_puts(&out, with ? with : "");
		text = p.rest;
	}
	const char *result = good ? arena_strdup(log->a, buf_cstr(&out)) : NULL;
	buf_done(&out);
	return result;
}

#include "tests/lib/test.h"

#include "coordinator/spec/spec.h"
#include "coordinator/spec/yaml.h"
#include "tests/unit/spec/conform.h"

#include <jansson.h>
#include <regex.h>
#include <stdlib.h>

static bool conforms(const json_t *v, json_t *schema);

static json_t *scalar_json(const struct yaml_node *n)
{
	switch (yaml_core_type(n)) {
	case YAML_NULL:
		return json_null();
	case YAML_BOOL:
		return json_boolean(n->text[0] == 't' || n->text[0] == 'T');
	case YAML_INT:
		return json_integer(strtoll(n->text, NULL, 10));
	case YAML_FLOAT:
		return json_real(strtod(n->text, NULL));
	case YAML_STR:
		break;
	}
	return json_string(n->text);
}

static json_t *tree_json(const struct yaml_node *n)
{
	if (n->kind == YAML_SCALAR)
		return scalar_json(n);
	json_t *out = n->kind == YAML_MAP ? json_object() : json_array();
	for (size_t i = 0; i < n->nr; i++)
		if (n->kind == YAML_MAP)
			json_object_set_new(out, n->pairs[i].key->text, tree_json(n->pairs[i].value));
		else
			json_array_append_new(out, tree_json(n->items[i]));
	return out;
}

static bool type_is(const json_t *v, const char *t)
{
	return (!strcmp(t, "object") && json_is_object(v)) || (!strcmp(t, "array") && json_is_array(v)) ||
	       (!strcmp(t, "string") && json_is_string(v)) || (!strcmp(t, "boolean") && json_is_boolean(v)) ||
	       (!strcmp(t, "integer") && json_is_integer(v)) || (!strcmp(t, "number") && json_is_number(v));
}

static bool type_ok(const json_t *v, const json_t *types)
{
	if (json_is_string(types))
		return type_is(v, json_string_value(types));
	for (size_t i = 0; i < json_array_size(types); i++)
		if (type_is(v, json_string_value(json_array_get(types, i))))
			return true;
	return false;
}

static bool matches(const char *text, const char *pattern)
{
	regex_t re;
	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	bool yes = !regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return yes;
}

static bool member_ok(const char *key, const json_t *v, json_t *schema)
{
	json_t *known = json_object_get(json_object_get(schema, "properties"), key);
	if (known)
		return conforms(v, known);
	const char *pattern;
	json_t *sub;
	json_object_foreach(json_object_get(schema, "patternProperties"), pattern,
			    sub) if (matches(key, pattern)) return conforms(v, sub);
	json_t *more = json_object_get(schema, "additionalProperties");
	return !more || conforms(v, more);
}

static bool object_ok(json_t *v, json_t *schema)
{
	const char *key;
	json_t *sub;
	size_t i;
	json_t *names = json_object_get(json_object_get(schema, "propertyNames"), "pattern");
	json_object_foreach(v, key, sub) if (!member_ok(key, sub, schema) ||
					     (names && !matches(key, json_string_value(names)))) return false;
	json_array_foreach(json_object_get(schema, "required"), i,
			   sub) if (!json_object_get(v, json_string_value(sub))) return false;
	return true;
}

static bool array_ok(const json_t *v, json_t *schema)
{
	json_t *items = json_object_get(schema, "items"), *min = json_object_get(schema, "minItems");
	for (size_t i = 0; i < json_array_size(v); i++)
		if (items && !conforms(json_array_get(v, i), items))
			return false;
	return !min || (json_int_t)json_array_size(v) >= json_integer_value(min);
}

static bool any_ok(const json_t *v, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (conforms(v, json_array_get(list, i)))
			return true;
	return false;
}

static bool enum_ok(const json_t *v, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_equal(v, json_array_get(list, i)))
			return true;
	return false;
}

static bool word_ok(const json_t *v, const char *word, json_t *arg)
{
	static const char *const elsewhere[] = {"properties",
						"patternProperties",
						"additionalProperties",
						"propertyNames",
						"required",
						"items",
						"minItems",
						"description",
						"default",
						"$schema",
						"$id",
						"title"};
	if (!strcmp(word, "type"))
		return type_ok(v, arg);
	if (!strcmp(word, "const"))
		return json_equal(v, arg);
	if (!strcmp(word, "enum"))
		return enum_ok(v, arg);
	if (!strcmp(word, "anyOf"))
		return any_ok(v, arg);
	if (!strcmp(word, "pattern"))
		return !json_is_string(v) || matches(json_string_value(v), json_string_value(arg));
	if (!strcmp(word, "minLength"))
		return !json_is_string(v) || (json_int_t)json_string_length(v) >= json_integer_value(arg);
	if (!strcmp(word, "minimum"))
		return !json_is_integer(v) || json_integer_value(v) >= json_integer_value(arg);
	if (!strcmp(word, "maximum"))
		return !json_is_integer(v) || json_integer_value(v) <= json_integer_value(arg);
	for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
		if (!strcmp(word, elsewhere[i]))
			return true;
	fail_msg("the schema uses '%s', which this check does not know", word);
	return false;
}

static bool conforms(const json_t *v, json_t *schema)
{
	const char *word;
	json_t *arg;
	if (json_is_boolean(schema))
		return json_is_true(schema);
	json_object_foreach(schema, word, arg) if (!word_ok(v, word, arg)) return false;
	if (json_is_object(v))
		return object_ok((json_t *)(uintptr_t)v, schema);
	return !json_is_array(v) || array_ok(v, schema);
}

static bool text_conforms(const char *yaml, size_t len)
{
	struct arena a;
	struct spec_diags diags = {0};
	struct buf b;
	arena_init(&a);
	buf_init(&b);
	struct diag_log log = {.a = &a, .diags = &diags, .texts = {{"f", yaml, len}}};
	struct yaml_node *root = yaml_parse(&log, DIAG_BASE);
	assert_non_null(root);
	spec_schema_json(&b);
	json_t *schema = json_loads(buf_cstr(&b), 0, NULL), *v = tree_json(root);
	assert_non_null(schema);
	bool ok = conforms(v, schema);
	json_decref(schema);
	json_decref(v);
	buf_done(&b);
	arena_done(&a);
	return ok;
}

bool conform_ok(const char *yaml)
{
	return text_conforms(yaml, strlen(yaml));
}

void conform_check(const char *name, const char *yaml, size_t len)
{
	if (!text_conforms(yaml, len))
		fail_msg("%s does not conform to the schema", name);
}

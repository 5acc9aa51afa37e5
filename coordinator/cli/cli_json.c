#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/cli.h"

/*
 * Messages become JSON by their own descriptors, so the names are those of proto/admin.proto and cannot
 * drift. Three rules make them fit for people's scripts: *_at_ms, *_since_ms and now_ms become RFC 3339
 * strings without "_ms" (null when not set), bytes become hexadecimal, a deployment number becomes its id.
 */

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && strcmp(s + n - m, end) == 0;
}

static bool is_time(const char *name)
{
	return strcmp(name, "at_ms") == 0 || strcmp(name, "now_ms") == 0 || ends_with(name, "_at_ms") ||
	       ends_with(name, "_since_ms");
}

static json_t *json_time(int64_t ms)
{
	char text[32];
	return ms > 0 ? json_string(cli_rfc3339(text, sizeof text, ms)) : json_null();
}

static json_t *json_hex(const ProtobufCBinaryData *d)
{
	struct buf b;
	buf_init(&b);
	for (size_t i = 0; i < d->len; i++)
		buf_printf(&b, "%02x", d->data[i]);
	json_t *j = json_string(buf_cstr(&b));
	buf_done(&b);
	return j;
}

json_t *cli_json_string(const char *s)
{
	struct buf b;
	json_t *j = json_string(s ? s : "");
	if (j)
		return j;
	buf_init(&b);
	buf_puts(&b, s);
	for (size_t i = 0; i < b.len; i++)
		b.data[i] = b.data[i] < 0x80 ? b.data[i] : '?';
	j = json_string(buf_cstr(&b));
	buf_done(&b);
	return j;
}

/* Outside of strings JSON is ASCII, so these bytes stand in strings. */
void cli_json_put(struct buf *out, const json_t *j, size_t flags)
{
	char *text = json_dumps(j, flags | JSON_ENCODE_ANY);
	PRE(text != NULL);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
		if (c1 || *p == 0x7f)
			buf_printf(out, "\\u%04x", c1 ? *++p : *p);
		else
			buf_put(out, p, 1);
	}
	buf_puts(out, "\n");
	free(text);
}

static json_t *json_u64(const char *name, uint64_t v)
{
	char id[DEPLOYMENT_ID_CAP];
	if (strcmp(name, "deployment") == 0)
		return json_string(v ? deployment_id_text((struct deployment_id){v}, id) : "");
	return json_integer((json_int_t)v);
}

/* One value of a field; `p` points at it. */
static json_t *json_value(const ProtobufCFieldDescriptor *f, const void *p)
{
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return cli_json_string(*(char *const *)p);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return json_hex(p);
	if (f->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(ProtobufCMessage *const *)p ? cli_json(*(ProtobufCMessage *const *)p) : json_null();
	if (f->type == PROTOBUF_C_TYPE_BOOL)
		return json_boolean(*(const protobuf_c_boolean *)p);
	if (f->type == PROTOBUF_C_TYPE_UINT32)
		return json_integer(*(const uint32_t *)p);
	if (f->type == PROTOBUF_C_TYPE_INT64)
		return is_time(f->name) ? json_time(*(const int64_t *)p) : json_integer(*(const int64_t *)p);
	PRE(f->type == PROTOBUF_C_TYPE_UINT64); /* the file uses no other type */
	return json_u64(f->name, *(const uint64_t *)p);
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
	if (f->type == PROTOBUF_C_TYPE_UINT32)
		return sizeof(uint32_t);
	if (f->type == PROTOBUF_C_TYPE_BOOL)
		return sizeof(protobuf_c_boolean);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return sizeof(ProtobufCBinaryData);
	return f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_INT64 ? 8 : sizeof(void *);
}

static json_t *json_repeated(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const uint8_t *base = (const uint8_t *)m;
	size_t nr = *(const size_t *)(const void *)(base + f->quantifier_offset);
	const uint8_t *v = *(uint8_t *const *)(const void *)(base + f->offset);
	json_t *a = json_array();
	for (size_t i = 0; i < nr; i++)
		json_array_append_new(a, json_value(f, v + i * size_of(f)));
	return a;
}

struct json_t *cli_json(const ProtobufCMessage *m)
{
	json_t *o = json_object();
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const void *p = (const uint8_t *)m + f->offset;
		char key[64];
		snprintf(key, sizeof key, "%s", f->name);
		if (is_time(key))
			key[strlen(key) - 3] = '\0';
		json_object_set_new(o, key,
				    f->label == PROTOBUF_C_LABEL_REPEATED ? json_repeated(m, f)
									  : json_value(f, p));
	}
	return o;
}

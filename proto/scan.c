#include "proto/scan.h"

struct scan {
	unsigned depth;
	size_t messages, fields;
};

/* One field on the wire. */
struct field {
	uint32_t number;
	unsigned wire_type;
	const uint8_t *p; /* of wire type 2: its bytes */
	uint64_t n;
};

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	*out = 0;
	for (unsigned shift = 0; shift < 64 && *p < end; shift += 7) {
		uint8_t b = *(*p)++;
		*out |= (uint64_t)(b & 0x7f) << shift;
		if ((b & 0x80) == 0)
			return true;
	}
	return false;
}

static bool length_of(struct field *f, const uint8_t **p, const uint8_t *end)
{
	switch (f->wire_type) {
	case 0:
		if (!varint(p, end, &f->n))
			return false;
		f->n = 0;
		return true;
	case 1:
		f->n = 8;
		return true;
	case 2:
		return varint(p, end, &f->n);
	case 5:
		f->n = 4;
		return true;
	default: /* groups are not spoken here */
		return false;
	}
}

static bool next_field(struct field *f, const uint8_t **p, const uint8_t *end)
{
	uint64_t key;
	if (!varint(p, end, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX)
		return false;
	f->number = (uint32_t)(key >> 3);
	f->wire_type = key & 7;
	if (!length_of(f, p, end) || f->n > (uint64_t)(end - *p))
		return false;
	f->p = *p;
	*p += f->n;
	return true;
}

static bool is_line(const ProtobufCFieldDescriptor *d)
{
	return d != NULL && d->label == PROTOBUF_C_LABEL_REPEATED && d->type == PROTOBUF_C_TYPE_STRING;
}

static bool scan_message(struct scan *s, const ProtobufCMessageDescriptor *type, const uint8_t *p, size_t n)
{
	const uint8_t *end = p + n;
	bool fits = ++s->messages <= SCAN_MESSAGES_MAX && ++s->depth <= SCAN_DEPTH_MAX;
	while (fits && p < end) {
		struct field f;
		fits = next_field(&f, &p, end);
		if (!fits)
			break;
		const ProtobufCFieldDescriptor *d = protobuf_c_message_descriptor_get_field(type, f.number);
		s->fields += !is_line(d);
		fits = s->fields <= SCAN_FIELDS_MAX;
		if (fits && d != NULL && d->type == PROTOBUF_C_TYPE_MESSAGE && f.wire_type == 2)
			fits = scan_message(s, d->descriptor, f.p, f.n);
	}
	s->depth--;
	return fits;
}

bool scan_fits(const ProtobufCMessageDescriptor *type, const uint8_t *p, size_t n)
{
	struct scan s = {0};
	return scan_message(&s, type, p, n);
}

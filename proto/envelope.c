#include "proto/envelope.h"

#include <string.h>

#include "proto/scan.h"

static void *alloc_cb(void *arg, size_t n)
{
	struct arena *a = arg;
	return arena_alloc(a, n);
}

static void free_cb(void *arg, void *p)
{
	/* The arena frees everything at once. */
}

ProtobufCAllocator arena_allocator(struct arena *a)
{
	return (ProtobufCAllocator){.alloc = alloc_cb, .free = free_cb, .allocator_data = a};
}

void envelope_encode(struct buf *out, const envelope *e)
{
	size_t n = wavetrain__agent__envelope__get_packed_size(e);
	uint8_t *p = buf_reserve(out, n);
	out->len += wavetrain__agent__envelope__pack(e, p);
}

const envelope *envelope_decode(struct arena *a, const uint8_t *p, size_t n)
{
	uint64_t hi, lo;
	if (n > ENVELOPE_MAX_BYTES || !scan_fits(&wavetrain__agent__envelope__descriptor, p, n))
		return NULL;
	ProtobufCAllocator alloc = arena_allocator(a);
	const envelope *e = wavetrain__agent__envelope__unpack(&alloc, n, p);
	if (e == NULL || e->version != ENVELOPE_VERSION ||
	    e->body_case == WAVETRAIN__AGENT__ENVELOPE__BODY__NOT_SET)
		return NULL;
	if (!bytes_id128(e->trace_id, &hi, &lo) || !bytes_id128(e->boot_id, &hi, &lo) ||
	    !bytes_id128(e->cluster_id, &hi, &lo))
		return NULL;
	return e;
}

bool bytes_digest(ProtobufCBinaryData b, struct digest *out)
{
	*out = (struct digest){0};
	if (b.len == DIGEST_LEN)
		memcpy(out->b, b.data, DIGEST_LEN);
	return b.len == DIGEST_LEN || b.len == 0;
}

bool bytes_id128(ProtobufCBinaryData b, uint64_t *hi, uint64_t *lo)
{
	*hi = b.len == 16 ? get_u64(b.data) : 0;
	*lo = b.len == 16 ? get_u64(b.data + 8) : 0;
	return b.len == 16 || b.len == 0;
}

ProtobufCBinaryData digest_bytes(struct arena *a, const struct digest *d)
{
	if (digest_none(d))
		return (ProtobufCBinaryData){0};
	return (ProtobufCBinaryData){.len = DIGEST_LEN, .data = arena_memdup(a, d->b, DIGEST_LEN)};
}

ProtobufCBinaryData id128_bytes(struct arena *a, uint64_t hi, uint64_t lo)
{
	uint8_t *p = arena_alloc(a, 16);
	put_u64(p, hi);
	put_u64(p + 8, lo);
	return (ProtobufCBinaryData){.len = 16, .data = p};
}

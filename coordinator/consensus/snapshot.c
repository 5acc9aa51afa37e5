#include <openssl/sha.h>
#include <string.h>

#include "coordinator/consensus/internal.h"

static const uint32_t magic = 0x57545331; /* "WTS1" */
static const uint32_t version = 2;
enum { HASH_LEN = 32, HASH_AT = SNAPSHOT_HEADER - HASH_LEN, HEADER_V1 = 56 };

/* The engine stores snapshots without a checksum of its own. Header: see internal.h. */
static void hash(const uint8_t *p, size_t n, size_t header, uint8_t out[HASH_LEN])
{
	SHA256_CTX ctx;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, p, header - HASH_LEN);
	SHA256_Update(&ctx, p + header, n - header);
	SHA256_Final(out, &ctx);
#pragma GCC diagnostic pop
}

int snapshot_seal(struct buf *b, uint64_t index, uint64_t highest_id)
{
	if (b->len > (size_t)1 << 30)
		return E_TOO_LARGE;
	put_u32(b->data, magic);
	put_u32(b->data + 4, version);
	put_u64(b->data + 8, index);
	put_u64(b->data + 16, b->len - SNAPSHOT_HEADER);
	put_u64(b->data + 24, highest_id);
	hash(b->data, b->len, SNAPSHOT_HEADER, b->data + HASH_AT);
	return E_OK;
}

int snapshot_open(const void *p, size_t n, uint64_t *index, uint64_t *highest_id, const uint8_t **body,
		  size_t *len)
{
	const uint8_t *b = p;
	uint8_t want[HASH_LEN];
	if (n < HEADER_V1 || get_u32(b) != magic)
		return E_CORRUPT;
	uint32_t v = get_u32(b + 4);
	size_t header = v == 1 ? HEADER_V1 : SNAPSHOT_HEADER;
	if (v == 0 || v > version)
		return E_VERSION;
	if (n < header || get_u64(b + 16) != n - header)
		return E_CORRUPT;
	hash(b, n, header, want);
	if (memcmp(want, b + header - HASH_LEN, sizeof want) != 0)
		return E_CORRUPT;
	*index = get_u64(b + 8);
	*highest_id = v == 1 ? 0 : get_u64(b + 24);
	*body = b + header;
	*len = n - header;
	return E_OK;
}

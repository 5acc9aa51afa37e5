#include <openssl/sha.h>
#include <string.h>

#include "coordinator/consensus/internal.h"

static const uint32_t magic = 0x57545331; /* "WTS1" */
static const uint32_t version = 1;

/* The engine stores snapshots without a checksum of its own. Header: see internal.h; the hash covers it and
 * the state. */
static void hash(const uint8_t *p, size_t n, uint8_t out[32])
{
	SHA256_CTX ctx;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	SHA256_Init(&ctx);
	SHA256_Update(&ctx, p, 24);
	SHA256_Update(&ctx, p + SNAPSHOT_HEADER, n - SNAPSHOT_HEADER);
	SHA256_Final(out, &ctx);
#pragma GCC diagnostic pop
}

int snapshot_seal(struct buf *b, uint64_t index)
{
	if (b->len > (size_t)1 << 30)
		return E_TOO_LARGE;
	put_u32(b->data, magic);
	put_u32(b->data + 4, version);
	put_u64(b->data + 8, index);
	put_u64(b->data + 16, b->len - SNAPSHOT_HEADER);
	hash(b->data, b->len, b->data + 24);
	return E_OK;
}

int snapshot_open(const void *p, size_t n, uint64_t *index, const uint8_t **body, size_t *len)
{
	const uint8_t *b = p;
	uint8_t want[32];
	if (n < SNAPSHOT_HEADER || get_u32(b) != magic)
		return E_CORRUPT;
	if (get_u32(b + 4) != version)
		return E_VERSION;
	if (get_u64(b + 16) != n - SNAPSHOT_HEADER)
		return E_CORRUPT;
	hash(b, n, want);
	if (memcmp(want, b + 24, sizeof want) != 0)
		return E_CORRUPT;
	*index = get_u64(b + 8);
	*body = b + SNAPSHOT_HEADER;
	*len = n - SNAPSHOT_HEADER;
	return E_OK;
}

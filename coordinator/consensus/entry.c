#include "coordinator/consensus/entry.h"

#include <string.h>
#include <zlib.h>

static const uint32_t magic = 0x57544531; /* "WTE1" */
static const uint32_t version = 1;

static size_t padded(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

static uint32_t checksum(const uint8_t *entry, size_t body)
{
	uLong crc = crc32(0, entry, 12);
	return (uint32_t)crc32(crc, entry + ENTRY_HEADER, (uInt)body);
}

void entry_begin(struct buf *out)
{
	buf_reset(out);
	memset(buf_reserve(out, ENTRY_HEADER), 0, ENTRY_HEADER);
	out->len = ENTRY_HEADER;
}

bool entry_has_room(const struct buf *out, unsigned commands, size_t n)
{
	if (commands == 0)
		return true;
	return commands < ENTRY_MAX_COMMANDS && out->len - ENTRY_HEADER + 4 + n <= ENTRY_MAX_BATCH;
}

void entry_add(struct buf *out, const void *cmd, size_t n)
{
	PRE(n <= ENTRY_MAX_COMMAND);
	buf_put_u32(out, (uint32_t)n);
	buf_put(out, cmd, n);
}

void entry_seal(struct buf *out)
{
	static const uint8_t zeros[8];
	size_t body = out->len - ENTRY_HEADER;
	put_u32(out->data, magic);
	put_u32(out->data + 4, version);
	put_u32(out->data + 8, (uint32_t)body);
	put_u32(out->data + 12, checksum(out->data, body));
	buf_put(out, zeros, padded(out->len) - out->len);
}

/* Every length must land exactly on the end of the body. */
static bool body_is_whole(const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		if (end - at < 4)
			return false;
		uint32_t n = get_u32(at);
		if (n > ENTRY_MAX_COMMAND || n > (size_t)(end - at - 4))
			return false;
		at += 4 + n;
	}
	return true;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	while (n > 0 && p[n - 1] == 0)
		n--;
	return n == 0;
}

int entry_open(struct entry_reader *r, const void *p, size_t n)
{
	const uint8_t *b = p;
	if (n < ENTRY_HEADER || n % 8 != 0 || get_u32(b) != magic)
		return E_CORRUPT;
	if (get_u32(b + 4) != version)
		return E_VERSION;
	size_t body = get_u32(b + 8);
	if (padded(ENTRY_HEADER + body) != n || get_u32(b + 12) != checksum(b, body))
		return E_CORRUPT;
	r->at = b + ENTRY_HEADER;
	r->end = r->at + body;
	if (!is_zero(r->end, n - ENTRY_HEADER - body) || !body_is_whole(r->at, r->end))
		return E_CORRUPT;
	return E_OK;
}

bool entry_next(struct entry_reader *r, const uint8_t **cmd, size_t *n)
{
	if (r->at == r->end)
		return false;
	*n = get_u32(r->at);
	*cmd = r->at + 4;
	r->at += 4 + *n;
	return true;
}

/* What comes over the join port and what is typed to get there: the first byte chooses. */
#include "base/arena.h"
#include "coordinator/cluster/invite.h"
#include "proto/envelope.h"
#include "proto/join.pb-c.h"
#include "proto/scan.h"
#include "sys/csr.h"

static void try_invite(const char *text)
{
	struct invite t, again;
	char out[INVITE_CAP];
	struct err e;
	if (invite_decode(&t, text, &e) != E_OK)
		return;
	PRE(invite_decode(&again, invite_encode(&t, out), &e) == E_OK);
	PRE(digest_eq(&t.ca, &again.ca));
}

static void try_request(struct arena *a, const uint8_t *p, size_t n)
{
	ProtobufCAllocator alloc = arena_allocator(a);
	const Join__Request *m =
		scan_fits(&join__request__descriptor, p, n) ? join__request__unpack(&alloc, n, p) : NULL;
	struct digest id;
	struct buf key;
	struct err e;
	buf_init(&key);
	if (m && csr_public_key(m->csr.data, m->csr.len, &key, &id, &e) == E_OK)
		PRE(key.len > 0);
	buf_done(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct arena a;
	struct digest id;
	struct buf key;
	struct err e;
	if (n == 0)
		return 0;
	arena_init(&a);
	buf_init(&key);
	if (p[0] % 4 == 0)
		try_invite(arena_printf(&a, "%.*s", (int)(n - 1), (const char *)p + 1));
	else if (p[0] % 4 == 1)
		try_request(&a, p + 1, n - 1);
	else if (p[0] % 4 == 2 && csr_public_key(p + 1, n - 1, &key, &id, &e) == E_OK)
		PRE(key.len > 0);
	else if (p[0] % 4 == 3) {
		ProtobufCAllocator alloc = arena_allocator(&a);
		if (scan_fits(&join__answer__descriptor, p + 1, n - 1))
			join__answer__unpack(&alloc, n - 1, p + 1);
	}
	buf_done(&key);
	arena_done(&a);
	return 0;
}

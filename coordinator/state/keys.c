#include "coordinator/state/keys.h"

#include <string.h>

#include "base/buf.h"

struct key key_of(enum table t)
{
	return (struct key){.p = {(uint8_t)t}, .n = 1};
}

void key_bytes(struct key *k, const uint8_t *p, size_t n)
{
	PRE(n <= KEY_CAP - k->n);
	memcpy(k->p + k->n, p, n);
	k->n += n;
}

void key_name(struct key *k, const struct name *name)
{
	key_bytes(k, (const uint8_t *)name->s, strlen(name->s) + 1);
}

void key_u64(struct key *k, uint64_t v)
{
	uint8_t b[8];
	put_u64(b, v);
	key_bytes(k, b, sizeof b);
}

void key_u32(struct key *k, uint32_t v)
{
	uint8_t b[4];
	put_u32(b, v);
	key_bytes(k, b, sizeof b);
}

struct key key_named(enum table t, const struct name *name)
{
	struct key k = key_of(t);
	key_name(&k, name);
	return k;
}

struct key key_names(enum table t, const struct name *a, const struct name *b)
{
	struct key k = key_named(t, a);
	key_name(&k, b);
	return k;
}

struct key key_id(enum table t, struct deployment_id id)
{
	struct key k = key_of(t);
	key_u64(&k, id.v);
	return k;
}

struct key key_number(enum table t, uint64_t v)
{
	struct key k = key_of(t);
	key_u64(&k, v);
	return k;
}

struct key key_digest(enum table t, const struct name *app, const struct digest *d)
{
	struct key k = key_of(t);
	if (app != NULL)
		key_name(&k, app);
	key_bytes(&k, d->b, DIGEST_LEN);
	return k;
}

struct store_slice key_slice(const struct key *k)
{
	return (struct store_slice){k->p, k->n};
}

bool key_has_prefix(struct store_slice key, const struct key *prefix)
{
	return key.n >= prefix->n && memcmp(key.p, prefix->p, prefix->n) == 0;
}

struct key key_after(struct store_slice key)
{
	struct key k = {.n = 0};
	key_bytes(&k, key.p, key.n);
	key_bytes(&k, (const uint8_t[]){0}, 1);
	return k;
}

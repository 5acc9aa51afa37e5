#include "coordinator/consensus/guard_conf.h"

#include <stdlib.h>
#include <string.h>

void guard_conf_cut(struct guard *g, raft_index from)
{
	while (g->n_confs > 0 && g->confs[g->n_confs - 1].index >= from)
		free(g->confs[--g->n_confs].bytes);
}

void guard_conf_clear(struct guard *g)
{
	guard_conf_cut(g, 0);
	free(g->confs);
	g->confs = NULL;
	g->cap_confs = 0;
}

static bool make_room(struct guard *g)
{
	if (g->n_confs < g->cap_confs)
		return true;
	unsigned cap = g->cap_confs ? g->cap_confs * 2 : 8;
	struct guard_conf *more = realloc(g->confs, cap * sizeof *more);
	if (!more)
		return false;
	g->confs = more;
	g->cap_confs = cap;
	return true;
}

bool guard_conf_put(struct guard *g, raft_index index, const void *bytes, size_t len)
{
	guard_conf_cut(g, index);
	if (!make_room(g))
		return false;
	void *copy = malloc(len ? len : 1);
	if (!copy)
		return false;
	memcpy(copy, bytes, len);
	g->confs[g->n_confs++] = (struct guard_conf){.index = index, .bytes = copy, .len = len};
	return true;
}

bool guard_conf_put_decoded(struct guard *g, raft_index index, const struct raft_configuration *conf)
{
	struct raft_buffer b;
	if (raft_configuration_encode(conf, &b) != 0)
		return false;
	bool ok = guard_conf_put(g, index, b.base, b.len);
	raft_free(b.base);
	return ok;
}

const struct guard_conf *guard_conf_upto(const struct guard *g, raft_index upto)
{
	for (unsigned i = g->n_confs; i > 0; i--)
		if (g->confs[i - 1].index <= upto)
			return &g->confs[i - 1];
	return NULL;
}

static uint64_t get_le64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

/* Layout: u8 version 1, u64 count; per server u64 id, address with its zero, u8 role. Little-endian. */
int guard_conf_decode(const struct guard_conf *c, struct raft_configuration *out)
{
	const uint8_t *p = c->bytes, *end = p + c->len;
	if (c->len < 9 || p[0] != 1)
		return RAFT_MALFORMED;
	uint64_t n = get_le64(p + 1);
	p += 9;
	for (; n > 0; n--) {
		if (end - p < 8)
			return RAFT_MALFORMED;
		const char *address = (const char *)p + 8;
		const uint8_t *zero = memchr(address, 0, (size_t)(end - p - 8));
		if (!zero || zero + 1 >= end)
			return RAFT_MALFORMED;
		int rv = raft_configuration_add(out, get_le64(p), address, zero[1]);
		if (rv != 0)
			return rv;
		p = zero + 2;
	}
	return 0;
}

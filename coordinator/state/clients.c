/*
 * clients.c: repeats. Of each client the newest command is remembered with its answer; a second table holds
 * the clients by the place in the log of that command, so that the oldest is found when there are too many.
 * Both are rows like all others: equal on every node, in every snapshot.
 */
#include "coordinator/state/internal.h"

enum { HEAD_LEN = 8 + 8 + 4 }; /* seq, index, sub; then the answer */

static struct key row_key(uint64_t hi, uint64_t lo)
{
	struct key k = key_of(TABLE_CLIENT);
	key_u64(&k, hi);
	key_u64(&k, lo);
	return k;
}

static struct key used_key(uint64_t index, uint32_t sub)
{
	struct key k = key_of(TABLE_CLIENT_USED);
	key_u64(&k, index);
	key_u32(&k, sub);
	return k;
}

static struct key count_key(void)
{
	struct key k = key_of(TABLE_META);
	key_bytes(&k, (const uint8_t *)"clients", 7);
	return k;
}

/* False: this client is not known. A row too short to be one is damage. */
static bool row_get(struct apply *ap, struct store_slice *v)
{
	struct key k = row_key(ap->c->client_hi, ap->c->client_lo);
	if (!get_raw(ap->st, &k, v))
		return false;
	ap->st->damaged |= v->n < HEAD_LEN;
	return v->n >= HEAD_LEN;
}

bool clients_answered(struct apply *ap)
{
	struct store_slice v;
	if (ap->c->client_seq == 0 || !row_get(ap, &v))
		return false;
	uint64_t last = get_u64(v.p);
	if (last < ap->c->client_seq)
		return false;
	if (last > ap->c->client_seq)
		*ap->reply = (struct command_reply){
			.code = E_CONFLICT, .text = "an older command of this client, answered long ago"};
	else if (command_reply_decode(ap->a, v.p + HEAD_LEN, v.n - HEAD_LEN, ap->reply) != E_OK)
		ap->st->damaged = true;
	return true;
}

static void forget_oldest(struct apply *ap)
{
	const struct store_ops *ops = ap->st->store->ops;
	struct key from = key_of(TABLE_CLIENT_USED);
	struct store_slice at, client;
	if (!ops->seek(ap->st->store, key_slice(&from), &at, &client) || !key_has_prefix(at, &from) ||
	    client.n != 16) {
		ap->st->damaged = true;
		return;
	}
	struct key row = row_key(get_u64(client.p), get_u64(client.p + 8)), used = {.n = 0};
	key_bytes(&used, at.p, at.n);
	ap->st->damaged |= !ops->del(ap->st->store, key_slice(&row));
	ops->del(ap->st->store, key_slice(&used));
}

static void row_put(struct apply *ap)
{
	struct key k = row_key(ap->c->client_hi, ap->c->client_lo), used = used_key(ap->index, ap->sub);
	uint8_t client[16];
	struct buf b;
	buf_init(&b);
	buf_put_u64(&b, ap->c->client_seq);
	buf_put_u64(&b, ap->index);
	buf_put_u32(&b, ap->sub);
	command_reply_encode(&b, ap->reply);
	put_raw(ap->st, &k, b.data, b.len);
	buf_done(&b);
	put_u64(client, ap->c->client_hi);
	put_u64(client + 8, ap->c->client_lo);
	put_raw(ap->st, &used, client, sizeof client);
}

void clients_remember(struct apply *ap)
{
	struct key count = count_key();
	struct store_slice old;
	if (ap->c->client_seq == 0)
		return;
	uint64_t nr = get_number(ap->st, &count);
	if (row_get(ap, &old)) {
		struct key used = used_key(get_u64(old.p + 8), get_u32(old.p + 16));
		ap->st->store->ops->del(ap->st->store, key_slice(&used));
	} else {
		nr++;
	}
	row_put(ap);
	for (; nr > STATE_CLIENTS_MAX && !ap->st->damaged; nr--)
		forget_oldest(ap);
	put_number(ap->st, &count, nr);
}

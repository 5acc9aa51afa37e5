/*
 * keys.h: the tables of the state and their keys. One byte names the table; names end with a zero byte, which
 * no name holds, so byte order is name order; numbers are big-endian. What iterates together lies together.
 */
#ifndef STATE_KEYS_H
#define STATE_KEYS_H

#include "coordinator/state/model.h"
#include "coordinator/state/store.h"

enum table {
	TABLE_META = 'M',	 /* word */
	TABLE_APP = 'A',	 /* app */
	TABLE_ENV = 'E',	 /* env */
	TABLE_HOST = 'H',	 /* host */
	TABLE_RELEASE = 'R',	 /* app version */
	TABLE_RELEASE_OF = 'r',	 /* app artifact -> version */
	TABLE_BAD = 'B',	 /* app target */
	TABLE_DEPLOYMENT = 'D',	 /* id */
	TABLE_SERIAL = 'd',	 /* inverted serial -> id: newest first */
	TABLE_ACTIVE = 'a',	 /* app env -> id */
	TABLE_WAVE = 'W',	 /* id index */
	TABLE_TASK = 'T',	 /* id wave position */
	TABLE_TASK_OF = 't',	 /* id host -> wave position */
	TABLE_PLACEMENT = 'P',	 /* host app */
	TABLE_SPEC = 'S',	 /* digest */
	TABLE_AUDIT = 'L',	 /* index sub */
	TABLE_CLIENT = 'C',	 /* client -> newest seq, where it was applied, its reply */
	TABLE_CLIENT_USED = 'c', /* index sub -> client: of its newest command */
	TABLE_NODE = 'N',	 /* id */
	TABLE_TOKEN = 'K',	 /* hash of the secret */
	TABLE_MOVED = 'V', /* app -> index of the last change that makes a plan stale; no name: the fleet's */
};

enum { KEY_CAP = 160 };
struct key {
	uint8_t p[KEY_CAP];
	size_t n;
};

struct key key_of(enum table t);
void key_name(struct key *k, const struct name *name);
void key_u64(struct key *k, uint64_t v);
void key_u32(struct key *k, uint32_t v);
void key_bytes(struct key *k, const uint8_t *p, size_t n);

struct key key_named(enum table t, const struct name *name);
struct key key_names(enum table t, const struct name *a, const struct name *b);
struct key key_id(enum table t, struct deployment_id id);
struct key key_number(enum table t, uint64_t v);
struct key key_digest(enum table t, const struct name *app,
		      const struct digest *d); /* app NULL: digest only */

struct store_slice key_slice(const struct key *k);
bool key_has_prefix(struct store_slice key, const struct key *prefix);
/* The smallest key after `key`: for continuing an iteration. */
struct key key_after(struct store_slice key);

#endif

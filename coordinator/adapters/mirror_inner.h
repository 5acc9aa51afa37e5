/* mirror_inner.h: what the files of the mirror share. Not for others. */
#ifndef ADAPTERS_MIRROR_INNER_H
#define ADAPTERS_MIRROR_INNER_H

#include <uthash.h>

#include "base/rng.h"
#include "coordinator/adapters/mirror.h"
#include "sys/curlloop.h"
#include "sys/fetch.h"
#include "sys/fetch_head.h"

/* One archive that should be here. In sets of peers bit i stands for m->peers[i]. */
struct mirror_want {
	struct mirror *m;
	struct digest digest;
	uint64_t size;
	bool seen; /* by the look under way */
	bool here;
	uint32_t holders;  /* said that they have it */
	uint32_t lacking;  /* said that they have it not */
	uint32_t answered; /* said something, in their round of now */
	uint32_t wrong;	   /* gave other bytes, or have others: not used until everything is asked anew */
	/* while it is not here */
	uint32_t tried; /* holders that failed since the last pause */
	unsigned attempts;
	uint64_t not_before; /* loop time, ms */
	int told;	     /* the code that was logged last */
	struct fetch *fetch;
	uint32_t from;			 /* the bit of whom it is fetched from */
	struct mirror_want *prev, *next; /* among those that are not here */
	UT_hash_handle hh;
};

struct mirror_other {
	struct mirror *m;
	bool used, seen;
	uint32_t bit;
	char url[FETCH_URL_CAP];
	struct fetch_head *head;
	bool asks;
	struct mirror_want *asking; /* NULL while it asks: nobody wants the answer any more */
	struct mirror_want *cursor; /* where the round goes on; NULL: it is over */
	uint64_t round_at, anew_at; /* when the next begins; and the next one that asks for everything */
	uint64_t not_before;
	unsigned attempts;
	int told;
};

struct mirror {
	uv_loop_t *loop;
	uv_timer_t timer;
	struct curlloop *curl; /* NULL until there is a peer */
	struct artifact_store *store;
	char *ca, *cert, *key;
	struct tls_files tls;
	struct mirror_source source;
	struct rng rng;
	unsigned at_once, round_ms, retry_ms, stall_s;
	uint64_t reserve;
	bool plain;

	struct mirror_other others[MIRROR_PEERS_MAX];
	uint32_t peers; /* the bits of those in use */
	struct mirror_want *wants, *missing;
	unsigned running; /* downloads */
	int told_disk;
	bool changed; /* a look was asked for */
	uint64_t looked_at, full_at;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* mirror.c */
void mirror_soon(struct mirror *m); /* a turn, from the loop */
uint64_t mirror_pause_ms(struct mirror *m, unsigned attempts);
void mirror_set_here(struct mirror_want *w, bool here);

/* mirror_ask.c. A turn does what can be done now, and says at what time of the loop there is more to do. */
uint64_t mirror_ask_turn(struct mirror *m, uint64_t now);
void mirror_ask_open(struct mirror_other *o);
void mirror_ask_forget(struct mirror *m, struct mirror_want *w); /* `w` goes */

/* mirror_get.c */
uint64_t mirror_get_turn(struct mirror *m, uint64_t now);
void mirror_get_stop(struct mirror_want *w); /* fine when nothing is under way */

#endif

/*
 * link.h: the agent's line to its coordinators: one NNG REQ socket at a time, thrown away after every
 * trouble.
 *
 * libnng's own reconnecting is never relied on (after some failures it is stuck): a session that ends is
 * closed on a helper thread, our own back-off passes, and a new socket dials the next coordinator. If a close
 * hangs, libnng is wedged and only a new process helps: see on_wedged.
 *
 * One poll and one request may be outstanding. When a session ends, what was outstanding has no answer and
 * never gets one; the owner asks again after on_up with the same ids. A call without answer in time ends the
 * session, too: the coordinator still counts it.
 *
 * All functions and callbacks on the thread of the loop; callbacks come from the loop only. libnng's own
 * threads touch nothing but a locked queue.
 */
#ifndef LINK_LINK_H
#define LINK_LINK_H

#include <uv.h>

#include "base/err.h"
#include "sys/tls.h"

struct link;

/* The exit code that asks the service manager for a new process (EX_TEMPFAIL). */
enum { LINK_EXIT_RESTART = 75 };

/* Durations in milliseconds; 0 chooses the default in brackets. Everything is copied. */
struct link_config {
	const char *const *coordinators; /* "host:port" or "[v6]:port", NULL-terminated, tried in turn from a
					    random one */
	struct tls_files tls;		 /* read again for every session, so renewed files need no restart */
	const char *server_name;  /* what the certificates must be for; NULL: each coordinator's own host */
	int64_t backoff_base_ms;  /* [500] waits are uniform in [0, min(cap, base * 2^n)] */
	int64_t backoff_cap_ms;	  /* [60 000] */
	int64_t referred_cap_ms;  /* [10 000] the same for a coordinator that another one named as the leader
				   */
	int64_t healthy_ms;	  /* [60 000] a session this long resets n */
	int64_t dial_timeout_ms;  /* [15 000] from dialing to a working session */
	int64_t send_timeout_ms;  /* [5 000] */
	int64_t poll_timeout_ms;  /* [50 000] the longest poll wait (30 s + 20 %) and 10 s more */
	int64_t reply_timeout_ms; /* [10 000] */
	int64_t close_timeout_ms; /* [5 000] then libnng is wedged */
	size_t reply_max;	  /* [1 MiB] larger replies break the session */
	uint64_t seed;		  /* of the jitter; must differ between hosts */
};

struct link_callbacks {
	void *arg;
	/* A session is there: say hello (link_request), and poll once that is answered. Sending while the
	 * peer may be hanging up is what wedges libnng, so send in turn rather than at once where it is the
	 * same to you. */
	void (*on_up)(void *arg, const char *coordinator);
	/* An attempt or session ended, and why; the next dial comes in `next_ms`, by itself. */
	void (*on_down)(void *arg, const char *coordinator, const struct err *why, int64_t next_ms);
	/* Bytes valid during the call only. */
	void (*on_poll_reply)(void *arg, const uint8_t *bytes, size_t len);
	void (*on_reply)(void *arg, const uint8_t *bytes, size_t len);
	/* libnng does not come back from a close. Bring what is open to a safe point, then exit with
	 * LINK_EXIT_RESTART. NULL: the link exits the process at once. */
	void (*on_wedged)(void *arg);
};

/* Registers the TLS engine, checks the files and starts dialing. Errors are those no retry can mend. */
must_check int link_open(struct link **out, uv_loop_t *loop, const struct link_config *config,
			 const struct link_callbacks *callbacks, struct err *e);
/* Ends the session and calls `closed`; `l` is gone then. No other callback comes after this call, but
 * on_wedged. */
void link_close(struct link *l, void (*closed)(void *arg), void *arg);
bool link_is_up(const struct link *l);
/* E_BUSY: one is outstanding already. E_UNAVAILABLE: no session, wait for on_up. The bytes are copied. */
must_check int link_poll(struct link *l, const void *bytes, size_t len);
must_check int link_request(struct link *l, const void *bytes, size_t len);
/* Leave this coordinator, as it asked for ("try another", "retry after"): the next is dialed after
 * `retry_after_ms` and the usual jitter. Nothing happens when no session is up. */
void link_leave(struct link *l, int64_t retry_after_ms);
/*
 * Leave this coordinator because it does not lead, for `leader` ("host:port", copied; need not be in the
 * list): it is dialed after `retry_after_ms` and a jitter of its own, which begins at the base however long
 * was waited before, and grows while one coordinator sends us to the next. If it cannot be reached the list
 * goes on. NULL or not an address: the leader is not known, and the next of the list is dialed as by
 * link_leave. Nothing happens when no session is up.
 */
void link_leave_for(struct link *l, const char *leader, int64_t retry_after_ms);
/* Other coordinators to dial from now on, NULL-terminated, copied; a session that is up stays. E_INVALID,
 * E_TOO_LARGE: the list cannot be used, and the one before stays. */
must_check int link_coordinators(struct link *l, const char *const *list, struct err *e);

#endif

/*
 * attempt.h: one NNG socket with one dialer to one coordinator, from dial to close. Internal to agent/link.
 *
 * Two short-lived threads do what may block: one dials, one closes. Everything they and libnng's threads find
 * out comes as news to the inbox; after NEWS_CLOSED nothing more comes and attempt_free may be called.
 */
#ifndef LINK_ATTEMPT_H
#define LINK_ATTEMPT_H

#include "agent/link/engine.h"
#include "agent/link/inbox.h"

struct attempt;

enum call_kind { CALL_POLL = 0, CALL_REQUEST, CALL_NR };

/* One REQ context: at most one message under way. */
struct call {
	struct attempt *attempt;
	enum call_kind kind;
	nng_ctx ctx;
	nng_aio *aio;
	bool busy;	/* loop thread: from attempt_call to its reply */
	bool receiving; /* libnng's thread: the send is done */
	nng_duration reply_ms;
};

struct attempt {
	struct inbox *inbox;
	nng_socket sock;
	nng_dialer dialer;
	struct call calls[CALL_NR];
	struct engine_note *note;
	nng_duration send_ms;
	uv_thread_t dial_thread, close_thread;
};

struct attempt_options {
	const char *address; /* "host:port" */
	const char *server_name;
	const struct tls_files *tls;
	nng_duration send_ms, reply_ms[CALL_NR];
	size_t reply_max;
};

/* Start dialing; NEWS_DIALED (about the attempt) follows. */
must_check int attempt_open(struct attempt **out, struct inbox *inbox, const struct attempt_options *o,
			    struct err *e);
/* After a good NEWS_DIALED: NEWS_REPLY or NEWS_CALL_FAILED (about the call) follows. The bytes are copied. */
must_check int attempt_call(struct attempt *a, enum call_kind kind, const void *bytes, size_t len);
/* Close on a helper thread, whatever the state; NEWS_CLOSED follows unless libnng hangs. Once. */
void attempt_close(struct attempt *a);
/* After NEWS_CLOSED. */
void attempt_free(struct attempt *a);

#endif

#include "tests/lib/test.h"
#include "tests/contract/edge/server.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static bool starts_with(const uint8_t *bytes, size_t len, const char *word)
{
	return len >= strlen(word) && memcmp(bytes, word, strlen(word)) == 0;
}

static void reply_big(struct edge_session *e, struct edge_token token, const uint8_t *bytes, size_t len)
{
	char number[16] = "";

	memcpy(number, bytes + 4, len - 4 < 15 ? len - 4 : 15);
	size_t n = strtoul(number, NULL, 10);
	char *big = malloc(n + 1);
	memset(big, 'b', n + 1);
	edge_reply(e, token, big, n);
	free(big);
}

static void on_request(void *arg, struct edge_session *e, struct edge_token token, const uint8_t *bytes,
		       size_t len)
{
	struct server *s = arg;

	if (starts_with(bytes, len, "park") && s->parked_nr < PARKED_MAX) {
		s->parked[s->parked_nr].session = e;
		s->parked[s->parked_nr++].token = token;
	} else if (starts_with(bytes, len, "big ")) {
		reply_big(e, token, bytes, len);
	} else if (starts_with(bytes, len, "drop")) {
		edge_session_close(e);
	} else {
		if (starts_with(bytes, len, "trust"))
			edge_session_trust(e);
		edge_reply(e, token, bytes, len);
	}
}

static void on_open(void *arg, struct edge_session *e)
{
	struct server *s = arg;

	s->last_opened = *edge_session_identity(e);
}

static void on_close(void *arg, struct edge_session *e, enum edge_reason reason)
{
	struct server *s = arg;
	unsigned kept = 0;

	for (unsigned i = 0; i < s->parked_nr; i++)
		if (s->parked[i].session != e)
			s->parked[kept++] = s->parked[i];
	s->parked_nr = kept;
}

static void on_refused(void *arg, const char *address, enum edge_reason reason, enum tls_fault fault,
		       const char *why)
{
	struct server *s = arg;

	snprintf(s->last_refusal, sizeof(s->last_refusal), "%s", why);
}

static bool is_allowed(void *arg, const struct tls_identity *id)
{
	struct server *s = arg;

	return !s->revoked || strcmp(id->name.s, s->revoked) != 0;
}

/* the bridge to the loop's thread -------------------------------------------------------- */

static void on_ask(uv_async_t *async)
{
	struct server *s = async->data;

	uv_mutex_lock(&s->lock);
	if (s->asked) {
		s->ask(s, s->ask_arg);
		s->asked = false;
		uv_cond_signal(&s->done);
	}
	uv_mutex_unlock(&s->lock);
}

static void server_do(struct server *s, void (*ask)(struct server *s, void *arg), void *arg)
{
	uv_mutex_lock(&s->lock);
	s->ask = ask;
	s->ask_arg = arg;
	s->asked = true;
	uv_async_send(&s->async);
	while (s->asked)
		uv_cond_wait(&s->done, &s->lock);
	uv_mutex_unlock(&s->lock);
}

static void loop_main(void *arg)
{
	struct server *s = arg;

	uv_run(&s->loop, UV_RUN_DEFAULT);
}

static void do_open(struct server *s, void *arg)
{
	const struct edge_callbacks callbacks = {.arg = s,
						 .is_allowed = is_allowed,
						 .on_refused = on_refused,
						 .on_open = on_open,
						 .on_request = on_request,
						 .on_close = on_close};

	s->open_error.code = edge_open(&s->edge, &s->loop, &s->config, &callbacks, &s->open_error);
	if (s->open_error.code == E_OK)
		s->port = s->config.port = edge_port(s->edge);
}

void server_start(struct server *s, const struct edge_config *config)
{
	*s = (struct server){.config = *config};
	assert_int_equal(uv_loop_init(&s->loop), 0);
	assert_int_equal(uv_async_init(&s->loop, &s->async, on_ask), 0);
	s->async.data = s;
	assert_int_equal(uv_mutex_init(&s->lock), 0);
	assert_int_equal(uv_cond_init(&s->done), 0);
	assert_int_equal(uv_thread_create(&s->thread, loop_main, s), 0);
	server_reopen(s);
}

void server_reopen(struct server *s)
{
	server_do(s, do_open, NULL);
	if (s->open_error.code)
		fail_msg("edge: %s", s->open_error.text);
}

static void do_close(struct server *s, void *arg)
{
	if (s->edge)
		edge_close(s->edge, NULL, NULL);
	s->edge = NULL;
}

void server_shut_port(struct server *s)
{
	server_do(s, do_close, NULL);
}

static void do_stop(struct server *s, void *arg)
{
	do_close(s, NULL);
	uv_close((uv_handle_t *)&s->async, NULL);
}

void server_stop(struct server *s)
{
	server_do(s, do_stop, NULL);
	uv_thread_join(&s->thread);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	uv_mutex_destroy(&s->lock);
	uv_cond_destroy(&s->done);
}

/* ---------------------------------------------------------------------------------------- */

static void do_counters(struct server *s, void *arg)
{
	*(struct edge_counters *)arg = *edge_counters(s->edge);
}

struct edge_counters server_counters(struct server *s)
{
	struct edge_counters c;

	server_do(s, do_counters, &c);
	return c;
}

static void do_release(struct server *s, void *arg)
{
	for (unsigned i = 0; i < s->parked_nr; i++)
		edge_reply(s->parked[i].session, s->parked[i].token, "released", 8);
	s->parked_nr = 0;
}

void server_release(struct server *s)
{
	server_do(s, do_release, NULL);
}

static void do_parked(struct server *s, void *arg)
{
	*(unsigned *)arg = s->parked_nr;
}

unsigned server_parked(struct server *s)
{
	unsigned n;

	server_do(s, do_parked, &n);
	return n;
}

struct publication {
	const char *topic, *text;
	unsigned reached;
};

static void do_publish(struct server *s, void *arg)
{
	struct publication *p = arg;

	p->reached = edge_publish(s->edge, p->topic, strlen(p->topic), p->text, strlen(p->text));
}

unsigned server_publish(struct server *s, const char *topic, const char *text)
{
	struct publication p = {.topic = topic, .text = text};

	server_do(s, do_publish, &p);
	return p.reached;
}

static void do_drop(struct server *s, void *arg)
{
	struct publication *p = arg;

	p->reached = edge_drop_identity(s->edge, p->text);
	s->revoked = p->text;
}

unsigned server_drop(struct server *s, const char *name)
{
	struct publication p = {.text = name};

	server_do(s, do_drop, &p);
	return p.reached;
}

struct reload {
	const struct tls_files *files;
	int rc;
};

static void do_reload(struct server *s, void *arg)
{
	struct reload *r = arg;
	struct err e;

	r->rc = edge_reload(s->edge, r->files, &e);
}

int server_reload(struct server *s, const struct tls_files *files)
{
	struct reload r = {.files = files};

	server_do(s, do_reload, &r);
	return r.rc;
}

static void do_refusal(struct server *s, void *arg)
{
	memcpy(arg, s->last_refusal, sizeof(s->last_refusal));
	s->last_refusal[0] = 0;
}

void server_take_refusal(struct server *s, char out[256])
{
	for (int i = 0; i < 2000; i++) {
		server_do(s, do_refusal, out);
		if (out[0])
			return;
		uv_sleep(5);
	}
}

void server_forget_refusal(struct server *s)
{
	char ignored[256];

	server_do(s, do_refusal, ignored);
}

bool server_wait(struct server *s, bool (*cond)(const struct edge_counters *c, uint64_t arg), uint64_t arg)
{
	for (int i = 0; i < 2000; i++) {
		struct edge_counters c = server_counters(s);

		if (cond(&c, arg))
			return true;
		uv_sleep(5);
	}
	return false;
}

unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

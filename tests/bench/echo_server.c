/*
 * bench-echo: the limit of the wire: libuv and OpenSSL with the coordinator's own certificates, and nothing
 * behind.
 *
 *   bench-echo --ca FILE --cert FILE --key FILE        prints its port, serves until SIGTERM
 *
 * A question is u32 length of the question's body, u32 length of the answer, then the body; the answer is
 * that many bytes. So the bytes of a real conversation can be replayed in both directions.
 */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "sys/tls.h"
#include "tests/bench/stat.h"

enum { HEAD = 8, SLICE = 65536 };

struct session {
	uv_tcp_t tcp;
	SSL *ssl;
	BIO *in, *out;
	struct buf plain;
};

static SSL_CTX *ctx;
static char slice[SLICE];

static void on_closed(uv_handle_t *h)
{
	struct session *s = h->data;
	SSL_free(s->ssl);
	buf_done(&s->plain);
	free(s);
}

static void end(struct session *s)
{
	if (!uv_is_closing((uv_handle_t *)&s->tcp))
		uv_close((uv_handle_t *)&s->tcp, on_closed);
}

struct write_op {
	uv_write_t req;
	char bytes[];
};

static void on_written(uv_write_t *req, int status)
{
	free(container_of(req, struct write_op, req));
}

/* As little as possible: what the socket does not take at once goes to libuv's queue. */
static void flush(struct session *s)
{
	char *p;
	size_t n = (size_t)BIO_get_mem_data(s->out, &p);
	if (n == 0)
		return;
	uv_buf_t b = uv_buf_init(p, (unsigned)n);
	int done = uv_try_write((uv_stream_t *)&s->tcp, &b, 1);
	size_t sent = done > 0 ? (size_t)done : 0;
	if (sent < n) {
		struct write_op *w = malloc(sizeof *w + n - sent);
		PRE(w != NULL);
		memcpy(w->bytes, p + sent, n - sent);
		b = uv_buf_init(w->bytes, (unsigned)(n - sent));
		if (uv_write(&w->req, (uv_stream_t *)&s->tcp, &b, 1, on_written) != 0)
			free(w);
	}
	PRE(BIO_reset(s->out) == 1);
}

static bool answer_one(struct session *s)
{
	static char zeros[SLICE];
	const uint8_t *p = s->plain.data;
	if (s->plain.len < HEAD || s->plain.len - HEAD < get_u32(p))
		return false;
	uint32_t body = get_u32(p), reply = get_u32(p + 4);
	if (reply > sizeof zeros || (reply > 0 && SSL_write(s->ssl, zeros, (int)reply) <= 0)) {
		end(s);
		return false;
	}
	buf_drop(&s->plain, HEAD + body);
	return true;
}

static void take(struct session *s, const char *p, size_t n)
{
	static char text[SLICE];
	int got;
	PRE(BIO_write(s->in, p, (int)n) == (int)n);
	while ((got = SSL_read(s->ssl, text, sizeof text)) > 0) {
		buf_put(&s->plain, text, (size_t)got);
		while (answer_one(s))
			;
	}
	if (SSL_get_error(s->ssl, got) != SSL_ERROR_WANT_READ)
		end(s);
	flush(s);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	*b = uv_buf_init(slice, sizeof slice);
}

static void on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *b)
{
	struct session *s = tcp->data;
	if (n < 0)
		end(s);
	else if (n > 0)
		take(s, b->base, (size_t)n);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct session *s = calloc(1, sizeof *s);
	struct err e;
	PRE(s != NULL && status == 0);
	buf_init(&s->plain);
	uv_tcp_init(listener->loop, &s->tcp);
	s->tcp.data = s;
	if (tls_server_new(&s->ssl, ctx, &e) != E_OK)
		stat_die("bench-echo: %s", e.text);
	SSL_set_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
	s->in = BIO_new(BIO_s_mem());
	s->out = BIO_new(BIO_s_mem());
	SSL_set_bio(s->ssl, s->in, s->out);
	PRE(uv_accept(listener, (uv_stream_t *)&s->tcp) == 0);
	uv_tcp_nodelay(&s->tcp, 1);
	uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
}

static void on_term(uv_signal_t *s, int signum)
{
	uv_stop(s->loop);
}

static int serve(uv_loop_t *loop)
{
	uv_tcp_t listener;
	uv_signal_t term;
	struct sockaddr_in a;
	int len = sizeof a;
	uv_tcp_init(loop, &listener);
	uv_signal_init(loop, &term);
	uv_signal_start(&term, on_term, SIGTERM);
	uv_ip4_addr("127.0.0.1", 0, &a);
	if (uv_tcp_bind(&listener, (struct sockaddr *)&a, 0) != 0 ||
	    uv_listen((uv_stream_t *)&listener, 4096, on_connection) != 0)
		stat_die("bench-echo: cannot listen");
	uv_tcp_getsockname(&listener, (struct sockaddr *)&a, &len);
	printf("%u\n", (unsigned)ntohs(a.sin_port));
	fflush(stdout);
	return uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"ca", required_argument, NULL, 'a'},
					      {"cert", required_argument, NULL, 'c'},
					      {"key", required_argument, NULL, 'k'},
					      {NULL, 0, NULL, 0}};
	struct tls_files files = {0};
	struct err e;
	uv_loop_t loop;
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'a')
			files.ca = optarg;
		else if (c == 'c')
			files.cert = optarg;
		else if (c == 'k')
			files.key = optarg;
		else
			return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!files.ca || !files.cert || !files.key || tls_ctx_load(&ctx, TLS_SERVER, &files, &e) != E_OK)
		stat_die("bench-echo: needs --ca, --cert and --key that fit together");
	uv_loop_init(&loop);
	serve(&loop);
	SSL_CTX_free(ctx);
	return 0;
}

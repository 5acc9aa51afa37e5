#include "tests/contract/mirror/peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/lib/test.h"

struct peer_line {
	uv_tcp_t tcp;
	struct peer *p;
	char in[4096], head[256];
	size_t in_len;
	uint8_t *body;
	bool is_get;
	struct peer_line *prev, *next;
};

static void line_closed(uv_handle_t *h)
{
	struct peer_line *l = h->data;
	free(l->body);
	free(l);
}

static void get_over(struct peer_line *l)
{
	l->p->open_gets -= l->is_get;
	l->is_get = false;
}

static void line_close(struct peer_line *l)
{
	if (uv_is_closing((uv_handle_t *)&l->tcp))
		return;
	get_over(l);
	DL_DELETE(l->p->lines, l);
	uv_close((uv_handle_t *)&l->tcp, line_closed);
}

static void on_written(uv_write_t *w, int status)
{
	struct peer_line *l = w->data;
	bool hangs_up = l->is_get && l->p->mode != PEER_FALLS_SILENT;
	free(w);
	if (hangs_up)
		line_close(l); /* each download has a connection of its own */
}

static void say(struct peer_line *l, size_t n)
{
	uv_write_t *w = calloc(1, sizeof *w);
	uv_buf_t out[2] = {uv_buf_init(l->head, (unsigned)strlen(l->head)),
			   uv_buf_init((char *)l->body, (unsigned)n)};
	w->data = l;
	uv_write(w, (uv_stream_t *)&l->tcp, out, 2, on_written);
}

static void give(struct peer_line *l, const uint8_t *bytes, size_t size)
{
	enum peer_mode mode = l->p->mode;
	const char *range = strstr(l->in, "Range: bytes=");
	uint64_t first = range == NULL ? 0 : strtoull(range + 13, NULL, 10);
	size_t n = size - first, part = n < PEER_PART ? n : PEER_PART;
	l->p->first = first;
	l->body = realloc(l->body, n);
	memcpy(l->body, bytes + first, n);
	if (mode == PEER_LIES)
		l->body[n / 2] ^= 1;
	if (range != NULL)
		snprintf(l->head, sizeof l->head,
			 "HTTP/1.1 206 Part\r\nContent-Length: %zu\r\nContent-Range: bytes "
			 "%zu-%zu/%zu\r\n\r\n",
			 n, (size_t)first, size - 1, size);
	else
		snprintf(l->head, sizeof l->head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
	l->p->open_gets++;
	say(l, mode == PEER_BREAKS || mode == PEER_FALLS_SILENT ? part : n);
}

static void answer(struct peer_line *l)
{
	struct digest d;
	size_t size = 0;
	char hex[DIGEST_HEX_CAP];
	const char *at = strstr(l->in, "/v1/artifacts/");
	enum peer_mode mode = l->p->mode;
	bool head = strncmp(l->in, "HEAD ", 5) == 0;
	snprintf(hex, sizeof hex, "%s", at == NULL ? "" : at + 14);
	const uint8_t *bytes = digest_parse(&d, hex) ? archive_find(&d, &size) : NULL;
	l->is_get = !head;
	l->p->heads += head;
	l->p->gets += !head;
	if (bytes == NULL || mode == PEER_HAS_NOTHING || (!head && mode == PEER_LOST_IT)) {
		l->is_get = false;
		snprintf(l->head, sizeof l->head, "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
		say(l, 0);
	} else if (head) {
		snprintf(l->head, sizeof l->head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 size + (mode == PEER_OTHER_SIZE));
		say(l, 0);
	} else {
		give(l, bytes, size);
	}
}

static void alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
	struct peer_line *l = h->data;
	*out = uv_buf_init(l->in + l->in_len, (unsigned)(sizeof l->in - 1 - l->in_len));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *in)
{
	struct peer_line *l = s->data;
	if (n < 0) {
		line_close(l);
		return;
	}
	l->in_len += (size_t)n;
	l->in[l->in_len] = '\0';
	if (strstr(l->in, "\r\n\r\n") == NULL)
		return;
	l->in_len = 0;
	answer(l);
}

static void on_connection(uv_stream_t *s, int status)
{
	struct peer_line *l = calloc(1, sizeof *l);
	l->p = s->data;
	l->tcp.data = l;
	uv_tcp_init(s->loop, &l->tcp);
	assert_int_equal(uv_accept(s, (uv_stream_t *)&l->tcp), 0);
	DL_APPEND(l->p->lines, l);
	uv_read_start((uv_stream_t *)&l->tcp, alloc, on_read);
}

void peer_open(struct peer *p, uv_loop_t *loop, enum peer_mode mode)
{
	struct sockaddr_in at;
	int len = sizeof at;
	*p = (struct peer){.mode = mode};
	uv_tcp_init(loop, &p->server);
	p->server.data = p;
	uv_ip4_addr("127.0.0.1", 0, &at);
	uv_tcp_bind(&p->server, (struct sockaddr *)&at, 0);
	assert_int_equal(uv_listen((uv_stream_t *)&p->server, 8, on_connection), 0);
	uv_tcp_getsockname(&p->server, (struct sockaddr *)&at, &len);
	snprintf(p->url, sizeof p->url, "http://127.0.0.1:%u", ntohs(at.sin_port));
}

void peer_close(struct peer *p)
{
	struct peer_line *l, *next;
	if (p->server.data == NULL)
		return;
	p->server.data = NULL;
	DL_FOREACH_SAFE(p->lines, l, next)
	line_close(l);
	uv_close((uv_handle_t *)&p->server, NULL);
}

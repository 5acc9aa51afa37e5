#include "sys/curlloop.h"

#include <stdlib.h>
#include <sys/socket.h>

struct curlloop {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	int open_handles; /* of the loop */
	bool closing;
};

/* One socket of curl that the loop watches. */
struct watch {
	uv_poll_t poll;
	struct curlloop *owner;
	curl_socket_t fd;
};

/* A `done` may close us: the memory stays until the loop turns, curl's does not. */
static void look_for_ends(struct curlloop *c)
{
	CURLMsg *m;
	int left;
	while (!c->closing && (m = curl_multi_info_read(c->multi, &left)) != NULL) {
		struct curlloop_transfer *t = NULL;
		CURLcode code = m->data.result;
		if (m->msg != CURLMSG_DONE ||
		    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t) != CURLE_OK)
			continue;
		curlloop_stop(c, t);
		t->done(t->ctx, code);
	}
}

static void timer_cb(uv_timer_t *timer)
{
	struct curlloop *c = timer->data;
	int running;
	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look_for_ends(c);
}

static int set_timer_cb(CURLM *multi, long ms, void *arg)
{
	struct curlloop *c = arg;
	if (c->closing)
		return 0;
	if (ms < 0)
		uv_timer_stop(&c->timer);
	else
		/* Never 0: libuv before 1.45 would run it again before it looks at any socket. */
		uv_timer_start(&c->timer, timer_cb, ms > 0 ? (uint64_t)ms : 1, 0);
	return 0;
}

static void poll_cb(uv_poll_t *h, int status, int events)
{
	struct watch *w = h->data;
	struct curlloop *c = w->owner;
	int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;
	flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
	flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
	curl_multi_socket_action(c->multi, w->fd, flags, &running);
	look_for_ends(c);
}

static void handle_closed(struct curlloop *c)
{
	if (--c->open_handles == 0)
		free(c);
}

static void watch_closed_cb(uv_handle_t *h)
{
	struct watch *w = h->data;
	handle_closed(w->owner);
	free(w);
}

static void watch_drop(struct watch *w)
{
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, watch_closed_cb);
}

static struct watch *watch_new(struct curlloop *c, curl_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));
	PRE(w != NULL);
	w->owner = c;
	w->fd = fd;
	w->poll.data = w;
	if (uv_poll_init_socket(c->loop, &w->poll, fd) != 0) {
		free(w);
		return NULL;
	}
	c->open_handles++;
	curl_multi_assign(c->multi, fd, w);
	return w;
}

static int watch_socket_cb(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
	struct curlloop *c = arg;
	struct watch *w = sock;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL)
			watch_drop(w);
		curl_multi_assign(c->multi, fd, NULL);
		return 0;
	}
	if (w == NULL)
		w = watch_new(c, fd);
	if (w == NULL)
		return -1;
	int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
	return uv_poll_start(&w->poll, events, poll_cb);
}

struct curlloop *curlloop_open(uv_loop_t *loop)
{
	struct curlloop *c = calloc(1, sizeof(*c));
	PRE(c != NULL);
	c->loop = loop;
	c->multi = curl_multi_init();
	PRE(c->multi != NULL);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch_socket_cb);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer_cb);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	uv_timer_init(loop, &c->timer);
	c->timer.data = c;
	c->open_handles = 1;
	return c;
}

static curl_socket_t open_socket_cb(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

CURL *curlloop_easy_new(void)
{
	CURL *easy = curl_easy_init();
	PRE(easy != NULL);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket_cb);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	return easy;
}

void curlloop_start(struct curlloop *c, struct curlloop_transfer *t, CURL *easy)
{
	PRE(!t->under_way && !c->closing);
	t->easy = easy;
	t->under_way = true;
	curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
	PRE(curl_multi_add_handle(c->multi, easy) == CURLM_OK); /* sets its timer to now */
}

void curlloop_stop(struct curlloop *c, struct curlloop_transfer *t)
{
	if (!t->under_way)
		return;
	t->under_way = false;
	PRE(curl_multi_remove_handle(c->multi, t->easy) == CURLM_OK);
}

static void timer_closed_cb(uv_handle_t *h)
{
	struct curlloop *c = h->data;
	handle_closed(c);
}

void curlloop_close(struct curlloop *c)
{
	if (c == NULL || c->closing)
		return;
	c->closing = true;
	curl_multi_cleanup(c->multi);
	uv_close((uv_handle_t *)&c->timer, timer_closed_cb);
}

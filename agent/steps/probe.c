#include "agent/steps/probe.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URL_CAP = 1024, WHY_CAP = 160 };

struct probe {
	uv_loop_t *loop;
	struct probe_config config;
	struct probe_callbacks cb;
	struct probe_score score;
	char url[URL_CAP];
	CURLM *multi;
	CURL *easy;
	bool trying; /* the easy handle is in the multi, or a command runs */
	uv_timer_t curl_timer, next_timer;
	int open_handles; /* of the loop */
	bool closing;
};

/* One socket of curl that the loop watches. */
struct watch {
	uv_poll_t poll;
	struct probe *probe;
	curl_socket_t fd;
};

void probe_score_add(struct probe_score *s, const struct probe_config *c, bool passed, int64_t now)
{
	s->measured_ms = now;
	if (passed) {
		if (s->passes_row++ == 0)
			s->row_since = now;
		s->passes++;
		s->failures_row = 0;
		if (s->passes_row >= c->pass && now - s->row_since >= c->healthy_ms)
			s->verdict = PROBE_PASSED;
		return;
	}
	s->failures++;
	s->failures_row++;
	s->passes_row = 0;
	if (s->failures_row >= c->fail)
		s->verdict = PROBE_FAILED;
}

static void begin_try(struct probe *p);

static void on_next(uv_timer_t *t)
{
	begin_try(t->data);
}

static void end_try(struct probe *p, bool passed, const char *why)
{
	enum probe_verdict before = p->score.verdict;
	p->trying = false;
	uv_update_time(p->loop);
	probe_score_add(&p->score, &p->config, passed, (int64_t)uv_now(p->loop));
	uv_timer_start(&p->next_timer, on_next, (uint64_t)p->config.interval_ms, 0);
	if (p->score.verdict != before)
		p->cb.on_verdict(p->cb.arg, &p->score, passed ? "" : why);
}

void probe_answer(struct probe *p, bool passed, const char *why)
{
	PRE(p->config.kind == PROBE_COMMAND);
	if (p->trying && !p->closing)
		end_try(p, passed, why);
}

/* ---- curl on the loop
 * ---------------------------------------------------------------------------------------------- */

static void judge(struct probe *p, CURLcode code)
{
	char why[WHY_CAP] = "";
	long status = 0;
	curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
	bool passed = code == CURLE_OK;
	if (!passed) {
		snprintf(why, sizeof(why), "%.100s: %s", p->url, curl_easy_strerror(code));
	} else if (p->config.kind == PROBE_HTTP) {
		passed = status >= (long)p->config.status_min && status <= (long)p->config.status_max;
		snprintf(why, sizeof(why), "%.100s: http %ld", p->url, status);
	}
	curl_multi_remove_handle(p->multi, p->easy);
	end_try(p, passed, why);
}

/* One handle per multi, so one message at most. */
static void look_for_end(struct probe *p)
{
	int left;
	CURLMsg *m = p->trying ? curl_multi_info_read(p->multi, &left) : NULL;
	if (m != NULL && m->msg == CURLMSG_DONE)
		judge(p, m->data.result);
}

static void on_curl_timer(uv_timer_t *t)
{
	struct probe *p = t->data;
	int running;
	curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	look_for_end(p);
}

static int set_curl_timer(CURLM *multi, long ms, void *arg)
{
	struct probe *p = arg;
	if (p->closing)
		return 0;
	if (ms < 0)
		uv_timer_stop(&p->curl_timer);
	else
		uv_timer_start(&p->curl_timer, on_curl_timer, (uint64_t)ms, 0);
	return 0;
}

static void on_socket(uv_poll_t *h, int status, int events)
{
	struct watch *w = h->data;
	struct probe *p = w->probe;
	int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;
	flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
	flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
	curl_multi_socket_action(p->multi, w->fd, flags, &running);
	look_for_end(p);
}

static void handle_closed(struct probe *p)
{
	if (--p->open_handles == 0)
		free(p);
}

static void on_watch_closed(uv_handle_t *h)
{
	struct watch *w = h->data;
	handle_closed(w->probe);
	free(w);
}

static void watch_drop(struct watch *w)
{
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static struct watch *watch_new(struct probe *p, curl_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));
	PRE(w != NULL);
	w->probe = p;
	w->fd = fd;
	w->poll.data = w;
	if (uv_poll_init_socket(p->loop, &w->poll, fd) != 0) {
		free(w);
		return NULL;
	}
	p->open_handles++;
	curl_multi_assign(p->multi, fd, w);
	return w;
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
	struct probe *p = arg;
	struct watch *w = sock;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL)
			watch_drop(w);
		curl_multi_assign(p->multi, fd, NULL);
		return 0;
	}
	if (w == NULL)
		w = watch_new(p, fd);
	if (w == NULL)
		return -1;
	int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
	return uv_poll_start(&w->poll, events, on_socket);
}

static size_t drop_body(char *bytes, size_t size, size_t nr, void *arg)
{
	return size * nr;
}

static void begin_try(struct probe *p)
{
	p->trying = true;
	if (p->config.kind == PROBE_COMMAND)
		p->cb.run_command(p->cb.arg);
	else
		curl_multi_add_handle(p->multi, p->easy); /* sets its timer to now */
}

/* ---- opening and closing
 * ------------------------------------------------------------------------------------------- */

static void set_easy(struct probe *p)
{
	CURL *c = p->easy;
	curl_easy_setopt(c, CURLOPT_URL, p->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(c, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)p->config.timeout_ms);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop_body);
	curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L); /* each try proves that new connections are accepted */
	curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "wavetrain-probe");
	if (p->config.kind == PROBE_TCP)
		curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
}

static void set_multi(struct probe *p)
{
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, set_curl_timer);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
}

static bool is_loopback(const char *host)
{
	struct in_addr v4;
	return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
	       (inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127);
}

/* Host of the URL is this host, as curl understands the URL. */
static int check_url(const struct probe *p, struct err *e)
{
	char *host = NULL;
	CURLU *u = curl_url();
	PRE(u != NULL);
	bool ok = curl_url_set(u, CURLUPART_URL, p->url, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK && is_loopback(host);
	curl_free(host);
	curl_url_cleanup(u);
	if (ok)
		return E_OK;
	return err_set(e, E_INVALID,
		       "probe %s: not an address of this host; use 127.0.0.1, [::1] or localhost", p->url);
}

static void fill_defaults(struct probe_config *c)
{
	c->status_min = c->status_min ? c->status_min : 200;
	c->status_max = c->status_max ? c->status_max : 399;
	c->timeout_ms = c->timeout_ms ? c->timeout_ms : 1000;
	c->interval_ms = c->interval_ms ? c->interval_ms : 1000;
	c->pass = c->pass ? c->pass : 1;
	c->fail = c->fail ? c->fail : 3;
}

static int take_config(struct probe *p, const struct probe_config *config, struct err *e)
{
	p->config = *config;
	fill_defaults(&p->config);
	p->config.url = p->url;
	if (p->config.timeout_ms < 0 || p->config.interval_ms < 0 || p->config.healthy_ms < 0)
		return err_set(e, E_INVALID, "probe: a time below zero");
	if (p->config.kind == PROBE_COMMAND)
		return E_OK;
	const char *url = config->url != NULL ? config->url : "";
	int n = snprintf(p->url, sizeof(p->url), "%s%s", p->config.kind == PROBE_TCP ? "http://" : "", url);
	if (n < 0 || n >= URL_CAP)
		return err_set(e, E_TOO_LARGE, "probe: the URL is longer than %d bytes", URL_CAP - 1);
	return check_url(p, e);
}

static void start_timers(struct probe *p)
{
	uv_timer_init(p->loop, &p->curl_timer);
	uv_timer_init(p->loop, &p->next_timer);
	p->curl_timer.data = p->next_timer.data = p;
	p->open_handles = 2;
	uv_timer_start(&p->next_timer, on_next, 0, 0);
}

int probe_open(struct probe **out, uv_loop_t *loop, const struct probe_config *config,
	       const struct probe_callbacks *callbacks, struct err *e)
{
	struct probe *p = calloc(1, sizeof(*p));
	PRE(p != NULL);
	p->loop = loop;
	p->cb = *callbacks;
	int rc = take_config(p, config, e);
	if (rc != E_OK) {
		free(p);
		return rc;
	}
	p->multi = curl_multi_init();
	p->easy = curl_easy_init();
	PRE(p->multi != NULL && p->easy != NULL);
	set_multi(p);
	set_easy(p);
	start_timers(p);
	*out = p;
	return E_OK;
}

const struct probe_score *probe_score_of(const struct probe *p)
{
	return &p->score;
}

static void on_timer_closed(uv_handle_t *h)
{
	handle_closed(h->data);
}

void probe_close(struct probe *p)
{
	if (p == NULL || p->closing)
		return;
	p->closing = true;
	if (p->trying && p->config.kind != PROBE_COMMAND)
		curl_multi_remove_handle(p->multi, p->easy);
	curl_easy_cleanup(p->easy);
	curl_multi_cleanup(p->multi);
	uv_close((uv_handle_t *)&p->curl_timer, on_timer_closed);
	uv_close((uv_handle_t *)&p->next_timer, on_timer_closed);
}

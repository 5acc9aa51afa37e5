#include "agent/steps/probe.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/curlloop.h"

enum { URL_CAP = 1024, WHY_CAP = 160 };

struct probe {
	uv_loop_t *loop;
	struct probe_config config;
	struct probe_callbacks cb;
	struct probe_score score;
	char url[URL_CAP];
	struct curlloop *curl;
	CURL *easy;
	struct curlloop_transfer transfer;
	bool trying; /* the transfer is under way, or a command runs */
	uv_timer_t next_timer;
	bool closing;
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

/* ---- one try
 * ------------------------------------------------------------------------------------------------------- */

static void judge(void *arg, CURLcode code)
{
	struct probe *p = arg;
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
	end_try(p, passed, why);
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
		curlloop_start(p->curl, &p->transfer, p->easy);
}

/* ---- opening and closing
 * ------------------------------------------------------------------------------------------- */

static void set_easy(struct probe *p)
{
	CURL *c = p->easy;
	curl_easy_setopt(c, CURLOPT_URL, p->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)p->config.timeout_ms);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop_body);
	curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L); /* each try proves that new connections are accepted */
	curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "wavetrain-probe");
	if (p->config.kind == PROBE_TCP)
		curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
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

static void start_timer(struct probe *p)
{
	uv_timer_init(p->loop, &p->next_timer);
	p->next_timer.data = p;
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
	p->curl = curlloop_open(loop);
	p->easy = curlloop_easy_new();
	p->transfer = (struct curlloop_transfer){.done = judge, .ctx = p};
	set_easy(p);
	start_timer(p);
	*out = p;
	return E_OK;
}

void probe_forget(struct probe *p)
{
	p->score.verdict = PROBE_UNDECIDED;
	p->score.passes_row = p->score.failures_row = 0;
}

const struct probe_score *probe_score_of(const struct probe *p)
{
	return &p->score;
}

static void on_timer_closed(uv_handle_t *h)
{
	struct probe *p = h->data;
	free(p);
}

void probe_close(struct probe *p)
{
	if (p == NULL || p->closing)
		return;
	p->closing = true;
	curlloop_stop(p->curl, &p->transfer);
	curl_easy_cleanup(p->easy);
	curlloop_close(p->curl);
	uv_close((uv_handle_t *)&p->next_timer, on_timer_closed);
}

#include "agent/steps/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/log.h"

enum { URL_CAP = HTTP_PATH_CAP };

struct probe {
	uv_loop_t *loop;
	struct probe_config config;
	struct probe_callbacks cb;
	struct probe_score score;
	char url[URL_CAP];
	struct http_client *http;
	struct http_call *call; /* the try under way; NULL: none, or a command */
	bool trying;
	char untried[160]; /* why the last try could not be made; "" when it was */
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
	p->untried[0] = '\0';
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

/* Where it could not be tried, nothing is known of the program, and it is tried again. */
static void on_attempted(void *arg, int code, const char *why)
{
	struct probe *p = arg;
	p->call = NULL;
	if (code == E_OK || code == E_UNAVAILABLE) {
		end_try(p, code == E_OK, why);
		return;
	}
	if (p->untried[0] == '\0')
		log_warn("probe", "%s: cannot be asked: %s", p->url, why);
	snprintf(p->untried, sizeof(p->untried), "%s", why);
	p->trying = false;
	uv_timer_start(&p->next_timer, on_next, (uint64_t)p->config.interval_ms, 0);
}

static void attempt(struct probe *p)
{
	struct http_attempt a = {.connect_only = p->config.kind == PROBE_TCP,
				 .timeout_ms = (uint32_t)p->config.timeout_ms,
				 .status_min = p->config.status_min,
				 .status_max = p->config.status_max};
	snprintf(a.url, sizeof(a.url), "%s", p->url);
	p->call = http_client_attempt(p->http, &a, on_attempted, p);
}

static void begin_try(struct probe *p)
{
	p->trying = true;
	if (p->config.kind == PROBE_COMMAND)
		p->cb.run_command(p->cb.arg);
	else
		attempt(p);
}

/* ---- opening and closing
 * ------------------------------------------------------------------------------------------- */

/* How long the name of this host is that `s` begins with: 127.*, localhost or [::1]; 0 when it is none. */
static size_t this_host(const char *s)
{
	if (strncmp(s, "127.", 4) == 0)
		return strspn(s, "0123456789.");
	if (strncmp(s, "localhost", 9) == 0)
		return 9;
	return strncmp(s, "[::1]", 5) == 0 ? 5 : 0;
}

/* "http://HOST", then perhaps a port, then perhaps more. What else a URL may be is refused; wavetrain-http
 * looks again, as libcurl understands it. */
static bool is_of_this_host(const char *url)
{
	size_t scheme = strlen("http://"), host = 0;
	if (strncmp(url, "http://", scheme) == 0)
		host = this_host(url + scheme);
	if (host == 0)
		return false;
	const char *at = url + scheme + host;
	if (*at == ':')
		at += 1 + strspn(at + 1, "0123456789");
	return *at == '\0' || *at == '/' || *at == '?';
}

static int check_url(const struct probe *p, struct err *e)
{
	if (is_of_this_host(p->url))
		return E_OK;
	return err_set(e, E_INVALID,
		       "probe %.100s: not an address of this host; use 127.0.0.1, [::1] or localhost",
		       p->url);
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

int probe_open(struct probe **out, uv_loop_t *loop, struct http_client *http,
	       const struct probe_config *config, const struct probe_callbacks *callbacks, struct err *e)
{
	struct probe *p = calloc(1, sizeof(*p));
	PRE(p != NULL);
	p->loop = loop;
	p->http = http;
	p->cb = *callbacks;
	int rc = take_config(p, config, e);
	if (rc != E_OK) {
		free(p);
		return rc;
	}
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

const char *probe_untried(const struct probe *p)
{
	return p->untried;
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
	http_call_drop(p->call);
	uv_close((uv_handle_t *)&p->next_timer, on_timer_closed);
}

#include "agent/http/attempt.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attempt {
	struct http_attempt order;
	struct curlloop *curl;
	CURL *easy;
	struct curlloop_transfer transfer;
	attempt_cb cb;
	void *ctx;
};

static bool is_loopback(const char *host)
{
	struct in_addr v4;
	return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
	       (inet_pton(AF_INET, host, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127);
}

/* The host of the URL is this host, as curl understands the URL. */
static int check_url(const char *url, struct err *e)
{
	char *host = NULL;
	CURLU *u = curl_url();
	PRE(u != NULL);
	bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK && is_loopback(host);
	curl_free(host);
	curl_url_cleanup(u);
	if (ok)
		return E_OK;
	return err_set(e, E_INVALID,
		       "probe %.100s: not an address of this host; use 127.0.0.1, [::1] or localhost", url);
}

static void judge(void *arg, CURLcode code)
{
	struct attempt *t = arg;
	const struct http_attempt *o = &t->order;
	char why[HTTP_TEXT_CAP] = "";
	long status = 0;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	bool passed = code == CURLE_OK;
	if (!passed) {
		snprintf(why, sizeof(why), "%.100s: %s", o->url, curl_easy_strerror(code));
	} else if (!o->connect_only) {
		passed = status >= (long)o->status_min && status <= (long)o->status_max;
		snprintf(why, sizeof(why), "%.100s: http %ld", o->url, status);
	}
	t->cb(t->ctx, passed ? E_OK : E_UNAVAILABLE, passed ? "" : why);
}

static size_t drop_body(char *bytes, size_t size, size_t nr, void *arg)
{
	return size * nr;
}

static void set_easy(CURL *c, const struct http_attempt *o)
{
	curl_easy_setopt(c, CURLOPT_URL, o->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop_body);
	curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "wavetrain-probe");
	if (o->connect_only)
		curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
}

int attempt_open(struct attempt **out, struct curlloop *curl, const struct http_attempt *a, attempt_cb cb,
		 void *ctx, struct err *e)
{
	int rc = check_url(a->url, e);
	if (rc != E_OK)
		return rc;
	struct attempt *t = calloc(1, sizeof(*t));
	PRE(t != NULL);
	t->order = *a;
	t->curl = curl;
	t->cb = cb;
	t->ctx = ctx;
	t->easy = curlloop_easy_new();
	t->transfer = (struct curlloop_transfer){.done = judge, .ctx = t};
	set_easy(t->easy, &t->order);
	curlloop_start(curl, &t->transfer, t->easy);
	*out = t;
	return E_OK;
}

void attempt_close(struct attempt *t)
{
	if (t == NULL)
		return;
	curlloop_stop(t->curl, &t->transfer);
	curl_easy_cleanup(t->easy);
	free(t);
}

#include "sys/fetch_head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MS = 15 * 1000 };

struct fetch_head {
	struct curlloop *curl;
	CURL *easy;
	struct curlloop_transfer transfer;
	char url[FETCH_URL_CAP], text[CURL_ERROR_SIZE];
	bool plain;
	struct err refused; /* why the server was not asked */
	fetch_head_cb cb;
	void *ctx;
};

static int before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct fetch_head *h = arg;
	bool ok = h->plain || fetch_http_server(h->easy, &h->refused) == E_OK;
	return ok ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static int judge(struct fetch_head *h, CURLcode code, uint64_t *size, struct err *e)
{
	long status = 0;
	curl_off_t length = -1;
	if (h->refused.code != E_OK)
		return err_set(e, h->refused.code, "%s", h->refused.text);
	if (code != CURLE_OK)
		return err_set(e, fetch_http_code(code), "%s",
			       h->text[0] != '\0' ? h->text : curl_easy_strerror(code));
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	*size = length < 0 ? UINT64_MAX : (uint64_t)length;
	return status == 200 ? E_OK : fetch_http_refusal(status, e);
}

static void done(void *arg, CURLcode curl_code)
{
	struct fetch_head *h = arg;
	struct err e = {0};
	uint64_t size = 0;
	int code = judge(h, curl_code, &size, &e);
	h->cb(h->ctx, code, size, e.text);
}

void fetch_head_ask(struct fetch_head *h, const struct digest *d)
{
	h->refused = (struct err){0};
	h->text[0] = '\0';
	fetch_http_aim(h->easy, h->url, d);
	curlloop_start(h->curl, &h->transfer, h->easy);
}

static void set_easy(struct fetch_head *h, const struct tls_files *tls)
{
	fetch_http_prepare(h->easy, tls, h->plain);
	curl_easy_setopt(h->easy, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(h->easy, CURLOPT_TIMEOUT_MS, (long)ANSWER_MS);
	curl_easy_setopt(h->easy, CURLOPT_ERRORBUFFER, h->text);
	curl_easy_setopt(h->easy, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(h->easy, CURLOPT_PREREQDATA, h);
}

int fetch_head_open(struct fetch_head **out, struct curlloop *curl, const char *url,
		    const struct tls_files *tls, bool plain_for_tests, fetch_head_cb cb, void *ctx,
		    struct err *e)
{
	if (strlen(url) >= FETCH_URL_CAP || !fetch_http_is_base(url, plain_for_tests))
		return err_set(e, E_INVALID, "'%.100s' is not https://HOST:PORT", url);
	struct fetch_head *h = calloc(1, sizeof *h);
	PRE(h != NULL);
	h->curl = curl;
	h->cb = cb;
	h->ctx = ctx;
	h->plain = plain_for_tests && strncmp(url, "http:", 5) == 0;
	snprintf(h->url, sizeof h->url, "%s", url);
	h->easy = curlloop_easy_new();
	h->transfer = (struct curlloop_transfer){.done = done, .ctx = h};
	set_easy(h, tls);
	*out = h;
	return E_OK;
}

void fetch_head_close(struct fetch_head *h)
{
	if (h == NULL)
		return;
	curlloop_stop(h->curl, &h->transfer);
	curl_easy_cleanup(h->easy);
	free(h);
}

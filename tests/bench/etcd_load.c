/*
 * bench-etcd: acknowledged puts to an etcd server through its JSON gateway, with libcurl.
 *
 *   bench-etcd --url http://127.0.0.1:PORT --in-flight N --seconds S --prefix NAME --value BYTES
 *
 * HTTP/1.1, kept alive, one connection per put in flight. Inside, etcd translates each and calls its own gRPC
 * interface; tests/bench/run measures that one too, with h2load, because libcurl 7.88 of Debian 12 ends the
 * second request of an HTTP/2 connection to etcd with a framing error.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/buf.h"
#include "tests/bench/stat.h"

struct load;
struct put {
	struct load *load;
	CURL *easy;
	int64_t since;
	struct buf body;
};

struct load {
	const char *url, *prefix;
	size_t in_flight, value_len;
	char *value;
	int64_t until_ns;
	CURLM *multi;
	struct curl_slist *headers;
	struct put *puts;
	uint64_t begun;
	size_t active;
	struct stat_list latency;
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	return size * n;
}

static void put_base64(struct buf *b, const char *s, size_t n)
{
	b->len += (size_t)EVP_EncodeBlock(buf_reserve(b, 4 * (n / 3 + 1) + 1), (const uint8_t *)s, (int)n);
}

static void begin(struct put *p)
{
	struct load *l = p->load;
	char key[128];
	snprintf(key, sizeof key, "%s-%llu", l->prefix, (unsigned long long)l->begun++);
	buf_reset(&p->body);
	buf_puts(&p->body, "{\"key\":\"");
	put_base64(&p->body, key, strlen(key));
	buf_puts(&p->body, "\",\"value\":\"");
	put_base64(&p->body, l->value, l->value_len);
	buf_puts(&p->body, "\"}");
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE, (long)p->body.len);
	curl_easy_setopt(p->easy, CURLOPT_POSTFIELDS, p->body.data);
	p->since = stat_now_ns();
	PRE(curl_multi_add_handle(l->multi, p->easy) == CURLM_OK);
	l->active++;
}

static void prepare(struct load *l, struct put *p)
{
	char url[256];
	snprintf(url, sizeof url, "%s/v3/kv/put", l->url);
	p->load = l;
	p->easy = curl_easy_init();
	PRE(p->easy != NULL);
	buf_init(&p->body);
	curl_easy_setopt(p->easy, CURLOPT_URL, url);
	curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, l->headers);
	curl_easy_setopt(p->easy, CURLOPT_PRIVATE, p);
	curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(p->easy, CURLOPT_NOPROXY, "*");
}

static void on_done(const CURLMsg *m)
{
	struct put *p;
	long status = 0;
	CURL *easy = m->easy_handle;
	CURLcode result = m->data.result;
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &p);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	struct load *l = p->load;
	if (result != CURLE_OK || status != 200)
		stat_die("etcd: a put was not acknowledged: %s, status %ld", curl_easy_strerror(result),
			 status);
	stat_add(&l->latency, stat_now_ns() - p->since);
	l->active--;
	curl_multi_remove_handle(l->multi, easy);
	if (stat_now_ns() < l->until_ns)
		begin(p);
}

static void drive(struct load *l)
{
	for (size_t i = 0; i < l->in_flight; i++)
		begin(&l->puts[i]);
	while (l->active > 0) {
		int running, left;
		CURLMsg *m;
		PRE(curl_multi_perform(l->multi, &running) == CURLM_OK);
		while ((m = curl_multi_info_read(l->multi, &left)) != NULL)
			if (m->msg == CURLMSG_DONE)
				on_done(m);
		if (l->active > 0)
			PRE(curl_multi_poll(l->multi, NULL, 0, 1000, NULL) == CURLM_OK);
	}
}

static void open_load(struct load *l)
{
	PRE(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
	l->multi = curl_multi_init();
	PRE(l->multi != NULL);
	curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)l->in_flight);
	l->headers = curl_slist_append(NULL, "Content-Type: application/json");
	l->value = malloc(l->value_len + 1);
	l->puts = calloc(l->in_flight, sizeof *l->puts);
	PRE(l->value != NULL && l->puts != NULL);
	memset(l->value, 'v', l->value_len);
	for (size_t i = 0; i < l->in_flight; i++)
		prepare(l, &l->puts[i]);
}

static void close_load(struct load *l)
{
	for (size_t i = 0; i < l->in_flight; i++) {
		curl_easy_cleanup(l->puts[i].easy);
		buf_done(&l->puts[i].body);
	}
	curl_multi_cleanup(l->multi);
	curl_slist_free_all(l->headers);
	free(l->puts);
	free(l->value);
	stat_done(&l->latency);
	curl_global_cleanup();
}

static double parse(int argc, char **argv, struct load *l)
{
	static const struct option longs[] = {
		{"url", required_argument, NULL, 'u'},	   {"in-flight", required_argument, NULL, 'f'},
		{"seconds", required_argument, NULL, 's'}, {"prefix", required_argument, NULL, 'x'},
		{"value", required_argument, NULL, 'b'},   {NULL, 0, NULL, 0}};
	double seconds = 1;
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'u')
			l->url = optarg;
		else if (c == 'f')
			l->in_flight = strtoul(optarg, NULL, 10);
		else if (c == 's')
			seconds = strtod(optarg, NULL);
		else if (c == 'x')
			l->prefix = optarg;
		else if (c == 'b')
			l->value_len = strtoul(optarg, NULL, 10);
		else
			exit(64);
	}
	if (l->url == NULL || l->prefix == NULL || l->in_flight == 0)
		stat_die("bench-etcd: needs --url, --prefix and --in-flight");
	return seconds;
}

int main(int argc, char **argv)
{
	struct load l = {.in_flight = 1, .value_len = 100};
	double seconds = parse(argc, argv, &l);
	open_load(&l);
	int64_t start = stat_now_ns();
	double cpu = stat_cpu_s();
	l.until_ns = start + (int64_t)(seconds * 1e9);
	drive(&l);
	stat_print(&l.latency, l.latency.nr, (double)(stat_now_ns() - start) / 1e9, stat_cpu_s() - cpu);
	close_load(&l);
	return 0;
}

/*
 * load.c: the demo's users. load STATS-FILE CLIENTS URL...: CLIENTS threads for each URL send GET requests
 * one after the other, every second one on a fresh connection, without any retry, until SIGTERM. Each answer
 * other than 200 and each broken connection is a failed request. The counts are written to STATS-FILE twice a
 * second and at the end, as JSON.
 */
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static atomic_ulong requests_ok, requests_failed;
static atomic_bool stopping;

static pthread_mutex_t note_lock = PTHREAD_MUTEX_INITIALIZER;
static json_t *notes; /* the first failures, in words */

static size_t drop_cb(char *p, size_t size, size_t n, void *arg)
{
	return size * n;
}

static void note_failure(const char *url, const char *why, long status)
{
	enum { NOTES_MAX = 20 };
	char at[32];
	time_t now = time(NULL);
	struct tm tm;
	strftime(at, sizeof at, "%H:%M:%S", gmtime_r(&now, &tm));
	pthread_mutex_lock(&note_lock);
	if (json_array_size(notes) < NOTES_MAX)
		json_array_append_new(notes, json_pack("{s:s,s:s,s:s,s:i}", "at", at, "url", url, "why", why,
						       "status", (int)status));
	pthread_mutex_unlock(&note_lock);
}

static void one_request(CURL *c, const char *url, bool fresh)
{
	long status = 0;
	curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
	CURLcode rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if (rc == CURLE_OK && status == 200) {
		atomic_fetch_add(&requests_ok, 1);
		return;
	}
	atomic_fetch_add(&requests_failed, 1);
	note_failure(url, rc == CURLE_OK ? "status" : curl_easy_strerror(rc), status);
}

static void *client(void *arg)
{
	enum { PAUSE_MS = 5 };
	const char *url = arg;
	CURL *c = curl_easy_init();
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, drop_cb);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, 10000L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	for (unsigned n = 0; !atomic_load(&stopping); n++) {
		one_request(c, url, n % 2 == 0);
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
	}
	curl_easy_cleanup(c);
	return NULL;
}

static void write_stats(const char *path)
{
	char tmp[4096];
	snprintf(tmp, sizeof tmp, "%s.new", path);
	pthread_mutex_lock(&note_lock);
	json_t *o =
		json_pack("{s:I,s:I,s:O}", "requests_ok", (json_int_t)atomic_load(&requests_ok),
			  "requests_failed", (json_int_t)atomic_load(&requests_failed), "failures", notes);
	json_dump_file(o, tmp, JSON_COMPACT);
	json_decref(o);
	pthread_mutex_unlock(&note_lock);
	if (rename(tmp, path) != 0)
		perror(path);
}

int main(int argc, char **argv)
{
	enum { THREADS_MAX = 256 };
	pthread_t threads[THREADS_MAX];
	int nr = 0, clients = argc > 2 ? atoi(argv[2]) : 0;
	sigset_t term;
	if (argc < 4 || clients < 1 || clients * (argc - 3) > THREADS_MAX) {
		fprintf(stderr, "usage: load STATS-FILE CLIENTS URL...\n");
		return 64;
	}
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigaddset(&term, SIGINT);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	notes = json_array();
	for (int u = 3; u < argc; u++)
		for (int i = 0; i < clients; i++)
			if (pthread_create(&threads[nr], NULL, client, argv[u]) == 0)
				nr++;
	while (sigtimedwait(&term, NULL, &(struct timespec){.tv_nsec = 500000000L}) < 0)
		write_stats(argv[1]);
	atomic_store(&stopping, true);
	for (int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	write_stats(argv[1]);
	json_decref(notes);
	return 0;
}

#include "sys/fetch.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/curlloop.h"
#include "sys/fetch_file.h"
#include "sys/fetch_http.h"

/*
 *   PREPARE -> request -> (WRITE ...) -> FINISH -> told
 *      |         ^  |next server           |
 *      +- there already, verified: told    +- pieced together and wrong: once more from the start
 *
 * PREPARE, WRITE and FINISH are jobs of the thread pool, one at a time. While a job runs, `job` and
 * `file` (but for what it is called and how large it is) belong to the pool's thread, everything else to the
 * loop.
 */
enum { BLOCK = 512 * 1024, CURL_BUFFER = 128 * 1024, STALL_S = 30, STALL_BYTES_S = 1024 };

enum job_kind { JOB_PREPARE = 1, JOB_WRITE, JOB_FINISH };

struct job {
	uv_work_t work;
	enum job_kind kind;
	bool there;	 /* PREPARE: the archive is complete */
	bool from_start; /* WRITE: what the file holds goes first */
	bool may_retry;	 /* FINISH: a wrong digest empties the file instead of removing it */
	bool emptied;
	uint8_t *data;
	size_t len;
	int code;
	struct err e;
};

enum answer { ANSWER_NONE = 0, ANSWER_TAKEN, ANSWER_REFUSED, ANSWER_WITHOUT_RANGE };

struct fetch {
	uv_loop_t *loop;
	fetch_cb cb;
	void *ctx;
	struct fetch_file file;
	char urls[FETCH_URLS_MAX][FETCH_URL_CAP];
	size_t urls_nr, url, tried;
	bool plain;

	struct curlloop *curl;
	CURL *easy;
	struct curlloop_transfer transfer;
	char curl_text[CURL_ERROR_SIZE];
	enum answer answer; /* to the request under way */
	bool request_ended, paused;
	struct err request_error, error; /* of the request; what will be told */

	struct job job;
	bool job_runs, closing;
	uint64_t have;	    /* on disk */
	bool pieced;	    /* a range was asked for: the file will hold bytes of more than one answer */
	bool once_more;	    /* a file that was pieced together was wrong, and is fetched from its start */
	uint8_t *filling;   /* what curl gives while the pool writes the other block */
	size_t filling_len; /* goes behind `have` */
	bool start_anew;    /* `filling` is the start of the file */
};

/* ---- in the pool's thread
 * ------------------------------------------------------------------------------------------- */

static int write_block(struct fetch *f, struct err *e)
{
	const struct job *j = &f->job;
	int rc = j->from_start ? fetch_file_empty(&f->file, e) : E_OK;
	return rc != E_OK ? rc : fetch_file_write(&f->file, j->data, j->len, e);
}

static void work_cb(uv_work_t *w)
{
	struct fetch *f = container_of(w, struct fetch, job.work);
	struct job *j = &f->job;
	j->e = (struct err){0};
	switch (j->kind) {
	case JOB_PREPARE:
		j->code = fetch_file_open(&f->file, &j->there, &j->e);
		break;
	case JOB_WRITE:
		j->code = write_block(f, &j->e);
		break;
	case JOB_FINISH:
		j->code = fetch_file_finish(&f->file, j->may_retry, &j->emptied, &j->e);
		break;
	}
}

/* ---- on the loop
 * ---------------------------------------------------------------------------------------------------- */

static void work_done_cb(uv_work_t *w, int status);

static void begin_job(struct fetch *f, enum job_kind kind)
{
	PRE(!f->job_runs);
	f->job.kind = kind;
	f->job_runs = true;
	PRE(uv_queue_work(f->loop, &f->job.work, work_cb, work_done_cb) == 0);
}

static void free_fetch(struct fetch *f)
{
	fetch_file_close(&f->file);
	free(f->job.data);
	free(f->filling);
	free(f);
}

static void stop_request(struct fetch *f)
{
	if (f->curl == NULL)
		return;
	curlloop_stop(f->curl, &f->transfer);
	curl_easy_cleanup(f->easy);
	curlloop_close(f->curl);
	f->curl = NULL;
	f->easy = NULL;
}

/* The last thing done with `f`: the owner may close it. */
static void tell(struct fetch *f, int code, const struct err *e)
{
	stop_request(f);
	fetch_file_close(&f->file);
	fetch_cb cb = f->cb;
	f->cb = NULL;
	PRE(cb != NULL);
	struct err told = code == E_OK ? (struct err){0} : *e;
	cb(f->ctx, code, told.text);
}

static void flush(struct fetch *f)
{
	uint8_t *written = f->job.data;
	f->job.data = f->filling;
	f->job.len = f->filling_len;
	f->job.from_start = f->start_anew;
	f->filling = written;
	f->filling_len = 0;
	f->start_anew = false;
	begin_job(f, JOB_WRITE);
}

static void start_request(struct fetch *f, bool ranged);

/* A transient reason wins over others, the first of a kind over the later. */
static void note_error(struct fetch *f)
{
	bool better = f->error.code == E_OK || (err_class(f->error.code) != ERR_TRANSIENT &&
						err_class(f->request_error.code) == ERR_TRANSIENT);
	if (better)
		f->error = f->request_error;
}

/* The answer has ended and all its bytes are on disk. */
static void after_answer(struct fetch *f)
{
	if (f->have == f->file.size) {
		f->job.may_retry = f->pieced && !f->once_more;
		begin_job(f, JOB_FINISH);
	} else if (f->answer == ANSWER_WITHOUT_RANGE) {
		start_request(f, false);
	} else {
		note_error(f);
		f->url = (f->url + 1) % f->urls_nr;
		if (++f->tried < f->urls_nr)
			start_request(f, true);
		else
			tell(f, f->error.code, &f->error);
	}
}

static void end_request(struct fetch *f, CURLcode code);

/* Curl may call take_body from within. */
static void resume(struct fetch *f)
{
	f->paused = false;
	CURLcode code = curl_easy_pause(f->easy, CURLPAUSE_CONT);
	if (code == CURLE_OK)
		return;
	curlloop_stop(f->curl, &f->transfer);
	end_request(f, code);
}

static void after_write(struct fetch *f)
{
	f->have = f->file.have;
	if (f->filling_len > 0 || f->start_anew)
		flush(f);
	if (f->paused)
		resume(f);
	else if (f->request_ended && !f->job_runs)
		after_answer(f);
}

static void after_prepare(struct fetch *f)
{
	f->have = f->file.have;
	f->pieced = f->have > 0;
	if (f->job.there)
		tell(f, E_OK, NULL);
	else if (f->have == f->file.size)
		after_answer(f);
	else
		start_request(f, true);
}

static void after_finish(struct fetch *f)
{
	f->have = f->file.have;
	if (!f->job.emptied) {
		tell(f, E_OK, NULL);
		return;
	}
	f->job.emptied = false;
	f->once_more = true;
	f->tried = 0;
	start_request(f, true);
}

static void work_done_cb(uv_work_t *w, int status)
{
	struct fetch *f = container_of(w, struct fetch, job.work);
	struct job *j = &f->job;
	f->job_runs = false;
	if (f->closing) {
		free_fetch(f);
	} else if (j->code != E_OK) {
		f->have = f->file.have;
		tell(f, j->code, &j->e);
	} else if (j->kind == JOB_PREPARE) {
		after_prepare(f);
	} else if (j->kind == JOB_WRITE) {
		after_write(f);
	} else {
		after_finish(f);
	}
}

/* ---- one answer
 * ----------------------------------------------------------------------------------------------------- */

static enum answer refuse(struct fetch *f, int code, const char *fmt, ...) printf_like(3, 4);
static enum answer refuse(struct fetch *f, int code, const char *fmt, ...)
{
	char why[160];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	err_set(&f->request_error, code, "archive %.*s from %s: %s", FETCH_SHORT_HEX, f->file.hex,
		f->urls[f->url], why);
	return ANSWER_REFUSED;
}

static enum answer judge_refusal(struct fetch *f, long status)
{
	struct err e;
	int code = fetch_http_refusal(status, &e);
	if (code != E_NOT_FOUND)
		return refuse(f, code, "%s", e.text);
	err_set(&f->request_error, code, "archive %s is not at %s (http 404)", f->file.hex, f->urls[f->url]);
	return ANSWER_REFUSED;
}

/* "bytes FIRST-LAST/TOTAL", as we asked for it? */
static bool range_fits(const struct fetch *f)
{
	struct curl_header *h;
	uint64_t first, last, total;
	int end = 0;
	return curl_easy_header(f->easy, "Content-Range", 0, CURLH_HEADER, -1, &h) == CURLHE_OK &&
	       sscanf(h->value, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64 "%n", &first, &last, &total, &end) ==
		       3 &&
	       h->value[end] == '\0' && first == f->have && last >= first && last < total &&
	       total == f->file.size;
}

static enum answer judge(struct fetch *f)
{
	long status = 0;
	curl_off_t length = -1;
	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(f->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	bool ranged = f->have > 0 && f->pieced;
	if (ranged && (status == 416 || (status == 206 && !range_fits(f))))
		return ANSWER_WITHOUT_RANGE;
	if (status != 200 && !(ranged && status == 206))
		return judge_refusal(f, status);
	uint64_t missing = status == 206 ? f->file.size - f->have : f->file.size;
	if (status == 200 && length >= 0 && (uint64_t)length != missing)
		return refuse(f, E_CORRUPT, "it has %" PRId64 " bytes, not %" PRIu64, (int64_t)length,
			      missing);
	if (status == 200) { /* whole, whatever was asked for */
		f->start_anew = f->have > 0;
		f->have = 0;
		f->pieced = false;
	}
	return ANSWER_TAKEN;
}

static uint64_t on_the_way(const struct fetch *f)
{
	bool writing = f->job_runs && f->job.kind == JOB_WRITE;
	return f->have + f->filling_len + (writing ? f->job.len : 0);
}

static size_t take_body(char *bytes, size_t one, size_t n, void *arg)
{
	struct fetch *f = arg;
	if (f->answer == ANSWER_NONE)
		f->answer = judge(f);
	if (f->answer != ANSWER_TAKEN)
		return CURL_WRITEFUNC_ERROR;
	if (n > f->file.size - on_the_way(f)) {
		f->answer = refuse(f, E_CORRUPT, "it sends more than %" PRIu64 " bytes", f->file.size);
		return CURL_WRITEFUNC_ERROR;
	}
	if (n > BLOCK - f->filling_len) {
		f->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	memcpy(f->filling + f->filling_len, bytes, n);
	f->filling_len += n;
	if (!f->job_runs)
		flush(f);
	return n;
}

/* Who serves, before anything is asked of it. */
static int before_request(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct fetch *f = arg;
	struct err e;
	if ((f->plain && strncmp(f->urls[f->url], "http:", 5) == 0) || fetch_http_server(f->easy, &e) == E_OK)
		return CURL_PREREQFUNC_OK;
	f->answer = refuse(f, E_DENIED, "%s", e.text);
	return CURL_PREREQFUNC_ABORT;
}

static void end_request(struct fetch *f, CURLcode code)
{
	f->request_ended = true;
	f->paused = false;
	if (f->answer == ANSWER_NONE && code == CURLE_OK)
		f->answer = judge(f); /* there was no body */
	if (f->answer == ANSWER_NONE || f->answer == ANSWER_TAKEN)
		refuse(f, fetch_http_code(code), "%s",
		       code == CURLE_OK	      ? "it ended early"
		       : f->curl_text[0] != 0 ? f->curl_text
					      : curl_easy_strerror(code));
	if (f->job_runs)
		return; /* after_write goes on */
	if (f->start_anew)
		flush(f);
	else
		after_answer(f);
}

static void done(void *arg, CURLcode code)
{
	struct fetch *f = arg;
	end_request(f, code);
}

static void start_request(struct fetch *f, bool ranged)
{
	char range[32];
	snprintf(range, sizeof range, "%" PRIu64 "-", f->have);
	f->answer = ANSWER_NONE;
	f->request_ended = false;
	f->request_error = (struct err){0};
	f->curl_text[0] = '\0';
	f->pieced = ranged && f->have > 0;
	fetch_http_aim(f->easy, f->urls[f->url], &f->file.artifact);
	curl_easy_setopt(f->easy, CURLOPT_RANGE, f->pieced ? range : NULL);
	curlloop_start(f->curl, &f->transfer, f->easy);
}

/* ---- opening and closing
 * -------------------------------------------------------------------------------------------- */

static void set_easy(struct fetch *f, const struct fetch_config *c)
{
	CURL *easy = f->easy;
	fetch_http_prepare(easy, &c->tls, f->plain);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES_S);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)(c->stall_s != 0 ? c->stall_s : STALL_S));
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, f->curl_text);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, f);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, f);
}

static int take_urls(struct fetch *f, const struct fetch_config *c, struct err *e)
{
	for (; c->urls[f->urls_nr] != NULL; f->urls_nr++) {
		const char *url = c->urls[f->urls_nr];
		if (f->urls_nr == FETCH_URLS_MAX)
			return err_set(e, E_INVALID, "fetch: more than %d servers", FETCH_URLS_MAX);
		if (strlen(url) >= FETCH_URL_CAP || !fetch_http_is_base(url, f->plain))
			return err_set(e, E_INVALID, "fetch: '%.100s' is not https://HOST:PORT", url);
		size_t len = strlen(url) - (url[strlen(url) - 1] == '/');
		snprintf(f->urls[f->urls_nr], FETCH_URL_CAP, "%.*s", (int)len, url);
	}
	if (f->urls_nr == 0)
		return err_set(e, E_INVALID, "fetch: no server was named");
	f->url = c->seed % f->urls_nr;
	return E_OK;
}

static int take_config(struct fetch *f, const struct fetch_config *c, struct err *e)
{
	f->plain = c->plain_for_tests;
	if (!f->plain && (c->tls.ca == NULL || c->tls.cert == NULL || c->tls.key == NULL))
		return err_set(e, E_INVALID, "fetch: certificates on both sides are required");
	int rc = fetch_file_init(&f->file, c->dir, c->partial_dir, &c->artifact, c->size_bytes,
				 c->reserve_bytes, e);
	if (rc != E_OK)
		return rc;
	return take_urls(f, c, e);
}

int fetch_open(struct fetch **out, uv_loop_t *loop, const struct fetch_config *c, fetch_cb cb, void *ctx,
	       struct err *e)
{
	struct fetch *f = calloc(1, sizeof *f);
	PRE(f != NULL);
	f->loop = loop;
	f->cb = cb;
	f->ctx = ctx;
	int rc = take_config(f, c, e);
	if (rc != E_OK) {
		free(f);
		return rc;
	}
	f->filling = malloc(BLOCK);
	f->job.data = malloc(BLOCK);
	PRE(f->filling != NULL && f->job.data != NULL);
	f->curl = curlloop_open(loop);
	f->easy = curlloop_easy_new();
	f->transfer = (struct curlloop_transfer){.done = done, .ctx = f};
	set_easy(f, c);
	begin_job(f, JOB_PREPARE);
	*out = f;
	return E_OK;
}

uint64_t fetch_have(const struct fetch *f)
{
	return f->have;
}

void fetch_close(struct fetch *f)
{
	if (f == NULL)
		return;
	f->closing = true;
	stop_request(f);
	if (!f->job_runs)
		free_fetch(f);
}

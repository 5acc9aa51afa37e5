#include "tests/lib/pki.h"
#include "tests/lib/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "coordinator/adapters/artifact_http.h"
#include "sys/digest.h"
#include "sys/fetch.h"
#include "sys/fsio.h"

enum { SIZE = 6 * 1024 * 1024 + 77, SMALL = 100 * 1000 };

static uv_loop_t loop;
static struct pki pki, other;
static struct pki_files coordinator, agent, stranger;
static uint8_t bytes[SIZE];
static char root[64], dir[80];
static struct digest digest_big, digest_small;

/* ---- a server that does as it is told: one line of the script per request
 * -------------------------------------------- */

struct line {
	const char *head;
	const uint8_t *body;
	size_t len;
	bool stalls; /* keeps the connection and says no more */
};
static uv_tcp_t server;
static uint16_t port;
static const struct line *script;
static size_t script_nr, asked;
static char requests[8][1024];
static uv_tcp_t *stalled;
static void (*before_answer)(void);

static void free_handle(uv_handle_t *h)
{
	free(h);
}

static void on_written(uv_write_t *w, int status)
{
	bool stalls = w->data != NULL;
	if (!stalls)
		uv_close((uv_handle_t *)w->handle, free_handle);
	free(w);
}

static void alloc(uv_handle_t *h, size_t suggested, uv_buf_t *out)
{
	static char room[4096];
	*out = uv_buf_init(room, sizeof(room));
}

static void on_request(uv_stream_t *c, ssize_t n, const uv_buf_t *in)
{
	uv_read_stop(c);
	if (n <= 0 || asked >= script_nr) {
		uv_close((uv_handle_t *)c, free_handle);
		return;
	}
	const struct line *l = &script[asked];
	snprintf(requests[asked++], sizeof(requests[0]), "%.*s", (int)n, in->base);
	if (before_answer != NULL)
		before_answer();
	uv_write_t *w = calloc(1, sizeof(*w));
	uv_buf_t out[2] = {uv_buf_init((char *)(uintptr_t)l->head, (unsigned)strlen(l->head)),
			   uv_buf_init((char *)(uintptr_t)l->body, (unsigned)l->len)};
	w->data = l->stalls ? w : NULL;
	stalled = l->stalls ? (uv_tcp_t *)c : stalled;
	uv_write(w, c, out, 2, on_written);
}

static void on_connection(uv_stream_t *s, int status)
{
	uv_tcp_t *c = calloc(1, sizeof(*c));
	uv_tcp_init(&loop, c);
	assert_int_equal(uv_accept(s, (uv_stream_t *)c), 0);
	uv_read_start((uv_stream_t *)c, alloc, on_request);
}

static void serve(const struct line *lines, size_t nr)
{
	struct sockaddr_in addr;
	int len = sizeof(addr);
	script = lines;
	script_nr = nr;
	uv_tcp_init(&loop, &server);
	uv_ip4_addr("127.0.0.1", 0, &addr);
	uv_tcp_bind(&server, (struct sockaddr *)&addr, 0);
	assert_int_equal(uv_listen((uv_stream_t *)&server, 8, on_connection), 0);
	uv_tcp_getsockname(&server, (struct sockaddr *)&addr, &len);
	port = ntohs(addr.sin_port);
}

static void serve_no_more(void)
{
	if (server.loop != NULL && !uv_is_closing((uv_handle_t *)&server))
		uv_close((uv_handle_t *)&server, NULL);
	if (stalled != NULL)
		uv_close((uv_handle_t *)stalled, free_handle);
	stalled = NULL;
}

/* ---- one fetch
 * -------------------------------------------------------------------------------------------------------- */

struct outcome {
	int calls, code;
	char detail[256];
	struct fetch *f;
	uint64_t have;
	bool server_stays;
	struct artifact_http *http; /* closed with it */
};

static void on_end(void *ctx, int code, const char *detail)
{
	struct outcome *o = ctx;
	o->calls++;
	o->code = code;
	o->have = fetch_have(o->f);
	fetch_close(o->f);
	o->f = NULL;
	snprintf(o->detail, sizeof(o->detail), "%s", detail);
	if (!o->server_stays)
		serve_no_more();
	if (o->http != NULL)
		artifact_http_close(o->http, NULL, NULL);
	o->http = NULL;
}

static struct fetch_config config_of(const char *const *urls, const struct digest *d, uint64_t size)
{
	return (struct fetch_config){.urls = urls,
				     .artifact = *d,
				     .size_bytes = size,
				     .dir = dir,
				     .tls = agent.files,
				     .stall_s = 1,
				     .plain_for_tests = strncmp(urls[0], "http:", 5) == 0};
}

static void open_it(struct outcome *o, const struct fetch_config *c)
{
	struct err e = {0};
	int rc = fetch_open(&o->f, &loop, c, on_end, o, &e);
	if (rc != E_OK)
		fail_msg("%s", e.text);
	assert_int_equal(o->calls, 0);
}

static void run(struct outcome *o, const struct fetch_config *c)
{
	open_it(o, c);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(o->calls, 1);
}

static const char *url_of(uint16_t p, char out[64])
{
	snprintf(out, 64, "http://127.0.0.1:%u", p);
	return out;
}

/* The small archive from the server with a script. */
static void run_script(struct outcome *o, const struct line *lines, size_t nr)
{
	char url[64];
	serve(lines, nr);
	const char *urls[] = {url_of(port, url), NULL};
	struct fetch_config c = config_of(urls, &digest_small, SMALL);
	run(o, &c);
}

/* ---- files
 * ------------------------------------------------------------------------------------------------------------
 */

static const char *path_of(const struct digest *d, const char *end)
{
	static char path[2][FSIO_PATH_CAP];
	static int turn;
	char hex[DIGEST_HEX_CAP];
	turn ^= 1;
	snprintf(path[turn], FSIO_PATH_CAP, "%s/%s%s", dir, digest_hex(d, hex), end);
	return path[turn];
}

static int64_t size_of(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

static void put_file(const char *path, const void *p, size_t n)
{
	struct err e;
	assert_int_equal(fsio_write_atomic(path, p, n, 0600, &e), E_OK);
}

static void assert_complete(const struct digest *d, size_t size)
{
	struct buf b;
	struct err e;
	buf_init(&b);
	assert_int_equal(fsio_read(path_of(d, ""), SIZE, &b, &e), E_OK);
	assert_int_equal(b.len, size);
	assert_memory_equal(b.data, bytes, size);
	buf_done(&b);
	assert_int_equal(size_of(path_of(d, ".partial")), -1);
}

static void assert_small_ok(const struct outcome *o)
{
	if (o->code != E_OK)
		fail_msg("%s: %s", err_name(o->code), o->detail);
	assert_int_equal(o->have, SMALL);
	assert_complete(&digest_small, SMALL);
}

static int begin(void **state)
{
	snprintf(root, sizeof(root), "/tmp/wavetrain-fetch-XXXXXX");
	if (mkdtemp(root) == NULL)
		return -1;
	snprintf(dir, sizeof(dir), "%s/archives", root);
	memset(&server, 0, sizeof(server));
	memset(requests, 0, sizeof(requests));
	asked = 0;
	before_answer = NULL;
	return uv_loop_init(&loop) == 0 ? mkdir(dir, 0700) : -1;
}

static int end(void **state)
{
	char command[128];
	serve_no_more();
	uv_run(&loop, UV_RUN_DEFAULT);
	umount2(dir, MNT_DETACH); /* of a test that failed; else there is none */
	snprintf(command, sizeof(command), "rm -r '%s'", root);
	return uv_loop_close(&loop) != 0 || system(command) != 0 ? -1 : 0;
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"

/* ---- the coordinators' own server
 * ------------------------------------------------------------------------------------- */

struct real {
	struct artifact_store *store;
	char folder[96], url[64];
};

static bool everybody(void *arg, const struct tls_identity *id)
{
	return id->role == TLS_ROLE_AGENT;
}

static void real_open(struct real *r, struct outcome *o, const char *address, const struct pki_files *who)
{
	struct artifact_upload *u;
	struct err e = {0};
	uint64_t offset;
	snprintf(r->folder, sizeof(r->folder), "%s/store", root);
	assert_int_equal(mkdir(r->folder, 0700), 0);
	assert_int_equal(artifact_store_open(&r->store, r->folder, &e), E_OK);
	assert_int_equal(artifact_upload_begin(r->store, &digest_big, SIZE, &u, &offset, &e), E_OK);
	assert_int_equal(artifact_upload_data(u, bytes, SIZE, &e), E_OK);
	assert_int_equal(artifact_upload_finish(u, &e), E_OK);
	artifact_upload_end(u);
	struct artifact_http_config c = {.address = address,
					 .ca = pki.ca_file,
					 .cert = who->files.cert,
					 .key = who->files.key,
					 .is_allowed = everybody};
	if (artifact_http_open(&o->http, &loop, r->store, &c, &e) != E_OK)
		fail_msg("%s", e.text);
	snprintf(r->url, sizeof(r->url), "https://%s:%u/", address, artifact_http_port(o->http));
}

static void run_real(struct outcome *o, const char *address, const struct pki_files *server_is)
{
	struct real r;
	real_open(&r, o, address, server_is);
	const char *urls[] = {r.url, NULL};
	struct fetch_config c = config_of(urls, &digest_big, SIZE);
	run(o, &c);
	artifact_store_close(r.store);
}

static void an_archive_comes_whole_from_a_coordinator(void **state)
{
	struct outcome o = {0};
	run_real(&o, "127.0.0.1", &coordinator);
	if (o.code != E_OK)
		fail_msg("%s: %s", err_name(o.code), o.detail);
	assert_string_equal(o.detail, "");
	assert_int_equal(o.have, SIZE);
	assert_complete(&digest_big, SIZE);
}

static void it_goes_on_where_the_last_try_ended(void **state)
{
	struct outcome o = {0};
	put_file(path_of(&digest_big, ".partial"), bytes, SIZE - 5000);
	run_real(&o, "127.0.0.1", &coordinator);
	assert_int_equal(o.code, E_OK);
	assert_complete(&digest_big, SIZE);
}

static void a_server_of_another_cluster_is_refused(void **state)
{
	struct outcome o = {0};
	run_real(&o, "127.0.0.1", &stranger);
	assert_int_equal(o.code, E_DENIED);
	assert_int_equal(size_of(path_of(&digest_big, ".partial")), 0);
}

/* While a CA is being replaced both are trusted; that does not make one cluster of two. */
static void a_coordinator_of_another_cluster_is_refused_though_its_ca_is_trusted(void **state)
{
	struct outcome o = {0};
	struct real r;
	struct err e;
	struct buf both;
	char path[96];
	buf_init(&both);
	assert_int_equal(fsio_read(pki.ca_file, 1 << 16, &both, &e), E_OK);
	assert_int_equal(fsio_read(other.ca_file, 1 << 16, &both, &e), E_OK);
	snprintf(path, sizeof(path), "%s/ca.crt", root);
	put_file(path, both.data, both.len);
	buf_done(&both);
	real_open(&r, &o, "127.0.0.1", &stranger);
	const char *urls[] = {r.url, NULL};
	struct fetch_config c = config_of(urls, &digest_big, SIZE);
	c.tls.ca = path;
	run(&o, &c);
	artifact_store_close(r.store);
	assert_int_equal(o.code, E_DENIED);
	assert_non_null(strstr(o.detail, "is of cluster 'staging', this is 'prod'"));
}

static void a_host_that_plays_coordinator_is_refused(void **state)
{
	struct outcome o = {0};
	run_real(&o, "127.0.0.1", &agent);
	assert_int_equal(o.code, E_DENIED);
}

static void a_server_under_another_name_is_refused(void **state)
{
	struct outcome o = {0};
	run_real(&o, "127.0.0.2", &coordinator);
	assert_int_equal(o.code, E_DENIED);
}

static void closing_it_keeps_what_came_and_says_nothing(void **state)
{
	struct outcome o = {0}, again = {0};
	struct real r;
	real_open(&r, &again, "127.0.0.1", &coordinator);
	const char *urls[] = {r.url, NULL};
	struct fetch_config c = config_of(urls, &digest_big, SIZE);
	open_it(&o, &c);
	while (fetch_have(o.f) == 0)
		uv_run(&loop, UV_RUN_ONCE);
	fetch_close(o.f);
	assert_int_equal(o.calls, 0);
	do { /* its last write may still be under way */
		again.calls = 0;
		struct artifact_http *http = again.http;
		again.http = NULL;
		open_it(&again, &c);
		while (again.calls == 0)
			uv_run(&loop, UV_RUN_ONCE);
		again.http = http;
	} while (again.code == E_BUSY);
	artifact_http_close(again.http, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	artifact_store_close(r.store);
	assert_int_equal(again.code, E_OK);
	assert_int_equal(o.calls, 0);
	assert_complete(&digest_big, SIZE);
}

/* ---- what is there already
 * -------------------------------------------------------------------------------------------- */

static const char *const nowhere[] = {"https://127.0.0.1:1", NULL};

static void what_is_there_and_right_is_not_asked_for(void **state)
{
	struct outcome o = {0};
	struct fetch_config c = config_of(nowhere, &digest_small, SMALL);
	put_file(path_of(&digest_small, ""), bytes, SMALL);
	run(&o, &c);
	assert_small_ok(&o);
}

static void what_is_there_and_damaged_is_fetched_again(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, SMALL, false}};
	struct outcome o = {0};
	put_file(path_of(&digest_small, ""), bytes + 1, SMALL);
	run_script(&o, lines, 1);
	assert_small_ok(&o);
}

static void a_partial_file_that_is_complete_needs_no_server(void **state)
{
	struct outcome o = {0};
	struct fetch_config c = config_of(nowhere, &digest_small, SMALL);
	put_file(path_of(&digest_small, ".partial"), bytes, SMALL);
	run(&o, &c);
	assert_small_ok(&o);
}

static void a_partial_file_that_is_too_long_is_dropped(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, SMALL, false}};
	struct outcome o = {0};
	put_file(path_of(&digest_small, ".partial"), bytes, SMALL + 1);
	run_script(&o, lines, 1);
	assert_null(strstr(requests[0], "Range:"));
	assert_small_ok(&o);
}

/* ---- ranges
 * -----------------------------------------------------------------------------------------------------------
 */

static void the_rest_is_asked_for_by_range(void **state)
{
	static const struct line lines[] = {{"HTTP/1.1 206 Partial\r\nContent-Length: 99000\r\n"
					     "Content-Range: bytes 1000-99999/100000\r\n\r\n",
					     bytes + 1000, SMALL - 1000, false}};
	struct outcome o = {0};
	put_file(path_of(&digest_small, ".partial"), bytes, 1000);
	run_script(&o, lines, 1);
	assert_non_null(strstr(requests[0], "Range: bytes=1000-\r\n"));
	assert_small_ok(&o);
}

static void a_server_that_ignores_the_range_starts_it_anew(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, SMALL, false}};
	struct outcome o = {0};
	put_file(path_of(&digest_small, ".partial"), bytes + 5, 1000);
	run_script(&o, lines, 1);
	assert_small_ok(&o);
}

static void a_range_that_cannot_be_had_is_not_asked_for_twice(void **state)
{
	static const char *const heads[] = {
		"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/100000\r\n\r\n",
		"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\nContent-Range: bytes 1000-1009/1010\r\n\r\n",
		"HTTP/1.1 206 Partial\r\nContent-Length: 10\r\n\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		const struct line lines[] = {{heads[i], bytes, i == 0 ? 0 : 10, false},
					     {OK_HEAD, bytes, SMALL, false}};
		struct outcome o = {0};
		asked = 0;
		put_file(path_of(&digest_small, ".partial"), bytes, 1000);
		run_script(&o, lines, 2);
		assert_null(strstr(requests[1], "Range:"));
		assert_small_ok(&o);
		assert_int_equal(unlink(path_of(&digest_small, "")), 0);
	}
}

/* ---- wrong bytes
 * ------------------------------------------------------------------------------------------------------ */

static void other_bytes_are_removed(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes + 1, SMALL, false}};
	struct outcome o = {0};
	run_script(&o, lines, 1);
	assert_int_equal(o.code, E_CORRUPT);
	assert_int_equal(asked, 1);
	assert_int_equal(size_of(path_of(&digest_small, "")), -1);
	assert_int_equal(size_of(path_of(&digest_small, ".partial")), -1);
}

static const struct line wrong_piece_then_whole[] = {
	{"HTTP/1.1 206 Partial\r\nContent-Length: 99000\r\nContent-Range: bytes 1000-99999/100000\r\n\r\n",
	 bytes + 1000, SMALL - 1000, false},
	{OK_HEAD, bytes, SMALL, false}};

static void a_damaged_piece_does_not_condemn_the_archive(void **state)
{
	struct outcome o = {0};
	put_file(path_of(&digest_small, ".partial"), bytes + 1, 1000);
	run_script(&o, wrong_piece_then_whole, 2);
	assert_int_equal(asked, 2);
	assert_null(strstr(requests[1], "Range:"));
	assert_small_ok(&o);
}

static void but_only_once(void **state)
{
	const struct line lines[] = {wrong_piece_then_whole[0], {OK_HEAD, bytes + 1, SMALL, false}};
	struct outcome o = {0};
	put_file(path_of(&digest_small, ".partial"), bytes + 1, 1000);
	run_script(&o, lines, 2);
	assert_int_equal(o.code, E_CORRUPT);
	assert_int_equal(size_of(path_of(&digest_small, ".partial")), -1);
}

static void another_size_than_announced_is_refused(void **state)
{
	static const struct line lines[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", bytes, SMALL + 1, false}};
	struct outcome o = {0};
	run_script(&o, lines, 1);
	assert_int_equal(o.code, E_CORRUPT);
	assert_non_null(strstr(o.detail, "100001 bytes, not 100000"));
	assert_int_equal(size_of(path_of(&digest_small, ".partial")), 0);
}

static void bytes_without_end_are_counted(void **state)
{
	static const struct line lines[] = {{"HTTP/1.1 200 OK\r\n\r\n", bytes + 1, SIZE - 1, false}};
	struct outcome o = {0};
	run_script(&o, lines, 1);
	assert_int_equal(o.code, E_CORRUPT);
	assert_true(size_of(path_of(&digest_small, ".partial")) <= SMALL);
}

/* ---- servers that fail
 * ------------------------------------------------------------------------------------------------ */

static void a_cut_body_is_kept_and_tried_again(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, 40000, false}};
	struct outcome o = {0};
	run_script(&o, lines, 1);
	assert_int_equal(o.code, E_UNAVAILABLE);
	assert_int_equal(o.have, 40000);
	assert_int_equal(size_of(path_of(&digest_small, ".partial")), 40000);
}

static void the_next_server_goes_on_with_it(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, 40000, false},
					    {"HTTP/1.1 206 Partial\r\nContent-Length: "
					     "60000\r\nContent-Range: bytes 40000-99999/100000\r\n\r\n",
					     bytes + 40000, SMALL - 40000, false}};
	struct outcome o = {0};
	char url[64];
	serve(lines, 2);
	const char *urls[] = {url_of(port, url), url, NULL};
	struct fetch_config c = config_of(urls, &digest_small, SMALL);
	run(&o, &c);
	assert_non_null(strstr(requests[1], "Range: bytes=40000-\r\n"));
	assert_small_ok(&o);
}

static void what_nobody_has_is_said_with_digest_and_place(void **state)
{
	static const struct line lines[] = {
		{"HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\n", bytes, 3, false}};
	struct outcome o = {0};
	char hex[DIGEST_HEX_CAP], url[64];
	run_script(&o, lines, 1);
	assert_int_equal(o.code, E_NOT_FOUND);
	assert_non_null(strstr(o.detail, digest_hex(&digest_small, hex)));
	assert_non_null(strstr(o.detail, url_of(port, url)));
}

static void a_server_that_may_come_back_outweighs_one_that_has_nothing(void **state)
{
	static const struct line lines[] = {
		{"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", bytes, 0, false}};
	for (uint64_t seed = 0; seed < 2; seed++) {
		struct outcome o = {0};
		char url[64];
		asked = 0;
		serve(lines, 1);
		const char *urls[] = {url_of(port, url), "http://127.0.0.1:1", NULL};
		struct fetch_config c = config_of(urls, &digest_small, SMALL);
		c.seed = seed;
		run(&o, &c);
		assert_int_equal(asked, 1);
		assert_int_equal(o.code, E_UNAVAILABLE);
	}
}

static void refusals_are_told_apart(void **state)
{
	static const struct {
		const char *head;
		int code;
	} all[] = {
		{"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", E_UNAVAILABLE},
		{"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", E_DENIED},
		{"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", E_PROTOCOL},
		{"HTTP/1.1 206 Unasked\r\nContent-Length: 0\r\n\r\n", E_PROTOCOL},
		{"no http at all\r\n\r\n", E_PROTOCOL},
		{"", E_UNAVAILABLE},
	};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		const struct line lines[] = {{all[i].head, bytes, 0, false}};
		struct outcome o = {0};
		asked = 0;
		run_script(&o, lines, 1);
		if (o.code != all[i].code)
			fail_msg("%.20s: %s: %s", all[i].head, err_name(o.code), o.detail);
	}
}

static void a_server_that_falls_silent_is_left(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, 40000, true}};
	struct outcome o = {0};
	run_script(&o, lines, 1);
	assert_int_equal(o.code, E_TIMEOUT);
	assert_int_equal(size_of(path_of(&digest_small, ".partial")), 40000);
}

/* ---- the disk
 * ---------------------------------------------------------------------------------------------------------
 */

static void the_reserve_is_kept_free(void **state)
{
	struct outcome o = {0};
	struct fetch_config c = config_of(nowhere, &digest_small, SMALL);
	c.reserve_bytes = INT64_MAX;
	run(&o, &c);
	assert_int_equal(o.code, E_NO_SPACE);
	assert_non_null(strstr(o.detail, "100000 bytes to come + 9223372036854775807 reserve > "));
}

static bool mounted;

/* The check before has passed; now all but 1 MiB goes: of a small disk, where mounting is allowed, else of
 * what a file may have. */
static void fill_the_disk(void)
{
	char ballast[96];
	struct rlimit l;
	if (mounted) {
		snprintf(ballast, sizeof(ballast), "%s/ballast", dir);
		put_file(ballast, bytes, SIZE);
		return;
	}
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = 1 << 20;
	setrlimit(RLIMIT_FSIZE, &l);
}

static void a_disk_that_fills_up_on_the_way_keeps_what_fit(void **state)
{
	static const struct line lines[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 6291533\r\n\r\n", bytes, SIZE, false}};
	struct rlimit before;
	struct outcome o = {0};
	struct buf b;
	struct err e;
	char url[64];
	getrlimit(RLIMIT_FSIZE, &before);
	mounted = mount("tmpfs", dir, "tmpfs", 0, "size=7m") == 0;
	before_answer = fill_the_disk;
	serve(lines, 1);
	const char *urls[] = {url_of(port, url), NULL};
	struct fetch_config c = config_of(urls, &digest_big, SIZE);
	run(&o, &c);
	setrlimit(RLIMIT_FSIZE, &before);
	buf_init(&b);
	int rc = fsio_read(path_of(&digest_big, ".partial"), SIZE, &b, &e);
	if (mounted)
		umount2(dir, MNT_DETACH);
	assert_int_equal(o.code, E_NO_SPACE);
	assert_non_null(strstr(o.detail, "cannot write"));
	assert_int_equal(rc, E_OK);
	assert_in_range(o.have, 1, 1 << 20);
	assert_int_equal(b.len, o.have);
	assert_memory_equal(b.data, bytes, b.len);
	buf_done(&b);
}

static void one_archive_has_one_download_at_a_time(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, SMALL, false}};
	struct outcome a = {.server_stays = true}, b = {.server_stays = true};
	char url[64];
	serve(lines, 1);
	const char *urls[] = {url_of(port, url), NULL};
	struct fetch_config c = config_of(urls, &digest_small, SMALL);
	open_it(&a, &c);
	open_it(&b, &c);
	while (a.calls + b.calls < 2)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(a.calls + b.calls, 2);
	assert_true((a.code == E_OK && b.code == E_BUSY) || (a.code == E_BUSY && b.code == E_OK));
	assert_complete(&digest_small, SMALL);
}

static int inherited;

/* Of the network, that is: curl's own pair to wake itself up leads nowhere. */
static void count_inherited(void)
{
	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_storage at = {0};
		socklen_t len = sizeof(at);
		int flags = fcntl(fd, F_GETFD);
		inherited += flags >= 0 && (flags & FD_CLOEXEC) == 0 &&
			     getsockname(fd, (struct sockaddr *)&at, &len) == 0 && at.ss_family == AF_INET;
	}
}

static void children_inherit_no_socket(void **state)
{
	static const struct line lines[] = {{OK_HEAD, bytes, SMALL, false}};
	struct outcome o = {0};
	count_inherited();
	int before = inherited; /* of whoever started us */
	inherited = 0;
	before_answer = count_inherited;
	run_script(&o, lines, 1);
	assert_int_equal(inherited, before);
	assert_small_ok(&o);
}

static void what_cannot_be_is_refused_at_once(void **state)
{
	static const char *const bad[] = {"http://127.0.0.1:1",	      "https://user@127.0.0.1:1",
					  "https://127.0.0.1:1/path", "https://127.0.0.1:1?x",
					  "file:///etc/passwd",	      "",
					  "https://127.0.0.1:1#x"};
	struct fetch *f;
	struct err e;
	for (size_t i = 0; i <= ARRAY_LEN(bad); i++) {
		const char *urls[] = {"https://127.0.0.1:1", i < ARRAY_LEN(bad) ? bad[i] : NULL, NULL};
		struct fetch_config c = config_of(urls, &digest_small, i < ARRAY_LEN(bad) ? SMALL : 0);
		assert_int_equal(fetch_open(&f, &loop, &c, on_end, NULL, &e), E_INVALID);
	}
	fetch_close(NULL);
}

static int open_all(void **state)
{
	struct rng r;
	rng_seed(&r, 7);
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (uint8_t)rng_next(&r);
	digest_big = digest_of(bytes, SIZE);
	digest_small = digest_of(bytes, SMALL);
	pki_open(&pki, "prod");
	pki_open(&other, "staging");
	pki_issue(&pki, &coordinator, TLS_ROLE_COORDINATOR, "c1");
	pki_issue(&pki, &agent, TLS_ROLE_AGENT, "web-1");
	pki_issue(&other, &stranger, TLS_ROLE_COORDINATOR, "c1");
	return 0;
}

static int close_all(void **state)
{
	pki_close(&pki);
	pki_close(&other);
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_archive_comes_whole_from_a_coordinator),
		T(it_goes_on_where_the_last_try_ended),
		T(a_server_of_another_cluster_is_refused),
		T(a_coordinator_of_another_cluster_is_refused_though_its_ca_is_trusted),
		T(a_host_that_plays_coordinator_is_refused),
		T(children_inherit_no_socket),
		T(a_server_under_another_name_is_refused),
		T(closing_it_keeps_what_came_and_says_nothing),
		T(what_is_there_and_right_is_not_asked_for),
		T(what_is_there_and_damaged_is_fetched_again),
		T(a_partial_file_that_is_complete_needs_no_server),
		T(a_partial_file_that_is_too_long_is_dropped),
		T(the_rest_is_asked_for_by_range),
		T(a_server_that_ignores_the_range_starts_it_anew),
		T(a_range_that_cannot_be_had_is_not_asked_for_twice),
		T(other_bytes_are_removed),
		T(a_damaged_piece_does_not_condemn_the_archive),
		T(but_only_once),
		T(another_size_than_announced_is_refused),
		T(bytes_without_end_are_counted),
		T(a_cut_body_is_kept_and_tried_again),
		T(the_next_server_goes_on_with_it),
		T(what_nobody_has_is_said_with_digest_and_place),
		T(a_server_that_may_come_back_outweighs_one_that_has_nothing),
		T(refusals_are_told_apart),
		T(a_server_that_falls_silent_is_left),
		T(the_reserve_is_kept_free),
		T(a_disk_that_fills_up_on_the_way_keeps_what_fit),
		T(one_archive_has_one_download_at_a_time),
		T(what_cannot_be_is_refused_at_once),
	};
	return cmocka_run_group_tests(tests, open_all, close_all);
}

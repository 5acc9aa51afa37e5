#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/admin/commands_frame.h"
#include "coordinator/cli/cli.h"
#include "coordinator/cli/cli_pack.h"

/* An archive on its way to the coordinator. */
struct push {
	struct cli *c;
	int fd;
	const char *type;
	uint64_t size;
	struct digest digest;
	int64_t shown_ms;
};

/* ---- the archive ---- */

static const char *type_of(const char *path)
{
	size_t n = strlen(path);
	if (n > 7 && strcmp(path + n - 7, ".tar.gz") == 0)
		return "tar.gz";
	if (n > 4 && strcmp(path + n - 4, ".tgz") == 0)
		return "tar.gz";
	return n > 8 && strcmp(path + n - 8, ".tar.zst") == 0 ? "tar.zst" : NULL;
}

static bool digest_fd(int fd, struct digest *out, uint64_t *size)
{
	uint8_t chunk[65536];
	unsigned len = DIGEST_LEN;
	ssize_t n;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
	*size = 0;
	while (ok && (n = read(fd, chunk, sizeof chunk)) != 0) {
		ok = n > 0 && EVP_DigestUpdate(md, chunk, (size_t)n) == 1;
		*size += n > 0 ? (uint64_t)n : 0;
	}
	ok = ok && EVP_DigestFinal_ex(md, out->b, &len) == 1;
	EVP_MD_CTX_free(md);
	return ok;
}

static int open_archive(struct push *p, const char *path)
{
	p->type = type_of(path);
	if (!p->type)
		return cli_error(p->c, EXIT_USAGE, "E_INVALID", "push a folder, a .tar.gz or a .tar.zst",
				 "%s is no archive that agents unpack", path);
	p->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0 || !digest_fd(p->fd, &p->digest, &p->size))
		return cli_error(p->c, EXIT_FAILED, "E_IO", NULL, "%s cannot be read: %s", path,
				 strerror(errno));
	return EXIT_DONE;
}

/* Packed into a file without a name: it is gone when the program ends, however it ends. */
static int open_folder(struct push *p, const char *path)
{
	const char *tmp = getenv("TMPDIR");
	struct err e = {0};
	p->type = "tar.zst";
	p->fd = open(tmp && tmp[0] ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (p->fd < 0)
		return cli_error(p->c, EXIT_FAILED, "E_IO", "set TMPDIR to a folder you may write to",
				 "no temporary file can be made: %s", strerror(errno));
	int rc = cli_pack(path, p->fd, &e);
	if (rc != E_OK)
		return cli_error(p->c, EXIT_FAILED, err_name(rc), NULL, "%s", e.text);
	if (lseek(p->fd, 0, SEEK_SET) != 0 || !digest_fd(p->fd, &p->digest, &p->size))
		return cli_error(p->c, EXIT_FAILED, "E_IO", NULL, "the packed archive cannot be read: %s",
				 strerror(errno));
	return EXIT_DONE;
}

static int open_path(struct push *p, const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return cli_error(p->c, EXIT_FAILED, "E_NOT_FOUND", "name a folder, a .tar.gz or a .tar.zst",
				 "%s: %s", path, strerror(errno));
	return S_ISDIR(st.st_mode) ? open_folder(p, path) : open_archive(p, path);
}

/* ---- sending ---- */

static void show_progress(struct push *p, uint64_t done, bool last)
{
	enum { BAR = 20, BAR_MIN_WIDTH = 60 };
	char a[32], b[32], bar[BAR + 2] = "";
	if (!p->c->err_tty || p->c->args.quiet || (!last && cli_mono_ms() - p->shown_ms < 100))
		return;
	p->shown_ms = cli_mono_ms();
	unsigned percent = p->size ? (unsigned)(done * 100 / p->size) : 100;
	if (p->c->out.width >= BAR_MIN_WIDTH) {
		memset(bar, '-', BAR);
		memset(bar, '#', percent / (100 / BAR));
		bar[BAR] = ' ';
	}
	fprintf(stderr, "\r%s%3u%%  %s of %s\033[K%s", bar, percent, cli_bytes(a, sizeof a, done),
		cli_bytes(b, sizeof b, p->size), last ? "\n" : "");
}

/* True while the coordinator still takes data; when it answered early, the answer is read by the caller. */
static bool send_bytes(struct push *p, struct client *cl, uint64_t offset)
{
	uint8_t chunk[COMMANDS_FRAME_CHUNK];
	Admin__Data data = ADMIN__DATA__INIT;
	ssize_t n;
	if (offset)
		cli_note(p->c, "Going on at byte %llu of %llu.", (unsigned long long)offset,
			 (unsigned long long)p->size);
	while ((n = pread(p->fd, chunk, sizeof chunk, (off_t)offset)) > 0) {
		data.bytes.data = chunk;
		data.bytes.len = (size_t)n;
		if (!client_send(cl, &data.base))
			return false;
		offset += (uint64_t)n;
		show_progress(p, offset, offset == p->size);
	}
	admin__data__init(&data);
	return client_send(cl, &data.base);
}

static void fill_build(struct push *p, Admin__ReleaseArgs *a)
{
	struct cli *c = p->c;
	const char *tests = cli_option(&c->args, OPT_TESTS), *commit = cli_option(&c->args, OPT_COMMIT);
	const char *branch = cli_option(&c->args, OPT_BRANCH), *url = cli_option(&c->args, OPT_URL);
	bool counted = tests && cli_parse_tests(tests, &a->tests_passed, &a->tests_failed);
	PRE(counted == (tests != NULL)); /* looked at when it was read */
	a->commit = (char *)(uintptr_t)(commit ? commit : "");
	a->branch = (char *)(uintptr_t)(branch ? branch : "");
	a->url = (char *)(uintptr_t)(url ? url : "");
}

static void make_request(struct push *p, Admin__Request *rq, Admin__ReleaseArgs *a)
{
	cli_request_init(p->c, rq);
	admin__release_args__init(a);
	a->app = (char *)(uintptr_t)p->c->args.words[0];
	a->version = (char *)(uintptr_t)p->c->args.words[1];
	a->digest.data = p->digest.b;
	a->digest.len = DIGEST_LEN;
	a->size_bytes = p->size;
	a->type = (char *)(uintptr_t)p->type;
	fill_build(p, a);
	rq->args_case = ADMIN__REQUEST__ARGS_RELEASE;
	rq->release = a;
}

static int finish(struct push *p, const Admin__Done *done)
{
	char hex[DIGEST_HEX_CAP];
	if (p->c->args.format != FORMAT_TEXT)
		printf("{\"app\":\"%s\",\"version\":\"%s\",\"artifact\":\"%s\",\"size_bytes\":%llu}\n",
		       p->c->args.words[0], p->c->args.words[1], digest_hex(&p->digest, hex),
		       (unsigned long long)p->size);
	else
		printf("%s %s  sha256:%s\n", p->c->args.words[0], p->c->args.words[1],
		       digest_hex(&p->digest, hex));
	cli_note(p->c, "%s%sNext: wavetrain deploy %s %s -e ENV", done->text, done->text[0] ? ". " : "",
		 p->c->args.words[0], p->c->args.words[1]);
	return (int)done->exit_code;
}

static int no_answer(struct push *p, enum client_event ev)
{
	if (ev == CLIENT_INTERRUPTED)
		return EXIT_INTERRUPTED;
	return cli_error(p->c,
			 ev == CLIENT_TIMEOUT && p->c->args.timeout_ms ? EXIT_TIMEOUT : EXIT_UNAVAILABLE,
			 "E_UNAVAILABLE", "run the same command again; it goes on where it stopped",
			 "the coordinator went away during the upload");
}

static int converse(struct push *p, struct client *cl)
{
	for (;;) {
		Admin__Reply *reply = NULL;
		int rc = -1;
		enum client_event ev = client_next(cl, -1, &reply);
		if (ev != CLIENT_REPLY)
			return no_answer(p, ev);
		if (reply->body_case == ADMIN__REPLY__BODY_UPLOAD_READY)
			send_bytes(p, cl, reply->upload_ready->offset);
		else if (reply->body_case == ADMIN__REPLY__BODY_ERROR)
			rc = cli_reply_error(p->c, reply->error);
		else if (reply->body_case == ADMIN__REPLY__BODY_DONE)
			rc = finish(p, reply->done);
		admin__reply__free_unpacked(reply, NULL);
		if (rc >= 0)
			return rc;
		/* Sending takes as long as it takes; the answer after it is waited for anew. */
		cl->deadline_ms = p->c->args.timeout_ms ? cl->deadline_ms : cli_mono_ms() + 600000;
	}
}

int cli_run_push(struct cli *c)
{
	struct push p = {.c = c, .fd = -1};
	struct client cl;
	Admin__Request rq;
	Admin__ReleaseArgs args;
	int rc = open_path(&p, c->args.words[2]);
	if (rc == EXIT_DONE)
		rc = client_open(c, &cl);
	if (rc == EXIT_DONE) {
		make_request(&p, &rq, &args);
		client_send(&cl, &rq.base);
		rc = converse(&p, &cl);
		client_close(&cl);
	}
	if (p.fd >= 0)
		close(p.fd);
	return rc;
}

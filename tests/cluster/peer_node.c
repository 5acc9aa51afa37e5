/*
 * peer-node: one consensus node as a process that can be killed, steered by lines on its standard input.
 *
 *   peer-node pki DIR NODES                         a throw-away CA and a certificate for each node
 *   peer-node run DIR ID ADDRESS PKI [--join] [--peer ID ADDRESS]... [--threshold N] [--ballast BYTES]
 *            [--refuse-snapshots]
 *
 *   p NR             propose a number           a NR | r NR | u NR   acknowledged, refused, unknown
 *   m OP ID [ADDR]   change the membership      M CODE TEXT
 *   l                list                       L ID ROLE LAG SILENT ... ; then "L."
 *   s                status                     S LEADER APPLIED COUNT HASH RESTORES SELF-LEADS
 *   x FILE           how often each number was applied, a byte each    X
 *   b WINDOW MS LEN  propose LEN bytes, WINDOW under way               B DONE FAILED P50-us P99-us
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <uv.h>

#include "coordinator/consensus/consensus.h"
#include "sys/ca.h"
#include "sys/log.h"

enum { NUMBERS = 1 << 20, LINE_CAP = 1024, FILLER = NUMBERS, SAMPLES = 1 << 20, PEERS = 8 };

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "peer-node: %s: %s\n", what, why);
	exit(2);
}

/* ---- state machine ---- */

struct memory {
	uint64_t hash, index;
	uint32_t count, restores;
	uint8_t seen[NUMBERS];
};

struct bench {
	unsigned window, under_way;
	size_t len;
	uint64_t end_ns, done, failed;
	uint32_t *us;
	size_t samples;
	bool on;
};

struct node {
	uv_loop_t loop;
	uv_pipe_t in;
	struct consensus *c;
	struct memory m;
	size_t ballast;
	bool refuses_snapshots;
	char line[LINE_CAP];
	size_t line_len;
	struct bench bench;
};

static struct node n;

static void m_apply(void *u, uint64_t index, uint32_t sub, const void *cmd, size_t len, struct buf *reply)
{
	uint32_t nr = get_u32(cmd);
	n.m.count++;
	n.m.hash = (n.m.hash ^ nr) * 1099511628211u;
	if (nr < NUMBERS)
		n.m.seen[nr]++;
	buf_put_u32(reply, nr);
}

static void m_commit(void *u, uint64_t index)
{
	n.m.index = index;
}

static uint64_t m_applied(void *u)
{
	return n.m.index;
}

static void m_reset(void *u)
{
	memset(&n.m, 0, sizeof n.m);
}

static int m_snap_begin(void *u, void **h)
{
	*h = malloc(sizeof n.m);
	memcpy(*h, &n.m, sizeof n.m);
	return E_OK;
}

static int m_snap_write(void *h, struct buf *out)
{
	buf_put(out, h, sizeof n.m);
	memset(buf_reserve(out, n.ballast), 'b', n.ballast);
	out->len += n.ballast;
	return E_OK;
}

static int m_restore(void *u, uint64_t index, const void *p, size_t len)
{
	uint32_t restores = n.m.restores + 1;
	if (n.refuses_snapshots || len < sizeof n.m)
		return E_VERSION;
	memcpy(&n.m, p, sizeof n.m);
	n.m.restores = restores;
	return E_OK;
}

static const struct consensus_fsm fsm = {.apply = m_apply,
					 .commit = m_commit,
					 .applied = m_applied,
					 .reset = m_reset,
					 .snap_begin = m_snap_begin,
					 .snap_write = m_snap_write,
					 .snap_end = free,
					 .restore = m_restore};

/* ---- proposing ---- */

static void on_proposed(void *arg, int code, uint64_t index, const void *reply, size_t len)
{
	printf("%c %u\n", code == E_OK ? 'a' : code == E_NOT_LEADER ? 'r' : 'u', (unsigned)(uintptr_t)arg);
}

static void propose(uint32_t nr)
{
	uint8_t cmd[8] = {0};
	struct err e;
	put_u32(cmd, nr);
	if (consensus_propose(n.c, cmd, sizeof cmd, 0, on_proposed, (void *)(uintptr_t)nr, &e) != E_OK)
		printf("r %u\n", nr);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static void bench_report(void)
{
	struct bench *b = &n.bench;
	qsort(b->us, b->samples, sizeof *b->us, by_value);
	printf("B %" PRIu64 " %" PRIu64 " %u %u\n", b->done, b->failed,
	       b->samples ? b->us[b->samples / 2] : 0, b->samples ? b->us[b->samples * 99 / 100] : 0);
	free(b->us);
	*b = (struct bench){0};
}

static void bench_more(void);

static void on_bench(void *arg, int code, uint64_t index, const void *reply, size_t len)
{
	struct bench *b = &n.bench;
	uint64_t ns = uv_hrtime() - (uint64_t)(uintptr_t)arg;
	b->under_way--;
	b->done += code == E_OK;
	b->failed += code != E_OK;
	if (code == E_OK && b->samples < SAMPLES)
		b->us[b->samples++] = (uint32_t)(ns / 1000);
	bench_more();
}

static void bench_more(void)
{
	static uint8_t cmd[65536];
	struct bench *b = &n.bench;
	struct err e;
	put_u32(cmd, FILLER);
	while (b->on && b->under_way < b->window && uv_hrtime() < b->end_ns) {
		if (consensus_propose(n.c, cmd, b->len, 0, on_bench, (void *)(uintptr_t)uv_hrtime(), &e) !=
		    E_OK) {
			b->failed++;
			break;
		}
		b->under_way++;
	}
	if (b->on && b->under_way == 0)
		bench_report();
}

static void bench(const char *args)
{
	unsigned window, ms, len;
	if (sscanf(args, "%u %u %u", &window, &ms, &len) != 3 || len > 65536)
		die("bench", args);
	n.bench = (struct bench){.window = window,
				 .len = len,
				 .end_ns = uv_hrtime() + (uint64_t)ms * 1000000,
				 .us = malloc(SAMPLES * sizeof(uint32_t)),
				 .on = true};
	bench_more();
}

/* ---- the other lines ---- */

static void on_member(void *arg, int code, uint64_t index, const void *text, size_t len)
{
	printf("M %s %.*s\n", code ? err_name(code) : "E_OK", (int)len, (const char *)text);
}

static void member(const char *args)
{
	static const char *const ops[] = {"", "add", "promote", "demote", "remove", "transfer"};
	char op[16] = "", address[CONSENSUS_ADDRESS_CAP] = "";
	uint64_t id = 0;
	struct err e = {0};
	int which = 0;
	if (sscanf(args, "%15s %" SCNu64 " %263s", op, &id, address) < 2)
		die("member", args);
	for (int i = 1; i < (int)ARRAY_LEN(ops); i++)
		if (strcmp(op, ops[i]) == 0)
			which = i;
	int rc = consensus_member(n.c, (enum consensus_member_op)which, id, address[0] ? address : NULL,
				  on_member, NULL, &e);
	if (rc)
		printf("M %s %s\n", err_name(rc), e.text);
}

static void list(void)
{
	struct consensus_member_info all[CONSENSUS_MEMBERS_MAX];
	size_t nr = consensus_members(n.c, all);
	for (size_t i = 0; i < nr; i++)
		printf("L %" PRIu64 " %s %" PRId64 " %" PRId64 "\n", all[i].id,
		       consensus_role_name(all[i].role), (int64_t)all[i].lag, (int64_t)all[i].silent_ms);
	printf("L.\n");
}

static void status(void)
{
	printf("S %" PRIu64 " %" PRIu64 " %u %016" PRIx64 " %u %d\n", consensus_leader(n.c, NULL, 0),
	       consensus_applied(n.c), n.m.count, n.m.hash, n.m.restores, consensus_is_leader(n.c));
}

static void dump(const char *path)
{
	FILE *f = fopen(path, "we");
	if (!f || fwrite(n.m.seen, 1, sizeof n.m.seen, f) != sizeof n.m.seen || fclose(f) != 0)
		die(path, strerror(errno));
	printf("X\n");
}

static void take_line(const char *line)
{
	switch (line[0]) {
	case 'p':
		propose((uint32_t)strtoul(line + 1, NULL, 10));
		break;
	case 'm':
		member(line + 1);
		break;
	case 'l':
		list();
		break;
	case 's':
		status();
		break;
	case 'x':
		dump(line + 2);
		break;
	case 'b':
		bench(line + 1);
		break;
	default:
		die("no such line", line);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	*b = uv_buf_init(n.line + n.line_len, (unsigned)(LINE_CAP - n.line_len));
}

static void on_closed(void *arg)
{
	uv_close((uv_handle_t *)&n.in, NULL);
}

static void on_read(uv_stream_t *s, ssize_t nread, const uv_buf_t *b)
{
	char *end;
	if (nread < 0) {
		uv_read_stop(s);
		consensus_close(n.c, on_closed, NULL);
		return;
	}
	n.line_len += (size_t)nread;
	while ((end = memchr(n.line, '\n', n.line_len))) {
		*end++ = 0;
		take_line(n.line);
		n.line_len -= (size_t)(end - n.line);
		memmove(n.line, end, n.line_len);
	}
}

/* ---- running ---- */

static void read_options(struct consensus_config *cfg, struct consensus_peer peers[PEERS], char **words)
{
	for (; *words; words++) {
		if (strcmp(*words, "--join") == 0) {
			cfg->join = true;
		} else if (strcmp(*words, "--peer") == 0 && cfg->peers_nr < PEERS && words[1] && words[2]) {
			peers[cfg->peers_nr++] =
				(struct consensus_peer){strtoull(words[1], NULL, 10), words[2]};
			words += 2;
		} else if (strcmp(*words, "--threshold") == 0 && words[1]) {
			cfg->snapshot_threshold = (unsigned)strtoul(*++words, NULL, 10);
			cfg->snapshot_trailing = cfg->snapshot_threshold / 2;
		} else if (strcmp(*words, "--ballast") == 0 && words[1]) {
			n.ballast = strtoull(*++words, NULL, 10);
		} else if (strcmp(*words, "--refuse-snapshots") == 0) {
			n.refuses_snapshots = true;
		} else {
			die("no such option", *words);
		}
	}
	cfg->peers = peers;
}

static int run(char **words)
{
	char ca[512], cert[512], key[512];
	struct consensus_peer peers[PEERS];
	struct err e;
	struct consensus_config cfg = {.dir = words[0],
				       .node_id = strtoull(words[1], NULL, 10),
				       .address = words[2],
				       .listen = words[2],
				       .tls = {ca, cert, key},
				       .fsm = &fsm,
				       .min_free_bytes = 1};
	snprintf(ca, sizeof ca, "%s/ca.pem", words[3]);
	snprintf(cert, sizeof cert, "%s/%s.pem", words[3], words[1]);
	snprintf(key, sizeof key, "%s/%s-key.pem", words[3], words[1]);
	read_options(&cfg, peers, words + 4);
	uv_loop_init(&n.loop);
	if (consensus_open(&n.c, &n.loop, &cfg, &e) != E_OK)
		die("open", e.text);
	uv_pipe_init(&n.loop, &n.in, 0);
	uv_pipe_open(&n.in, 0);
	uv_read_start((uv_stream_t *)&n.in, on_alloc, on_read);
	printf("R\n");
	uv_run(&n.loop, UV_RUN_DEFAULT);
	return uv_loop_close(&n.loop) == 0 ? 0 : 3;
}

static struct wall_ms in_days(int days)
{
	return (struct wall_ms){((int64_t)time(NULL) + (int64_t)days * 86400) * 1000};
}

static void issue(struct ca *ca, const char *dir, unsigned id)
{
	static const char *const dns[] = {"localhost", NULL}, *const ips[] = {"127.0.0.1", "::1", NULL};
	char name[NAME_CAP], cert[512], key[512];
	struct ca_pair pair;
	struct err e;
	const struct ca_request r = {.role = TLS_ROLE_COORDINATOR,
				     .name = tls_coordinator_name(id, name),
				     .generation = 1,
				     .dns = dns,
				     .ips = ips,
				     .from = in_days(-1),
				     .to = in_days(1)};
	snprintf(cert, sizeof cert, "%s/%u.pem", dir, id);
	snprintf(key, sizeof key, "%s/%u-key.pem", dir, id);
	if (ca_issue(ca, &r, &pair, &e) != E_OK || ca_pair_save(&pair, cert, key, &e) != E_OK)
		die("certificate", e.text);
	ca_pair_done(&pair);
}

static int make_pki(const char *dir, unsigned nodes)
{
	char cert[512], key[512];
	struct ca *ca;
	struct err e;
	snprintf(cert, sizeof cert, "%s/ca.pem", dir);
	snprintf(key, sizeof key, "%s/ca-key.pem", dir);
	if (ca_new(&ca, "prod", in_days(-2), in_days(2), &e) != E_OK || ca_save(ca, cert, key, &e) != E_OK)
		die("ca", e.text);
	for (unsigned id = 1; id <= nodes; id++)
		issue(ca, dir, id);
	ca_free(ca);
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	log_init("peer-node", LOG_INFO);
	if (argc == 4 && strcmp(argv[1], "pki") == 0)
		return make_pki(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
	if (argc >= 6 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	die("usage", "peer-node pki DIR NODES | peer-node run DIR ID ADDRESS PKI [options]");
}

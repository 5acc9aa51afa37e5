/*
 * bench-fleet: a fleet of agents in one process.
 *
 *   bench-fleet --socket PATH --port P --agents N [--echo-port P] [--region R] [--label K=V]
 *
 * Reads one command a line and answers each with one line of JSON:
 *
 *   register      `agents add` for all, 16 in flight; the certificates come in the bundles
 *   connect       all to the coordinator: TLS, SP, Hello, Welcome, first poll parked
 *   connect-echo  the same identities to the echo server: TLS only
 *   round         answers {"armed":true} at once; then waits until every agent was told to run something, had
 *                 its Accepted acknowledged, and then its Result, and answers with the times
 *   echo          the exchanges of the last round once more with the echo server
 *   idle S        S seconds of nothing but polls
 *   quit
 */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "coordinator/admin/commands.h"
#include "tests/bench/calls.h"
#include "tests/bench/fleet.h"

enum { AT_ONCE = 24 }; /* the edge closes more than 32 unfinished connections of one address */

struct options {
	const char *socket, *region, *label_key, *label_value;
	uint16_t port, echo_port;
	size_t agents;
};

static struct options opt = {.region = "eu", .label_key = "role", .label_value = "web"};

static double since_s(int64_t start)
{
	return (double)(stat_now_ns() - start) / 1e9;
}

/* ---- register ---- */

struct registering {
	struct fleet *f;
	char *ca, *cert, *key; /* PEM of the first bundle: for the context */
};

static void ask_add(void *arg, uint64_t nr, struct arena *a, Admin__Request *rq)
{
	Admin__HostArgs *h = arena_new(a, Admin__HostArgs);
	Admin__Label *l = arena_new(a, Admin__Label);
	admin__host_args__init(h);
	admin__label__init(l);
	l->key = (char *)(uintptr_t)opt.label_key;
	l->value = (char *)(uintptr_t)opt.label_value;
	h->labels = arena_array(a, Admin__Label *, 1);
	h->labels[0] = l;
	h->n_labels = 1;
	h->name = arena_printf(a, "host-%05llu", (unsigned long long)nr);
	h->region = (char *)(uintptr_t)opt.region;
	rq->verb = CMD_AGENTS_ADD;
	rq->args_case = ADMIN__REQUEST__ARGS_HOST;
	rq->host = h;
}

static const ProtobufCBinaryData *file_of(const Admin__Bundle *b, const char *name)
{
	for (size_t i = 0; i < b->n_files; i++)
		if (strcmp(b->files[i]->name, name) == 0)
			return &b->files[i]->content;
	stat_die("the bundle has no %s", name);
}

static char *text_of(const ProtobufCBinaryData *d)
{
	char *s = strndup((const char *)d->data, d->len);
	PRE(s != NULL);
	return s;
}

static void learn_cluster(struct fleet *f, const ProtobufCBinaryData *json)
{
	unsigned long long hi = 0, lo = 0;
	json_t *root = json_loadb((const char *)json->data, json->len, 0, NULL);
	const char *id = json_string_value(json_object_get(root, "cluster_id"));
	if (id == NULL || sscanf(id, "%16llx%16llx", &hi, &lo) != 2)
		stat_die("bundle.json names no cluster_id");
	f->cluster_hi = hi;
	f->cluster_lo = lo;
	json_decref(root);
}

static void on_bundle(void *arg, uint64_t nr, const Admin__Reply *r)
{
	struct registering *reg = arg;
	struct agent *g = &reg->f->agents[nr];
	if (r->body_case != ADMIN__REPLY__BODY_BUNDLE)
		return;
	const ProtobufCBinaryData *cert = file_of(r->bundle, "cert.pem"),
				  *key = file_of(r->bundle, "key.pem");
	char name[32];
	snprintf(name, sizeof name, "host-%05llu", (unsigned long long)nr);
	PRE(name_set(&g->host, name));
	g->generation = r->bundle->generation;
	peer_identity_parse(&g->identity, cert->data, cert->len, key->data, key->len);
	if (reg->ca != NULL)
		return;
	reg->ca = text_of(file_of(r->bundle, "ca.pem"));
	reg->cert = text_of(cert);
	reg->key = text_of(key);
	learn_cluster(reg->f, file_of(r->bundle, "bundle.json"));
}

static void do_register(struct fleet *f)
{
	struct registering reg = {.f = f};
	struct calls c = {.path = opt.socket,
			  .in_flight = 16,
			  .most = f->nr,
			  .ask = ask_add,
			  .reply = on_bundle,
			  .arg = &reg};
	int64_t start = stat_now_ns();
	calls_run(&c);
	printf("{\"seconds\":%.4f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", since_s(start),
	       stat_percentile_ms(&c.latency, 0.5), stat_percentile_ms(&c.latency, 0.99));
	stat_done(&c.latency);
	peer_loop_open(&f->loop, &(struct tls_pem){reg.ca, reg.cert, reg.key});
	free(reg.ca);
	free(reg.cert);
	free(reg.key);
}

/* ---- connect ---- */

static void connect_one(struct fleet *f, struct agent *g, bool echo)
{
	struct peer *p = echo ? &g->echo : &g->line;
	p->ops = echo ? &replay_ops : &talk_ops;
	p->arg = g;
	f->unfinished++;
	peer_connect(p, &f->loop, echo ? f->echo_port : f->port, &g->identity);
}

static void do_connect(struct fleet *f, bool echo)
{
	size_t begun = 0;
	int64_t start = stat_now_ns();
	double cpu = stat_cpu_s();
	f->connected = f->unfinished = 0;
	while (f->connected < f->nr) {
		while (begun < f->nr && f->unfinished < AT_ONCE)
			connect_one(f, &f->agents[begun++], echo);
		peer_loop_turn(&f->loop, 1000, -1);
	}
	printf("{\"seconds\":%.4f,\"client_cpu_s\":%.3f}\n", since_s(start), stat_cpu_s() - cpu);
}

/* ---- rounds ---- */

static double at_s(int64_t ns)
{
	return (double)ns / 1e9;
}

static void do_round(struct fleet *f)
{
	struct round_times *t = &f->times;
	*t = (struct round_times){0};
	memset(f->bytes, 0, sizeof f->bytes);
	for (size_t i = 0; i < f->nr; i++)
		f->agents[i].stage = STAGE_IDLE;
	puts("{\"armed\":true}");
	fflush(stdout);
	double cpu = stat_cpu_s();
	while (t->accepted < f->nr)
		peer_loop_turn(&f->loop, 1000, -1);
	talk_results(f);
	while (t->results < f->nr)
		peer_loop_turn(&f->loop, 1000, -1);
	uint64_t sent = 0, received = 0;
	for (size_t i = 0; i < EXCHANGE_NR; i++) {
		sent += f->bytes[i].sent;
		received += f->bytes[i].received;
	}
	printf("{\"first_desired\":%.6f,\"last_desired\":%.6f,\"last_accepted\":%.6f,\"results_begun\":%.6f,"
	       "\"last_result\":%.6f,\"client_cpu_s\":%.3f,\"bytes_sent\":%llu,\"bytes_received\":%llu}\n",
	       at_s(t->first_desired), at_s(t->last_desired), at_s(t->last_accepted), at_s(t->results_begun),
	       at_s(t->last_result), stat_cpu_s() - cpu, (unsigned long long)sent,
	       (unsigned long long)received);
}

static double replay(struct fleet *f, enum exchange from, enum exchange to)
{
	int64_t start = stat_now_ns();
	replay_begin(f, from, to);
	while (f->echo_done < f->nr)
		peer_loop_turn(&f->loop, 1000, -1);
	return since_s(start);
}

static void do_echo(struct fleet *f)
{
	double cpu = stat_cpu_s(), first = replay(f, EXCHANGE_DESIRED, EXCHANGE_RESULT),
	       second = replay(f, EXCHANGE_RESULT, EXCHANGE_NR);
	printf("{\"accepted_s\":%.6f,\"result_s\":%.6f,\"client_cpu_s\":%.3f}\n", first, second,
	       stat_cpu_s() - cpu);
}

static void do_idle(struct fleet *f, double seconds)
{
	int64_t start = stat_now_ns();
	double cpu = stat_cpu_s();
	f->polls_answered_empty = 0;
	while (since_s(start) < seconds)
		peer_loop_turn(&f->loop, 100, -1);
	printf("{\"seconds\":%.3f,\"polls\":%llu,\"client_cpu_s\":%.3f}\n", since_s(start),
	       (unsigned long long)f->polls_answered_empty, stat_cpu_s() - cpu);
}

/* False: quit. */
static bool obey(struct fleet *f, char *line)
{
	if (strcmp(line, "register") == 0)
		do_register(f);
	else if (strcmp(line, "connect") == 0)
		do_connect(f, false);
	else if (strcmp(line, "connect-echo") == 0)
		do_connect(f, true);
	else if (strcmp(line, "round") == 0)
		do_round(f);
	else if (strcmp(line, "echo") == 0)
		do_echo(f);
	else if (strncmp(line, "idle ", 5) == 0)
		do_idle(f, strtod(line + 5, NULL));
	else if (strcmp(line, "quit") == 0)
		return false;
	else
		stat_die("bench-fleet: unknown command '%s'", line);
	fflush(stdout);
	return true;
}

/* Polls are answered while the next command is awaited. */
static bool next_line(struct fleet *f, char *line, size_t cap)
{
	size_t n = 0;
	while (n + 1 < cap) {
		while (f->loop.epoll > 0 && !peer_loop_turn(&f->loop, 1000, STDIN_FILENO))
			;
		if (read(STDIN_FILENO, line + n, 1) != 1)
			return false;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	return true;
}

static bool parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{"socket", required_argument, NULL, 's'},    {"port", required_argument, NULL, 'p'},
		{"agents", required_argument, NULL, 'n'},    {"region", required_argument, NULL, 'r'},
		{"echo-port", required_argument, NULL, 'e'}, {NULL, 0, NULL, 0}};
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's')
			opt.socket = optarg;
		else if (c == 'p')
			opt.port = (uint16_t)atoi(optarg);
		else if (c == 'n')
			opt.agents = strtoul(optarg, NULL, 10);
		else if (c == 'r')
			opt.region = optarg;
		else if (c == 'e')
			opt.echo_port = (uint16_t)atoi(optarg);
		else
			return false;
	}
	return opt.socket && opt.port && opt.agents;
}

static void check_files(void)
{
	struct rlimit r;
	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	if (r.rlim_cur < 2 * opt.agents + 64)
		stat_die("bench-fleet: %zu agents need %zu open files, the limit is %llu", opt.agents,
			 2 * opt.agents + 64, (unsigned long long)r.rlim_cur);
}

int main(int argc, char **argv)
{
	struct fleet f = {0};
	char line[64];
	if (!parse(argc, argv))
		stat_die("bench-fleet: needs --socket, --port and --agents");
	check_files();
	f.nr = opt.agents;
	f.port = opt.port;
	f.echo_port = opt.echo_port;
	f.agents = calloc(f.nr, sizeof *f.agents);
	PRE(f.agents != NULL);
	for (size_t i = 0; i < f.nr; i++)
		f.agents[i].fleet = &f;
	arena_init(&f.arena);
	buf_init(&f.frame);
	while (next_line(&f, line, sizeof line) && obey(&f, line))
		;
	for (size_t i = 0; i < f.nr; i++) {
		peer_close(&f.agents[i].line);
		peer_close(&f.agents[i].echo);
		peer_identity_done(&f.agents[i].identity);
	}
	if (f.loop.epoll > 0)
		peer_loop_close(&f.loop);
	arena_done(&f.arena);
	buf_done(&f.frame);
	free(f.agents);
	return 0;
}

/*
 * wavetraind: the coordinator.
 *
 *   wavetraind join --data DIR --token TOKEN --address HOST [the ports of init]
 *   wavetraind init --data DIR [--name NAME] [--address HOST] [--listen IP] [--agent-port N] [--artifact-port
 * N] [--socket PATH] wavetraind run --data DIR
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/daemon.h"
#include "sys/log.h"

static const char usage_text[] =
	"wavetraind: the coordinator of wavetrain\n"
	"\n"
	"  wavetraind init --data /var/lib/wavetraind --name prod --address coord1.example\n"
	"  wavetraind join --data /var/lib/wavetraind --address coord2.example --token wtj1....\n"
	"  wavetraind run --data /var/lib/wavetraind\n"
	"\n"
	"init makes a new coordinator in DIR: its certificate authority, its own certificate, its "
	"configuration.\n"
	"join makes DIR a coordinator of a cluster that is there, with a token of `wavetrain cluster token "
	"create`.\n"
	"run starts it in the foreground; SIGTERM stops it in order. Operators use `wavetrain --socket "
	"DIR/admin.sock`.\n"
	"\n"
	"  --data DIR           everything of this coordinator (init and join make it)\n"
	"  --name NAME          of the cluster, for people [wavetrain]\n"
	"  --token TOKEN        lets this one machine join; - reads it from standard input\n"
	"  --address HOST       name or address that agents and coordinators dial; stands in the certificate "
	"[127.0.0.1]\n"
	"  --listen IP          numeric IPv4 address the ports are bound to [127.0.0.1]\n"
	"  --agent-port N       [7700]\n"
	"  --artifact-port N    [7701]\n"
	"  --peer-port N        other coordinators dial it [7702]; 0: a cluster of one for good\n"
	"  --join-port N        new coordinators dial it; open only while there is a token [7703]\n"
	"  --socket PATH        admin socket [DIR/admin.sock]\n"
	"  --poll-wait-ms N     heartbeat of agents [25000]; suspect and lost follow from it\n"
	"  --debug              log more\n"
	"  --version, --help\n"
	"\n"
	"exit codes: 0 stopped in order, 1 cannot start, 64 usage, 70 storage failed\n";

enum { TOKEN_LINE = 1024 };

struct options {
	const char *verb, *token;
	struct init_options init;
	bool debug, help, version;
};

static bool port(const char *s, uint16_t *out)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);
	*out = (uint16_t)v;
	return *end == '\0' && v > 0 && v < 65536;
}

static bool port_or_none(const char *s, uint16_t *out)
{
	*out = 0;
	return strcmp(s, "0") == 0 || port(s, out);
}

static bool take(struct options *o, int c, const char *arg)
{
	switch (c) {
	case 'd':
		o->init.data = arg;
		return true;
	case 'n':
		o->init.name = arg;
		return true;
	case 'a':
		o->init.address = arg;
		return true;
	case 'l':
		o->init.listen = arg;
		return true;
	case 's':
		o->init.socket = arg;
		return true;
	case 'p':
		return port(arg, &o->init.agent_port);
	case 'f':
		return port(arg, &o->init.artifact_port);
	case 'q':
		return port_or_none(arg, &o->init.peer_port);
	case 'j':
		return port(arg, &o->init.join_port);
	case 'w':
		o->init.poll_wait_ms = (uint32_t)strtoul(arg, NULL, 10);
		return o->init.poll_wait_ms >= 10;
	case 't':
		o->token = arg;
		return true;
	case 'D':
		o->debug = true;
		return true;
	case 'h':
		o->help = true;
		return true;
	case 'V':
		o->version = true;
		return true;
	default:
		return false;
	}
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {{"data", required_argument, NULL, 'd'},
					      {"name", required_argument, NULL, 'n'},
					      {"address", required_argument, NULL, 'a'},
					      {"listen", required_argument, NULL, 'l'},
					      {"socket", required_argument, NULL, 's'},
					      {"agent-port", required_argument, NULL, 'p'},
					      {"artifact-port", required_argument, NULL, 'f'},
					      {"peer-port", required_argument, NULL, 'q'},
					      {"join-port", required_argument, NULL, 'j'},
					      {"token", required_argument, NULL, 't'},
					      {"poll-wait-ms", required_argument, NULL, 'w'},
					      {"debug", no_argument, NULL, 'D'},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, 'V'},
					      {NULL, 0, NULL, 0}};
	int c;
	*o = (struct options){.init = {.name = "wavetrain",
				       .address = "127.0.0.1",
				       .listen = "127.0.0.1",
				       .agent_port = 7700,
				       .artifact_port = 7701,
				       .peer_port = 7702,
				       .join_port = 7703}};
	while ((c = getopt_long(argc, argv, "hV", longs, NULL)) != -1)
		if (!take(o, c, optarg))
			return false;
	if (o->help || o->version)
		return true;
	o->verb = optind + 1 == argc ? argv[optind] : NULL;
	return o->verb != NULL && o->init.data != NULL &&
	       (strcmp(o->verb, "init") == 0 || strcmp(o->verb, "run") == 0 ||
		(strcmp(o->verb, "join") == 0 && o->token != NULL));
}

static int run(const char *data)
{
	static struct daemon d;
	struct err e = {0};
	if (daemon_open(&d, data, &e) != E_OK) {
		log_error("cluster", "cannot start: %s", e.text);
		return 1;
	}
	daemon_run(&d);
	return 0;
}

static int init(const struct init_options *o)
{
	struct err e = {0};
	if (init_run(o, &e) != E_OK) {
		fprintf(stderr, "wavetraind: %s\n", e.text);
		return 1;
	}
	printf("%s is a coordinator now. Start it:\n  wavetraind run --data %s\n", o->data, o->data);
	return 0;
}

/* A token on the command line is seen by every user of the machine: "-" takes it from a pipe. */
static const char *token_text(const char *arg, char line[TOKEN_LINE])
{
	if (strcmp(arg, "-") != 0)
		return arg;
	if (fgets(line, TOKEN_LINE, stdin) == NULL)
		line[0] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	return line;
}

static int join(const struct options *o)
{
	struct err e = {0};
	char line[TOKEN_LINE];
	uint64_t id = 0;
	if (enter_run(&o->init, token_text(o->token, line), &id, &e) != E_OK) {
		fprintf(stderr, "wavetraind: %s [%s]\n", e.text, err_name(e.code));
		return 1;
	}
	printf("%s is coordinator %llu now. Start it:\n  wavetraind run --data %s\n", o->init.data,
	       (unsigned long long)id, o->init.data);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o;
	if (!parse(argc, argv, &o)) {
		fputs(usage_text, stderr);
		return 64;
	}
	if (o.help || o.version) {
		fputs(o.help ? usage_text : "wavetraind " WAVETRAIN_VERSION "\n", stdout);
		return 0;
	}
	log_init("wavetraind", o.debug ? LOG_DEBUG : LOG_INFO);
	if (strcmp(o.verb, "join") == 0)
		return join(&o);
	return strcmp(o.verb, "init") == 0 ? init(&o.init) : run(o.init.data);
}

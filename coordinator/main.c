/*
 * wavetraind: the coordinator.
 *
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
	"  wavetraind run --data /var/lib/wavetraind\n"
	"\n"
	"init makes a new coordinator in DIR: its certificate authority, its own certificate, its "
	"configuration.\n"
	"run starts it in the foreground; SIGTERM stops it in order. Operators use `wavetrain --socket "
	"DIR/admin.sock`.\n"
	"\n"
	"  --data DIR           everything of this coordinator (init makes it)\n"
	"  --name NAME          of the cluster, for people [wavetrain]\n"
	"  --address HOST       name or address that agents dial; stands in the certificate [127.0.0.1]\n"
	"  --listen IP          numeric IPv4 address the ports are bound to [127.0.0.1]\n"
	"  --agent-port N       [7700]\n"
	"  --artifact-port N    [7701]\n"
	"  --socket PATH        admin socket [DIR/admin.sock]\n"
	"  --poll-wait-ms N     heartbeat of agents [25000]; suspect and lost follow from it\n"
	"  --debug              log more\n"
	"  --version, --help\n"
	"\n"
	"exit codes: 0 stopped in order, 1 cannot start, 64 usage, 70 storage failed\n";

struct options {
	const char *verb;
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
	case 'w':
		o->init.poll_wait_ms = (uint32_t)strtoul(arg, NULL, 10);
		return o->init.poll_wait_ms >= 10;
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
				       .artifact_port = 7701}};
	while ((c = getopt_long(argc, argv, "hV", longs, NULL)) != -1)
		if (!take(o, c, optarg))
			return false;
	if (o->help || o->version)
		return true;
	o->verb = optind + 1 == argc ? argv[optind] : NULL;
	return o->verb != NULL && o->init.data != NULL &&
	       (strcmp(o->verb, "init") == 0 || strcmp(o->verb, "run") == 0);
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
	return strcmp(o.verb, "init") == 0 ? init(&o.init) : run(o.init.data);
}

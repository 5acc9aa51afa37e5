/*
 * wavetrain-agent: the part of a host that talks. It has the network and no privilege: what touches the host
 * is done by wavetrain-exec, an archive is fetched by wavetrain-http and opened by wavetrain-unpack. Wiring
 * only.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/host/talk.h"
#include "sys/fsio.h"
#include "sys/log.h"

static const char help[] =
	"wavetrain-agent: makes this host run what the coordinators decide, and proves it\n"
	"\n"
	"  wavetrain-agent [options]\n"
	"\n"
	"  --dir DIR           its own files: journal, spool, archives [/var/lib/wavetrain-agent]\n"
	"  --bundle DIR        the join bundle that `wavetrain agents add` wrote [DIR/bundle]\n"
	"  --root DIR          the --root of wavetrain-exec: slots and apps [/var/lib/wavetrain]\n"
	"  --exec-socket PATH  the --socket of wavetrain-exec [/run/wavetrain/exec.sock]\n"
	"  --unpack PATH       wavetrain-unpack [beside this program]\n"
	"  --http PATH         wavetrain-http [beside this program]\n"
	"  --reserve MIB       disk that stays free for others [64]\n"
	"  --reconnect-max S   longest wait between two tries to reach a coordinator [60]\n"
	"  --version, --help\n"
	"\n"
	"SIGTERM ends it; the programs of the releases run on. Exit codes: 0 ended, 1 failed (why stands on "
	"stderr),\n"
	"64 usage, 75 start it again.\n";

enum { EXIT_USAGE = 64, PATH_CAP = 1024 };

struct options {
	const char *dir, *bundle, *root, *exec_socket, *unpack, *http;
	uint64_t reserve_bytes, reconnect_max_s;
};

struct agent_program {
	uv_loop_t loop;
	struct arena arena;
	struct bundle bundle;
	struct host *host;
	struct driver *driver;
	struct talk *talk;
	uv_signal_t term, interrupt;
	struct agent_boot_id boot;
	uint64_t seed;
	bool ending;
};

/* ---- options
 * -----------------------------------------------------------------------------------------------------------
 */

static bool number(const char *s, uint64_t most, uint64_t *out)
{
	char *end;
	*out = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && *end == '\0' && *out <= most;
}

static bool take_option(struct options *o, int c)
{
	switch (c) {
	case 'd':
		o->dir = optarg;
		return true;
	case 'b':
		o->bundle = optarg;
		return true;
	case 'r':
		o->root = optarg;
		return true;
	case 'x':
		o->exec_socket = optarg;
		return true;
	case 'u':
		o->unpack = optarg;
		return true;
	case 't':
		o->http = optarg;
		return true;
	case 'm':
		return number(optarg, UINT64_C(1) << 40, &o->reserve_bytes) &&
		       (o->reserve_bytes <<= 20, true);
	case 'c':
		return number(optarg, 60, &o->reconnect_max_s) && o->reconnect_max_s > 0;
	default:
		return false;
	}
}

static bool take_options(struct options *o, int argc, char **argv)
{
	static const struct option all[] = {{"dir", 1, NULL, 'd'},     {"bundle", 1, NULL, 'b'},
					    {"root", 1, NULL, 'r'},    {"exec-socket", 1, NULL, 'x'},
					    {"unpack", 1, NULL, 'u'},  {"http", 1, NULL, 't'},
					    {"reserve", 1, NULL, 'm'}, {"reconnect-max", 1, NULL, 'c'},
					    {"version", 0, NULL, 'v'}, {"help", 0, NULL, 'h'},
					    {NULL, 0, NULL, 0}};
	for (int c; (c = getopt_long(argc, argv, "", all, NULL)) != -1;) {
		if (c == 'h' || c == 'v') {
			fputs(c == 'h' ? help : "wavetrain-agent " WAVETRAIN_VERSION "\n", stdout);
			exit(0);
		}
		if (!take_option(o, c))
			return false;
	}
	return optind == argc;
}

static const char *beside_us(struct arena *a, const char *name)
{
	char path[PATH_CAP];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return arena_printf(a, "%s/%s", dirname(path), name);
}

static int fill_options(struct options *o, struct arena *a, struct err *e)
{
	o->dir = o->dir == NULL ? "/var/lib/wavetrain-agent" : o->dir;
	o->root = o->root == NULL ? "/var/lib/wavetrain" : o->root;
	o->exec_socket = o->exec_socket == NULL ? "/run/wavetrain/exec.sock" : o->exec_socket;
	o->bundle = o->bundle == NULL ? arena_printf(a, "%s/bundle", o->dir) : o->bundle;
	o->unpack = o->unpack == NULL ? beside_us(a, "wavetrain-unpack") : o->unpack;
	o->http = o->http == NULL ? beside_us(a, "wavetrain-http") : o->http;
	char *root = realpath(o->root, NULL);
	if (root == NULL)
		return err_sys(e, E_NOT_FOUND, errno, "--root %s: start wavetrain-exec first, it makes it",
			       o->root);
	o->root = arena_strdup(a, root);
	free(root);
	if (access(o->unpack, X_OK) != 0)
		return err_sys(e, E_NOT_FOUND, errno, "--unpack %s", o->unpack);
	if (access(o->http, X_OK) != 0)
		return err_sys(e, E_NOT_FOUND, errno, "--http %s", o->http);
	return E_OK;
}

/* ---- who we are
 * -------------------------------------------------------------------------------------------------------- */

/* The lock goes with the process. */
static int lock_dir(const char *dir, struct arena *a, struct err *e)
{
	const char *path = arena_printf(a, "%s/lock", dir);
	int rc = fsio_mkdir(dir, 0700, e);
	if (rc != E_OK)
		return rc;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, E_IO, errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return E_OK;
	return err_set(e, E_CONFLICT, "another wavetrain-agent works in %s; end it first", dir);
}

static int read_boot_id(struct agent_boot_id *out, struct err *e)
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	struct buf b;
	uint64_t v[2] = {0, 0};
	buf_init(&b);
	int rc = fsio_read(path, 64, &b, e);
	for (size_t i = 0, n = 0; rc == E_OK && i < b.len && n < 32; i++) {
		const char *digits = "0123456789abcdef", *at = strchr(digits, b.data[i]);
		if (b.data[i] == '\0' || at == NULL)
			continue;
		v[n / 16] = v[n / 16] << 4 | (uint64_t)(at - digits);
		n++;
	}
	buf_done(&b);
	*out = (struct agent_boot_id){v[0], v[1]};
	return rc == E_OK && v[0] == 0 && v[1] == 0 ? err_set(e, E_CORRUPT, "%s holds no boot id", path) : rc;
}

/* ---- wiring
 * ------------------------------------------------------------------------------------------------------------
 */

static void on_reports(void *arg)
{
	struct agent_program *p = arg;
	if (p->talk != NULL)
		talk_reports(p->talk);
}

static void on_changed(void *arg)
{
	struct agent_program *p = arg;
	if (p->talk != NULL)
		talk_changed(p->talk);
}

static int open_host(struct agent_program *p, const struct options *o, struct err *e)
{
	const struct host_config c = {.dir = o->dir,
				      .root = o->root,
				      .exec_socket = o->exec_socket,
				      .unpack_program = o->unpack,
				      .http_program = o->http,
				      .name = p->bundle.host,
				      .region = p->bundle.region,
				      .tls = {p->bundle.ca, p->bundle.cert, p->bundle.key},
				      .seed = p->seed,
				      .reserve_bytes = o->reserve_bytes,
				      .arg = p,
				      .changed = on_changed};
	return host_open(&p->host, &p->loop, &c, e);
}

static int open_all(struct agent_program *p, struct options *o, struct err *e)
{
	int rc = fill_options(o, &p->arena, e);
	if (rc == E_OK)
		rc = lock_dir(o->dir, &p->arena, e);
	if (rc == E_OK)
		rc = bundle_load(&p->arena, o->bundle, &p->bundle, e);
	if (rc == E_OK)
		rc = read_boot_id(&p->boot, e);
	if (rc == E_OK && getrandom(&p->seed, sizeof(p->seed), 0) != sizeof(p->seed))
		rc = err_sys(e, E_IO, errno, "no random numbers");
	if (rc == E_OK)
		rc = open_host(p, o, e);
	if (rc != E_OK)
		return rc;
	const struct driver_ports ports = host_ports(p->host, on_reports);
	rc = driver_open(&p->driver, &p->loop, o->dir, p->boot, &ports, e);
	if (rc != E_OK)
		return rc;
	host_begin(p->host, p->driver);
	const struct talk_config c = {.bundle = &p->bundle,
				      .dir = o->dir,
				      .host = p->host,
				      .driver = p->driver,
				      .boot = p->boot,
				      .seed = p->seed,
				      .reconnect_max_ms = (int64_t)o->reconnect_max_s * 1000};
	return talk_open(&p->talk, &p->loop, &c, e);
}

static void on_talk_closed(void *arg)
{
	struct agent_program *p = arg;
	p->talk = NULL;
	host_close(p->host);
	driver_close(p->driver);
	uv_close((uv_handle_t *)&p->term, NULL);
	uv_close((uv_handle_t *)&p->interrupt, NULL);
}

static void on_signal(uv_signal_t *s, int signo)
{
	struct agent_program *p = s->data;
	if (p->ending)
		return;
	p->ending = true;
	log_info("agent", "ends; the programs run on");
	talk_close(p->talk, on_talk_closed, p);
}

static void watch_signals(struct agent_program *p)
{
	uv_signal_init(&p->loop, &p->term);
	uv_signal_init(&p->loop, &p->interrupt);
	p->term.data = p->interrupt.data = p;
	uv_signal_start(&p->term, on_signal, SIGTERM);
	uv_signal_start(&p->interrupt, on_signal, SIGINT);
}

int main(int argc, char **argv)
{
	static struct agent_program p;
	struct options o = {0};
	struct err e;
	log_init("wavetrain-agent", LOG_INFO);
	if (!take_options(&o, argc, argv)) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&p.loop);
	arena_init(&p.arena);
	if (open_all(&p, &o, &e) != E_OK) {
		log_error("agent", "%s", e.text);
		return 1;
	}
	watch_signals(&p);
	log_info("agent", "host %s of region %s", p.bundle.host.s, p.bundle.region.s);
	uv_run(&p.loop, UV_RUN_DEFAULT);
	uv_loop_close(&p.loop);
	arena_done(&p.arena);
	return 0;
}

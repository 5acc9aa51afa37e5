#include "agent/exec/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/log.h"

static const char help[] =
	"wavetrain-exec: the part of the agent that touches this host\n"
	"\n"
	"  wavetrain-exec --socket PATH --root DIR [options]\n"
	"\n"
	"  --socket PATH         where the agent connects (mode 0600)\n"
	"  --root DIR            holds apps/ and slots/\n"
	"  --agent-user NAME     the one other user whose requests are taken; the socket and slots/ are "
	"given to it\n"
	"  --user-allowed NAME   programs may run as NAME; repeat it. Needed when exec runs as root\n"
	"  --balancer-socket-allowed PATH\n"
	"                        a HAProxy that hosts may be taken out of by this socket; repeat it\n"
	"  --state-file-allowed PATH\n"
	"                        a server state file of HAProxy that may be written; repeat it. No other "
	"file "
	"is, and it is\n"
	"                        written as root, so its folder has to be trusted\n"
	"  --cgroup PATH         make the groups of apps in this group (a path as in /proc/self/cgroup; made "
	"when missing);\n"
	"                        without it in exec's own; none: use no cgroups\n"
	"  --stop-programs       at SIGTERM end all programs; without it they run on and the next exec takes "
	"them over\n"
	"  --version, --help\n"
	"\n"
	"Exit codes: 0 ended by a signal, 1 cannot start (why stands on stderr), 64 usage.\n";

enum { EXIT_USAGE = 64 };

struct options {
	const char *socket, *root, *agent, *cgroup;
	bool stop_programs;
};
static struct options opt;
static struct exec ex;

static bool take_option(int o)
{
	switch (o) {
	case 's':
		opt.socket = optarg;
		return true;
	case 'r':
		opt.root = optarg;
		return strlen(optarg) < EXEC_PATH_CAP;
	case 'a':
		opt.agent = optarg;
		return true;
	case 'u':
		return allow_add(&ex.users, optarg);
	case 'b':
		return optarg[0] == '/' && allow_add(&ex.sockets, optarg);
	case 'f':
		return optarg[0] == '/' && allow_add(&ex.state_files, optarg);
	case 'c':
		opt.cgroup = optarg;
		return optarg[0] == '/' || strcmp(optarg, "none") == 0;
	case 'p':
		opt.stop_programs = true;
		return true;
	default:
		return false;
	}
}

static bool take_options(int argc, char **argv)
{
	static const struct option all[] = {{"socket", 1, NULL, 's'},
					    {"root", 1, NULL, 'r'},
					    {"agent-user", 1, NULL, 'a'},
					    {"user-allowed", 1, NULL, 'u'},
					    {"balancer-socket-allowed", 1, NULL, 'b'},
					    {"state-file-allowed", 1, NULL, 'f'},
					    {"cgroup", 1, NULL, 'c'},
					    {"stop-programs", 0, NULL, 'p'},
					    {"version", 0, NULL, 'v'},
					    {"help", 0, NULL, 'h'},
					    {NULL, 0, NULL, 0}};
	for (int o; (o = getopt_long(argc, argv, "", all, NULL)) != -1;) {
		if (o == 'h' || o == 'v') {
			fputs(o == 'h' ? help : "wavetrain-exec " WAVETRAIN_VERSION "\n", stdout);
			exit(0);
		}
		if (!take_option(o))
			return false;
	}
	return optind == argc && opt.socket && opt.root;
}

static void on_term(uv_signal_t *s, int signo)
{
	if (opt.stop_programs)
		app_kill_all(&ex);
	unlink(opt.socket);
	uv_stop(s->loop);
}

static bool make_dirs(void)
{
	char dir[EXEC_FULL_PATH];
	static const char *const leaf[] = {"", "/apps", "/slots"};
	for (size_t i = 0; i < ARRAY_LEN(leaf); i++) {
		snprintf(dir, sizeof dir, "%s%s", opt.root, leaf[i]);
		struct stat st;
		if (mkdir(dir, 0755) != 0 && (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))) {
			log_error("root", "%s cannot be made", dir);
			return false;
		}
	}
	return true;
}

static bool find_agent(void)
{
	ex.agent = geteuid();
	ex.agent_group = getegid();
	if (!opt.agent)
		return true;
	struct passwd *pw = getpwnam(opt.agent);
	if (!pw) {
		log_error("root", "user %s does not exist; create it or leave --agent-user out", opt.agent);
		return false;
	}
	ex.agent = pw->pw_uid;
	ex.agent_group = pw->pw_gid;
	return true;
}

/* Whoever unpacks writes there, and only there: all else below the root stays ours. */
static bool give_slots(void)
{
	char dir[EXEC_FULL_PATH];
	struct stat st;
	if (ex.agent == geteuid())
		return true;
	snprintf(dir, sizeof dir, "%s/slots", opt.root);
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool ok = fd >= 0 && fstat(fd, &st) == 0 &&
		  ((st.st_uid == ex.agent && st.st_gid == ex.agent_group) ||
		   fchown(fd, ex.agent, ex.agent_group) == 0);
	if (!ok)
		log_error("root", "%s cannot be given to %s: %s", dir, opt.agent, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

static int serve(void)
{
	struct err e;
	uv_loop_t *loop = uv_default_loop();
	uv_signal_t term, interrupt;
	ex.loop = loop;
	ex.root = opt.root;
	signal(SIGPIPE, SIG_IGN);
	/* Numbers of changes rise also over our lives: whoever saw those of an earlier exec misses nothing.
	 */
	ex.change = child_start_ticks(getpid()) << 24;
	group_open(&ex, opt.cgroup);
	if (server_open(&ex, opt.socket, &e) != E_OK) {
		log_error("socket", "%s", e.text);
		return 1;
	}
	app_adopt_all(&ex);
	uv_signal_init(loop, &term);
	uv_signal_init(loop, &interrupt);
	uv_signal_start(&term, on_term, SIGTERM);
	uv_signal_start(&interrupt, on_term, SIGINT);
	uv_run(loop, UV_RUN_DEFAULT);
	return 0;
}

int main(int argc, char **argv)
{
	log_init("wavetrain-exec", LOG_INFO);
	if (!take_options(argc, argv)) {
		fputs(help, stderr);
		return EXIT_USAGE;
	}
	return make_dirs() && find_agent() && give_slots() ? serve() : 1;
}

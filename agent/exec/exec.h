/*
 * exec.h: what the files of wavetrain-exec share. One loop, one thread. Under --root:
 *
 *   slots/<digest>/      complete when it has this name (who unpacks renames it in last)
 *   apps/<app>/current   symlink to ../../slots/<digest>
 *   apps/<app>/run       struct run_state, replaced atomically
 *   apps/<app>/output    FIFO that the program writes to; it holds both ends, so it outlives exec
 *   apps/<app>/output.log, output.log.1
 *
 * Without exec the program can write on until the FIFO is full (64 KiB); then its write waits for the next
 * exec.
 */
#ifndef AGENT_EXEC_EXEC_H
#define AGENT_EXEC_EXEC_H

#include "agent/exec/cgroup.h"
#include "agent/exec/record.h"

#include <uthash.h>
#include <uv.h>

#include "sys/child.h"

enum {
	EXEC_FULL_PATH = 512,
	ALLOWED_MOST = 32,
	KILL_MOST_MS = 10000 /* who was killed is waited for so long */
};

/* Names or absolute paths, compared as they are written. The texts are borrowed. */
struct allowed {
	const char *what[ALLOWED_MOST];
	int count;
};

struct exec {
	uv_loop_t *loop;
	const char *root;
	struct allowed users;		     /* that programs may run as; asked only when we are root */
	struct allowed sockets, state_files; /* of balancers; asked always */
	uid_t agent;			     /* the one uid besides our own whose records we take */
	gid_t agent_group;		     /* may read what programs print */
	struct app *apps;
	struct cgroup home; /* groups of apps are made below it; version CGROUP_NONE: none can be */
	char group_prefix[48];
	uint64_t change; /* number of the newest change of any app */
};

/* One request under way. Owned by whoever must answer; call_answer frees it. */
struct exec_call {
	struct exec_record r;
	struct exec_reply reply;
	struct conn *conn;
	struct exec_call *next; /* of those that wait for the same end */
};
void call_answer(struct exec_call *c, int code,
		 const struct err *e); /* e is used only when code is not E_OK */

/*
 * Written before every act, so that a new exec knows what the old one meant. Other versions of exec read it:
 * fields are only added, in front of `start` and at the end of the record (store.c).
 */
struct run_state {
	uint32_t magic, size; /* of all of it */
	struct fence fence;
	char boot[40];	      /* pids mean nothing after a reboot */
	uint32_t wanted;      /* it should run */
	uint32_t crash_loop;  /* tries are used up */
	int32_t pid;	      /* 0: not running */
	uint32_t last_known;  /* of exec_status */
	uint64_t start_ticks; /* with the pid: which process */
	uint32_t restarts, tries_left;
	int32_t last_exit, last_signal;
	uint32_t kept, zero; /* pid is that of a lasting keeper (sys/child.h), the program is its child */
	struct cgroup group; /* version CGROUP_NONE: it runs without */
	uint32_t core_size, start_size; /* of what stands before `start`, and of it */
	struct exec_record start;
	uint32_t check, pad; /* CRC of all before it: what the disk changed is not acted upon */
};

struct listener {
	char name[NAME_CAP];
	char addr[EXEC_ADDR_CAP];
	int fd;
};

struct app {
	struct exec *x;
	char name[NAME_CAP];
	struct run_state st;
	int pidfd; /* -1 when not running */
	uv_poll_t *death;
	uv_timer_t stable;	    /* this life has lasted long enough to give the tries back */
	uv_timer_t timer;	    /* backoff, or the deadline of a stop, or the next look while sweeping */
	struct exec_call *stopping; /* a list; answered when nothing of it is left */
	struct hook *hooks;	    /* that run */
	struct exec_call *starting; /* came while sweeping; done after it */
	bool killed;
	bool sweeping;	    /* the program is dead, what it forked is being ended */
	bool left;	    /* the last sweep gave up */
	bool group_refused; /* the last spawn failed at its cgroup */
	uint64_t sweep_until;
	void (*swept)(struct app *a);
	uint64_t change;		/* exec.change when it changed last; 0: never ran */
	uint64_t peak_bytes, oom_kills; /* of the groups since the last START that are gone */
	struct listener listeners[EXEC_LISTENS];
	int listener_count;
	int out_fd, log_fd;
	uint64_t log_len;
	uv_poll_t *out;
	UT_hash_handle hh;
};

/* store.c */
void store_path(char out[EXEC_FULL_PATH], const struct exec *x, const char *app, const char *leaf);
void store_slot(char out[EXEC_FULL_PATH], const struct exec *x, const uint8_t digest[DIGEST_LEN]);
must_check int store_slot_complete(const struct exec *x, const uint8_t digest[DIGEST_LEN], struct err *e);
must_check int store_save(const struct app *a, struct err *e);
must_check int store_load(struct app *a, struct err *e); /* E_NOT_FOUND: it never ran */
must_check int store_swap(const struct exec *x, const struct exec_record *r, struct err *e);
void store_boot_id(char out[40]);

/* listen.c: open what the record names and is not open yet. `fds` are in the order of the record. */
must_check int listen_open(struct app *a, const struct exec_record *r, int fds[EXEC_LISTENS], struct err *e);
void listen_readopt(
	struct app *a); /* fetch them back from the running program, as far as the kernel lets us */

/* output.c */
must_check int output_open(struct app *a, int *child_fd, struct err *e); /* the caller closes child_fd */

/* allow.c: E_DENIED names the option that allows it */
must_check bool allow_add(struct allowed *list, const char *what); /* false: the list is full */
must_check int allow_user(const struct exec *x, const char *user, struct err *e);
must_check int allow_balancer(const struct exec *x, const struct exec_balancer *b, struct err *e);

/* program.c */
must_check int app_get(struct exec *x, const char *name, struct app **out, struct err *e);
must_check int app_fence(struct app *a, const struct fence *f, struct err *e);
void app_start(struct app *a, struct exec_call *c); /* answers */
void app_stop(struct app *a, struct exec_call *c);  /* answers */
void app_status(const struct app *a, struct exec_status *out);
void app_adopt_all(struct exec *x);
void app_kill_all(struct exec *x); /* --stop-programs */

/* sweep.c: the cgroup of an app, and the end of all that is in it */
void group_open(struct exec *x,
		const char *inside); /* "none": use no cgroups. Says in the log what is used */
void group_prepare(struct app *a);   /* before a spawn: sets st.group, st.kept */
void group_note_usage(struct app *a);
void group_status(const struct app *a, struct exec_status *out);
typedef void (*sweep_cb)(struct app *a);      /* a->left: something would not go */
void sweep_begin(struct app *a, sweep_cb cb); /* cb may come at once */
void sweep_kill(struct app *a);		      /* all of it, now; whoever watches sees it die */
void sweep_now(struct app *a, int most_ms);   /* blocks */

/* hook.c */
void hook_run(struct app *a, struct exec_call *c); /* answers */

/* server.c */
must_check int server_open(struct exec *x, const char *path, struct err *e);
void server_changed(struct app *a); /* its status is not what it was: whoever waits for changes is answered */

/* Call `cb` when `fd` is readable. The fd stays the caller's; watch_end before closing it. */
uv_poll_t *watch_begin(uv_loop_t *loop, int fd, uv_poll_cb cb, void *data);
void watch_end(uv_poll_t *w);

#endif

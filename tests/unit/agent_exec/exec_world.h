/*
 * exec_world.h: the real wavetrain-exec with two slots of one app, asked through its client, for tests. One
 * world per case; what is asked is in `record`, what came back in `reply`. One thread.
 */
#ifndef TESTS_EXEC_WORLD_H
#define TESTS_EXEC_WORLD_H

#include "tests/lib/test.h"

#include <sys/types.h>

#include "agent/exec/client.h"

extern const char *exec_path, *app_path;
extern bool plain; /* exec keeps programs without control groups */
extern char root[80], sock[100], user[64];
extern pid_t exec_pid;
extern uv_loop_t loop;
extern struct exec_client *client;
extern struct exec_record record;
extern struct exec_reply reply;

/* argv: the program exec, the program of the slots, and "group" (control groups as far as this machine lets
 * it) or "plain" (a keeper per program). */
void exec_world_init(int argc, char **argv);
int exec_setup(void **s);
int exec_teardown(void **s);
#define EXEC_CASE(f) cmocka_unit_test_setup_teardown(f, exec_setup, exec_teardown)

/* Starts exec and waits until it answers at the socket `at`; quiet unless SHOW is set. `args` begins with its
 * name and ends with NULL. */
pid_t exec_spawn(const char *path, const char *at, const char *const args[]);
void exec_up(void);	   /* allows the balancer `root`/haproxy and the state file `root`/haproxy.state */
void exec_up_again(void);  /* with a client of its own */
void new_exec(void);	   /* in the place of one that is killed */
void exec_down(int signo); /* and that it had not ended before */

/* Asks what is in `record`; the code of the answer. */
int call(void);
/* The two halves of it: E_OK when it is sent; the code of the answer, which is waited for. */
int call_begin(void);
int call_end(void);
/* Begins a record: of the app's first slot, as this user. */
void ask(enum exec_op op);
void start_record(const char *flag, const char *value); /* either may be NULL */
void mark(void); /* so that count_apps finds the program and all it forks */
int count_apps(void);
void wait_apps(int want);

const struct exec_status *status(void);
void wait_run(enum exec_run want);
void stop(bool killed, uint32_t timeout_ms); /* and that it was killed, or not */
void start_ready(const char *flag);	     /* returns when the program has set up its signals */

#endif

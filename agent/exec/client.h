/*
 * client.h: asks wavetrain-exec, on a libuv loop. Loop thread only. Calls may be under way at once; each is
 * answered exactly once, from the loop. When exec goes away, calls under way end with E_UNKNOWN_OUTCOME, and
 * the next call connects again.
 */
#ifndef AGENT_EXEC_CLIENT_H
#define AGENT_EXEC_CLIENT_H

#include "agent/exec/record.h"

#include <uv.h>

struct exec_client;

/* `reply` is valid during the call; its code is E_OK or says, with its text, what went wrong. */
typedef void (*exec_client_cb)(void *ctx, const struct exec_reply *reply);

struct exec_client *exec_client_open(uv_loop_t *loop,
				     const char *socket_path); /* connects at the first call */

/* The record is copied; its `request` is set here. On an error `cb` is never called. */
must_check int exec_client_call(struct exec_client *c, const struct exec_record *r, exec_client_cb cb,
				void *ctx, struct err *e);

/*
 * From now on: the status of each app that exec knows, then again after each change, oldest first; changes in
 * quick succession may come as one, so compare `restarts` (and activation) with what you saw. After exec went
 * away it is asked again until it answers, and every app is told once more. `app` and `status` are valid
 * during the call. Once per client; closing the client in the call is fine.
 */
typedef void (*exec_client_watch_cb)(void *ctx, const char *app, const struct exec_status *status);
void exec_client_watch(struct exec_client *c, exec_client_watch_cb cb, void *ctx);

/* False while exec does not take connections, as far as the last try showed. */
bool exec_client_is_up(const struct exec_client *c);

void exec_client_close(
	struct exec_client *c); /* NULL-safe; calls under way are dropped, their cb not called */

#endif

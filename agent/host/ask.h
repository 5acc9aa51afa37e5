/*
 * ask.h: what is asked of wavetrain-exec until it is answered. exec may be replaced or restarted at any time;
 * all that is asked of it may be asked twice, so a question whose answer was lost is put again. Loop thread
 * only.
 */
#ifndef AGENT_HOST_ASK_H
#define AGENT_HOST_ASK_H

#include <uv.h>

#include "agent/exec/client.h"

struct asks;
struct ask;

struct asks *asks_open(uv_loop_t *loop, const char *exec_socket);
void asks_close(
	struct asks *all); /* drops what is under way; memory is freed by the loop's next turns. NULL-safe */
/* See exec_client_watch. Once. */
void asks_watch(struct asks *all, exec_client_watch_cb cb, void *ctx);
bool asks_answered(const struct asks *all); /* the last question got through, and exec is there */

/* `cb` comes once, from the loop, never from within; the ask is gone then. Not when it was dropped before. */
struct ask *ask_begin(struct asks *all, const struct exec_record *r, exec_client_cb cb, void *ctx);
void ask_drop(struct ask *k); /* NULL-safe. What exec was asked, it may do all the same */

#endif

/*
 * rest.h: a process that waits most of its life gives back what it needed only to start or to work: free
 * heap, and the pages of program and libraries that were read once. They lie in the page cache, where they
 * are the first to go when memory is short; while they are mapped the kernel keeps them as code in use. What
 * is still needed comes back page by page, by minor faults. Loop thread only.
 */
#ifndef SYS_REST_H
#define SYS_REST_H

#include <uv.h>

struct rest;

/* Rests `after_ms` after this call and after each rest_worked that no other follows for so long. The timer
 * does not keep the loop alive. */
struct rest *rest_open(uv_loop_t *loop, int64_t after_ms);
void rest_worked(struct rest *r);
void rest_close(struct rest *r); /* the memory is freed by the loop's next turns. NULL-safe */

/* At once. A breakpoint that a debugger wrote into the program is lost with its page. Any thread. */
void rest_now(void);

#endif

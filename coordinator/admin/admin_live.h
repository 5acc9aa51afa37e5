/*
 * admin_live.h: what the backend only reads: wavetraind puts these behind `soft`, `explain` and `doctor` of
 * struct admin_backend_ops. Loop thread.
 */
#ifndef ADMIN_ADMIN_LIVE_H
#define ADMIN_ADMIN_LIVE_H

#include "coordinator/admin/admin.h"
#include "coordinator/drive/drive.h"

/* Strings are copied into `a`. */
void admin_live_soft(struct drive *d, struct wall_ms now, struct arena *a, const struct name *host,
		     const struct name *app, struct admin_soft *out);
void admin_live_explain(struct drive *d, struct wall_ms now, struct arena *a, struct deployment_id id,
			admin_line_fn *each, void *arg);

/* The state on disk: how many bytes of `max` were ever used, and how many entries of the log are newer than
 * the newest snapshot. Text in `a`. */
struct admin_check admin_live_state_check(struct arena *a, uint64_t used, uint64_t max, uint64_t entries);

#endif

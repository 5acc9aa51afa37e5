/*
 * admin_live.h: the two halves of the backend that are only reading drive: wavetraind puts these behind
 * `soft` and `explain` of struct admin_backend_ops. Loop thread.
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

#endif

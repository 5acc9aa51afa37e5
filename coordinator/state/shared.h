/*
 * shared.h: one host, one app, two environments. What a host runs of an app is one row (model.h, placement),
 * so of all environments of an app only one may have the host: two would give it orders in turn, and blame
 * each other's versions. Read-only, pure.
 */
#ifndef STATE_SHARED_H
#define STATE_SHARED_H

#include "coordinator/state/view.h"

/* All labels of the selector are the host's; an empty one selects every host. */
bool labels_select(const struct labels *selector, const struct labels *host);

struct shared {
	struct name host, app;
	struct name env; /* the other environment */
	struct deployment_id
		rollout; /* under way there; 0 = none, it brought there what runs and selects the host */
};

/*
 * The first of these hosts that another environment than `env` has for `app`: a rollout under way there has a
 * task for it, or what it runs was brought there by that environment, which still selects it. False: none.
 */
bool shared_find(struct state *st, struct arena *a, const struct name *app, const struct name *env,
		 const struct name *hosts, size_t nr, struct shared *out);
/* Which host, which other environment, and what to do; lives in `a`. */
const char *shared_text(const struct shared *s, struct arena *a);

#endif

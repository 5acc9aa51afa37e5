/* What only the command line of exec may allow: a record names it, and whoever sends records is not root. */
#include "agent/exec/exec.h"

#include <string.h>
#include <unistd.h>

bool allow_add(struct allowed *list, const char *what)
{
	if (list->count == ALLOWED_MOST)
		return false;
	list->what[list->count++] = what;
	return true;
}

static bool allows(const struct allowed *list, const char *what)
{
	for (int i = 0; i < list->count; i++)
		if (strcmp(list->what[i], what) == 0)
			return true;
	return false;
}

int allow_user(const struct exec *x, const char *user, struct err *e)
{
	if (geteuid() != 0)
		return E_OK; /* the kernel lets us be nobody else */
	const char *as = *user ? user : "root";
	return allows(&x->users, as)
		       ? E_OK
		       : err_set(e, E_DENIED,
				 "user %s may not run programs here; allow it with --user-allowed %s", as,
				 as);
}

/* A socket of the agent's own would let it say what a state file holds. The option comes first: paths are
 * long. */
int allow_balancer(const struct exec *x, const struct exec_balancer *b, struct err *e)
{
	if (!allows(&x->sockets, b->socket))
		return err_set(e, E_DENIED,
			       "allow it with --balancer-socket-allowed of wavetrain-exec: %s is no balancer "
			       "here so far",
			       b->socket);
	if (b->state_file[0] && !allows(&x->state_files, b->state_file))
		return err_set(e, E_DENIED,
			       "allow it with --state-file-allowed of wavetrain-exec: %s is not written so "
			       "far",
			       b->state_file);
	return E_OK;
}

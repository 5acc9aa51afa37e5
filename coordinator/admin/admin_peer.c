#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coordinator/admin/admin_conn.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* Supplementary groups count as well: operators are usually added to the group, it is seldom their first one.
 */
static bool in_group(int fd, gid_t primary, gid_t wanted)
{
	gid_t groups[256];
	socklen_t len = sizeof groups;
	if (primary == wanted)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
		return false;
	for (size_t i = 0; i < len / sizeof groups[0]; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

int admin_peer(int fd, const struct admin_config *config, uid_t *uid, gid_t *gid, enum role *role)
{
	struct ucred cred;
	socklen_t len = sizeof cred;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
		return E_IO;

	gid_t operators = config->gid == (gid_t)-1 ? getegid() : config->gid;
	*uid = cred.uid;
	*gid = cred.gid;
	if (config->role)
		*role = config->role(config->backend, cred.uid, cred.gid);
	else if (cred.uid == 0 || cred.uid == geteuid())
		*role = ROLE_ADMIN;
	else
		*role = in_group(fd, cred.gid, operators) ? ROLE_OPERATOR : ROLE_VIEWER;
	return E_OK;
}

void admin_peer_actor(uid_t uid, char *out, size_t cap)
{
	char scratch[4096];
	struct passwd pw, *found = NULL;
	if (getpwuid_r(uid, &pw, scratch, sizeof scratch, &found) == 0 && found)
		snprintf(out, cap, "uid:%u (%s)", (unsigned)uid, found->pw_name);
	else
		snprintf(out, cap, "uid:%u", (unsigned)uid);
}

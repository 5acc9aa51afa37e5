/*
 * unixsock.h: SOCK_SEQPACKET sockets of the file system: messages keep their borders. Non-blocking,
 * close-on-exec.
 */
#ifndef SYS_UNIXSOCK_H
#define SYS_UNIXSOCK_H

#include "base/err.h"

#include <sys/types.h>

/* Replaces a socket file nobody listens on; E_EXISTS when somebody does. Returns the descriptor in *fd. */
must_check int unixsock_listen(const char *path, mode_t mode, int *fd, struct err *e);
must_check int unixsock_connect(const char *path, int *fd, struct err *e);
must_check int unixsock_peer(int fd, uid_t *uid, struct err *e);

#endif

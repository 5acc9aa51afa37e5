/*
 * dirlock.h: a directory that belongs to one process at a time: a lock on the file "lock" in it, which holds
 * the process's number. It ends with the process, however that ends.
 */
#ifndef SYS_DIRLOCK_H
#define SYS_DIRLOCK_H

#include "base/err.h"

/* Never waits. The lock is held until *fd is closed. E_BUSY names the process that has it. */
must_check int dirlock_take(const char *dir, int *fd, struct err *e);

#endif

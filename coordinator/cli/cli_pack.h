/*
 * cli_pack.h: a folder as a .tar.zst. The same content gives the same bytes (sorted names, no owner, no
 * times), so that pushing it twice is seen as the same release. Regular files, folders and symbolic links
 * only; anything else is refused by name.
 */
#ifndef CLI_PACK_H
#define CLI_PACK_H

#include "base/err.h"

/* Writes the archive of `dir` to `fd` from its start. E_IO, or E_INVALID for a file that cannot be part of a
 * release. */
must_check int cli_pack(const char *dir, int fd, struct err *e);

#endif

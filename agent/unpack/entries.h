/*
 * entries.h: the archive filter of wavetrain-unpack: what of an archive comes into the folder. Regular files,
 * folders and links that stay inside, with modes 0644 and 0755, each fsynced; anything else ends the process.
 */
#ifndef UNPACK_ENTRIES_H
#define UNPACK_ENTRIES_H

#include <archive.h>
#include <stdint.h>

enum { ENTRIES_REFUSED = 1, ENTRIES_DISK = 70, ENTRIES_WHY_MAX = 256 };

/*
 * Unpacks the archive at descriptor `fd` into the working folder, which is empty. Returns only when all was
 * written; else it calls entries_give_up. `ar` is new and stays the caller's.
 */
void entries_unpack(struct archive *ar, int fd, uint64_t max_bytes, uint64_t max_entries);

/* Defined by the program: says why, and ends it with one of the codes above. */
_Noreturn void entries_give_up(int code, const char *why);

#endif

/*
 * inspect.h: is this archive one that hosts will take? Read in a forked child without the right to write,
 * with limits on memory and time, so that an archive that breaks the reader breaks nothing else. tar in gzip
 * or zstd only. Blocking, for as long as one pass takes.
 *
 * Owners and times inside are ignored; a host gives its own. Refused are paths that pathrule.h refuses, links
 * that leave the archive, hard links, devices, fifos, sockets, setuid and setgid, one name twice (also in
 * other case), too many entries, too many bytes, a cut archive.
 */
#ifndef ARTIFACT_INSPECT_H
#define ARTIFACT_INSPECT_H

#include "base/err.h"

struct inspect_limits {
	uint64_t unpacked_bytes; /* 0: 4 GiB */
	uint64_t entries;	 /* 0: 100,000 */
};

struct inspect_result {
	uint64_t unpacked_bytes, entries;
	char type[8]; /* "tar.gz" or "tar.zst" */
};

/* Reads `fd` from its position. E_INVALID or E_CORRUPT with the entry's name and why. */
must_check int inspect_archive(int fd, const struct inspect_limits *limits, struct inspect_result *out,
			       struct err *e);
/* The same in this process, for the fuzzer. */
must_check int inspect_here(int fd, const struct inspect_limits *limits, struct inspect_result *out,
			    struct err *e);

#endif

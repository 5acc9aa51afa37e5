/*
 * bench-append: the limit of the disk: append records to a file and fdatasync, nothing else.
 *
 *   bench-append --dir DIR --record BYTES --group N --seconds S [--allocate]
 *
 * A group of N records goes out with one write and one fdatasync: what a perfect group commit of N writers
 * would do. With --allocate the file's blocks are reserved before, as a log in segments does it, so that an
 * append does not have to make the file longer.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/stat.h"

enum { SEGMENT = 8 << 20 };

struct options {
	const char *dir;
	size_t record, group;
	double seconds;
	bool allocate;
};

struct file {
	int fd;
	off_t at;
};

static void open_segment(const struct options *o, struct file *f)
{
	char path[4096];
	if (f->fd >= 0)
		close(f->fd);
	snprintf(path, sizeof path, "%s/append", o->dir);
	unlink(path);
	f->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	f->at = 0;
	if (f->fd < 0)
		stat_die("bench-append: %s: %s", path, strerror(errno));
	if (o->allocate && (errno = posix_fallocate(f->fd, 0, SEGMENT)) != 0)
		stat_die("bench-append: reserve %s: %s", path, strerror(errno));
	if (fsync(f->fd) != 0)
		stat_die("bench-append: fsync: %s", strerror(errno));
}

static void write_group(const struct options *o, struct file *f, const char *bytes)
{
	size_t n = o->record * o->group;
	if (f->at + (off_t)n > SEGMENT)
		open_segment(o, f);
	if (pwrite(f->fd, bytes, n, f->at) != (ssize_t)n || fdatasync(f->fd) != 0)
		stat_die("bench-append: write: %s", strerror(errno));
	f->at += (off_t)n;
}

static void run(const struct options *o)
{
	struct stat_list l = {0};
	struct file f = {.fd = -1};
	char *bytes = malloc(o->record * o->group);
	PRE(bytes != NULL);
	memset(bytes, 'x', o->record * o->group);
	open_segment(o, &f);
	int64_t start = stat_now_ns(), last = start, end = start + (int64_t)(o->seconds * 1e9);
	double cpu = stat_cpu_s();
	while (last < end) {
		write_group(o, &f, bytes);
		int64_t now = stat_now_ns();
		stat_add(&l, now - last);
		last = now;
	}
	stat_print(&l, l.nr * o->group, (double)(last - start) / 1e9, stat_cpu_s() - cpu);
	close(f.fd);
	free(bytes);
	stat_done(&l);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{"dir", required_argument, NULL, 'd'},	 {"record", required_argument, NULL, 'r'},
		{"group", required_argument, NULL, 'g'}, {"seconds", required_argument, NULL, 's'},
		{"allocate", no_argument, NULL, 'a'},	 {NULL, 0, NULL, 0}};
	struct options o = {.group = 1, .seconds = 1};
	int c;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'd')
			o.dir = optarg;
		else if (c == 'r')
			o.record = strtoul(optarg, NULL, 10);
		else if (c == 'g')
			o.group = strtoul(optarg, NULL, 10);
		else if (c == 's')
			o.seconds = strtod(optarg, NULL);
		else if (c == 'a')
			o.allocate = true;
		else
			return 64;
	}
	if (o.dir == NULL || o.record == 0 || o.group == 0 || o.record * o.group > SEGMENT)
		stat_die("bench-append: needs --dir and --record; a group is at most %d bytes", SEGMENT);
	run(&o);
	return 0;
}

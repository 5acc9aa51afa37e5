/* The files of cgroup.c against trees of our own making; real groups are met in test_exec.c. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/exec/cgroup.h"

static char root[200], mountinfo[256], self[256];
static struct cgroup home, g;
static struct err e;

static void put(const char *dir, const char *file, const char *text)
{
	char path[800];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	fclose(f);
}

static const char *get(const char *dir, const char *file)
{
	static char text[256];
	char path[800];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	return text;
}

static void make(const char *below, char out[400])
{
	snprintf(out, 400, "%s%s", root, below);
	assert_int_equal(mkdir(out, 0755), 0);
}

static int setup(void **s)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/wtcgroup.XXXXXX", tmp && strlen(tmp) < 60 ? tmp : "/tmp");
	assert_non_null(mkdtemp(root));
	snprintf(mountinfo, sizeof mountinfo, "%s/mountinfo", root);
	snprintf(self, sizeof self, "%s/self", root);
	return 0;
}

static int teardown(void **s)
{
	char cmd[300];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
	return system(cmd);
}

static void mounts(const char *format)
{
	char text[1024];
	snprintf(text, sizeof text, format, root, root);
	put(root, "mountinfo", text);
}

static int find(const char *inside)
{
	struct cgroup_place p = {mountinfo, self, inside};
	return cgroup_home(&p, &home, &e);
}

/* A delegated service: /svc with the controllers of its parent. */
static void v2_tree(char dir[400])
{
	mounts("30 1 0:26 / %s rw - cgroup2 cgroup2 rw\n");
	put(root, "self", "0::/svc\n");
	make("/svc", dir);
	put(dir, "cgroup.controllers", "cpu memory pids\n");
	put(dir, "cgroup.subtree_control", "");
}

static void fill_v2_group(void)
{
	static const char *const files[] = {"memory.max", "pids.max", "cgroup.procs", "cgroup.kill"};
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put(g.dir[CGROUP_MEMORY], files[i], "");
}

static void on_v2_the_limits_go_into_the_group_of_the_app(void **s)
{
	char dir[400];
	v2_tree(dir);
	assert_int_equal(find(NULL), E_OK);
	assert_int_equal(home.version, CGROUP_V2);
	assert_true(home.has_memory && home.has_pids);
	assert_string_equal(home.dir[CGROUP_MEMORY], dir);
	assert_string_equal(get(dir, "cgroup.subtree_control"),
			    "+pidsry"); /* "+memory", then "+pids" over it */
	assert_int_equal(cgroup_make(&home, "wavetrain.shop", &g, &e), E_OK);
	fill_v2_group();
	assert_int_equal(cgroup_limit(&g, 1 << 20, 0, &e), E_OK);
	assert_string_equal(get(g.dir[CGROUP_MEMORY], "memory.max"), "1048576");
	assert_string_equal(get(g.dir[CGROUP_MEMORY], "pids.max"), "max");
	assert_int_equal(cgroup_enter(&g, 4711, &e), E_OK);
	assert_string_equal(get(g.dir[CGROUP_MEMORY], "cgroup.procs"), "4711");
	cgroup_kill(&g);
	assert_string_equal(get(g.dir[CGROUP_MEMORY], "cgroup.kill"), "1");
	assert_false(cgroup_remove(&g)); /* not empty */
}

static void on_v2_usage_is_read(void **s)
{
	char dir[400];
	struct cgroup_usage u;
	v2_tree(dir);
	assert_int_equal(find(NULL), E_OK);
	assert_int_equal(cgroup_make(&home, "wavetrain.shop", &g, &e), E_OK);
	cgroup_usage(&g, &u);
	assert_false(u.known);
	put(g.dir[CGROUP_MEMORY], "memory.current", "4096\n");
	put(g.dir[CGROUP_MEMORY], "memory.events",
	    "low 0\nhigh 1\nmax 7\noom 5\noom_kill 3\noom_group_kill 9\n");
	cgroup_usage(&g, &u); /* memory.peak is younger than v2: without it there is no peak */
	assert_true(u.known && u.memory_bytes == 4096 && u.peak_bytes == 0 && u.oom_kills == 3);
	put(g.dir[CGROUP_MEMORY], "memory.peak", "8192\n");
	cgroup_usage(&g, &u);
	assert_true(u.peak_bytes == 8192);
}

static void without_controllers_a_v2_group_still_ends_its_processes(void **s)
{
	char dir[400];
	v2_tree(dir);
	put(dir, "cgroup.controllers", "cpu memory_other\n");
	assert_int_equal(find(NULL), E_OK);
	assert_false(home.has_memory || home.has_pids);
	assert_int_equal(cgroup_make(&home, "wavetrain.shop", &g, &e), E_OK);
	assert_int_equal(cgroup_limit(&g, 1 << 20, 5, &e), E_OK); /* nothing to write to */
	assert_true(cgroup_remove(&g));
	assert_true(cgroup_remove(&g));
}

static void an_exec_that_stepped_aside_finds_the_same_home(void **s)
{
	char dir[400], aside[400];
	v2_tree(dir);
	make("/svc/wavetrain.exec", aside);
	put(root, "self", "0::/svc/wavetrain.exec\n");
	assert_int_equal(find(NULL), E_OK);
	assert_string_equal(home.dir[CGROUP_MEMORY], dir);
}

static void in_a_container_the_mount_shows_a_part(void **s)
{
	char dir[400];
	mounts("30 1 0:26 /docker/abc %s rw shared:9 - cgroup2 cgroup rw\n");
	put(root, "self", "0::/docker/abc/svc\n");
	make("/svc", dir);
	assert_int_equal(find(NULL), E_OK);
	assert_string_equal(home.dir[CGROUP_MEMORY], dir);
}

static void v1_controllers_are_used_where_they_are(void **s)
{
	char memory[400], pids[400], own[400];
	mounts("30 1 0:26 / %s/memory rw - cgroup cgroup rw,memory\n31 1 0:27 / %s/pids rw - cgroup cgroup "
	       "rw,pids\n");
	put(root, "self", "9:name=systemd:/x\n4:memory:/own\n3:cpu,pids:/\n0::/\n");
	make("/memory", memory);
	make("/pids", pids);
	assert_int_equal(find(NULL), E_OK); /* /own is not there: pids alone is left */
	assert_int_equal(home.version, CGROUP_V1);
	assert_false(home.has_memory);
	assert_string_equal(home.dir[CGROUP_PIDS], pids);
	make("/memory/own", own);
	assert_int_equal(find(NULL), E_OK);
	assert_true(home.has_memory && home.has_pids);
	assert_string_equal(home.dir[CGROUP_MEMORY], own);
	assert_int_equal(find("/given"), E_OK); /* made */
	assert_int_equal(cgroup_make(&home, "wavetrain.shop", &g, &e), E_OK);
	put(g.dir[CGROUP_MEMORY], "memory.limit_in_bytes", "");
	put(g.dir[CGROUP_PIDS], "pids.max", "");
	assert_int_equal(cgroup_limit(&g, 0, 12, &e), E_OK);
	assert_string_equal(get(g.dir[CGROUP_MEMORY], "memory.limit_in_bytes"), "-1");
	assert_string_equal(get(g.dir[CGROUP_PIDS], "pids.max"), "12");
}

static void where_no_group_can_be_made_there_is_none(void **s)
{
	mounts("30 1 0:26 / %s/nowhere rw - cgroup2 cgroup2 rw\n");
	put(root, "self", "0::/svc\n");
	assert_int_equal(find(NULL), E_DENIED);
	put(root, "mountinfo", "30 1 0:26 / /tmp rw - tmpfs tmpfs rw\n");
	assert_int_equal(find(NULL), E_NOT_FOUND);
	put(root, "mountinfo", "nonsense\n\n - \n30 1 - cgroup2\n");
	assert_int_equal(find(NULL), E_NOT_FOUND);
	put(root, "self", "");
	mounts("30 1 0:26 / %s rw - cgroup2 cgroup2 rw\n");
	assert_int_equal(find(NULL), E_NOT_FOUND);
}

static void make_old(const char *dir)
{
	struct timespec t[2] = {{.tv_sec = time(NULL) - 1000}, {.tv_sec = time(NULL) - 1000}};
	assert_int_equal(utimensat(AT_FDCWD, dir, t, 0), 0);
}

static void old_empty_groups_that_nobody_owns_are_removed(void **s)
{
	char dir[400], old[400], fresh[400], used[400], in_used[400], other[400];
	v2_tree(dir);
	assert_int_equal(find(NULL), E_OK);
	make("/svc/wavetrain.1.shop", old);
	make("/svc/wavetrain.2.shop", fresh);
	make("/svc/wavetrain.3.shop", used);
	make("/svc/wavetrain.3.shop/x", in_used);
	make("/svc/other", other);
	make_old(old);
	make_old(used);
	make_old(other);
	cgroup_tidy(&home, "wavetrain.", 600);
	assert_int_not_equal(access(old, F_OK), 0);
	assert_int_equal(access(fresh, F_OK), 0);
	assert_int_equal(access(used, F_OK), 0);
	assert_int_equal(access(other, F_OK), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(on_v2_the_limits_go_into_the_group_of_the_app),
		CASE(on_v2_usage_is_read),
		CASE(without_controllers_a_v2_group_still_ends_its_processes),
		CASE(an_exec_that_stepped_aside_finds_the_same_home),
		CASE(in_a_container_the_mount_shows_a_part),
		CASE(v1_controllers_are_used_where_they_are),
		CASE(old_empty_groups_that_nobody_owns_are_removed),
		CASE(where_no_group_can_be_made_there_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

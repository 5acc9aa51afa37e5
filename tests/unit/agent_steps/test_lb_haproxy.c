#include "tests/lib/test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/steps/lb_haproxy.h"

static struct err e;
static const char stat_text[] =
	"\n# pxname,svname,scur,extra,status,weight\n"
	"be,s1,7,x,UP 1/3,1\nbe,s2,0,x,DRAIN,1\nbe,s3,1,,UP,1\nbe,s4,,,DOWN,1\nother,s5,0,,UP,1\n\n";

static void sessions_and_others_are_counted_by_column_name(void **s)
{
	struct lb_view v;
	assert_int_equal(lb_haproxy_view(stat_text, "be", "s1", &v, &e), E_OK);
	assert_true(v.found && v.up);
	assert_int_equal(v.sessions, 7);
	assert_int_equal(v.others_up, 1);
	assert_int_equal(lb_haproxy_view(stat_text, "be", "s2", &v, &e), E_OK);
	assert_false(v.up);
	assert_int_equal(lb_haproxy_view(stat_text, "be", "s9", &v, &e), E_OK);
	assert_false(v.found);
}

static void an_answer_without_its_columns_is_nonsense(void **s)
{
	struct lb_view v;
	struct lb_admin a;
	assert_int_equal(lb_haproxy_view("", "be", "s1", &v, &e), E_PROTOCOL);
	assert_int_equal(lb_haproxy_view("# pxname,svname\nbe,s1\n", "be", "s1", &v, &e), E_PROTOCOL);
	assert_int_equal(lb_haproxy_view(stat_text, "be", "s4", &v, &e), E_PROTOCOL);
	assert_int_equal(lb_haproxy_admin("\n1\n", "be", "s1", &a, &e), E_PROTOCOL);
}

static void the_admin_state_is_read_by_column_name(void **s)
{
	static const char text[] =
		"\n1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n"
		"2 be 1 s1 127.0.0.1 2 9\n\n";
	struct lb_admin a;
	assert_int_equal(lb_haproxy_admin(text, "be", "s1", &a, &e), E_OK);
	assert_int_equal(a.op, 2);
	assert_int_equal(a.admin, 9);
	assert_int_equal(lb_haproxy_admin(text, "be", "s2", &a, &e), E_NOT_FOUND);
}

static void states_are_what_a_reload_must_not_lose(void **s)
{
	struct buf b;
	buf_init(&b);
	assert_int_equal(lb_haproxy_states("\n1\n# be_name srv_name srv_op_state srv_admin_state srv_time\n"
					   "be s1 2 0 17\nbe s2 0 1 18\n\n",
					   &b, &e),
			 E_OK);
	assert_string_equal(buf_cstr(&b), "be s1 2 0\nbe s2 0 1\n");
	assert_int_equal(lb_haproxy_states("\n1\n", &b, &e), E_PROTOCOL);
	buf_done(&b);
}

static void errors_are_told_from_information(void **s)
{
	assert_int_equal(lb_haproxy_refusal("\n[3]: No such server.\n\n", &e), E_CONFLICT);
	assert_non_null(strstr(e.text, "No such server."));
	assert_int_equal(lb_haproxy_refusal("\n[6]: New server registered.\n", &e), E_OK);
	assert_int_equal(lb_haproxy_refusal("\n\n", &e), E_OK);
}

static void names_take_nothing_that_ends_a_command(void **s)
{
	assert_true(lb_haproxy_name_ok("web-1.eu_a"));
	static const char *bad[] = {"", "a b", "a;b", "a\nb", "a/b", "a\tb", "<<"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(lb_haproxy_name_ok(bad[i]));
}

static char dir[64];

static const char *at(const char *leaf)
{
	static char path[2][128];
	static int turn;
	char *p = path[turn ^= 1];
	snprintf(p, sizeof path[0], "%s/%s", dir, leaf);
	return p;
}

static void must_hold(const char *leaf, const char *want)
{
	char text[64] = "";
	FILE *f = fopen(at(leaf), "r");
	assert_non_null(f);
	assert_true(fread(text, 1, sizeof text - 1, f) < sizeof text - 1);
	fclose(f);
	assert_string_equal(text, want);
}

static int folder_setup(void **s)
{
	strcpy(dir, "/tmp/wtstate.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int folder_teardown(void **s)
{
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	return system(cmd);
}

static int entries(void)
{
	DIR *d = opendir(dir);
	int n = 0;
	for (struct dirent *it; (it = readdir(d));)
		n += it->d_name[0] != '.';
	closedir(d);
	return n;
}

static void the_state_file_is_replaced_whole(void **s)
{
	assert_int_equal(lb_haproxy_write_state(at("state"), "\n1\nold and long\n", &e), E_OK);
	assert_int_equal(lb_haproxy_write_state(at("state"), "\n1\nnew\n", &e), E_OK);
	must_hold("state", "1\nnew\n");
	assert_int_equal(lb_haproxy_write_state(at("state"), "\n2\nother format\n", &e), E_PROTOCOL);
	must_hold("state", "1\nnew\n");
	assert_int_equal(entries(), 1);
}

static void no_link_leads_the_state_file_elsewhere(void **s)
{
	char fresh[40];
	assert_int_equal(lb_haproxy_write_state(at("victim"), "1\nkept\n", &e), E_OK);
	assert_int_equal(symlink("victim", at("state")), 0);
	snprintf(fresh, sizeof fresh, "state.%d.new", (int)getpid());
	assert_int_equal(symlink("victim", at(fresh)), 0);
	assert_int_equal(lb_haproxy_write_state(at("state"), "1\nnew\n", &e), E_OK);
	must_hold("victim", "1\nkept\n");
	must_hold("state", "1\nnew\n");
	assert_int_equal(entries(), 2);
	assert_int_equal(mkdir(at("folder"), 0755), 0);
	assert_int_equal(symlink("folder", at("link")), 0);
	assert_int_equal(lb_haproxy_write_state(at("link/state"), "1\nnew\n", &e), E_IO);
	assert_int_equal(lb_haproxy_write_state(at("folder/state"), "1\nnew\n", &e), E_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_and_others_are_counted_by_column_name),
		cmocka_unit_test(an_answer_without_its_columns_is_nonsense),
		cmocka_unit_test(the_admin_state_is_read_by_column_name),
		cmocka_unit_test(states_are_what_a_reload_must_not_lose),
		cmocka_unit_test(errors_are_told_from_information),
		cmocka_unit_test(names_take_nothing_that_ends_a_command),
		cmocka_unit_test_setup_teardown(the_state_file_is_replaced_whole, folder_setup,
						folder_teardown),
		cmocka_unit_test_setup_teardown(no_link_leads_the_state_file_elsewhere, folder_setup,
						folder_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

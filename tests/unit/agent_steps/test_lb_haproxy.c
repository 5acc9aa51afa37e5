#include "tests/lib/test.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_and_others_are_counted_by_column_name),
		cmocka_unit_test(an_answer_without_its_columns_is_nonsense),
		cmocka_unit_test(the_admin_state_is_read_by_column_name),
		cmocka_unit_test(states_are_what_a_reload_must_not_lose),
		cmocka_unit_test(errors_are_told_from_information),
		cmocka_unit_test(names_take_nothing_that_ends_a_command),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

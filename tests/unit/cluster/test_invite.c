#include "tests/lib/test.h"
#include "coordinator/cluster/invite.h"

#include <stdio.h>

static struct invite sample(const char *address)
{
	struct invite t = {.ca = {.b = {1, 2, 3}}, .secret = {0xfe, 9}};
	snprintf(t.address, sizeof t.address, "%s", address);
	return t;
}

static void a_token_comes_back_whole(void **state)
{
	static const char *const addresses[] = {"127.0.0.1:7703", "coord1.example.org:7703",
						"[2001:db8::1]:7703"};
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		struct invite t = sample(addresses[i]), u;
		char text[INVITE_CAP];
		struct err e;
		invite_encode(&t, text);
		assert_memory_equal(text, "wtj1.010203", 11);
		assert_int_equal(invite_decode(&u, text, &e), E_OK);
		assert_memory_equal(u.ca.b, t.ca.b, DIGEST_LEN);
		assert_memory_equal(u.secret, t.secret, sizeof t.secret);
		assert_string_equal(u.address, addresses[i]);
	}
}

static void a_cut_token_is_none_and_the_error_holds_no_secret(void **state)
{
	struct invite t = sample("h:1"), u;
	char text[INVITE_CAP], cut[INVITE_CAP];
	struct err e;
	invite_encode(&t, text);
	for (size_t n = 0; n < strlen(text); n++) {
		snprintf(cut, sizeof cut, "%.*s", (int)n, text);
		assert_int_equal(invite_decode(&u, cut, &e), E_INVALID);
		assert_null(strstr(e.text, "fe09"));
	}
}

static void what_is_no_token_is_refused(void **state)
{
	struct invite t = sample("h:1"), u;
	char text[INVITE_CAP], changed[INVITE_CAP + 512];
	struct err e;
	invite_encode(&t, text);
	assert_int_equal(invite_decode(&u, "", &e), E_INVALID);
	assert_int_equal(invite_decode(&u, "wtj2.x", &e), E_INVALID);
	snprintf(changed, sizeof changed, "%.*s%0500d", INVITE_CAP - 1, text, 1); /* a port of many digits */
	assert_int_equal(invite_decode(&u, changed, &e), E_INVALID);
	strcpy(changed, text);
	changed[10] = 'G';
	assert_int_equal(invite_decode(&u, changed, &e), E_INVALID);
	strcpy(changed, text);
	changed[5 + 64] = ':';
	assert_int_equal(invite_decode(&u, changed, &e), E_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_comes_back_whole),
		cmocka_unit_test(a_cut_token_is_none_and_the_error_holds_no_secret),
		cmocka_unit_test(what_is_no_token_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

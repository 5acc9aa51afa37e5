/* test.h: what every cmocka test includes, in the order cmocka needs. */
#ifndef TESTS_LIB_TEST_H
#define TESTS_LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The test's name says what is skipped; this says why. Its program runs under tests/lib/cmocka_tap. */
#define skip_because(why)                                                                                    \
	do {                                                                                                 \
		print_message("# skipped: %s\n", (why));                                                     \
		skip();                                                                                      \
	} while (0)

#endif

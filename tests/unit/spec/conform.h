/* conform.h: as much of JSON Schema 2020-12 as our own schema uses; a keyword it does not know fails the
 * test. */
#ifndef TESTS_UNIT_SPEC_CONFORM_H
#define TESTS_UNIT_SPEC_CONFORM_H

#include <stdbool.h>
#include <stddef.h>

bool conform_ok(const char *yaml);
/* Fails the test unless the text (YAML or JSON) conforms. */
void conform_check(const char *name, const char *yaml, size_t len);

#endif

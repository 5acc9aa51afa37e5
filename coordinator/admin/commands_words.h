/*
 * commands_words.h: how far a typed word is from a known one, for "did you mean". Pure; any thread.
 */
#ifndef ADMIN_COMMANDS_WORDS_H
#define ADMIN_COMMANDS_WORDS_H

#include "base/base.h"

/* Letters to add, drop, change or swap with their neighbour to get from `a` to `b`; limit + 1 when more. */
unsigned commands_words_distance(const char *a, const char *b, unsigned limit);
/* Whether `typed` may be a slip of the finger for `known`: one letter of a short word, two of a longer. */
bool commands_words_close(const char *typed, const char *known);

#endif

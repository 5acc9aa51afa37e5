/*
 * notation.h: how durations and sizes are written for people: 1h30m, 500ms, 64MiB. Pure. A reader takes the
 * whole text or nothing. Used by the deployment file and by who reads its canonical form.
 */
#ifndef BASE_NOTATION_H
#define BASE_NOTATION_H

#include "base/base.h"

must_check bool notation_duration(const char *s, int64_t *ms); /* 1h30m, 90s, 500ms, 0; at most 3660 days */
must_check bool notation_size(const char *s, uint64_t *bytes); /* 64MiB, 10B, 0; at most 1 PiB */
/* Decimal digits at the start of `s`: how many, 0 when there are none or more than 15. */
size_t notation_digits(const char *s, int64_t *v);

enum { NOTATION_CAP = 32 };
const char *notation_duration_text(int64_t ms, char out[NOTATION_CAP]); /* the one canonical way */
const char *notation_size_text(uint64_t bytes, char out[NOTATION_CAP]);

#endif

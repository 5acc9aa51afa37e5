/* tail_text.h: bytes of a program made fit for a terminal and for protobuf. Pure. */
#ifndef STEPS_TAIL_TEXT_H
#define STEPS_TAIL_TEXT_H

#include <stddef.h>

/*
 * One line, without its end, at the end of `out` (room for `cap` bytes with the terminator). Bytes that are
 * not UTF-8 and control characters become '?', tabs a space, a '\r' at the end nothing. What does not fit is
 * cut between two characters. Returns the length.
 */
size_t tail_text_clean(char *out, size_t cap, const char *line, size_t len);

#endif

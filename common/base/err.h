/*
 * err.h: error codes, their classes, and the fixed-size error that I/O functions fill.
 *
 * Pure functions return an `enum err_code` (0 is success). Functions that do I/O take `struct err *e` last,
 * return the same code, and fill `e` only on failure. No allocation, no thread-local state; any thread.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/base.h"

enum err_code {
	E_OK = 0,
#define X(code, class, text) code,
#include "base/errors.def"
#undef X
	E_NR
};

enum err_class { ERR_TRANSIENT = 1, ERR_PERMANENT, ERR_DENIED, ERR_CONFLICT, ERR_CORRUPT, ERR_BUG };

struct err {
	int code;	  /* enum err_code */
	int sys_errno;	  /* errno behind it, 0 when there is none */
	const char *file; /* where it was first set */
	int line;
	char text[256 - 24]; /* "outer: inner", always terminated */
};

const char *err_name(int code); /* "E_NOT_FOUND"; "E_?" for a number that is none */
const char *err_text(int code); /* the plain sentence of errors.def */
enum err_class err_class(int code);

/* Set a fresh error and return `code`. `e` may be NULL. The text says what, where and why. */
#define err_set(e, code, ...) err_set_at((e), (code), 0, __FILE__, __LINE__, __VA_ARGS__)
/* The same with an errno, whose meaning is appended: ": No such file or directory". */
#define err_sys(e, code, errnum, ...) err_set_at((e), (code), (errnum), __FILE__, __LINE__, __VA_ARGS__)
int err_set_at(struct err *e, int code, int errnum, const char *file, int line, const char *fmt, ...)
	printf_like(6, 7);

/* Put "prefix: " before the text of an error that is on its way up; returns its code. */
int err_wrap(struct err *e, const char *fmt, ...) printf_like(2, 3);

#endif

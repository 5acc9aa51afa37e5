/*
 * log.h: one line per fact on stderr, the object first: "<6>host eu-3: probe ready passed (3 of 3)". The
 * number is the syslog level that journald understands. Only programs, drive, admin, adapters and steps log;
 * libraries return errors. Any thread; a line is written with one write(2), so lines of several threads do
 * not mix.
 */
#ifndef SYS_LOG_H
#define SYS_LOG_H

#include "base/base.h"

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };

void log_init(const char *program,
	      enum log_level most); /* lines above `most` are dropped; default LOG_INFO */
void log_at(enum log_level level, const char *object, const char *fmt, ...) printf_like(3, 4);

#define log_error(object, ...) log_at(LOG_ERROR, (object), __VA_ARGS__)
#define log_warn(object, ...)  log_at(LOG_WARN, (object), __VA_ARGS__)
#define log_info(object, ...)  log_at(LOG_INFO, (object), __VA_ARGS__)
#define log_debug(object, ...) log_at(LOG_DEBUG, (object), __VA_ARGS__)

#endif

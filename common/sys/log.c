#include "sys/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *log_program = "wavetrain";
static enum log_level log_most = LOG_INFO;

void log_init(const char *program, enum log_level most)
{
	log_program = program;
	log_most = most;
}

/* Foreign text may reach a log line: control characters would let it forge lines or drive a terminal. */
static void defuse(char *s, int n)
{
	for (int i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			s[i] = '?';
}

static int clamp(int n, int cap)
{
	return n < 0 ? 0 : n < cap ? n : cap;
}

void log_at(enum log_level level, const char *object, const char *fmt, ...)
{
	enum { CAP = 1024 };
	char line[CAP + 1];
	if (level > log_most)
		return;

	int n = clamp(snprintf(line, CAP, "<%d>%s: %s: ", (int)level, log_program, object), CAP - 1);
	va_list ap;
	va_start(ap, fmt);
	n += clamp(vsnprintf(line + n, (size_t)(CAP - n), fmt, ap), CAP - 1 - n);
	va_end(ap);
	defuse(line, n);
	line[n++] = '\n';
	/* Nothing can be done about a log that cannot be written; the program goes on. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

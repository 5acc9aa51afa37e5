/* diag.h: where the parts of this folder report to. Inside the folder only. */
#ifndef COORDINATOR_SPEC_DIAG_H
#define COORDINATOR_SPEC_DIAG_H

#include "coordinator/spec/spec.h"

enum { DIAG_BASE = 0, DIAG_OVERLAY, DIAG_SETS, DIAG_SOURCES };

struct diag_text {
	const char *file, *text;
	size_t len;
};

struct diag_place {
	int source; /* DIAG_* */
	int line, col, len;
};

struct diag_log {
	struct arena *a;
	struct spec_diags *diags;
	struct diag_text texts[DIAG_SOURCES];
};

/* Severity comes from codes.def. `suggestion` may be NULL. Past SPEC_DIAGS_MAX it only counts. */
void diag_add(struct diag_log *log, struct diag_place at, int code, const char *suggestion, const char *fmt,
	      ...) printf_like(5, 6);
void diag_sort(struct spec_diags *d);

/* User text for a message: cut at 60 bytes between characters, control characters shown as '?'. */
const char *diag_show(struct arena *a, const char *text);
/* "did you mean 'x'?" for the nearest of `words`, NULL when none is near. */
const char *diag_suggest(struct arena *a, const char *word, const char *const *words, size_t nr);

#endif

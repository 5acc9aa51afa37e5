/*
 * template.h: texts with {{ names }} in them. Pure.
 */
#ifndef BASE_TEMPLATE_H
#define BASE_TEMPLATE_H

#include "base/arena.h"

/* One template of a text: what stands before it, its name, and where the text goes on. */
struct template_piece {
	const char *name; /* NULL: the rest holds no template. Lives in the arena */
	size_t before;
	const char *rest; /* NULL: malformed */
};
struct template_piece template_next(struct arena *a, const char *text);

/* What stands for a name; NULL: nothing does. */
typedef const char *template_fact_fn(const void *facts, const char *name);
/* `text` with every name filled in, in the arena. NULL when one is not known or the text is malformed; *why
 * then says which. */
const char *template_fill(struct arena *a, const char *text, template_fact_fn *fact, const void *facts,
			  const char **why);

#endif

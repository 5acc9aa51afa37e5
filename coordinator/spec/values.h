/* values.h: declared values and the templates that name them. Inside the folder only. */
#ifndef COORDINATOR_SPEC_VALUES_H
#define COORDINATOR_SPEC_VALUES_H

#include "coordinator/spec/yaml.h"

struct value {
	const char *name, *type;
	const char *text; /* NULL: not given */
	bool bad, used;	  /* bad: already reported */
	struct diag_place at;
};

struct values {
	struct value *v;
	size_t nr;
	size_t rendered; /* bytes that templates put in so far: bounded like the file itself */
};

/* Read `values:` of the root (which may have none), then what --set gives. Reports; leaves what is good. */
void values_load(struct diag_log *log, const struct yaml_node *root, const struct spec_source *src,
		 struct values *out);
/* W1203 for every value that no template named. */
void values_unused(struct diag_log *log, const struct values *v);
/* The text with value templates filled in; host placeholders are kept, written {{ so }}, when `host_ok`. NULL
 * after reporting at `n`. */
const char *values_render(struct diag_log *log, struct values *v, const struct yaml_node *n, bool host_ok);

#endif

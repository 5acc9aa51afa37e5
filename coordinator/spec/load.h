/* load.h: a tree into struct spec, by the field table; and the checks that look at more than one key. */
#ifndef COORDINATOR_SPEC_LOAD_H
#define COORDINATOR_SPEC_LOAD_H

#include "coordinator/spec/values.h"

/* Everything the tree says, every default it does not. Reports and goes on. */
void load_fields(struct diag_log *log, const struct yaml_node *root, struct values *values, struct spec *out);

/* Fill what follows from other keys; the same again changes nothing. */
void check_settle(const struct yaml_node *root, struct spec *s);
void check_spec(struct diag_log *log, const struct yaml_node *root, const struct spec *s);

#endif

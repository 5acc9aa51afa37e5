/*
 * yaml.h: a document as a tree in an arena. libfyaml is seen by yaml.c alone; it is used for its events only,
 * so limits are checked while reading and no alias is ever expanded: an alias is the same node again. Inside
 * the folder only.
 */
#ifndef COORDINATOR_SPEC_YAML_H
#define COORDINATOR_SPEC_YAML_H

#include "coordinator/spec/diag.h"

enum yaml_kind { YAML_SCALAR = 1, YAML_MAP, YAML_LIST };
enum yaml_core { YAML_NULL = 1, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STR };

struct yaml_pair {
	struct yaml_node *key, *value; /* keys are scalars */
};

struct yaml_node {
	enum yaml_kind kind;
	bool plain;	  /* scalar without quotes: its text decides its type */
	const char *text; /* of a scalar, terminated, without NUL inside */
	struct yaml_pair *pairs;
	struct yaml_node **items;
	size_t nr, cap;
	struct diag_place at;
	size_t weight; /* nodes in it with aliases written out, saturating */
	size_t height;
	size_t bytes; /* of text, likewise */
};

/* The root of the only document, NULL after reporting why not. */
struct yaml_node *yaml_parse(struct diag_log *log, int source);
/* Maps merged, everything else replaced by `over`. Neither tree is changed. */
struct yaml_node *yaml_merge(struct arena *a, struct yaml_node *base, struct yaml_node *over);
enum yaml_core yaml_core_type(const struct yaml_node *scalar);
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* NULL: not a map, no such key */
struct yaml_node *yaml_path(const struct yaml_node *map, const char *dotted);
const char *yaml_kind_name(const struct yaml_node *n); /* "a list", "a number", ... for messages */

#endif

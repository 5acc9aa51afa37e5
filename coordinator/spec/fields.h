/*
 * fields.h: the one table of the deployment file's keys. A field says its name, type, place in struct spec,
 * default, limits and its sentence of documentation. Inside the folder only.
 */
#ifndef COORDINATOR_SPEC_FIELDS_H
#define COORDINATOR_SPEC_FIELDS_H

#include "coordinator/spec/spec.h"

enum field_type {
	FIELD_SCHEMA = 1, /* the one word wavetrain/v1 */
	FIELD_NAME,
	FIELD_TEXT,
	FIELD_ADDRESS,
	FIELD_BOOL,
	FIELD_COUNT,
	FIELD_DURATION,
	FIELD_SIZE,
	FIELD_PERCENT,
	FIELD_AMOUNT,
	FIELD_WORD,
	FIELD_RANGE,
	FIELD_ARGV,    /* list of texts */
	FIELD_COMMAND, /* list of texts, or one text for the shell */
	FIELD_LABELS,  /* mapping of names to texts */
	FIELD_ENV,     /* mapping of variable names to texts */
	FIELD_GROUP,   /* mapping with fields of its own, embedded */
	FIELD_LIST,    /* list of such mappings: pointer and count */
	FIELD_VALUES,  /* declarations; used up by rendering, not in struct spec */
	FIELD_ANY,     /* any scalar: a declared value's default */
};

enum field_flag {
	FIELD_REQUIRED = 1,
	FIELD_TEMPLATE = 2, /* may hold placeholders that only the host can fill */
	FIELD_PRESENCE = 4, /* the embedded struct begins with bool set */
};

struct field {
	const char *name;
	enum field_type type;
	unsigned flags;
	size_t at; /* offset in the struct of its group */
	const struct group *group;
	const char *const *words; /* of FIELD_WORD, NULL-terminated; the struct holds the index from 1 */
	const char *dflt;	  /* as written in a file; NULL: none */
	int64_t min, max;	  /* of counts and durations (ms); both 0: any */
	const char *doc;
};

struct group {
	const struct field *fields;
	size_t nr, size;
};

extern const struct group fields_top;

const struct field *fields_find(const struct group *g, const char *name);
const char *fields_type_name(enum field_type t); /* "a duration (examples: 90s, 5m, 1h30m)" */

#endif

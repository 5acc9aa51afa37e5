/*
 * commands.h: commands.def and options.def as C. Pure data, shared by the admin server (dispatch, roles) and
 * the program (parser, help, completion, man page). Any thread.
 */
#ifndef ADMIN_COMMANDS_H
#define ADMIN_COMMANDS_H

#include "base/base.h"

enum option_bits {
	OPT_NONE = 0,
#define X(id, bit, name, letter, arg, help) id = 1 << bit,
#include "coordinator/admin/options.def"
#undef X
	OPT_BUILD = OPT_COMMIT | OPT_BRANCH | OPT_URL | OPT_TESTS,
};

enum role { ROLE_NONE = 0, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };
/* MILD asks nothing, MODERATE asks [y/N], SEVERE asks for the name to be typed. */
enum danger { DANGER_NONE = 0, DANGER_MILD, DANGER_MODERATE, DANGER_SEVERE };
enum command_flag { COMMAND_LOCAL = 1, COMMAND_MUTATES = 2, COMMAND_STREAMS = 4, COMMAND_UPLOADS = 8 };

enum command_id {
#define X(id, number, name, args, role, danger, flags, options, help, example) CMD_##id = number,
#include "coordinator/admin/commands.def"
#undef X
};

struct command_row {
	enum command_id id;
	const char *name; /* "release push" */
	const char *args; /* "APP VERSION PATH" */
	enum role role;
	enum danger danger;
	unsigned flags;	  /* enum command_flag */
	unsigned options; /* enum option_bits */
	const char *help, *example;
};

struct option_row {
	unsigned bit;
	const char *name;
	char letter;	 /* 0: none */
	const char *arg; /* NULL: takes none */
	const char *help;
};

extern const struct command_row commands_table[];
extern const size_t commands_nr;
extern const struct option_row options_table[];
extern const size_t options_nr;

const struct command_row *command_by_number(unsigned number); /* NULL: no such verb */
const struct command_row *command_by_name(const char *name);  /* "release push" */
const char *role_name(enum role r);			      /* "viewer" */

#endif

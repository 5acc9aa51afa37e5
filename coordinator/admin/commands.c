#include "coordinator/admin/commands.h"

#include <string.h>

/* The words of the tables stand without prefix to keep their rows readable. */
#define LOCAL	COMMAND_LOCAL
#define MUTATES COMMAND_MUTATES
#define STREAMS COMMAND_STREAMS
#define UPLOADS COMMAND_UPLOADS

const struct command_row commands_table[] = {
#define X(id, number, name, args, role, danger, flags, options, help, example)                               \
	{CMD_##id, name, args, ROLE_##role, DANGER_##danger, flags, options, help, example},
#include "coordinator/admin/commands.def"
#undef X
};
const size_t commands_nr = ARRAY_LEN(commands_table);

const struct option_row options_table[] = {
#define X(id, bit, name, letter, arg, help) {id, name, letter, arg, help},
#include "coordinator/admin/options.def"
#undef X
};
const size_t options_nr = ARRAY_LEN(options_table);

const struct command_row *command_by_number(unsigned number)
{
	for (size_t i = 0; i < commands_nr; i++)
		if ((unsigned)commands_table[i].id == number)
			return &commands_table[i];
	return NULL;
}

const struct command_row *command_by_name(const char *name)
{
	for (size_t i = 0; i < commands_nr; i++)
		if (strcmp(commands_table[i].name, name) == 0)
			return &commands_table[i];
	return NULL;
}

const char *role_name(enum role r)
{
	static const char *const names[] = {"none", "viewer", "operator", "admin"};
	return (unsigned)r < ARRAY_LEN(names) ? names[r] : "?";
}

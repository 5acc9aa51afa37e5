#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/admin/commands_words.h"
#include "coordinator/cli/cli.h"

/* Options every command takes. The numbers are getopt values, above all letters and below the row options. */
enum global_option {
	G_SOCKET = 256,
	G_FORMAT,
	G_NO_COLOR,
	G_NO_INPUT,
	G_QUIET,
	G_TIMEOUT,
	G_YES,
	G_CONFIRM,
	G_DRY_RUN,
	G_VERBOSE,
	G_TIMESTAMPS,
	G_HELP,
	G_VERSION,
	G_ROW = 512, /* + bit number */
};

static const struct option globals[] = {
	{"socket", required_argument, NULL, G_SOCKET},
	{"format", required_argument, NULL, G_FORMAT},
	{"no-color", no_argument, NULL, G_NO_COLOR},
	{"no-input", no_argument, NULL, G_NO_INPUT},
	{"quiet", no_argument, NULL, G_QUIET},
	{"timeout", required_argument, NULL, G_TIMEOUT},
	{"yes", no_argument, NULL, G_YES},
	{"confirm", required_argument, NULL, G_CONFIRM},
	{"dry-run", no_argument, NULL, G_DRY_RUN},
	{"verbose", no_argument, NULL, G_VERBOSE},
	{"timestamps", no_argument, NULL, G_TIMESTAMPS},
	{"help", no_argument, NULL, G_HELP},
	{"version", no_argument, NULL, G_VERSION},
};

static const struct {
	char letter;
	enum global_option g;
} letters[] = {{'o', G_FORMAT},	 {'q', G_QUIET},   {'y', G_YES},
	       {'n', G_DRY_RUN}, {'v', G_VERBOSE}, {'h', G_HELP}};

struct parse {
	struct cli_args *out;
	char *why;
	size_t why_cap;
	unsigned options; /* of the command, by bit: letters may mean something else for another one */
	struct option longs[ARRAY_LEN(globals) + CLI_OPTIONS_MAX + 1];
	char shorts[64];
};

static bool refuse(struct parse *p, const char *fmt, ...) printf_like(2, 3);
static bool refuse(struct parse *p, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(p->why, p->why_cap, fmt, ap);
	va_end(ap);
	return false;
}

static unsigned bit_number(unsigned bit)
{
	return (unsigned)__builtin_ctz(bit);
}

static const char *option_name(unsigned bit)
{
	size_t i = 0;
	while (options_table[i].bit != bit)
		i++;
	return options_table[i].name;
}

const char *cli_option(const struct cli_args *a, unsigned bit)
{
	return a->option[bit_number(bit)];
}

/* 90s 5m 1h30m 2d 250ms: whole numbers with units, added up. */
bool cli_parse_duration(const char *s, int64_t *ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	int64_t sum = 0;
	if (*s == '\0')
		return false;
	while (*s) {
		int64_t v = 0;
		const char *digits = s;
		for (; *s >= '0' && *s <= '9' && v < 100000000; s++)
			v = v * 10 + (*s - '0');
		size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz"), i = 0;
		while (i < ARRAY_LEN(units) &&
		       (strlen(units[i].unit) != len || strncmp(units[i].unit, s, len) != 0))
			i++;
		if (s == digits || i == ARRAY_LEN(units))
			return false;
		sum += v * units[i].ms;
		s += len;
	}
	*ms = sum;
	return true;
}

bool cli_parse_number(const char *s, uint64_t *out)
{
	char *end;
	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*out = strtoull(s, &end, 10);
	return errno == 0 && *end == '\0';
}

bool cli_parse_tests(const char *s, uint32_t *passed, uint32_t *failed)
{
	char text[24];
	uint64_t p, all;
	const char *slash = strchr(s, '/');
	if (!slash || slash - s >= (long)sizeof text)
		return false;
	snprintf(text, sizeof text, "%.*s", (int)(slash - s), s);
	if (!cli_parse_number(text, &p) || !cli_parse_number(slash + 1, &all) || p > all || all > UINT32_MAX)
		return false;
	*passed = (uint32_t)p;
	*failed = (uint32_t)(all - p);
	return true;
}

uint64_t cli_number(const struct cli_args *a, unsigned bit)
{
	uint64_t v = 0;
	const char *s = cli_option(a, bit);
	PRE(!s || cli_parse_number(s, &v)); /* looked at when it was read */
	return v;
}

/* -e is a global word: it may stand before the command, where no row is known yet. */
static void make_tables(struct parse *p, unsigned options, bool stop_at_word)
{
	size_t n = 0, s = 0;
	p->options = options;
	if (stop_at_word)
		p->shorts[s++] = '+';
	p->shorts[s++] = ':';
	memcpy(p->longs, globals, sizeof globals);
	n = ARRAY_LEN(globals);
	s += (size_t)snprintf(p->shorts + s, sizeof p->shorts - s, "o:qynvh");
	for (size_t i = 0; i < options_nr; i++) {
		const struct option_row *o = &options_table[i];
		if (!(o->bit & options))
			continue;
		p->longs[n++] = (struct option){o->name, o->arg ? required_argument : no_argument, NULL,
						G_ROW + (int)bit_number(o->bit)};
		if (o->letter)
			s += (size_t)snprintf(p->shorts + s, sizeof p->shorts - s, "%c%s", o->letter,
					      o->arg ? ":" : "");
	}
	p->longs[n] = (struct option){0};
}

static bool set_format(struct parse *p, const char *text)
{
	if (strcmp(text, "text") == 0)
		p->out->format = FORMAT_TEXT;
	else if (strcmp(text, "json") == 0)
		p->out->format = FORMAT_JSON;
	else if (strcmp(text, "jsonl") == 0)
		p->out->format = FORMAT_JSONL;
	else if (strcmp(text, "name") == 0)
		p->out->format = FORMAT_NAME;
	else if (strcmp(text, "wide") == 0)
		p->out->format = FORMAT_TEXT;
	else
		return refuse(p, "-o takes text, wide, name, json or jsonl, not '%.40s'", text);
	p->out->wide = strcmp(text, "wide") == 0;
	return true;
}

static bool set_global(struct parse *p, int g, const char *arg)
{
	struct cli_args *a = p->out;
	if (g == G_FORMAT)
		return set_format(p, arg);
	if (g == G_TIMEOUT)
		return cli_parse_duration(arg, &a->timeout_ms) && a->timeout_ms > 0
			       ? true
			       : refuse(p, "--timeout: '%.40s' is not a duration (examples: 90s, 5m, 1h30m)",
					arg);
	if (g == G_SOCKET)
		a->socket = arg;
	if (g == G_CONFIRM)
		a->confirm = arg;
	a->no_color |= g == G_NO_COLOR;
	a->no_input |= g == G_NO_INPUT;
	a->quiet |= g == G_QUIET;
	a->yes |= g == G_YES;
	a->dry_run |= g == G_DRY_RUN;
	a->verbose |= g == G_VERBOSE;
	a->timestamps |= g == G_TIMESTAMPS;
	a->help |= g == G_HELP;
	a->version |= g == G_VERSION;
	return true;
}

/* Options that may be repeated: all are kept. */
static bool add_pair(struct parse *p, const char *option, const char *form, const char *arg, const char **v,
		     size_t *nr, size_t max)
{
	if (*nr == max)
		return refuse(p, "at most %zu %s", max, option);
	if (!strchr(arg, '=') || arg[0] == '=')
		return refuse(p, "%s takes %s, not '%.60s'", option, form, arg);
	v[(*nr)++] = arg;
	return true;
}

/* Options that are numbers. Those that count or name something begin at 1. */
static bool check_number(struct parse *p, unsigned bit, const char *arg)
{
	static const struct {
		unsigned bit;
		uint64_t least, most;
	} numbers[] = {{OPT_LIMIT, 1, UINT32_MAX},
		       {OPT_WAVE, 1, UINT32_MAX},
		       {OPT_CURSOR, 0, UINT64_MAX},
		       {OPT_FROM, 0, UINT64_MAX}};
	uint64_t v;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (numbers[i].bit == bit &&
		    (!cli_parse_number(arg, &v) || v < numbers[i].least || v > numbers[i].most))
			return refuse(p, "--%s takes a number from %llu, not '%.40s'", option_name(bit),
				      (unsigned long long)numbers[i].least, arg);
	return true;
}

static bool set_row_option(struct parse *p, unsigned bit, const char *arg)
{
	struct cli_args *a = p->out;
	uint32_t passed, failed;
	int64_t ttl_ms;
	a->option[bit] = arg ? arg : "";
	if (1u << bit == OPT_LABEL)
		return add_pair(p, "--label", "KEY=VALUE", arg, a->labels, &a->labels_nr, CLI_LABELS_MAX);
	if (1u << bit == OPT_SET)
		return add_pair(p, "--set", "NAME=VALUE", arg, a->sets, &a->sets_nr, CLI_SETS_MAX);
	if (1u << bit == OPT_TESTS && !cli_parse_tests(arg, &passed, &failed))
		return refuse(p, "--tests takes PASSED/TOTAL, not '%.40s' (example: 41/42)", arg);
	if (1u << bit == OPT_TTL && (!cli_parse_duration(arg, &ttl_ms) || ttl_ms <= 0))
		return refuse(p, "--ttl takes a duration as 30m, 1h, 2d, not '%.40s'", arg);
	return check_number(p, 1u << bit, arg);
}

static bool set_letter(struct parse *p, int letter, const char *arg)
{
	for (size_t i = 0; i < ARRAY_LEN(letters); i++)
		if (letters[i].letter == letter)
			return set_global(p, letters[i].g, arg);
	for (size_t i = 0; i < options_nr; i++)
		if (options_table[i].letter == letter && (options_table[i].bit & p->options))
			return set_row_option(p, bit_number(options_table[i].bit), arg);
	return refuse(p, "unknown option -%c", letter);
}

/* The known word that is the least wrong, when one is near enough. */
struct nearest {
	const char *typed, *best;
	unsigned distance;
};

enum { SLIP_MAX = 2 };

static void look_nearer(struct nearest *n, const char *known)
{
	unsigned d = commands_words_distance(n->typed, known, SLIP_MAX);
	if (d < n->distance || (d == n->distance && !n->best)) {
		n->distance = d;
		n->best = known;
	}
}

/* Of the options that may stand here. `word` is what was typed, maybe with =VALUE. */
static const char *option_like(const struct parse *p, const char *word)
{
	char typed[64];
	snprintf(typed, sizeof typed, "%.*s", (int)strcspn(word + 2, "="), word + 2);
	struct nearest n = {.typed = typed, .distance = SLIP_MAX};
	for (const struct option *o = p->longs; strlen(typed) > 2 && o->name; o++)
		look_nearer(&n, o->name);
	return n.best;
}

static bool refuse_unknown(struct parse *p, const char *word)
{
	const char *name = p->out->row ? p->out->row->name : "";
	if (optopt > 0 && optopt < 256)
		return refuse(p, "unknown option -%c%s%s", optopt, name[0] ? " for " : "", name);
	for (size_t i = 0; word && i < options_nr; i++) /* known elsewhere: say so */
		if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, options_table[i].name) == 0)
			return refuse(p, "--%s does not belong to 'wavetrain %s'", options_table[i].name,
				      name);
	const char *like = word && strncmp(word, "--", 2) == 0 ? option_like(p, word) : NULL;
	if (like)
		return refuse(p, "unknown option %.60s; did you mean '--%s'?", word, like);
	return refuse(p, "unknown option %.60s%s%s", word ? word : "?", name[0] ? " for " : "", name);
}

/* All options up to the first word (stop_at_word) or all; leaves optind at the words. */
static bool take_options(struct parse *p, int argc, char **argv, unsigned options, bool stop_at_word)
{
	int v;
	make_tables(p, options, stop_at_word);
	optind = 0;
	opterr = 0;
	while ((v = getopt_long(argc, argv, p->shorts, p->longs, NULL)) != -1) {
		if (v == ':')
			return refuse(p, "%s needs a value", argv[optind - 1]);
		if (v == '?')
			return refuse_unknown(p, optind > 0 && optind <= argc ? argv[optind - 1] : NULL);
		bool ok = v >= G_ROW ? set_row_option(p, (unsigned)(v - G_ROW), optarg)
			  : v >= 256 ? set_global(p, v, optarg)
				     : set_letter(p, v, optarg);
		if (!ok)
			return false;
	}
	return true;
}

/* ---- the command's words ---- */

static bool is_group(const char *word)
{
	size_t n = strlen(word);
	for (size_t i = 0; i < commands_nr; i++)
		if (strncmp(commands_table[i].name, word, n) == 0 && commands_table[i].name[n] == ' ')
			return true;
	return false;
}

static bool refuse_command(struct parse *p, const char *typed)
{
	struct nearest n = {.typed = typed, .distance = SLIP_MAX};
	char groups[64][16];
	PRE(commands_nr <= ARRAY_LEN(groups));
	for (size_t i = 0; i < commands_nr; i++) {
		const char *name = commands_table[i].name;
		look_nearer(&n, name);
		snprintf(groups[i], sizeof groups[i], "%.*s", (int)strcspn(name, " "), name);
		look_nearer(&n, groups[i]);
	}
	if (n.best)
		return refuse(p, "unknown command '%.60s'; did you mean '%s'?", typed, n.best);
	return refuse(p, "unknown command '%.60s'; see wavetrain help", typed);
}

/* A group without its next word: help on it, or what is missing. */
static bool only_group(struct parse *p, char **argv, int at, const char *group, const char *next)
{
	if (strcmp(next, "-h") == 0 || strcmp(next, "--help") == 0) {
		p->out->help = true;
		p->out->words[p->out->words_nr++] = argv[at];
		return true;
	}
	return refuse(p, "'%s' needs a %s word; see wavetrain help %s", group,
		      strchr(group, ' ') ? "third" : "second", argv[at]);
}

/* Finds the row for argv[at] and up to two words behind it; `used` words belong to its name. */
static bool find_row(struct parse *p, int argc, char **argv, int at, int *used)
{
	char name[192];
	snprintf(name, sizeof name, "%.60s", argv[at]);
	for (*used = 1; is_group(name); ++*used) {
		const char *next = at + *used < argc ? argv[at + *used] : "";
		size_t n = strlen(name);
		if (next[0] == '-' || next[0] == '\0')
			return only_group(p, argv, at, name, next);
		snprintf(name + n, sizeof name - n, " %.60s", next);
	}
	p->out->row = command_by_name(name);
	return p->out->row ? true : refuse_command(p, name);
}

static void count_words(const char *args, size_t *least, size_t *most)
{
	bool optional = false;
	*least = *most = 0;
	for (const char *s = args; *s; s += *s ? strcspn(s, " ") : 0) {
		s += strspn(s, " ");
		if (*s == '\0')
			break;
		optional = optional || *s == '[';
		*most += 1;
		*least += !optional;
		if (s[strcspn(s, " ]")] == ']')
			optional = false;
	}
}

/* Names are those of rows. */
static bool has_names(const struct command_row *row)
{
	const char *second = strchr(row->name, ' ');
	return row->id == CMD_LIST || row->id == CMD_HISTORY ||
	       (second && (strcmp(second, " list") == 0 || strcmp(second, " show") == 0));
}

static bool take_words(struct parse *p, int argc, char **argv)
{
	struct cli_args *a = p->out;
	size_t least, most, given = (size_t)(argc - optind);
	count_words(a->row->args, &least, &most);
	if (a->help)
		return true;
	if (a->format == FORMAT_NAME && !has_names(a->row))
		return refuse(p, "-o name is for lists, not for 'wavetrain %s'", a->row->name);
	if (given > most)
		return refuse(p, "unexpected '%.60s'; usage: wavetrain %s %s", argv[optind + (int)most],
			      a->row->name, a->row->args);
	/* "[APP VERSION]" stands for both or none. */
	bool half = a->row->id == CMD_DEPLOY && given == 1;
	if (given < least || half)
		return refuse(p, "missing argument; usage: wavetrain %s %s", a->row->name, a->row->args);
	for (size_t i = 0; i < given; i++)
		a->words[a->words_nr++] = argv[optind + (int)i];
	return true;
}

bool cli_args_parse(int argc, char **argv, struct cli_args *out, char *why, size_t why_cap)
{
	struct parse p = {.out = out, .why = why, .why_cap = why_cap};
	int used = 0;
	memset(out, 0, sizeof *out);
	out->format = FORMAT_TEXT;
	if (!take_options(&p, argc, argv, OPT_ENV, true))
		return false;
	int at = optind;
	if (at >= argc)
		return true;
	if (!find_row(&p, argc, argv, at, &used))
		return false;
	if (!out->row)
		return true;
	/* getopt takes argv[0] as the program: the last word of the command stands there. */
	int rest = at + used - 1;
	if (!take_options(&p, argc - rest, argv + rest, out->row->options | OPT_ENV, false))
		return false;
	return take_words(&p, argc - rest, argv + rest);
}

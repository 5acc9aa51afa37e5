#include "coordinator/spec/yaml.h"

#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum { WEIGHT_MAX = 1 << 30 };

struct anchor {
	const char *name;
	struct yaml_node *node; /* NULL while its node is open */
	UT_hash_handle hh;
};

struct frame {
	struct yaml_node *node, *key;
	struct anchor *anchor;
};

struct reader {
	struct diag_log *log;
	int source;
	struct frame stack[SPEC_DEPTH_MAX];
	size_t depth, nodes;
	struct anchor *anchors;
	struct yaml_node *root;
	int documents;
	bool failed;
};

static struct diag_place place_of(const struct reader *r, struct fy_event *ev)
{
	const struct fy_mark *s = fy_event_start_mark(ev), *e = fy_event_end_mark(ev);
	if (!s)
		return (struct diag_place){.source = r->source, .line = 1, .col = 1, .len = 1};
	int len = e && e->line == s->line && e->column > s->column ? e->column - s->column : 1;
	return (struct diag_place){
		.source = r->source, .line = s->line + 1, .col = s->column + 1, .len = len};
}

static void fail(struct reader *r, struct diag_place at, int code, const char *text)
{
	r->failed = true;
	diag_add(r->log, at, code, NULL, "%s", text);
}

static const char *token_text(struct arena *a, struct fy_token *t)
{
	size_t n = 0;
	const char *s = t ? fy_token_get_text(t, &n) : NULL;
	char *out = arena_alloc(a, n + 1);
	if (s)
		memcpy(out, s, n);
	return out;
}

static void *grow(struct arena *a, void *old, size_t nr, size_t *cap, size_t size)
{
	if (nr < *cap)
		return old;
	size_t more = *cap ? 2 * *cap : 4;
	void *out = arena_alloc_n(a, more, size);
	if (nr)
		memcpy(out, old, nr * size);
	*cap = more;
	return out;
}

static void weigh(struct yaml_node *parent, const struct yaml_node *child)
{
	parent->weight += child->weight;
	if (parent->weight > WEIGHT_MAX)
		parent->weight = WEIGHT_MAX;
	parent->bytes += child->bytes;
	if (parent->bytes > WEIGHT_MAX)
		parent->bytes = WEIGHT_MAX;
	if (child->height + 1 > parent->height)
		parent->height = child->height + 1;
}

static struct yaml_pair *pair_find(const struct yaml_node *map, const char *key)
{
	for (size_t i = 0; map && map->kind == YAML_MAP && i < map->nr; i++)
		if (!strcmp(map->pairs[i].key->text, key))
			return &map->pairs[i];
	return NULL;
}

static void add_pair(struct arena *a, struct yaml_node *map, struct yaml_node *key, struct yaml_node *value)
{
	map->pairs = grow(a, map->pairs, map->nr, &map->cap, sizeof(*map->pairs));
	map->pairs[map->nr++] = (struct yaml_pair){key, value};
	weigh(map, key);
	weigh(map, value);
}

/* A key must be a scalar text, no merge key, and new. Duplicates are reported and reading goes on. */
static void take_key(struct reader *r, struct frame *f, struct yaml_node *n)
{
	struct arena *a = r->log->a;
	if (n->kind == YAML_MAP && f->node->nr == 0) {
		fail(r, f->node->at, 1111,
		     "a mapping cannot be a key; a template {{ ... }} must stand in quotes");
	} else if (n->kind != YAML_SCALAR) {
		fail(r, n->at, 1112, "a list or mapping cannot be a key");
	} else if (n->plain && !strcmp(n->text, "<<")) {
		fail(r, n->at, 1112, "merge keys (<<) are not part of YAML 1.2; use an overlay file");
	} else {
		struct yaml_pair *p = pair_find(f->node, n->text);
		if (p)
			diag_add(r->log, n->at, 1102, NULL, "duplicate key '%s', first given in line %d",
				 diag_show(a, n->text), p->key->at.line);
		f->key = n;
	}
}

static void take(struct reader *r, struct yaml_node *n, struct diag_place at)
{
	struct arena *a = r->log->a;
	if (!r->depth) {
		r->root = n;
	} else {
		struct frame *f = &r->stack[r->depth - 1];
		if (f->node->kind == YAML_LIST) {
			f->node->items =
				grow(a, f->node->items, f->node->nr, &f->node->cap, sizeof(*f->node->items));
			f->node->items[f->node->nr++] = n;
			weigh(f->node, n);
		} else if (!f->key) {
			take_key(r, f, n);
		} else {
			add_pair(a, f->node, f->key, n);
			f->key = NULL;
		}
		n = f->node;
	}
	if (!r->failed && n->weight > SPEC_NODES_MAX)
		fail(r, at, 1104, "more than 10000 values here once aliases are written out");
	if (!r->failed && n->bytes > SPEC_BYTES_MAX)
		fail(r, at, 1103, "larger than 1 MiB here once aliases are written out");
	if (!r->failed && n->height + (r->depth ? r->depth - 1 : 0) > SPEC_DEPTH_MAX)
		fail(r, at, 1105, "nested more than 64 levels");
}

static struct anchor *anchor_new(struct reader *r, struct fy_token *token)
{
	if (!token)
		return NULL;
	struct anchor *n = arena_new(r->log->a, struct anchor), *old = NULL;
	n->name = token_text(r->log->a, token);
	HASH_FIND_STR(r->anchors, n->name, old);
	if (old)
		HASH_DEL(r->anchors, old);
	HASH_ADD_KEYPTR(hh, r->anchors, n->name, strlen(n->name), n);
	return n;
}

static struct yaml_node *node_new(struct reader *r, struct fy_event *ev, enum yaml_kind kind)
{
	struct yaml_node *n = arena_new(r->log->a, struct yaml_node);
	n->kind = kind;
	n->at = place_of(r, ev);
	n->weight = 1;
	n->height = 1;
	if (fy_event_get_tag_token(ev))
		fail(r, n->at, 1112, "tags (!name) are not used in deployment files");
	else if (++r->nodes > SPEC_NODES_MAX)
		fail(r, n->at, 1104, "more than 10000 values");
	return n;
}

static void on_scalar(struct reader *r, struct fy_event *ev)
{
	struct yaml_node *n = node_new(r, ev, YAML_SCALAR);
	struct fy_token *t = ev->scalar.value;
	n->text = token_text(r->log->a, t);
	n->bytes = strlen(n->text);
	n->plain = !t || fy_token_scalar_style(t) == FYSS_PLAIN;
	size_t len = 0;
	if (t && fy_token_get_text(t, &len) && strlen(n->text) != len)
		fail(r, n->at, 1113, "a text may not hold NUL characters");
	struct anchor *anchor = anchor_new(r, ev->scalar.anchor);
	if (anchor)
		anchor->node = n;
	if (!r->failed)
		take(r, n, n->at);
}

static void on_open(struct reader *r, struct fy_event *ev, enum yaml_kind kind, struct fy_token *anchor)
{
	struct yaml_node *n = node_new(r, ev, kind);
	if (r->depth == SPEC_DEPTH_MAX)
		fail(r, n->at, 1105, "nested more than 64 levels");
	if (!r->failed)
		r->stack[r->depth++] = (struct frame){.node = n, .anchor = anchor_new(r, anchor)};
}

static void on_close(struct reader *r)
{
	struct frame f = r->stack[--r->depth];
	if (f.anchor)
		f.anchor->node = f.node;
	take(r, f.node, f.node->at);
}

static void on_alias(struct reader *r, struct fy_event *ev)
{
	const char *name = token_text(r->log->a, ev->alias.anchor);
	struct diag_place at = place_of(r, ev);
	struct anchor *anchor = NULL;
	HASH_FIND_STR(r->anchors, name, anchor);
	if (anchor && anchor->node) {
		take(r, anchor->node, at);
		return;
	}
	r->failed = true;
	diag_add(r->log, at, 1118, NULL, "alias '*%s' %s", diag_show(r->log->a, name),
		 anchor ? "stands inside its own anchor" : "has no anchor before it");
}

static void on_document(struct reader *r, struct fy_event *ev)
{
	if (r->documents++)
		fail(r, place_of(r, ev), 1114,
		     "a second document starts here; one file holds one deployment");
}

static void on_event(struct reader *r, struct fy_event *ev)
{
	if (ev->type == FYET_DOCUMENT_START)
		on_document(r, ev);
	else if (ev->type == FYET_SCALAR)
		on_scalar(r, ev);
	else if (ev->type == FYET_ALIAS)
		on_alias(r, ev);
	else if (ev->type == FYET_MAPPING_START)
		on_open(r, ev, YAML_MAP, ev->mapping_start.anchor);
	else if (ev->type == FYET_SEQUENCE_START)
		on_open(r, ev, YAML_LIST, ev->sequence_start.anchor);
	else if (ev->type == FYET_MAPPING_END || ev->type == FYET_SEQUENCE_END)
		on_close(r);
}

static void report_syntax(struct reader *r, struct fy_diag *diag)
{
	void *pos = NULL;
	const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &pos);
	struct diag_place at = {.source = r->source, .line = 1, .col = 1, .len = 1};
	if (e && e->line > 0) {
		at.line = e->line;
		at.col = e->column > 0 ? e->column : 1;
	}
	r->failed = true;
	diag_add(r->log, at, 1100, NULL, "not valid YAML: %s",
		 e && e->msg ? diag_show(r->log->a, e->msg) : "unreadable");
}

static void read_events(struct reader *r, struct fy_parser *p, struct fy_diag *diag)
{
	struct fy_event *ev;
	while (!r->failed && (ev = fy_parser_parse(p))) {
		on_event(r, ev);
		fy_parser_event_free(p, ev);
	}
	if (!r->failed && fy_parser_get_stream_error(p))
		report_syntax(r, diag);
}

/* The length of the UTF-8 character at s, 0 when it is none (overlong, surrogate, beyond 10FFFF, cut off) or
 * NUL. */
static size_t utf8_len(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	if (*s < 0x80)
		return *s != 0;
	size_t len = *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc2 ? 2 : 0;
	if (!len || len > n || *s > 0xf4)
		return 0;
	uint32_t c = *s & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

static bool bytes_ok(struct reader *r, const struct diag_text *t)
{
	struct diag_place at = {.source = r->source, .line = 1, .col = 1, .len = 1};
	if (t->len > SPEC_BYTES_MAX) {
		fail(r, (struct diag_place){.source = r->source}, 1103, "the file is larger than 1 MiB");
		return false;
	}
	for (size_t i = 0, n; i < t->len; i += n) {
		n = utf8_len((const unsigned char *)t->text + i, t->len - i);
		if (!n) {
			fail(r, at, 1113, t->text[i] ? "not UTF-8" : "NUL byte");
			return false;
		}
		at.col++;
		if (t->text[i] == '\n') {
			at.line++;
			at.col = 1;
		}
	}
	return true;
}

static void read_document(struct reader *r, const struct diag_text *t)
{
	struct fy_diag_cfg dcfg;
	fy_diag_cfg_default(&dcfg);
	dcfg.fp = NULL;
	struct fy_diag *diag = fy_diag_create(&dcfg);
	PRE(diag);
	fy_diag_set_collect_errors(diag, true);
	/* The depth limit is ours, and lower; libfyaml's own would hide it behind another message. */
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DISABLE_DEPTH_LIMIT |
					    FYPCF_JSON_NONE,
				   .diag = diag};
	struct fy_parser *p = fy_parser_create(&cfg);
	PRE(p);
	if (fy_parser_set_string(p, t->text, t->len))
		fail(r, (struct diag_place){.source = r->source}, 1100, "not valid YAML: unreadable");
	else
		read_events(r, p, diag);
	fy_parser_destroy(p);
	fy_diag_destroy(diag);
}

struct yaml_node *yaml_parse(struct diag_log *log, int source)
{
	const struct diag_text *t = &log->texts[source];
	struct reader *r = arena_new(log->a, struct reader);
	r->log = log;
	r->source = source;
	if (!bytes_ok(r, t))
		return NULL;
	if (t->len) /* libfyaml takes no empty string */
		read_document(r, t);
	HASH_CLEAR(hh, r->anchors);
	if (!r->failed && !r->root)
		fail(r, (struct diag_place){.source = source}, 1100, "the file is empty");
	return r->failed ? NULL : r->root;
}

struct yaml_node *yaml_merge(struct arena *a, struct yaml_node *base, struct yaml_node *over)
{
	if (base->kind != YAML_MAP || over->kind != YAML_MAP)
		return over;
	struct yaml_node *out = arena_memdup(a, base, sizeof(*base));
	out->nr = out->cap = 0;
	out->pairs = NULL;
	for (size_t i = 0; i < base->nr; i++) {
		struct yaml_pair *p = pair_find(over, base->pairs[i].key->text);
		add_pair(a, out, p ? p->key : base->pairs[i].key,
			 p ? yaml_merge(a, base->pairs[i].value, p->value) : base->pairs[i].value);
	}
	for (size_t i = 0; i < over->nr; i++)
		if (!pair_find(base, over->pairs[i].key->text))
			add_pair(a, out, over->pairs[i].key, over->pairs[i].value);
	return out;
}

static bool one_of(const char *s, const char *const *words, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(s, words[i]))
			return true;
	return false;
}

static bool number_ok(const char *s, bool *fraction)
{
	*fraction = false;
	s += *s == '-' || *s == '+';
	size_t digits = strspn(s, "0123456789"), after = 0;
	s += digits;
	if (*s == '.') {
		*fraction = true;
		after = strspn(++s, "0123456789");
		s += after;
	}
	if (!digits && !after)
		return false;
	if (*s == 'e' || *s == 'E') {
		*fraction = true;
		s++;
		s += *s == '-' || *s == '+';
		digits = strspn(s, "0123456789");
		return digits && !s[digits];
	}
	return !*s;
}

static bool based_ok(const char *s)
{
	if (s[0] != '0' || (s[1] != 'x' && s[1] != 'o') || !s[2])
		return false;
	return !s[2 + strspn(s + 2, s[1] == 'x' ? "0123456789abcdefABCDEF" : "01234567")];
}

enum yaml_core yaml_core_type(const struct yaml_node *n)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE"};
	static const char *const floats[] = {".nan",  ".NaN",  ".NAN",	".inf",	 ".Inf",  ".INF",
					     "-.inf", "-.Inf", "-.INF", "+.inf", "+.Inf", "+.INF"};
	bool fraction;
	if (!n->plain)
		return YAML_STR;
	if (one_of(n->text, nulls, ARRAY_LEN(nulls)))
		return YAML_NULL;
	if (one_of(n->text, bools, ARRAY_LEN(bools)))
		return YAML_BOOL;
	if (one_of(n->text, floats, ARRAY_LEN(floats)))
		return YAML_FLOAT;
	if (based_ok(n->text))
		return YAML_INT;
	if (number_ok(n->text, &fraction))
		return fraction ? YAML_FLOAT : YAML_INT;
	return YAML_STR;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	struct yaml_pair *p = pair_find(map, key);
	return p ? p->value : NULL;
}

struct yaml_node *yaml_path(const struct yaml_node *map, const char *dotted)
{
	struct yaml_node *n = (struct yaml_node *)(uintptr_t)map;
	while (n && *dotted) {
		char key[64];
		size_t len = strcspn(dotted, ".");
		PRE(len < sizeof(key));
		memcpy(key, dotted, len);
		key[len] = 0;
		n = yaml_get(n, key);
		dotted += len + (dotted[len] == '.');
	}
	return n;
}

const char *yaml_kind_name(const struct yaml_node *n)
{
	static const char *const names[] = {"?", "nothing", "a boolean", "a number", "a number", "a text"};
	if (n->kind == YAML_SCALAR)
		return names[yaml_core_type(n)];
	return n->kind == YAML_MAP ? "a mapping" : "a list";
}

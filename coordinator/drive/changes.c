#include "coordinator/drive/changes.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 64 };

struct diff {
	struct arena *a;
	const char **lines;
	size_t nr;
};

static const char *value_text(struct diff *d, const json_t *v)
{
	char *s = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	const char *out = arena_strdup(d->a, s == NULL ? "?" : s);
	free(s);
	return out;
}

static void line(struct diff *d, const char *text)
{
	if (d->nr < LINES_MAX)
		d->lines[d->nr++] = text;
}

static void walk(struct diff *d, const char *path, json_t *old, json_t *new_);

static const char *join(struct diff *d, const char *path, const char *key)
{
	return *path == '\0' ? arena_strdup(d->a, key) : arena_printf(d->a, "%s.%s", path, key);
}

static void walk_objects(struct diff *d, const char *path, json_t *old, json_t *new_)
{
	const char *key;
	json_t *v;
	json_object_foreach(old, key, v) walk(d, join(d, path, key), v, json_object_get(new_, key));
	json_object_foreach(new_, key, v)
	{
		if (json_object_get(old, key) == NULL)
			walk(d, join(d, path, key), NULL, v);
	}
}

static void walk(struct diff *d, const char *path, json_t *old, json_t *new_)
{
	if (json_is_object(old) && json_is_object(new_))
		walk_objects(d, path, old, new_);
	else if (old == NULL)
		line(d, arena_printf(d->a, "+ %s %s", path, value_text(d, new_)));
	else if (new_ == NULL)
		line(d, arena_printf(d->a, "- %s %s", path, value_text(d, old)));
	else if (!json_equal(old, new_))
		line(d, arena_printf(d->a, "~ %s %s -> %s", path, value_text(d, old), value_text(d, new_)));
}

void changes_between(struct arena *a, const char *old, size_t old_n, const char *new_, size_t new_n,
		     const char ***lines, size_t *nr)
{
	struct diff d = {.a = a, .lines = arena_array(a, const char *, LINES_MAX)};
	json_t *x = json_loadb(old, old_n, 0, NULL), *y = json_loadb(new_, new_n, 0, NULL);
	if (x != NULL && y != NULL)
		walk(&d, "", x, y);
	json_decref(x);
	json_decref(y);
	*lines = d.lines;
	*nr = d.nr;
}

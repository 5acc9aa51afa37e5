#include "agent/known.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "agent/durable.h"

static const char *const url_head = "https://";

/* What else libcurl might make of a URL (a name with a password, a query) is not for here. */
static bool is_url(const char *s)
{
	size_t head = strlen(url_head);
	return strlen(s) < KNOWN_URL_CAP && strncmp(s, url_head, head) == 0 && bundle_is_address(s + head);
}

static int bad(struct err *e, const char *what, const char *s)
{
	return err_set(e, E_INVALID, "'%.64s' is not %s", s, what);
}

static int too_many(struct err *e)
{
	return err_set(e, E_TOO_LARGE, "more than %d coordinators", KNOWN_MAX);
}

/* ---- what a coordinator said ---- */

static int take_one(struct arena *a, bool (*ok)(const char *s), const char *what, const char *s,
		    const char **list, size_t *nr, struct err *e)
{
	if (s == NULL || !ok(s))
		return bad(e, what, s == NULL ? "" : s);
	list[(*nr)++] = arena_strdup(a, s);
	return E_OK;
}

int known_take(struct arena *a, char *const *coordinators, size_t nr, char *const *urls, size_t urls_nr,
	       struct known *out, struct err *e)
{
	struct known k = {.nr = 0};
	int rc = nr > KNOWN_MAX || urls_nr > KNOWN_MAX ? too_many(e) : E_OK;
	for (size_t i = 0; rc == E_OK && i < nr; i++)
		rc = take_one(a, bundle_is_address, "\"host:port\"", coordinators[i], k.coordinators, &k.nr,
			      e);
	for (size_t i = 0; rc == E_OK && i < urls_nr; i++)
		rc = take_one(a, is_url, "\"https://host:port\"", urls[i], k.urls, &k.urls_nr, e);
	if (rc == E_OK)
		*out = k;
	return rc;
}

static bool same_list(const char *const *a, const char *const *b)
{
	for (; *a != NULL && *b != NULL; a++, b++)
		if (strcmp(*a, *b) != 0)
			return false;
	return *a == NULL && *b == NULL;
}

bool known_same(const struct known *a, const struct known *b)
{
	return same_list(a->coordinators, b->coordinators) && same_list(a->urls, b->urls);
}

/* ---- the file ---- */

static const char *cluster_text(struct arena *a, const struct bundle *b)
{
	return arena_printf(a, "%016llx%016llx", (unsigned long long)b->cluster_hi,
			    (unsigned long long)b->cluster_lo);
}

static json_t *json_list(const char *const *list)
{
	json_t *o = json_array();
	for (; *list != NULL; list++)
		PRE(json_array_append_new(o, json_string(*list)) == 0);
	return o;
}

char *known_text(struct arena *a, const struct bundle *b, const struct known *k)
{
	json_t *o = json_pack("{s:s,s:o,s:o}", "cluster_id", cluster_text(a, b), "coordinators",
			      json_list(k->coordinators), "artifact_urls", json_list(k->urls));
	char *text = json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
	PRE(text != NULL);
	char *out = arena_strdup(a, text);
	free(text);
	json_decref(o);
	return out;
}

static int list_of(struct arena *a, const json_t *o, const char *key, char ***out, size_t *nr, struct err *e)
{
	const json_t *list = json_object_get(o, key);
	if (!json_is_array(list))
		return err_set(e, E_INVALID, "%s is not a list", key);
	*nr = json_array_size(list);
	if (*nr > KNOWN_MAX)
		return too_many(e);
	*out = arena_array(a, char *, *nr);
	for (size_t i = 0; i < *nr; i++) {
		const char *s = json_string_value(json_array_get(list, i));
		(*out)[i] = s == NULL ? NULL : arena_strdup(a, s);
	}
	return E_OK;
}

static int take_json(struct arena *a, const struct bundle *b, const json_t *o, struct known *out,
		     struct err *e)
{
	const char *cluster = json_string_value(json_object_get(o, "cluster_id"));
	char **coordinators, **urls;
	size_t nr, urls_nr;
	if (cluster == NULL || strcmp(cluster, cluster_text(a, b)) != 0)
		return err_set(e, E_INVALID, "it is not of the cluster of this host's bundle");
	int rc = list_of(a, o, "coordinators", &coordinators, &nr, e);
	if (rc == E_OK)
		rc = list_of(a, o, "artifact_urls", &urls, &urls_nr, e);
	return rc == E_OK ? known_take(a, coordinators, nr, urls, urls_nr, out, e) : rc;
}

int known_parse(struct arena *a, const struct bundle *b, const char *text, size_t len, struct known *out,
		struct err *e)
{
	json_error_t why;
	json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (o == NULL)
		return err_set(e, E_INVALID, "line %d: %.80s", why.line, why.text);
	int rc = take_json(a, b, o, out, e);
	json_decref(o);
	return rc;
}

int known_save(const char *dir, const struct bundle *b, const struct known *k, struct err *e)
{
	struct arena a;
	arena_init(&a);
	const char *text = known_text(&a, b, k);
	int rc = durable_write(dir, KNOWN_FILE, text, strlen(text), e);
	arena_done(&a);
	return rc;
}

int known_load(struct arena *a, const char *dir, const struct bundle *b, struct known *out, struct err *e)
{
	struct buf text;
	buf_init(&text);
	*out = (struct known){.nr = 0};
	int rc = durable_read(dir, KNOWN_FILE, KNOWN_BYTES_MAX, &text, e);
	if (rc == E_OK) {
		rc = known_parse(a, b, (const char *)text.data, text.len, out, e);
		if (rc != E_OK)
			err_wrap(e, "%s/%s", dir, KNOWN_FILE);
	}
	buf_done(&text);
	return rc;
}

/* ---- dialing ---- */

static bool among(const char *const *list, const char *s)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

const char *const *known_dial(struct arena *a, const struct known *k, const struct bundle *b)
{
	const char **list = arena_array(a, const char *, KNOWN_MAX + 1);
	size_t nr = 0;
	for (size_t i = 0; i < k->nr; i++)
		if (!among(list, k->coordinators[i]))
			list[nr++] = k->coordinators[i];
	for (size_t i = 0; b->coordinators[i] != NULL && nr < KNOWN_MAX; i++)
		if (!among(list, b->coordinators[i]))
			list[nr++] = b->coordinators[i];
	return list;
}

#include "agent/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAIT_DEFAULT_MS = 27500, WAIT_MIN_MS = 10, WAIT_MAX_MS = 30000 };

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s != NULL ? s : "";
}

static int bad(struct err *e, const char *field, const char *what)
{
	return err_set(e, E_INVALID, "bundle.json: %s %s; make a new bundle with `wavetrain agents add`",
		       field, what);
}

static bool hex_u64(const char *s, uint64_t *out)
{
	*out = 0;
	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef", *d = s[i] != '\0' ? strchr(digits, s[i]) : NULL;
		if (d == NULL)
			return false;
		*out = *out << 4 | (uint64_t)(d - digits);
	}
	return true;
}

static int take_cluster(const json_t *o, struct bundle *b, struct err *e)
{
	const char *s = text_of(o, "cluster_id");
	if (strlen(s) == 32 && hex_u64(s, &b->cluster_hi) && hex_u64(s + 16, &b->cluster_lo))
		return E_OK;
	return bad(e, "cluster_id", "is not 32 lower-case hex digits");
}

static int take_names(const json_t *o, struct bundle *b, struct err *e)
{
	if (!name_set(&b->host, text_of(o, "host")))
		return bad(e, "host", "is not a name");
	if (!name_set(&b->region, text_of(o, "region")))
		return bad(e, "region", "is not a name");
	if (text_of(o, "zone")[0] != '\0' && !name_set(&b->zone, text_of(o, "zone")))
		return bad(e, "zone", "is not a name");
	json_int_t generation = json_integer_value(json_object_get(o, "generation"));
	if (generation < 1)
		return bad(e, "generation", "is not a number from 1");
	b->generation = (uint64_t)generation;
	return E_OK;
}

static bool is_port(const char *s)
{
	size_t n = strspn(s, "0123456789");
	return n >= 1 && n <= 5 && s[n] == '\0' && atoi(s) >= 1 && atoi(s) <= 65535;
}

bool bundle_is_address(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t head = s[0] == '[' ? 1 : 0;
	size_t n = head + (head > 0 ? strspn(s + 1, "0123456789abcdefABCDEF:.") : strspn(s, letters));
	if (n == head || strlen(s) >= BUNDLE_ADDRESS_CAP || (head > 0 && s[n++] != ']'))
		return false;
	return s[n] == ':' && is_port(s + n + 1);
}

static int take_coordinators(struct arena *a, const json_t *o, struct bundle *b, struct err *e)
{
	const json_t *list = json_object_get(o, "coordinators");
	size_t nr = json_array_size(list);
	if (nr < 1 || nr > BUNDLE_COORDINATORS_MAX)
		return bad(e, "coordinators", "is not a list of 1 to 16 \"host:port\"");
	for (size_t i = 0; i < nr; i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (s == NULL || !bundle_is_address(s))
			return bad(e, "coordinators", "holds something that is not \"host:port\"");
		b->coordinators[i] = arena_strdup(a, s);
	}
	return E_OK;
}

static int take_wait(const json_t *o, struct bundle *b, struct err *e)
{
	const json_t *v = json_object_get(o, "poll_wait_ms");
	json_int_t ms = v == NULL ? WAIT_DEFAULT_MS : json_integer_value(v);
	if (ms < WAIT_MIN_MS || ms > WAIT_MAX_MS)
		return bad(e, "poll_wait_ms", "is not between 10 and 30000");
	b->poll_wait_ms = (uint32_t)ms;
	return E_OK;
}

static int take_all(struct arena *a, const json_t *o, struct bundle *b, struct err *e)
{
	int rc = json_is_object(o) ? E_OK : bad(e, "the text", "is not a JSON object");
	if (rc == E_OK)
		rc = take_cluster(o, b, e);
	if (rc == E_OK)
		rc = take_names(o, b, e);
	if (rc == E_OK)
		rc = take_coordinators(a, o, b, e);
	if (rc == E_OK)
		rc = take_wait(o, b, e);
	if (rc == E_OK && text_of(o, "server_name")[0] != '\0')
		b->server_name = arena_strdup(a, text_of(o, "server_name"));
	return rc;
}

int bundle_parse(struct arena *a, const char *json, size_t len, struct bundle *out, struct err *e)
{
	json_error_t why;
	memset(out, 0, sizeof(*out));
	if (len > BUNDLE_BYTES_MAX)
		return err_set(e, E_TOO_LARGE, "bundle.json: %zu bytes, at most %d are read", len,
			       BUNDLE_BYTES_MAX);
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
	if (o == NULL)
		return err_set(e, E_INVALID, "bundle.json: line %d: %.80s", why.line, why.text);
	int rc = take_all(a, o, out, e);
	json_decref(o);
	return rc;
}

/* ---- files
 * ---------------------------------------------------------------------------------------------------------
 */

static int read_text(struct arena *a, const char *path, char **text, size_t *len, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "bundle: cannot open %s",
			       path);
	*text = arena_alloc(a, BUNDLE_BYTES_MAX + 1);
	*len = 0;
	ssize_t n;
	while ((n = read(fd, *text + *len, BUNDLE_BYTES_MAX + 1 - *len)) > 0)
		*len += (size_t)n;
	int errnum = errno;
	close(fd);
	return n == 0 ? E_OK : err_sys(e, E_IO, errnum, "bundle: cannot read %s", path);
}

static int check_key(const char *path, struct err *e)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return err_sys(e, E_NOT_FOUND, errno, "bundle: cannot look at %s", path);
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return err_set(e, E_DENIED, "bundle: others may use %s; make it mode 0600", path);
	return E_OK;
}

int bundle_load(struct arena *a, const char *dir, struct bundle *out, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = read_text(a, arena_printf(a, "%s/bundle.json", dir), &text, &len, e);
	if (rc == E_OK)
		rc = bundle_parse(a, text, len, out, e);
	if (rc != E_OK)
		return rc;
	out->ca = arena_printf(a, "%s/ca.pem", dir);
	out->cert = arena_printf(a, "%s/cert.pem", dir);
	out->key = arena_printf(a, "%s/key.pem", dir);
	return check_key(out->key, e);
}

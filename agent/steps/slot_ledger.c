#include "agent/steps/slot_ledger.h"

#include <stdio.h>
#include <string.h>

#include "sys/digest.h"

static const char first_line[] = "wavetrain ledger 1\n";

static bool in(const struct digest *list, size_t nr, const struct digest *d)
{
	for (size_t i = 0; i < nr; i++)
		if (digest_eq(&list[i], d))
			return true;
	return false;
}

static void drop(struct digest *list, size_t *nr, const struct digest *d)
{
	size_t left = 0;
	for (size_t i = 0; i < *nr; i++)
		if (!digest_eq(&list[i], d))
			list[left++] = list[i];
	*nr = left;
}

/* The last falls off when there is no room. */
static void push_front(struct digest *list, size_t *nr, size_t max, const struct digest *d)
{
	size_t moved = *nr < max ? *nr : max - 1;
	memmove(list + 1, list, moved * sizeof(*list));
	list[0] = *d;
	*nr = moved + 1;
}

bool slot_ledger_names(const struct slot_ledger *l, const struct digest *d)
{
	return in(l->good, l->good_nr, d) || in(l->kept, l->kept_nr, d) || in(l->claims, l->claims_nr, d);
}

void slot_ledger_good(struct slot_ledger *l, const struct digest *d)
{
	struct digest copy = *d;
	drop(l->good, &l->good_nr, &copy);
	drop(l->claims, &l->claims_nr, &copy);
	if (l->good_nr == SLOT_LEDGER_GOOD_MAX)
		push_front(l->claims, &l->claims_nr, SLOT_LEDGER_CLAIMS_MAX, &l->good[l->good_nr - 1]);
	push_front(l->good, &l->good_nr, SLOT_LEDGER_GOOD_MAX, &copy);
}

void slot_ledger_claim(struct slot_ledger *l, const struct digest *d)
{
	struct digest copy = *d;
	if (!slot_ledger_names(l, &copy))
		push_front(l->claims, &l->claims_nr, SLOT_LEDGER_CLAIMS_MAX, &copy);
}

void slot_ledger_unclaim(struct slot_ledger *l, const struct digest *d)
{
	struct digest copy = *d;
	drop(l->claims, &l->claims_nr, &copy);
}

void slot_ledger_trim(struct slot_ledger *l, uint32_t keep_nr, const struct digest *keep, size_t n)
{
	PRE(n <= SLOT_LEDGER_KEPT_MAX);
	struct slot_ledger before = *l;
	l->good_nr = before.good_nr < keep_nr ? before.good_nr : keep_nr;
	l->kept_nr = 0;
	for (size_t i = 0; i < n; i++) {
		slot_ledger_unclaim(l, &keep[i]);
		if (!in(l->kept, l->kept_nr, &keep[i]))
			l->kept[l->kept_nr++] = keep[i];
	}
	for (size_t i = 0; i < before.kept_nr; i++)
		slot_ledger_claim(l, &before.kept[i]);
	for (size_t i = before.good_nr; i > l->good_nr; i--)
		slot_ledger_claim(l, &before.good[i - 1]);
}

/* ---- the file
 * ---------------------------------------------------------------------------------------------------------
 */

static void put_list(struct buf *b, const char *what, const struct digest *list, size_t nr)
{
	char hex[DIGEST_HEX_CAP];
	for (size_t i = 0; i < nr; i++)
		buf_printf(b, "%s %s\n", what, digest_hex(&list[i], hex));
}

void slot_ledger_encode(const struct slot_ledger *l, struct buf *b)
{
	char hex[DIGEST_HEX_CAP];
	size_t start = b->len;
	buf_puts(b, first_line);
	put_list(b, "good", l->good, l->good_nr);
	put_list(b, "kept", l->kept, l->kept_nr);
	put_list(b, "claim", l->claims, l->claims_nr);
	struct digest d = digest_of(b->data + start, b->len - start);
	buf_printf(b, "end %s\n", digest_hex(&d, hex));
}

/* "WORD HEX\n" lines into a list, as many as there are. */
static bool take_list(const char **at, const char *word, struct digest *list, size_t max, size_t *nr)
{
	size_t len = strlen(word);
	for (*nr = 0; strncmp(*at, word, len) == 0; (*nr)++) {
		char hex[DIGEST_HEX_CAP];
		const char *stop = strchr(*at, '\n');
		if (*nr == max || stop == NULL || stop - *at != (ptrdiff_t)len + 2 * DIGEST_LEN)
			return false;
		snprintf(hex, sizeof(hex), "%s", *at + len);
		if (!digest_parse(&list[*nr], hex) || in(list, *nr, &list[*nr]))
			return false;
		*at = stop + 1;
	}
	return true;
}

static bool parse(struct slot_ledger *l, const char *text)
{
	struct digest end;
	size_t ends;
	const char *at = text + sizeof(first_line) - 1;
	if (strncmp(text, first_line, sizeof(first_line) - 1) != 0 ||
	    !take_list(&at, "good ", l->good, SLOT_LEDGER_GOOD_MAX, &l->good_nr) ||
	    !take_list(&at, "kept ", l->kept, SLOT_LEDGER_KEPT_MAX, &l->kept_nr) ||
	    !take_list(&at, "claim ", l->claims, SLOT_LEDGER_CLAIMS_MAX, &l->claims_nr))
		return false;
	struct digest all = digest_of(text, (size_t)(at - text));
	return take_list(&at, "end ", &end, 1, &ends) && ends == 1 && *at == '\0' && digest_eq(&end, &all);
}

int slot_ledger_decode(struct slot_ledger *l, const uint8_t *p, size_t n, struct err *e)
{
	struct slot_ledger read = {0};
	struct buf text;
	buf_init(&text);
	buf_put(&text, p, n);
	bool ok = memchr(buf_cstr(&text), '\0', n) == NULL && parse(&read, buf_cstr(&text));
	buf_done(&text);
	if (!ok)
		return err_set(e, E_CORRUPT, "the ledger of slots is damaged");
	*l = read;
	return E_OK;
}

#include "coordinator/consensus/peer_wire.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/consensus/entry.h"

static const uint32_t hello_magic = 0x5754504c, answer_magic = 0x57545041; /* "WTPL", "WTPA" */
static const uint32_t version = 1;

/* ---- addresses ---- */

static bool port_parse(const char *s, uint16_t *port)
{
	size_t n = strlen(s);
	if (n < 1 || n > 5 || strspn(s, "0123456789") != n || s[0] == '0')
		return false;
	long v = strtol(s, NULL, 10);
	*port = (uint16_t)v;
	return v <= 65535;
}

static bool host_ok(const char *host, bool bracketed)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	return host[0] && strspn(host, bracketed ? "0123456789abcdefABCDEF:." : name) == strlen(host);
}

bool peer_address_parse(const char *address, char host[PEER_ADDRESS_CAP], uint16_t *port)
{
	bool bracketed = address[0] == '[';
	const char *from = address + bracketed, *end = strrchr(address, bracketed ? ']' : ':');
	if (!end || strlen(address) >= PEER_ADDRESS_CAP)
		return false;
	size_t n = (size_t)(end - from);
	if (bracketed && *++end != ':')
		return false;
	memcpy(host, from, n);
	host[n] = 0;
	return host_ok(host, bracketed) && port_parse(end + 1, port);
}

/* ---- hello ---- */

static const char *const answers[PEER_ANSWER_NR] = {
	[PEER_WELCOME] = "welcome",
	[PEER_NO_MEMBER] =
		"it does not list this node as a member: add it there, or leave it stopped if it was "
		"removed",
	[PEER_OTHER_ADDRESS] =
		"it lists this node under another address: start this one with the address that "
		"the cluster has for it",
	[PEER_OTHER_VERSION] = "it speaks another version of this protocol: install the same build on both",
};

const char *peer_answer_text(uint32_t answer)
{
	return answer < PEER_ANSWER_NR ? answers[answer] : "it gave an answer that this build does not know";
}

void peer_hello_encode(struct buf *out, const char *address)
{
	size_t n = strlen(address);
	PRE(n < PEER_ADDRESS_CAP);
	buf_put_u32(out, hello_magic);
	buf_put_u32(out, version);
	buf_put_u32(out, (uint32_t)n);
	buf_put(out, address, n);
}

int peer_hello_length(const uint8_t *p, size_t n, size_t *length, struct err *e)
{
	*length = 0;
	if (n < PEER_HELLO_HEAD)
		return E_OK;
	if (get_u32(p) != hello_magic)
		return err_set(e, E_PROTOCOL, "the first bytes are no hello of a coordinator");
	if (get_u32(p + 4) != version)
		return err_set(e, E_VERSION, "the hello has version %u, this build speaks %u", get_u32(p + 4),
			       version);
	if (get_u32(p + 8) >= PEER_ADDRESS_CAP)
		return err_set(e, E_TOO_LARGE, "the hello holds an address of %u bytes, the limit is %d",
			       get_u32(p + 8), PEER_ADDRESS_CAP - 1);
	*length = PEER_HELLO_HEAD + get_u32(p + 8);
	return E_OK;
}

int peer_hello_decode(const uint8_t *p, size_t n, char address[PEER_ADDRESS_CAP], struct err *e)
{
	size_t length, len = n - PEER_HELLO_HEAD;
	int rc = peer_hello_length(p, n, &length, e);
	if (rc)
		return rc;
	if (length == 0 || length != n || len == 0)
		return err_set(e, E_PROTOCOL, "the hello is not whole, or holds no address");
	for (size_t i = 0; i < len; i++)
		if (!isgraph(p[PEER_HELLO_HEAD + i]))
			return err_set(e, E_PROTOCOL, "the address in the hello is not text");
	memcpy(address, p + PEER_HELLO_HEAD, len);
	address[len] = 0;
	return E_OK;
}

void peer_answer_encode(struct buf *out, enum peer_answer answer)
{
	buf_put_u32(out, answer_magic);
	buf_put_u32(out, version);
	buf_put_u32(out, answer);
}

int peer_answer_decode(const uint8_t p[PEER_ANSWER_LEN], uint32_t *answer, struct err *e)
{
	if (get_u32(p) != answer_magic)
		return err_set(e, E_PROTOCOL, "what answers there is no peer port of a coordinator");
	*answer = get_u32(p + 4) == version ? get_u32(p + 8) : PEER_OTHER_VERSION;
	return E_OK;
}

/* ---- messages of libraft 0.15 ---- */

enum message_type {
	APPEND_ENTRIES = 1,
	APPEND_ENTRIES_RESULT,
	REQUEST_VOTE,
	REQUEST_VOTE_RESULT,
	INSTALL_SNAPSHOT,
	TIMEOUT_NOW,
	TYPE_NR
};
enum entry_type { ENTRY_COMMAND = 1, ENTRY_BARRIER, ENTRY_CHANGE, ENTRY_TYPE_NR };
/* It writes 8 bytes more than it uses at the end of two of the heads. */
enum { PREAMBLE = 16, APPEND_FIXED = 48, APPEND_ENTRY = 16, APPEND_ENTRIES_AT = 40, INSTALL_FIXED = 56 };
enum { SNAPSHOT_LEAST = 56, BARRIER_LEN = 8 };

static const struct {
	size_t least, most, step; /* of the head */
} heads[TYPE_NR] = {
	[APPEND_ENTRIES] = {APPEND_FIXED, APPEND_FIXED + APPEND_ENTRY *(size_t)PEER_ENTRIES_MAX,
			    APPEND_ENTRY},
	[APPEND_ENTRIES_RESULT] = {24, 24, 8},
	[REQUEST_VOTE] = {40, 40, 8},
	[REQUEST_VOTE_RESULT] = {24, 24, 8},
	[INSTALL_SNAPSHOT] = {INSTALL_FIXED, INSTALL_FIXED + PEER_CONFIGURATION_MAX, 8},
	[TIMEOUT_NOW] = {24, 24, 8},
};

static uint64_t le64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Terms and indices that the engine may add to without passing the end. None of ours ever comes near. */
static bool numbers_ok(const uint8_t *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (le64(p + 8 * i) >> 56 != 0)
			return false;
	return true;
}

/* One server: id, address with its zero, role. The bytes it takes; 0 when it is none. */
static size_t server_length(const uint8_t *p, size_t n)
{
	if (n < 11 || le64(p) == 0)
		return 0;
	const uint8_t *address = p + 8, *zero = memchr(address, 0, n - 8);
	if (!zero || zero == address || zero - address >= PEER_ADDRESS_CAP || zero + 1 == p + n ||
	    zero[1] > 2)
		return 0;
	return (size_t)(zero + 2 - p);
}

/* The engine refuses a second one of either, in the middle of what it does: see that it never has to. */
static bool server_is_new(const uint8_t *const *seen, uint64_t n, const uint8_t *p)
{
	for (uint64_t i = 0; i < n; i++)
		if (le64(seen[i]) == le64(p) || strcmp((const char *)seen[i] + 8, (const char *)p + 8) == 0)
			return false;
	return true;
}

bool peer_configuration_ok(const uint8_t *p, size_t n)
{
	const uint8_t *seen[PEER_MEMBERS_MAX], *end = p + n;
	if (n < 9 || p[0] != 1 || le64(p + 1) == 0 || le64(p + 1) > PEER_MEMBERS_MAX)
		return false;
	uint64_t servers = le64(p + 1);
	p += 9;
	for (uint64_t i = 0; i < servers; i++) {
		size_t len = server_length(p, (size_t)(end - p));
		if (len == 0 || !server_is_new(seen, i, p))
			return false;
		seen[i] = p;
		p += len;
	}
	return end - p < 8; /* the padding, which is not initialised by who wrote it */
}

void peer_inspector_init(struct peer_inspector *in, uint64_t peer)
{
	*in = (struct peer_inspector){.peer = peer};
	buf_init(&in->head);
	buf_init(&in->configuration);
}

void peer_inspector_done(struct peer_inspector *in)
{
	buf_done(&in->head);
	buf_done(&in->configuration);
}

static uint64_t type_of(const struct peer_inspector *in)
{
	return le64(in->head.data);
}

static int preamble_whole(struct peer_inspector *in, struct err *e)
{
	uint64_t type = type_of(in), len = le64(in->head.data + 8);
	if (type == 0 || type >= TYPE_NR)
		return err_set(e, E_PROTOCOL, "a message of type %llu, which libraft 0.15 does not have",
			       (unsigned long long)type);
	if (len > heads[type].most)
		return err_set(e, E_TOO_LARGE,
			       "a message of type %llu with a head of %llu bytes, the limit is %zu",
			       (unsigned long long)type, (unsigned long long)len, heads[type].most);
	if (len < heads[type].least || len % heads[type].step != 0)
		return err_set(e, E_PROTOCOL, "a message of type %llu with a head of %llu bytes",
			       (unsigned long long)type, (unsigned long long)len);
	in->head_len = PREAMBLE + (size_t)len;
	return E_OK;
}

static const uint8_t *entry_head(const struct peer_inspector *in, uint32_t i)
{
	return in->head.data + PREAMBLE + APPEND_ENTRIES_AT + APPEND_ENTRY * (size_t)i;
}

static bool entry_length_ok(uint8_t type, size_t len)
{
	if (len == 0 || len % 8 != 0)
		return false;
	if (type == ENTRY_BARRIER)
		return len == BARRIER_LEN;
	if (type == ENTRY_CHANGE)
		return len <= PEER_CONFIGURATION_MAX;
	return type == ENTRY_COMMAND && len >= ENTRY_HEADER && len <= ENTRY_HEADER + 8 + ENTRY_MAX_COMMAND;
}

static int append_entries_whole(struct peer_inspector *in, struct err *e)
{
	const uint8_t *head = in->head.data + PREAMBLE;
	uint64_t n = le64(head + 32), payload = 0;
	if (!numbers_ok(head, 4) || PREAMBLE + APPEND_FIXED + APPEND_ENTRY * n != in->head_len ||
	    n >> 32 != 0)
		return err_set(e, E_PROTOCOL, "entries that do not fill their message");
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *entry = entry_head(in, i);
		if (!numbers_ok(entry, 1) || !entry_length_ok(entry[8], le32(entry + 12)))
			return err_set(e, E_PROTOCOL,
				       "entry %u of a message has type %u and %u bytes: none of ours", i,
				       entry[8], le32(entry + 12));
		payload += le32(entry + 12);
	}
	if (payload > PEER_PAYLOAD_MAX)
		return err_set(e, E_TOO_LARGE, "entries of %llu bytes in one message, the limit is %d",
			       (unsigned long long)payload, PEER_PAYLOAD_MAX);
	in->entry = 0;
	in->n_entries = (uint32_t)n;
	in->payload_left = n > 0 ? le32(entry_head(in, 0) + 12) : 0;
	return E_OK;
}

static int install_snapshot_whole(struct peer_inspector *in, struct err *e)
{
	const uint8_t *head = in->head.data + PREAMBLE;
	uint64_t len = le64(head + 32);
	if (!numbers_ok(head, 4) || PREAMBLE + INSTALL_FIXED + len != in->head_len ||
	    !peer_configuration_ok(head + 40, len))
		return err_set(e, E_PROTOCOL, "a snapshot whose membership cannot be read");
	uint64_t data = le64(head + 40 + len);
	if (data > PEER_PAYLOAD_MAX)
		return err_set(e, E_TOO_LARGE, "a snapshot of %llu bytes, the limit is %d",
			       (unsigned long long)data, PEER_PAYLOAD_MAX);
	if (data < SNAPSHOT_LEAST)
		return err_set(e, E_PROTOCOL, "a snapshot of %llu bytes", (unsigned long long)data);
	in->payload_left = (size_t)data;
	return E_OK;
}

static int request_vote_whole(const struct peer_inspector *in, struct err *e)
{
	const uint8_t *head = in->head.data + PREAMBLE;
	if (!numbers_ok(head, 5))
		return err_set(e, E_PROTOCOL, "a request for votes with impossible numbers");
	if (le64(head + 8) != in->peer)
		return err_set(e, E_DENIED, "it asks for votes in the name of coordinator %llu",
			       (unsigned long long)le64(head + 8));
	return E_OK;
}

static int head_whole(struct peer_inspector *in, struct err *e)
{
	in->n_entries = 0;
	in->payload_left = 0;
	switch (type_of(in)) {
	case APPEND_ENTRIES:
		return append_entries_whole(in, e);
	case INSTALL_SNAPSHOT:
		return install_snapshot_whole(in, e);
	case REQUEST_VOTE:
		return request_vote_whole(in, e);
	default:
		return numbers_ok(in->head.data + PREAMBLE, 3)
			       ? E_OK
			       : err_set(e, E_PROTOCOL, "an answer with impossible numbers");
	}
}

static void message_passed(struct peer_inspector *in)
{
	in->messages++;
	buf_reset(&in->head);
	in->head_len = 0;
	in->passing = false;
}

/* Bytes of preamble and head, no further than is known to belong to them. */
static int take_head(struct peer_inspector *in, const uint8_t **p, size_t *n, struct buf *out, struct err *e)
{
	size_t want = (in->head_len ? in->head_len : PREAMBLE) - in->head.len;
	size_t take = *n < want ? *n : want;
	buf_put(&in->head, *p, take);
	*p += take;
	*n -= take;
	if (take < want)
		return E_OK;
	if (in->head_len == 0)
		return preamble_whole(in, e);
	int rc = head_whole(in, e);
	if (rc)
		return rc;
	buf_put(out, in->head.data, in->head.len);
	in->passing = true;
	if (in->payload_left == 0)
		message_passed(in);
	return E_OK;
}

static bool holds_configuration(const struct peer_inspector *in)
{
	return type_of(in) == APPEND_ENTRIES && entry_head(in, in->entry)[8] == ENTRY_CHANGE;
}

/* The entry, or the snapshot, has come whole. */
static int part_whole(struct peer_inspector *in, struct buf *out, struct err *e)
{
	if (holds_configuration(in)) {
		if (!peer_configuration_ok(in->configuration.data, in->configuration.len))
			return err_set(e, E_PROTOCOL, "entry %u of a message is no membership", in->entry);
		buf_put(out, in->configuration.data, in->configuration.len);
		buf_reset(&in->configuration);
	}
	if (type_of(in) == APPEND_ENTRIES && ++in->entry < in->n_entries)
		in->payload_left = le32(entry_head(in, in->entry) + 12);
	else
		message_passed(in);
	return E_OK;
}

static int take_payload(struct peer_inspector *in, const uint8_t **p, size_t *n, struct buf *out,
			struct err *e)
{
	size_t take = *n < in->payload_left ? *n : in->payload_left;
	buf_put(holds_configuration(in) ? &in->configuration : out, *p, take);
	in->payload_left -= take;
	*p += take;
	*n -= take;
	return in->payload_left == 0 ? part_whole(in, out, e) : E_OK;
}

int peer_inspect(struct peer_inspector *in, const uint8_t *p, size_t n, struct buf *out, struct err *e)
{
	int rc = E_OK;
	while (n > 0 && rc == E_OK)
		rc = in->passing ? take_payload(in, &p, &n, out, e) : take_head(in, &p, &n, out, e);
	return rc;
}

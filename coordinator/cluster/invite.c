#include "coordinator/cluster/invite.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/consensus/peer_wire.h"

static const char head[] = "wtj1.";
enum { HEAD_LEN = 5, HEX_LEN = 2 * DIGEST_LEN };

_Static_assert((int)INVITE_SECRET_LEN == (int)DIGEST_LEN, "both are written as digests are");

const char *invite_encode(const struct invite *t, char out[INVITE_CAP])
{
	char ca[DIGEST_HEX_CAP], secret[DIGEST_HEX_CAP];
	struct digest s;
	memcpy(s.b, t->secret, sizeof s.b);
	snprintf(out, INVITE_CAP, "%s%s.%s.%s", head, digest_hex(&t->ca, ca), digest_hex(&s, secret),
		 t->address);
	return out;
}

/* 64 hex digits and a dot at *p; leaves *p behind them. */
static bool take_hex(const char **p, struct digest *out)
{
	char hex[DIGEST_HEX_CAP];
	if (strlen(*p) <= HEX_LEN || (*p)[HEX_LEN] != '.')
		return false;
	memcpy(hex, *p, HEX_LEN);
	hex[HEX_LEN] = '\0';
	*p += HEX_LEN + 1;
	return digest_parse(out, hex);
}

int invite_decode(struct invite *out, const char *text, struct err *e)
{
	struct digest ca, secret;
	char host[PEER_ADDRESS_CAP];
	uint16_t port;
	const char *p = text + HEAD_LEN;
	if (strncmp(text, head, HEAD_LEN) != 0)
		return err_set(e, E_INVALID, "that is no join token: one begins with %s", head);
	if (!take_hex(&p, &ca) || !take_hex(&p, &secret) || strlen(p) >= sizeof out->address ||
	    !peer_address_parse(p, host, &port))
		return err_set(e, E_INVALID,
			       "the join token is not whole: it has two numbers of 64 digits and an address, "
			       "with dots "
			       "between; copy all of it");
	*out = (struct invite){.ca = ca};
	memcpy(out->secret, secret.b, sizeof out->secret);
	snprintf(out->address, sizeof out->address, "%s", p);
	return E_OK;
}

/* Bytes of another coordinator. The first chooses what they are and how they are cut: what passes must not
 * depend on that, must be what came, and must never be more. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/consensus/peer_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hello(const uint8_t *p, size_t n)
{
	char address[PEER_ADDRESS_CAP];
	struct buf again;
	struct err e;
	if (n < PEER_HELLO_HEAD || peer_hello_decode(p, n, address, &e))
		return;
	buf_init(&again);
	peer_hello_encode(&again, address);
	if (again.len != n || memcmp(again.data, p, n) != 0)
		abort();
	buf_done(&again);
}

static void address(const uint8_t *p, size_t n)
{
	char text[2 * PEER_ADDRESS_CAP], host[PEER_ADDRESS_CAP];
	uint16_t port = 0;
	if (n >= sizeof text)
		return;
	memcpy(text, p, n);
	text[n] = 0;
	if (peer_address_parse(text, host, &port) && (port == 0 || strlen(host) + 2 > strlen(text)))
		abort();
}

static int inspect(const uint8_t *p, size_t n, size_t slice, struct buf *out)
{
	struct peer_inspector in;
	struct err e;
	int rc = E_OK;
	peer_inspector_init(&in, 2);
	for (size_t at = 0; at < n && rc == E_OK; at += slice)
		rc = peer_inspect(&in, p + at, n - at < slice ? n - at : slice, out, &e);
	peer_inspector_done(&in);
	return rc;
}

static void messages(const uint8_t *p, size_t n, size_t slice)
{
	struct buf cut, whole;
	buf_init(&cut);
	buf_init(&whole);
	int rc = inspect(p, n, slice, &cut);
	if (rc != inspect(p, n, n, &whole) || cut.len != whole.len || cut.len > n)
		abort();
	if (cut.len > 0 && (memcmp(cut.data, p, cut.len) != 0 || memcmp(whole.data, p, cut.len) != 0))
		abort();
	buf_done(&cut);
	buf_done(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	switch (data[0] % 4) {
	case 0:
		hello(data + 1, size - 1);
		break;
	case 1:
		address(data + 1, size - 1);
		break;
	default:
		messages(data + 1, size - 1, data[0] / 4u + 1u);
	}
	return 0;
}

/* The identity URI of a certificate: what decodes must encode to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "sys/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char uri[512], again[TLS_IDENTITY_CAP];
	struct tls_identity id;

	if (size >= sizeof(uri))
		return 0;
	memcpy(uri, data, size);
	uri[size] = 0;
	if (tls_identity_decode(&id, uri) && strcmp(tls_identity_encode(&id, again), uri) != 0)
		abort();
	return 0;
}

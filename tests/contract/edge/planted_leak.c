/*
 * Leaks memory of ours beside libnng's, once from main and once from a callback on libnng's thread. Proves
 * that tests/lsan.supp hides neither: it must fail, see meson.build.
 */
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

static void *volatile held;

static void planted_leak(void)
{
	held = malloc(123);
	memset(held, 1, 123);
	held = NULL;
}

static void on_timer(void *arg)
{
	planted_leak();
}

int main(int argc, char **argv)
{
	nng_socket s;
	nng_aio *aio;
	if (argc != 2 || nng_req0_open(&s) != 0 || nng_aio_alloc(&aio, on_timer, NULL) != 0)
		return 0; /* which is not what the test waits for */
	if (strcmp(argv[1], "main") == 0) {
		planted_leak();
	} else if (strcmp(argv[1], "callback") == 0) {
		nng_sleep_aio(1, aio);
		nng_aio_wait(aio);
	}
	nng_aio_free(aio);
	nng_close(s);
	return 0;
}

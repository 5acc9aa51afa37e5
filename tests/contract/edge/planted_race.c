/* A race between main and a callback on libnng's thread. Proves that ThreadSanitizer sees our side of it. */
#include <stdatomic.h>
#include <stdio.h>

#include <nng/nng.h>

static int shared;
static atomic_int done;

static void planted_race(void *arg)
{
	shared++;
	atomic_store_explicit(&done, 1, memory_order_relaxed); /* orders nothing else */
}

int main(void)
{
	nng_aio *aio;
	if (nng_aio_alloc(&aio, planted_race, NULL) != 0)
		return 0; /* which is not what the test waits for */
	nng_sleep_aio(1, aio);
	while (!atomic_load_explicit(&done, memory_order_relaxed))
		shared++;
	nng_aio_wait(aio);
	nng_aio_free(aio);
	printf("%d\n", shared);
	return 0;
}

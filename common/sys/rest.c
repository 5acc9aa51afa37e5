#include "sys/rest.h"

#include <link.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

struct rest {
	uv_timer_t timer;
	uint64_t after_ms;
};

/*
 * Of the segments that were never writable every byte is in the file. Of the others none may go: relocated
 * tables, although read-only by now, are there only in memory.
 */
static int give_back(struct dl_phdr_info *object, size_t size, void *arg)
{
	uintptr_t page = *(const uintptr_t *)arg;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &object->dlpi_phdr[i];
		if (h->p_type != PT_LOAD || (h->p_flags & PF_W) != 0)
			continue;
		uintptr_t from = (object->dlpi_addr + h->p_vaddr) & ~(page - 1);
		uintptr_t to = (object->dlpi_addr + h->p_vaddr + h->p_memsz + page - 1) & ~(page - 1);
		madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 0;
}

void rest_now(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	malloc_trim(0);
	dl_iterate_phdr(give_back, &page);
}

static void on_timer(uv_timer_t *t)
{
	rest_now();
}

struct rest *rest_open(uv_loop_t *loop, int64_t after_ms)
{
	struct rest *r = calloc(1, sizeof(*r));
	PRE(r != NULL);
	r->after_ms = (uint64_t)after_ms;
	uv_timer_init(loop, &r->timer);
	uv_unref((uv_handle_t *)&r->timer);
	r->timer.data = r;
	rest_worked(r);
	return r;
}

void rest_worked(struct rest *r)
{
	uv_timer_start(&r->timer, on_timer, r->after_ms, 0);
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

void rest_close(struct rest *r)
{
	if (r != NULL)
		uv_close((uv_handle_t *)&r->timer, on_closed);
}

#include "sys/looptime.h"

#include <stdio.h>
#include <string.h>

#include "sys/log.h"

enum { NS_PER_MS = 1000000 };

static void append(char *out, size_t cap, const char *name, uint64_t ns)
{
	size_t at = strlen(out);
	if (ns >= NS_PER_MS)
		snprintf(out + at, cap - at, "%s%s %llu ms", at > 0 ? ", " : "", name,
			 (unsigned long long)(ns / NS_PER_MS));
}

static void tell(const struct looptime *t, uint64_t busy_ns)
{
	char text[256] = "";
	uint64_t other = busy_ns;
	for (size_t i = 0; i < LOOPTIME_PARTS_MAX && t->parts[i].name != NULL; i++) {
		append(text, sizeof text, t->parts[i].name, t->parts[i].ns);
		other -= t->parts[i].ns < other ? t->parts[i].ns : other;
	}
	append(text, sizeof text, "other", other);
	log_warn("loop", "a turn took %llu ms: %s", (unsigned long long)(busy_ns / NS_PER_MS), text);
}

/* Right before the loop waits: the turn is over. */
static void prepare_cb(uv_prepare_t *handle)
{
	struct looptime *t = handle->data;
	uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(handle->loop);
	uint64_t whole = now - t->since_ns, waited = idle - t->idle_ns;
	uint64_t busy = whole > waited ? whole - waited : 0;
	if (busy / NS_PER_MS > t->longest_ms)
		t->longest_ms = busy / NS_PER_MS;
	if (busy / NS_PER_MS > t->limit_ms) {
		t->turns_over++;
		tell(t, busy);
	}
	for (size_t i = 0; i < LOOPTIME_PARTS_MAX; i++)
		t->parts[i].ns = 0;
	t->since_ns = now;
	t->idle_ns = idle;
}

void looptime_start(struct looptime *t, uv_loop_t *loop, uint64_t limit_ms)
{
	*t = (struct looptime){.limit_ms = limit_ms};
	PRE(uv_loop_configure(loop, UV_METRICS_IDLE_TIME) == 0);
	uv_prepare_init(loop, &t->prepare);
	t->prepare.data = t;
	uv_unref((uv_handle_t *)&t->prepare);
	uv_prepare_start(&t->prepare, prepare_cb);
	t->since_ns = uv_hrtime();
}

void looptime_ran(struct looptime *t, const char *name, uint64_t since_ns)
{
	size_t i = 0;
	while (i < LOOPTIME_PARTS_MAX && t->parts[i].name != NULL && strcmp(t->parts[i].name, name) != 0)
		i++;
	PRE(i < LOOPTIME_PARTS_MAX);
	t->parts[i].name = name;
	t->parts[i].ns += uv_hrtime() - since_ns;
}

void looptime_stop(struct looptime *t)
{
	uv_close((uv_handle_t *)&t->prepare, NULL);
}

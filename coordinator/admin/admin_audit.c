#include "coordinator/admin/admin_conn.h"

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 5000 };

struct audit_rows {
	struct admin_conn *c;
	struct admin_list v;
	size_t limit, seen;
};

static bool count_audit(void *arg, const struct audit_entry *e)
{
	struct audit_rows *rows = arg;
	rows->seen++;
	return true;
}

static bool add_audit(void *arg, const struct audit_entry *e)
{
	struct audit_rows *rows = arg;
	struct arena *a = &rows->c->arena;
	Admin__Audit *row = arena_new(a, Admin__Audit);
	uint8_t trace[16];
	admin__audit__init(row);
	row->index = e->index;
	row->at_ms = e->at.v;
	row->actor = arena_strdup(a, e->actor);
	row->verb = arena_strdup(a, e->verb);
	row->object = arena_strdup(a, e->object);
	row->detail = arena_strdup(a, admin_str(e->detail));
	put_u64(trace, e->trace.hi);
	put_u64(trace + 8, e->trace.lo);
	row->trace_id.data = arena_memdup(a, trace, sizeof trace);
	row->trace_id.len = sizeof trace;
	admin_bytes(rows->c, &row->chain, &e->chain);
	admin_list_add(rows->c, &rows->v, row);
	return rows->c->request->list->from == 0 || rows->v.nr < rows->limit;
}

/* Where the newest `limit` entries begin: not every log index has one, so the look-back doubles until there
 * are enough. */
static uint64_t find_start(struct audit_rows *rows)
{
	struct state *st = ADMIN_STATE(rows->c);
	uint64_t applied = state_applied(st), back = rows->limit;
	struct arena scratch;
	arena_init(&scratch);
	for (;; back *= 2) {
		rows->seen = 0;
		uint64_t from = back < applied ? applied - back + 1 : 0;
		view_each_audit(st, &scratch, from, count_audit, rows);
		arena_reset(&scratch);
		if (rows->seen >= rows->limit || from == 0) {
			arena_done(&scratch);
			return from;
		}
	}
}

void admin_audit_list(struct admin_conn *c)
{
	const Admin__ListArgs *args = c->request->list;
	struct audit_rows rows = {.c = c};
	rows.limit = args->limit == 0 ? LIMIT_DEFAULT : args->limit < LIMIT_MAX ? args->limit : LIMIT_MAX;
	view_each_audit(ADMIN_STATE(c), &c->arena, args->from ? args->from : find_start(&rows), add_audit,
			&rows);

	/* From an index: the oldest of them. Without: the newest. */
	size_t skip = !args->from && rows.v.nr > rows.limit ? rows.v.nr - rows.limit : 0;
	Admin__Audits audits = ADMIN__AUDITS__INIT;
	Admin__Reply reply = ADMIN__REPLY__INIT;
	audits.v = (Admin__Audit **)rows.v.v + skip;
	audits.n_v = rows.v.nr - skip < rows.limit ? rows.v.nr - skip : rows.limit;
	reply.body_case = ADMIN__REPLY__BODY_AUDITS;
	reply.audits = &audits;
	admin_reply(c, &reply);
	admin_done(c, 0, "%s", "");
}

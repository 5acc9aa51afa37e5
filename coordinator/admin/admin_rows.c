#include <stdlib.h>
#include <string.h>

#include "base/sm.h"
#include "coordinator/admin/admin_conn.h"
#include "coordinator/state/machines.h"

char *admin_str(const char *s)
{
	return (char *)(uintptr_t)(s ? s : "");
}

void admin_list_add(struct admin_conn *c, struct admin_list *l, void *item)
{
	if (l->nr == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		void **v = arena_array(&c->arena, void *, cap);
		if (l->nr)
			memcpy(v, l->v, l->nr * sizeof *v);
		l->v = v;
		l->cap = cap;
	}
	l->v[l->nr++] = item;
}

void admin_bytes(struct admin_conn *c, ProtobufCBinaryData *out, const struct digest *d)
{
	if (digest_none(d))
		return;
	out->len = DIGEST_LEN;
	out->data = arena_memdup(&c->arena, d->b, DIGEST_LEN);
}

Admin__Label **admin_labels(struct admin_conn *c, const struct labels *l, size_t *nr)
{
	Admin__Label **v = arena_array(&c->arena, Admin__Label *, l->nr ? l->nr : 1);
	for (size_t i = 0; i < l->nr; i++) {
		v[i] = arena_new(&c->arena, Admin__Label);
		admin__label__init(v[i]);
		v[i]->key = arena_strdup(&c->arena, l->v[i].key);
		v[i]->value = arena_strdup(&c->arena, l->v[i].value);
	}
	*nr = l->nr;
	return v;
}

enum { LABELS_MAX = 32, LABEL_VALUE_MAX = 256 };

static int label_cmp(const void *a, const void *b)
{
	return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

bool admin_labels_from(struct admin_conn *c, Admin__Label **v, size_t nr, struct labels *out)
{
	struct name checked;
	if (nr > LABELS_MAX) {
		admin_fail(c, E_TOO_LARGE, NULL, "%zu labels are more than the %d allowed", nr, LABELS_MAX);
		return false;
	}
	out->v = arena_array(&c->arena, struct label, nr ? nr : 1);
	out->nr = nr;
	for (size_t i = 0; i < nr; i++) {
		if (!admin_need_name(c, "a label", v[i]->key, &checked))
			return false;
		if (strlen(v[i]->value) > LABEL_VALUE_MAX) {
			admin_fail(c, E_TOO_LARGE, NULL, "the value of label '%s' is longer than 256 bytes",
				   v[i]->key);
			return false;
		}
		out->v[i] = (struct label){v[i]->key, v[i]->value};
	}
	qsort(out->v, nr, sizeof out->v[0], label_cmp);
	for (size_t i = 1; i < nr; i++)
		if (strcmp(out->v[i - 1].key, out->v[i].key) == 0) {
			admin_fail(c, E_INVALID, "give it once", "the label '%s' is given twice",
				   out->v[i].key);
			return false;
		}
	return true;
}

int admin_rollout_exit(const struct deployment *d, bool wanted_back)
{
	switch (d->state) {
	case ROLLOUT_SUCCEEDED:
	case ROLLOUT_DRAFT:
	case ROLLOUT_RUNNING:
	case ROLLOUT_ROLLING_BACK:
	case ROLLOUT_STATE_NR:
		return 0;
	case ROLLOUT_AWAITING_APPROVAL:
	case ROLLOUT_AWAITING_WINDOW:
	case ROLLOUT_PAUSED:
	case ROLLOUT_HELD:
		return 5;
	case ROLLOUT_ROLLED_BACK:
		return wanted_back ? 0 : 3;
	case ROLLOUT_FAILED:
	case ROLLOUT_CANCELLED:
		return 1;
	case ROLLOUT_SUPERSEDED:
		return 6;
	}
	return 1;
}

Admin__Rollout *admin_rollout_row(struct admin_conn *c, const struct deployment *d)
{
	struct arena *a = &c->arena;
	Admin__Rollout *r = arena_new(a, Admin__Rollout);
	char id[DEPLOYMENT_ID_CAP];
	admin__rollout__init(r);
	r->id = arena_strdup(a, deployment_id_text(d->id, id));
	r->app = arena_strdup(a, d->app.s);
	r->env = arena_strdup(a, d->env.s);
	r->version = arena_strdup(a, d->target.version.s);
	r->from_version = arena_strdup(a, d->from_version.s);
	admin_bytes(c, &r->target, &d->target.id);
	r->state = admin_str(sm_name(&rollout_machine, (int)d->state));
	r->reason = arena_strdup(a, d->reason ? d->reason : "");
	r->initiator = arena_strdup(a, d->initiator ? d->initiator : "");
	r->created_at_ms = d->created_at.v;
	r->state_since_ms = d->state_since.v;
	r->ended_at_ms = d->ended_at.v;
	r->back = d->back;
	r->waves_nr = d->waves_nr;
	r->hosts_nr = d->hosts_nr;
	r->serial = d->serial;
	r->terminal = sm_terminal(&rollout_machine, (int)d->state);
	r->exit_code = (uint32_t)admin_rollout_exit(d, false);
	if (d->superseded_by.v)
		r->superseded_by = arena_strdup(a, deployment_id_text(d->superseded_by, id));
	return r;
}

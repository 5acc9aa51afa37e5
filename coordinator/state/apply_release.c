/*
 * apply_release.c: releases, and bad marks lifted by a person.
 */
#include "coordinator/state/internal.h"

static void put_release(struct apply *ap, const struct release *r)
{
	struct buf b;
	struct key k = key_names(TABLE_RELEASE, &r->app, &r->version),
		   of = key_digest(TABLE_RELEASE_OF, &r->app, &r->artifact);
	buf_init(&b);
	release_encode(&b, r);
	put_raw(ap->st, &k, b.data, b.len);
	put_raw(ap->st, &of, r->version.s, NAME_CAP);
	buf_done(&b);
}

int apply_release_add(struct apply *ap)
{
	struct release row = ap->c->release, old;
	struct app app;
	char have[DIGEST_HEX_CAP], want[DIGEST_HEX_CAP];
	apply_object(ap, "release %s %s", row.app.s, row.version.s);
	if (view_app(ap->st, ap->a, &row.app, &app) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "no app is named '%s'; `wavetrain app add %s` makes it",
				    row.app.s, row.app.s);
	if (name_empty(&row.version) || digest_none(&row.artifact) || row.size_bytes == 0)
		return apply_refuse(ap, E_INVALID, "a release needs a version, a digest and a size");
	if (view_release(ap->st, ap->a, &row.app, &row.version, &old) == E_OK) {
		if (digest_eq(&old.artifact, &row.artifact))
			return E_OK;
		return apply_refuse(
			ap, E_EXISTS,
			"%s %s exists with other bytes (sha256:%.12s, not %.12s): a version is never changed",
			row.app.s, row.version.s, digest_hex(&old.artifact, have),
			digest_hex(&row.artifact, want));
	}
	row.created_at = ap->c->at;
	row.created_by = ap->c->actor;
	put_release(ap, &row);
	apply_change(ap, CHANGE_RELEASE)->app = row.app;
	return E_OK;
}

int apply_target_release(struct apply *ap)
{
	struct bad_mark mark;
	const struct name *app = &ap->c->target_release.app;
	const struct digest *target = &ap->c->target_release.target;
	apply_object(ap, "app %s", app->s);
	if (view_bad(ap->st, ap->a, app, target, &mark) != E_OK)
		return apply_refuse(ap, E_NOT_FOUND, "that target of %s is not marked bad", app->s);
	if (ap->c->reason[0] == '\0')
		return apply_refuse(ap, E_INVALID, "lifting a bad mark needs a reason");
	struct key k = key_digest(TABLE_BAD, app, target);
	ap->st->store->ops->del(ap->st->store, key_slice(&k));
	apply_object(ap, "release %s %s", app->s, mark.target.version.s);
	apply_moved(ap, app);
	apply_change(ap, CHANGE_BAD_MARK)->app = *app;
	return E_OK;
}

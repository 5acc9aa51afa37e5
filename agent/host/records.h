/*
 * records.h: a run spec as the records wavetrain-exec takes. Pure: what each says is all exec needs to know.
 * Strings that do not fit are E_TOO_LARGE, naming what; nothing is cut.
 */
#ifndef AGENT_HOST_RECORDS_H
#define AGENT_HOST_RECORDS_H

#include "agent/exec/record.h"
#include "agent/host/runspec.h"

/* Whom and what a record is about. Borrowed. */
struct records_for {
	const char *root; /* of exec, absolute */
	struct name app, host, region;
	struct fence fence;
	const struct agent_target *target;
	const struct runspec *spec;
};

void records_swap(const struct records_for *f,
		  struct exec_record *out); /* target none: `current` is removed */
must_check int records_start(const struct records_for *f, uint64_t activation, struct exec_record *out,
			     struct err *e);
void records_stop(const struct records_for *f,
		  struct exec_record *out); /* `spec` NULL: ten seconds, then KILL */
must_check int records_hook(const struct records_for *f, const struct runspec_hook *h,
			    struct exec_record *out, struct err *e);
/* `op` EXEC_DRAIN or EXEC_UNDRAIN; the spec's traffic is RUNSPEC_HAPROXY. */
must_check int records_balance(const struct records_for *f, enum exec_op op, struct exec_record *out,
			       struct err *e);

#endif

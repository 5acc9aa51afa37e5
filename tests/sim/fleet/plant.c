#include "tests/sim/fleet/plant.h"

#include <stdio.h>
#include <string.h>

#include "agent/core/planted.h"
#include "base/planted.h"
#include "tests/sim/fleet/host_internal.h"
#include "tests/sim/fleet/seeds.h"

static bool skips_fsync;

bool sim_skips_fsync(void)
{
	return skips_fsync;
}

#ifdef PLANTED_BUGS

static const struct plant {
	const char *name;
	unsigned coordinator, agent;
	bool disk;
} plants[] = {
	{"floor-off-by-one", BUG_FLOOR_OFF_BY_ONE, 0, false},
	{"lost-fence", 0, PLANTED_ACCEPT_LOWER_FENCE, false},
	{"evidence-from-the-old-version", BUG_EVIDENCE_UNCHECKED, PLANTED_EVIDENCE_FROM_OLD, false},
	{"wave-order", BUG_WAVE_ORDER, 0, false},
	{"double-dispatch-after-restart", BUG_DOUBLE_DISPATCH, 0, false},
	{"forgotten-deadline", BUG_FORGOTTEN_DEADLINE, 0, false},
	{"journal-after-effect", 0, PLANTED_JOURNAL_AFTER_EFFECT, false},
	{"skipped-fsync", 0, 0, true},
	{"retention-frees-the-rollback-target", 0, PLANTED_FREES_GOOD, false},
	{"budget-percent-rounding", BUG_BUDGET_ROUNDED_UP, 0, false},
	{"recreate-without-barrier", BUG_NO_BARRIER, 0, false},
	{"orders-forgotten", BUG_ORDERS_FORGOTTEN, 0, false},
	{"each-wave-its-own-allowance", BUG_WAVES_APART, 0, false},
	{"silent-hosts-are-free", BUG_SILENT_FREE, 0, false},
};

int plant_run(const char *name, uint64_t seeds, uint64_t start)
{
	for (size_t i = 0; i < ARRAY_LEN(plants); i++) {
		if (strcmp(plants[i].name, name) != 0)
			continue;
		planted_bugs = plants[i].coordinator;
		agent_core_planted = plants[i].agent;
		skips_fsync = plants[i].disk;
		for (uint64_t s = start; s < start + seeds; s++) {
			char violation[512];
			uint64_t steps = 0;
			int64_t ms = 0;
			seeds_run_one(s, false, violation, sizeof violation, &steps, &ms);
			if (violation[0] == '\0')
				continue;
			printf("%s: found by seed %llu: %s\n", name, (unsigned long long)s, violation);
			return 0;
		}
		printf("%s: not found within %llu seeds\n", name, (unsigned long long)seeds);
		return 1;
	}
	fprintf(stderr, "there is no planted bug '%s'\n", name);
	return 64;
}

#else

int plant_run(const char *name, uint64_t seeds, uint64_t start)
{
	fprintf(stderr, "this build has no planted bugs; use wavetrain-sim-planted\n");
	return 64;
}

#endif

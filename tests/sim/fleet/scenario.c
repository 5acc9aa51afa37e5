#include "tests/sim/fleet/scenario.h"
int scenario_run_file(const char *path, bool verbose)
{
	return 1;
}

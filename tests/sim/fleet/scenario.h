/* scenario.h: runs a story of tests/scenarios (the language is described there in README.md). 0: it went as
 * told. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "base/base.h"

int scenario_run_file(const char *path, bool verbose);

#endif

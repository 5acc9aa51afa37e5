/* plant.h: a fault is switched on and must be found. 0: found within `seeds` runs; 1: not; 64: no such fault,
 * or a build without them. */
#ifndef SIM_PLANT_H
#define SIM_PLANT_H

#include "base/base.h"

int plant_run(const char *name, uint64_t seeds, uint64_t start);

#endif

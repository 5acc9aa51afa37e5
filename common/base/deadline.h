/*
 * deadline.h: what faults around a host, which neither it nor the version can help, do to a deadline (D3).
 * Agent and coordinator count by the same rule (docs/decisions/0012).
 */
#ifndef BASE_DEADLINE_H
#define BASE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How much later it is: as long as the faults lasted, at most `cap_ms`. While one lasts that is the cap, so
 * that the deadline with it is the latest that the fault can make of it and need not be counted anew.
 */
static inline int64_t deadline_given_back_ms(int64_t faults_ms, bool one_lasts, int64_t cap_ms)
{
	return one_lasts || faults_ms > cap_ms ? cap_ms : faults_ms;
}

#endif

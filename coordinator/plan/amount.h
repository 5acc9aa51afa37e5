/*
 * amount.h: counts and shares. Every share says here how it rounds.
 */
#ifndef PLAN_AMOUNT_H
#define PLAN_AMOUNT_H

#include "coordinator/state/model.h"

uint32_t amount_up(struct amount x,
		   uint32_t n); /* share of n, rounded up, at least 1, at most n (a count too) */
uint32_t amount_down(struct amount x, uint32_t n);	  /* share of n, rounded down; may be 0 */
uint32_t amount_down_to_one(struct amount x, uint32_t n); /* the same, at least 1: nothing would ever move */

#endif

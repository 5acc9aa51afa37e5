#include "coordinator/plan/amount.h"

#include "base/planted.h"

uint32_t amount_up(struct amount x, uint32_t n)
{
	uint64_t v = x.is_share ? ((uint64_t)x.v * n + 999) / 1000 : x.v;
	if (v < 1)
		v = 1;
	return v > n ? n : (uint32_t)v;
}

uint32_t amount_down(struct amount x, uint32_t n)
{
	uint64_t up = BUG(BUG_BUDGET_ROUNDED_UP) ? 999 : 0;
	return x.is_share ? (uint32_t)(((uint64_t)x.v * n + up) / 1000) : x.v;
}

uint32_t amount_down_to_one(struct amount x, uint32_t n)
{
	uint32_t v = amount_down(x, n);
	return v < 1 ? 1 : v;
}

#include "base/planted.h"

#ifdef PLANTED_BUGS
unsigned planted_bugs;
#endif

/* machine.h: the states of a link, for link.c and its test. */
#ifndef LINK_MACHINE_H
#define LINK_MACHINE_H

#include "base/sm.h"

/*
 *   WAITING --back-off over--> DIALING --session--> SETTLING --still there--> UP
 *      ^ \                        |                  | pipe gone, call failed, too slow, asked to leave
 *      |  \--- files unreadable   v                  v
 *      +-------- closed --------CLOSING <------------+
 *
 * link_close leads from anywhere to STOPPED, through CLOSING where there is a socket.
 */
enum link_state {
	LINK_WAITING = 1,
	LINK_DIALING,
	LINK_SETTLING,
	LINK_UP,
	LINK_CLOSING,
	LINK_STOPPED,
	LINK_STATE_NR
};
extern const struct sm link_sm;

#endif

/*
 * one_agent.h: one coordinator and one agent, eu-1 on session 5, whose messages are made by hand. One at a
 * time; answers come inside the call.
 */
#ifndef TESTS_UNIT_DRIVE_ONE_AGENT_H
#define TESTS_UNIT_DRIVE_ONE_AGENT_H

#include "coordinator/drive/drive.h"
#include "proto/envelope.h"
#include "tests/lib/fleet.h"

struct one_agent {
	struct test_fleet f;
	struct events *ev;
	struct drive *drive;
	uint64_t requests;
	bool refuse;			     /* nothing is committed */
	struct command proposed;	     /* the newest; only numbers are valid after the call */
	const char *dropped;		     /* why its session was; NULL: it was not */
	void (*answered)(const envelope *e); /* may be NULL; `e` dies with the call */
};
extern struct one_agent one;

void one_agent_begin(void); /* greeted */
void one_agent_end(void);
void one_agent_drive(void); /* another coordinator on the same state and events; it greets that one */
void one_agent_send(envelope *e);
void one_agent_hello(uint64_t spool); /* 0: none */

#endif

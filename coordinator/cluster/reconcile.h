/*
 * reconcile.h: from the coordinators in the state to the members of consensus, one change at a time. Pure:
 * rows and members in, the next change out. Whether it may be made now is for consensus_member to say.
 */
#ifndef CLUSTER_RECONCILE_H
#define CLUSTER_RECONCILE_H

#include "coordinator/consensus/consensus.h"

struct reconcile_node {
	uint64_t id;
	const char *address; /* of its peer port */
	bool standby, removed;
};

struct reconcile_step {
	enum consensus_member_op op; /* 0: all is as it should be */
	uint64_t id;
	const char *address; /* for ADD */
};

/*
 * The first change that is due, by id, beginning after `after` and going round: who asks with the id of the
 * change that was refused last comes to the others too. A leader that was removed hands over the lead first,
 * as long as somebody else votes. `nodes` are ordered by id; members without a node are left alone.
 */
struct reconcile_step reconcile_next(const struct reconcile_node *nodes, size_t nodes_nr,
				     const struct consensus_member_info *members, size_t members_nr,
				     uint64_t after);

#endif

/*
 * Each rule of the guard alone: with it, what would harm is refused or corrected; without it the same thing
 * passes. The engine is a log made by hand and callbacks that write down what reaches them; only rule 1 needs
 * the real one. The simulation shows what comes of it (tests/sim/raft).
 */
#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/consensus/guard.h"
#include "coordinator/consensus/guard_conf.h"

enum { OUR_TERM = 5, ENTRIES_MAX = 8, NOW = 777 };

static struct raft raft;
static char one[] = "one", two[] = "two", three[] = "three"; /* addresses, as the engine types them */
static struct raft_io io;
static struct guard guard;
static struct raft_entry entries[ENTRIES_MAX];
static raft_io_tick_cb tick;
static raft_io_recv_cb recv_message;
static char said[512];
static struct raft_message received, sent; /* the last one each; type 0: none */
static int send_answer;			   /* what the guard answered to the engine's last send */
static struct raft_io_append *writing;	   /* the append under way */
static raft_io_append_cb writing_cb;
static struct raft_io_send *sending; /* likewise */
static raft_io_send_cb sending_cb;
static unsigned short written_type;
static struct raft_io_snapshot_put *putting; /* the snapshot under way */
static raft_io_snapshot_put_cb putting_cb;
static struct raft_snapshot written_snapshot; /* as it reached the disk */
static int role_seen;	    /* of this server, when the last message reached the engine; 0: not configured */
static raft_id leader_seen; /* likewise whom the engine took for its leader */

/* ---- the engine and its I/O ---- */

static void fatal(void *arg, const char *text)
{
	snprintf(said, sizeof said, "%s", text);
}

static void engine_answers(struct raft_message *m);

static void engine_tick(struct raft_io *of)
{
}

static void engine_recv(struct raft_io *of, struct raft_message *m)
{
	received = *m;
	role_seen = raft.configuration.n > 0 ? raft.configuration.servers[0].role : 0;
	leader_seen = raft.follower_state.current_leader.id;
	engine_answers(m);
}

static int io_start(struct raft_io *of, unsigned ms, raft_io_tick_cb t, raft_io_recv_cb r)
{
	tick = t;
	recv_message = r;
	return 0;
}

static int io_send(struct raft_io *of, struct raft_io_send *req, const struct raft_message *m,
		   raft_io_send_cb cb)
{
	sent = *m;
	sending = req;
	sending_cb = cb;
	return 0;
}

static int io_append(struct raft_io *of, struct raft_io_append *req, const struct raft_entry e[], unsigned n,
		     raft_io_append_cb cb)
{
	writing = req;
	writing_cb = cb;
	written_type = e[0].type;
	return 0;
}

static int io_truncate(struct raft_io *of, raft_index index)
{
	return 0;
}

static int io_snapshot_put(struct raft_io *of, unsigned trailing, struct raft_io_snapshot_put *req,
			   const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
	putting = req;
	putting_cb = cb;
	written_snapshot = *snapshot;
	return 0;
}

static raft_time io_time(struct raft_io *of)
{
	return NOW;
}

/* A node in term 5 whose log has these terms from index 1 on, all of it stored. */
static void begin(unsigned rules_off, unsigned short state, const raft_term *terms, unsigned nr)
{
	const struct guard_hooks hooks = {.fatal = fatal};
	raft = (struct raft){.io = &io, .id = 1, .current_term = OUR_TERM, .state = state, .last_stored = nr};
	raft.log = (struct raft_log){.entries = entries, .size = ENTRIES_MAX, .back = nr};
	for (unsigned i = 0; i < nr; i++)
		entries[i] = (struct raft_entry){.term = terms[i], .type = RAFT_COMMAND};
	io = (struct raft_io){.data = &raft,
			      .start = io_start,
			      .send = io_send,
			      .append = io_append,
			      .truncate = io_truncate,
			      .snapshot_put = io_snapshot_put,
			      .time = io_time};
	received = sent = (struct raft_message){0};
	writing = NULL;
	said[0] = '\0';
	guard_install(&guard, &raft, &hooks, rules_off);
	guard.stood = OUR_TERM; /* if it leads, then by an election */
	assert_int_equal(io.start(&io, 100, engine_tick, engine_recv), 0);
}

static void engine_sends(struct raft_message m)
{
	struct raft_io_send req = {0};
	send_answer = io.send(&io, &req, &m, NULL);
}

static void engine_writes(raft_io_append_cb then)
{
	static struct raft_io_append req;
	static uint64_t bytes[2];
	struct raft_entry e = {
		.term = OUR_TERM, .type = RAFT_COMMAND, .buf = {.base = bytes, .len = sizeof bytes}};
	assert_int_equal(io.append(&io, &req, &e, 1, then), 0);
	assert_non_null(writing);
}

static void written(void)
{
	writing_cb(writing, 0);
	writing = NULL;
}

static void no_matter(struct raft_io_append *req, int status)
{
}

/* Every test twice: with the rule it must hold, without it must not, or the test shows nothing. */
static void with_and_without(int rule, bool (*holds)(unsigned rules_off))
{
	assert_true(holds(0));
	assert_false(holds(GUARD_RULE(rule)));
}

/* ---- rules 1 and 11: the real engine, alone in its cluster, so that it leads from its start on ---- */

static int lone_init(struct raft_io *of, raft_id id, const char *address)
{
	return 0;
}

static void lone_close(struct raft_io *of, raft_io_close_cb cb)
{
	cb(of);
}

static int lone_load(struct raft_io *of, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot,
		     raft_index *start, struct raft_entry *list[], size_t *n)
{
	struct raft_configuration conf;
	*term = OUR_TERM;
	*vote = 0;
	*snapshot = NULL;
	*start = 1;
	*n = 1;
	*list = raft_calloc(1, sizeof **list);
	(*list)[0] = (struct raft_entry){.term = 1, .type = RAFT_CHANGE};
	raft_configuration_init(&conf);
	raft_configuration_add(&conf, 1, "one", RAFT_VOTER);
	raft_configuration_encode(&conf, &(*list)[0].buf);
	raft_configuration_close(&conf);
	(*list)[0].batch = (*list)[0].buf.base;
	return 0;
}

static raft_term term_on_disk; /* 0: none written */
static raft_id vote_on_disk;

static int lone_set_term(struct raft_io *of, raft_term term)
{
	term_on_disk = term;
	vote_on_disk = 0;
	return 0;
}

static int lone_set_vote(struct raft_io *of, raft_id id)
{
	vote_on_disk = id;
	return 0;
}

static int lone_random(struct raft_io *of, int min, int max)
{
	return min;
}

static void lone_closed(struct raft *r)
{
}

static void lone_start(unsigned rules_off)
{
	const struct guard_hooks hooks = {.fatal = fatal};
	static struct raft_fsm fsm = {.version = 1};
	io = (struct raft_io){.version = 1,
			      .init = lone_init,
			      .close = lone_close,
			      .load = lone_load,
			      .start = io_start,
			      .set_term = lone_set_term,
			      .set_vote = lone_set_vote,
			      .append = io_append,
			      .time = io_time,
			      .random = lone_random};
	writing = NULL;
	term_on_disk = 0;
	vote_on_disk = 0;
	assert_int_equal(raft_init(&raft, &io, &fsm, 1, "one"), 0);
	guard_install(&guard, &raft, &hooks, rules_off);
	assert_int_equal(raft_start(&raft), 0);
	assert_int_equal(raft_state(&raft), RAFT_LEADER);
	guard_started(&guard);
}

static void lone_end(void)
{
	guard_closing(&guard);
	raft_close(&raft, lone_closed);
	guard_done(&guard);
}

static bool a_barrier_is_the_first_of_a_term(unsigned rules_off)
{
	lone_start(rules_off);
	bool proposed = writing != NULL && written_type == RAFT_BARRIER;
	if (proposed)
		written();
	tick(&io);
	assert_null(writing); /* one is enough */
	lone_end();
	return proposed;
}

static void rule_1_proposes_a_barrier_at_the_start_of_a_term(void **state)
{
	with_and_without(1, a_barrier_is_the_first_of_a_term);
}

/* ---- rule 2 ---- */

static raft_index counted(unsigned rules_off, raft_term last_stored, raft_index rejected)
{
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2};
	m.append_entries_result = (struct raft_append_entries_result){
		.term = OUR_TERM, .rejected = rejected, .last_log_index = 3};
	begin(rules_off, RAFT_LEADER, (raft_term[]){1, 1, last_stored}, 3);
	recv_message(&io, &m);
	guard_done(&guard);
	assert_int_equal(received.type, RAFT_IO_APPEND_ENTRIES_RESULT);
	return received.append_entries_result.last_log_index;
}

static bool an_old_entry_is_not_counted(unsigned rules_off)
{
	rules_off |= GUARD_RULE(1); /* this engine cannot take a barrier */
	assert_int_equal(counted(rules_off, OUR_TERM, 0), 3);
	assert_int_equal(counted(rules_off, OUR_TERM - 1, 3), 3); /* rejections pass */
	return counted(rules_off, OUR_TERM - 1, 0) == 0;
}

static void rule_2_counts_successes_only_for_entries_of_its_own_term(void **state)
{
	with_and_without(2, an_old_entry_is_not_counted);
}

/* ---- rule 3 ---- */

static raft_index answered_index; /* what the engine would claim */

static void engine_answers(struct raft_message *m)
{
	struct raft_message answer = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2};
	if (answered_index == 0)
		return;
	answer.append_entries_result.last_log_index = answered_index;
	engine_sends(answer);
}

/* A heartbeat that proves index 1 reaches a follower whose log goes on to 3, perhaps otherwise than the
 * leader's. */
static void heartbeat_at_1(unsigned rules_off)
{
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1, 2, 2}, 3);
	m.append_entries = (struct raft_append_entries){
		.term = OUR_TERM, .prev_log_index = 1, .prev_log_term = 1, .leader_commit = 3};
	answered_index = 3;
	recv_message(&io, &m);
	answered_index = 0;
	guard_done(&guard);
}

static bool a_stale_tail_is_not_claimed(unsigned rules_off)
{
	heartbeat_at_1(rules_off);
	return sent.append_entries_result.last_log_index == 1;
}

static bool a_stale_tail_is_not_committed(unsigned rules_off)
{
	heartbeat_at_1(rules_off);
	return received.append_entries.leader_commit == 1;
}

static void rule_3_neither_claims_nor_commits_a_stale_tail(void **state)
{
	with_and_without(3, a_stale_tail_is_not_claimed);
	with_and_without(3, a_stale_tail_is_not_committed);
}

/* ---- rule 4 ---- */

static void answer_the_leader(struct raft_io_append *req, int status)
{
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2};
	engine_sends(m);
}

/* A follower writes what the leader of its term sent; before it is written, `term` and `leader` are so. */
static bool answered(unsigned rules_off, raft_term term, char *leader)
{
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	raft.follower_state.current_leader.address = two;
	engine_writes(answer_the_leader);
	raft.current_term = term;
	raft.follower_state.current_leader.address = leader;
	written();
	guard_done(&guard);
	assert_int_equal(send_answer, sent.type != 0 ? 0 : RAFT_NOCONNECTION);
	return sent.type != 0;
}

static bool a_late_write_is_not_answered(unsigned rules_off)
{
	assert_true(answered(rules_off, OUR_TERM, two));
	bool other_term = answered(rules_off, OUR_TERM + 1, three);
	assert_int_equal(answered(rules_off, OUR_TERM, NULL), other_term);
	return !other_term;
}

static void rule_4_answers_nobody_when_the_term_is_another_or_has_no_leader(void **state)
{
	with_and_without(4, a_late_write_is_not_answered);
}

/* ---- rule 5 ---- */

static bool a_failed_write_is_the_end(unsigned rules_off)
{
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	engine_writes(no_matter);
	writing_cb(writing, RAFT_IOERR);
	guard_done(&guard);
	return strstr(said, "cannot write the log") != NULL;
}

static void rule_5_stops_at_a_failed_write(void **state)
{
	with_and_without(5, a_failed_write_is_the_end);
}

/* ---- rule 6 ---- */

static bool elections_wait_for(unsigned rules_off, bool busy)
{
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	if (busy)
		engine_writes(no_matter);
	tick(&io);
	bool held = raft.election_timer_start == NOW;
	struct raft_message m = {.type = RAFT_IO_TIMEOUT_NOW, .server_id = 2};
	recv_message(&io, &m);
	assert_int_equal(received.type == 0, held);
	if (busy)
		written();
	guard_done(&guard);
	return held;
}

static bool elections_wait_for_writes(unsigned rules_off)
{
	assert_false(elections_wait_for(rules_off, false));
	return elections_wait_for(rules_off, true);
}

static void rule_6_holds_elections_while_writes_are_under_way(void **state)
{
	with_and_without(6, elections_wait_for_writes);
}

/* ---- rule 7 ---- */

static bool a_refused_candidate_hears_our_term(unsigned rules_off)
{
	struct raft_message m = {.type = RAFT_IO_REQUEST_VOTE_RESULT, .server_id = 2};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	m.request_vote_result =
		(struct raft_request_vote_result){.term = OUR_TERM + 1, .pre_vote = raft_tribool_true};
	engine_sends(m);
	guard_done(&guard);
	return sent.request_vote_result.term == OUR_TERM;
}

static bool a_rejection_names_what_is_committed(unsigned rules_off)
{
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1, 2, 2}, 3);
	raft.commit_index = 2;
	m.append_entries_result =
		(struct raft_append_entries_result){.term = OUR_TERM, .rejected = 9, .last_log_index = 3};
	engine_sends(m);
	guard_done(&guard);
	return sent.append_entries_result.last_log_index == 2;
}

/* Indexes 1 and 2 are in the snapshot, 3 and 4 in the log; the leader begins again at 2. */
static bool what_is_compacted_is_a_heartbeat(unsigned rules_off)
{
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){3, 4}, 2);
	raft.log.offset = 2;
	raft.log.snapshot.last_index = 2;
	raft.log.snapshot.last_term = 2;
	raft.commit_index = 4;
	m.append_entries = (struct raft_append_entries){.term = OUR_TERM,
							.prev_log_index = 1,
							.prev_log_term = 1,
							.entries = raft_calloc(1, sizeof(struct raft_entry)),
							.n_entries = 1};
	recv_message(&io, &m);
	guard_done(&guard);
	bool heartbeat = received.append_entries.n_entries == 0;
	if (heartbeat) {
		assert_int_equal(received.append_entries.prev_log_index, 4);
		assert_int_equal(received.append_entries.prev_log_term, 4);
	} else {
		raft_free(received.append_entries.entries);
	}
	return heartbeat;
}

static void rule_7_says_in_rejections_what_the_other_side_needs(void **state)
{
	with_and_without(7, a_refused_candidate_hears_our_term);
	with_and_without(7, a_rejection_names_what_is_committed);
	with_and_without(7, what_is_compacted_is_a_heartbeat);
}

/* ---- rule 9 ---- */

static bool is_heard(unsigned rules_off, raft_id link, const char *address, raft_id candidate)
{
	struct raft_server servers[] = {{.id = 1, .address = one, .role = RAFT_VOTER},
					{.id = 2, .address = two, .role = RAFT_VOTER}};
	struct raft_message m = {.type = RAFT_IO_REQUEST_VOTE, .server_id = link, .server_address = address};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	raft.configuration = (struct raft_configuration){.servers = servers, .n = 2};
	m.request_vote = (struct raft_request_vote){.term = OUR_TERM + 1, .candidate_id = candidate};
	recv_message(&io, &m);
	guard_done(&guard);
	return received.type != 0;
}

static bool pretenders_are_not_heard(unsigned rules_off)
{
	assert_true(is_heard(rules_off, 2, two, 2));
	assert_true(is_heard(rules_off, 3, three, 3)); /* not configured here: the engine decides */
	bool for_another = is_heard(rules_off, 2, two, 1);
	assert_int_equal(is_heard(rules_off, 2, "elsewhere", 2), for_another);
	return !for_another;
}

static void rule_9_hears_a_peer_only_for_itself_and_from_its_address(void **state)
{
	with_and_without(9, pretenders_are_not_heard);
}

/* ---- rule 10 ---- */

static bool says_for_length(unsigned rules_off, size_t len)
{
	static uint64_t bytes[2];
	struct raft_io_append req = {0};
	struct raft_entry e = {.term = OUR_TERM, .type = RAFT_COMMAND, .buf = {.base = bytes, .len = len}};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	assert_int_equal(io.append(&io, &req, &e, 1, no_matter), 0);
	written();
	guard_done(&guard);
	return strstr(said, "not padded") != NULL;
}

static bool an_unpadded_entry_is_not_written(unsigned rules_off)
{
	assert_false(says_for_length(rules_off, 16));
	return says_for_length(rules_off, 13);
}

static void rule_10_writes_no_entry_that_would_be_read_wrong(void **state)
{
	with_and_without(10, an_unpadded_entry_is_not_written);
}

/* ---- rule 11: the lone real engine again ---- */

static bool the_only_voter_leads_in_a_new_term(unsigned rules_off)
{
	lone_start(rules_off);
	bool fresh = raft.current_term == OUR_TERM + 1;
	assert_int_equal(term_on_disk, fresh ? OUR_TERM + 1 : 0);
	assert_int_equal(vote_on_disk, fresh ? 1 : 0);
	written();
	tick(&io);
	assert_int_equal(raft.current_term, fresh ? OUR_TERM + 1 : OUR_TERM); /* once */
	lone_end();
	return fresh;
}

static void rule_11_begins_a_term_when_the_only_voter_leads(void **state)
{
	with_and_without(11, the_only_voter_leads_in_a_new_term);
}

/* ---- rules 12 and 13: who votes ---- */

static struct raft_server members[] = {{.id = 1, .address = one, .role = RAFT_VOTER},
				       {.id = 2, .address = two, .role = RAFT_VOTER},
				       {.id = 3, .address = three, .role = RAFT_VOTER}};

static void configured(raft_index index, int role_of_2)
{
	struct raft_configuration conf = {.servers = members, .n = ARRAY_LEN(members)};
	members[1].role = role_of_2;
	assert_true(guard_conf_put_decoded(&guard, index, &conf));
	members[1].role = RAFT_VOTER;
}

static void take_no_notice(struct raft_io_send *req, int status)
{
}

/* A leader has a command at 1 and at 2 the change that demotes server 2; how many of the two does `to` get?
 */
static unsigned gets(unsigned rules_off, raft_id to, raft_index stored, raft_index committed)
{
	struct raft_entry both[] = {{.term = OUR_TERM, .type = RAFT_COMMAND},
				    {.term = OUR_TERM, .type = RAFT_CHANGE}};
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = to};
	struct raft_io_send req = {0};
	begin(rules_off, RAFT_LEADER, (raft_term[]){OUR_TERM, OUR_TERM}, 2);
	configured(1, RAFT_VOTER);
	configured(2, RAFT_STANDBY);
	raft.last_stored = stored;
	raft.commit_index = committed;
	m.append_entries = (struct raft_append_entries){.term = OUR_TERM, .entries = both, .n_entries = 2};
	assert_int_equal(io.send(&io, &req, &m, take_no_notice), 0);
	sending_cb(sending, 0);
	guard_done(&guard);
	return sent.append_entries.n_entries;
}

static bool a_change_waits_for_the_leaders_disk(unsigned rules_off)
{
	assert_int_equal(gets(rules_off, 3, 2, 1), 2);
	return gets(rules_off, 3, 1, 0) == 1;
}

static bool a_demotion_waits_until_it_is_committed(unsigned rules_off)
{
	assert_int_equal(gets(rules_off, 2, 2, 2), 2);
	return gets(rules_off, 2, 2, 1) == 1;
}

static void rule_12_sends_a_change_only_when_nobody_can_be_left_alone_with_it(void **state)
{
	with_and_without(12, a_change_waits_for_the_leaders_disk);
	with_and_without(12, a_demotion_waits_until_it_is_committed);
}

/* The leader was last heard of `ago` ms ago; whom does the engine see as leader when it is asked to vote? */
static void asked_to_vote(unsigned rules_off, unsigned ago)
{
	struct raft_server self[] = {{.id = 1, .address = one, .role = RAFT_STANDBY}};
	struct raft_message m = {.type = RAFT_IO_REQUEST_VOTE, .server_id = 2};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	raft.configuration = (struct raft_configuration){.servers = self, .n = 1};
	raft.follower_state.current_leader.id = 2;
	raft.follower_state.current_leader.address = two;
	raft.election_timeout = 500;
	raft.election_timer_start = NOW - ago;
	m.request_vote = (struct raft_request_vote){.term = OUR_TERM + 1, .candidate_id = 2};
	recv_message(&io, &m);
	guard_done(&guard);
	assert_int_equal(self[0].role, RAFT_STANDBY);
	assert_int_equal(raft.follower_state.current_leader.id, 2);
}

static bool who_has_no_vote_is_asked_for_one(unsigned rules_off)
{
	asked_to_vote(rules_off, 100);
	assert_int_equal(leader_seen, 2); /* it is still there */
	asked_to_vote(rules_off, 500);
	assert_int_equal(leader_seen == 0, role_seen == RAFT_VOTER);
	return role_seen == RAFT_VOTER;
}

static void rule_13_votes_whatever_its_own_configuration_says(void **state)
{
	with_and_without(13, who_has_no_vote_is_asked_for_one);
}

/* ---- rule 8 ---- */

static void not_interested(struct raft_io_snapshot_put *req, int status)
{
}

static void engine_puts(unsigned trailing, raft_index index, raft_index conf_index)
{
	static struct raft_io_snapshot_put req;
	const struct raft_snapshot s = {.index = index, .term = 1, .configuration_index = conf_index};
	assert_int_equal(io.snapshot_put(&io, trailing, &req, &s, not_interested), 0);
}

/* Of the changes at 1 and 3 the second is not committed when a snapshot to 2 is taken. */
static bool a_snapshot_holds_what_is_committed(unsigned rules_off)
{
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1, 1, 1}, 3);
	configured(1, RAFT_VOTER);
	configured(3, RAFT_STANDBY);
	engine_puts(10, 2, 3);
	bool holds = written_snapshot.configuration_index == 1;
	putting_cb(putting, 0);
	guard_done(&guard);
	return holds;
}

static bool a_snapshot_of_the_leader_ends_what_was_uncommitted(unsigned rules_off)
{
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1, 1, 1}, 3);
	raft.configuration_uncommitted_index = 3;
	engine_puts(0, 2, 1);
	putting_cb(putting, 0);
	guard_done(&guard);
	return raft.configuration_uncommitted_index == 0;
}

static void rule_8_knows_which_configuration_is_committed(void **state)
{
	with_and_without(8, a_snapshot_holds_what_is_committed);
	with_and_without(8, a_snapshot_of_the_leader_ends_what_was_uncommitted);
}

/* ---- rule 14 ---- */

static unsigned reaches_the_log_of(raft_index prev)
{
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2};
	m.append_entries = (struct raft_append_entries){.term = OUR_TERM,
							.prev_log_index = prev,
							.prev_log_term = 1,
							.entries = raft_calloc(1, sizeof(struct raft_entry)),
							.n_entries = 1};
	recv_message(&io, &m);
	if (received.append_entries.entries)
		raft_free(received.append_entries.entries);
	return received.append_entries.n_entries;
}

/* Index 2 is on its way to the disk, or to server 3, when the log drops it. */
static bool what_is_held_does_not_come_again(unsigned rules_off)
{
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1, OUR_TERM}, 2);
	engine_writes(no_matter);
	assert_int_equal(reaches_the_log_of(1), 1); /* held, but not dropped */
	assert_int_equal(io.truncate(&io, 2), 0);
	raft.log.back = 1;
	assert_int_equal(reaches_the_log_of(2), 1); /* another index */
	bool waits = reaches_the_log_of(1) == 0;
	written();
	assert_int_equal(reaches_the_log_of(1), 1);
	guard_done(&guard);
	return waits;
}

static bool what_is_being_sent_does_not_come_again(unsigned rules_off)
{
	struct raft_entry e = {.term = OUR_TERM, .type = RAFT_COMMAND};
	struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 3};
	struct raft_io_send req = {0};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1, OUR_TERM}, 2);
	m.append_entries = (struct raft_append_entries){.prev_log_index = 1, .entries = &e, .n_entries = 1};
	assert_int_equal(io.send(&io, &req, &m, take_no_notice), 0);
	assert_int_equal(io.truncate(&io, 2), 0);
	bool waits = reaches_the_log_of(1) == 0;
	sending_cb(sending, 0);
	assert_int_equal(reaches_the_log_of(1), 1);
	guard_done(&guard);
	return waits;
}

static void rule_14_lets_no_entry_return_while_it_is_held(void **state)
{
	with_and_without(14, what_is_held_does_not_come_again);
	with_and_without(14, what_is_being_sent_does_not_come_again);
}

/* ---- rule 15 ---- */

static bool a_snapshot_that_fell_is_refused_afterwards(unsigned rules_off)
{
	struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT, .server_id = 2};
	begin(rules_off, RAFT_FOLLOWER, (raft_term[]){1}, 1);
	raft.follower_state.current_leader.id = 2;
	raft.follower_state.current_leader.address = two;
	raft.snapshot.pending.term = 1; /* our own is being written */
	m.install_snapshot = (struct raft_install_snapshot){.term = OUR_TERM, .last_index = 70};
	recv_message(&io, &m);
	assert_int_equal(sent.type, 0);
	raft.snapshot.pending.term = 0;
	tick(&io);
	bool refused = sent.type == RAFT_IO_APPEND_ENTRIES_RESULT;
	if (refused) {
		assert_int_equal(sent.append_entries_result.rejected, 70);
		sending_cb(sending, 0);
	}
	sent.type = 0;
	tick(&io);
	assert_int_equal(sent.type, 0); /* once */
	guard_done(&guard);
	return refused;
}

static void rule_15_refuses_a_snapshot_that_came_at_the_wrong_time(void **state)
{
	with_and_without(15, a_snapshot_that_fell_is_refused_afterwards);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rule_1_proposes_a_barrier_at_the_start_of_a_term),
		cmocka_unit_test(rule_2_counts_successes_only_for_entries_of_its_own_term),
		cmocka_unit_test(rule_3_neither_claims_nor_commits_a_stale_tail),
		cmocka_unit_test(rule_4_answers_nobody_when_the_term_is_another_or_has_no_leader),
		cmocka_unit_test(rule_5_stops_at_a_failed_write),
		cmocka_unit_test(rule_6_holds_elections_while_writes_are_under_way),
		cmocka_unit_test(rule_7_says_in_rejections_what_the_other_side_needs),
		cmocka_unit_test(rule_8_knows_which_configuration_is_committed),
		cmocka_unit_test(rule_9_hears_a_peer_only_for_itself_and_from_its_address),
		cmocka_unit_test(rule_10_writes_no_entry_that_would_be_read_wrong),
		cmocka_unit_test(rule_11_begins_a_term_when_the_only_voter_leads),
		cmocka_unit_test(rule_12_sends_a_change_only_when_nobody_can_be_left_alone_with_it),
		cmocka_unit_test(rule_13_votes_whatever_its_own_configuration_says),
		cmocka_unit_test(rule_14_lets_no_entry_return_while_it_is_held),
		cmocka_unit_test(rule_15_refuses_a_snapshot_that_came_at_the_wrong_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Every verb in every state, through the fold: what the table says is what happens, what it refuses changes
 * no row, and said twice is said once. The cells come from the tables; a state or verb added there is tested
 * here.
 */
#include "tests/lib/test.h"
#include "coordinator/state/codec.h"
#include "coordinator/state/keys.h"
#include "coordinator/state/machines.h"
#include "tests/lib/fleet.h"

#include <openssl/sha.h>

enum { ID = 0x7f00 };

static const char *const regions[] = {"eu", "us"};
static struct test_fleet f;

/* ---- a rollout in any state ---- */

static void put(const struct key *k, const struct buf *b)
{
	f.store->ops->put(f.store, key_slice(k), (struct store_slice){b->data, b->len});
}

static void put_deployment(const struct deployment *d)
{
	struct key k = key_id(TABLE_DEPLOYMENT, d->id);
	struct buf b;
	buf_init(&b);
	deployment_encode(&b, d);
	put(&k, &b);
	buf_done(&b);
}

static void put_wave_state(uint32_t index, enum wave_state state)
{
	struct key k = key_id(TABLE_WAVE, (struct deployment_id){ID});
	struct wave w;
	struct buf b;
	assert_int_equal(view_wave(f.st, &f.a, (struct deployment_id){ID}, index, &w), E_OK);
	w.state = state;
	w.promoted = 0;
	key_u32(&k, index);
	buf_init(&b);
	wave_encode(&b, &w);
	put(&k, &b);
	buf_done(&b);
}

static void put_task_state(const char *host, enum task_state state, enum direction dir)
{
	struct task t = test_fleet_task(&f, ID, host);
	struct key k = key_id(TABLE_TASK, t.deployment);
	struct buf b;
	t.state = state;
	t.direction = dir;
	t.touched = state != TASK_QUEUED;
	t.seq = t.touched;
	key_u32(&k, t.wave);
	key_u32(&k, t.position);
	buf_init(&b);
	task_encode(&b, &t);
	put(&k, &b);
	buf_done(&b);
}

/* Wave 1 has failed, wave 2 bakes; a host of each fate. The states that no command leads to yet are written.
 */
static void begin(enum rollout_state state, bool back)
{
	test_fleet_init(&f);
	test_fleet_shop(&f);
	test_fleet_host(&f, "eu-1", "eu");
	test_fleet_host(&f, "eu-2", "eu");
	test_fleet_host(&f, "us-1", "us");
	test_fleet_host(&f, "us-2", "us");
	assert_int_equal(test_fleet_deploy(&f, ID, "shop", "1.0", regions, 2), E_OK);
	put_wave_state(0, WAVE_FAILED);
	put_wave_state(1, WAVE_BAKING);
	enum direction dir = back ? DIRECTION_BACK : DIRECTION_FORWARD;
	put_task_state("eu-1", TASK_FAILED, dir);
	put_task_state("eu-2", TASK_LOST, dir);
	put_task_state("us-1", back ? TASK_REVERTED : TASK_HEALTHY, dir);
	struct deployment d = test_fleet_deployment(&f, ID);
	d.state = state;
	d.back = back;
	d.resume_to = back ? ROLLOUT_ROLLING_BACK : ROLLOUT_RUNNING;
	put_deployment(&d);
}

static void end(void)
{
	test_fleet_done(&f);
}

static bool may_be_back(enum rollout_state s)
{
	return s >= ROLLOUT_PAUSED && s != ROLLOUT_SUCCEEDED && s != ROLLOUT_SUPERSEDED;
}

static bool may_be_forward(enum rollout_state s)
{
	return s != ROLLOUT_ROLLING_BACK && s != ROLLOUT_ROLLED_BACK;
}

/* ---- what is compared: all that is not the log's own bookkeeping ---- */

static bool is_fact(uint8_t table)
{
	return table != TABLE_META && table != TABLE_AUDIT && table != TABLE_MOVED;
}

static struct digest facts(void)
{
	struct key at = {.n = 0};
	struct store_slice key, value;
	struct digest out;
	struct buf b;
	buf_init(&b);
	while (f.store->ops->seek(f.store, key_slice(&at), &key, &value)) {
		at = key_after(key);
		if (!is_fact(key.p[0]))
			continue;
		buf_put(&b, key.p, key.n);
		buf_put(&b, value.p, value.n);
	}
	SHA256(b.data, b.len, out.b);
	buf_done(&b);
	return out;
}

static bool same(const struct digest *a)
{
	struct digest now = facts();
	return digest_eq(a, &now);
}

static int say(enum verb v)
{
	struct command c = {.kind = COMMAND_VERB, .verb = {.deployment = {ID}, .verb = v, .wave = 1}};
	f.now.v += 1000; /* said later: no time of a row may move by saying it again */
	return test_fleet_apply(&f, &c);
}

/* ---- verb x rollout state ---- */

static void check_rule(enum verb v, const struct verb_rule *r, enum rollout_state before,
		       const struct digest *rows)
{
	int rc = say(v);
	enum rollout_state after = test_fleet_deployment(&f, ID).state;
	if (r->effect == VERB_MOVES) {
		assert_int_equal(rc, E_OK);
		assert_int_equal(after, r->to != 0 ? r->to : before);
		assert_false(same(rows)); /* it has moved, or a field has changed */
		return;
	}
	assert_int_equal(rc, r->effect == VERB_NOTHING ? E_OK : E_CONFLICT);
	assert_string_equal(f.reply.text, r->text);
	assert_int_equal(after, before);
	assert_true(same(rows));
}

/* The answer to the second time: never an error when the first time was none. */
static void check_again(enum verb v, int first)
{
	struct digest rows = facts();
	size_t moves = 0;
	int rc = say(v);
	assert_int_equal(rc, first);
	assert_true(same(&rows));
	for (size_t i = 0; i < f.changes.nr; i++)
		moves += f.changes.v[i].from != f.changes.v[i].to;
	assert_int_equal(moves, 0);
}

static void cell(enum verb v, enum rollout_state s, bool back)
{
	begin(s, back);
	struct deployment d = test_fleet_deployment(&f, ID);
	struct verb_rule r = verb_rule(v, &d);
	struct digest rows = facts();
	check_rule(v, &r, s, &rows);
	check_again(v, f.reply.code);
	check_again(v, f.reply.code);
	end();
}

static void every_verb_in_every_state_is_what_the_table_says_and_twice_is_once(void **state)
{
	size_t cells = 0;
	for (int v = VERB_PAUSE; v < VERB_NR; v++)
		for (int s = ROLLOUT_DRAFT; s < ROLLOUT_STATE_NR; s++)
			for (int back = 0; back < 2; back++) {
				bool exists = back ? may_be_back((enum rollout_state)s)
						   : may_be_forward((enum rollout_state)s);
				if (!exists)
					continue;
				cell((enum verb)v, (enum rollout_state)s, back);
				cells++;
			}
	assert_true(cells >= (size_t)(VERB_NR - 1) * (ROLLOUT_STATE_NR - 1));
}

static void an_unknown_rollout_is_not_found_by_any_verb(void **state)
{
	begin(ROLLOUT_RUNNING, false);
	for (int v = VERB_PAUSE; v < VERB_NR; v++) {
		struct command c = {.kind = COMMAND_VERB, .verb = {.deployment = {1}, .verb = (enum verb)v}};
		assert_int_equal(test_fleet_apply(&f, &c), E_NOT_FOUND);
	}
	end();
}

/* ---- verb x wave state: promote ends a bake, retry lets a failed wave roll ---- */

static enum wave_state wave_state(uint32_t index)
{
	struct wave w;
	assert_int_equal(view_wave(f.st, &f.a, (struct deployment_id){ID}, index, &w), E_OK);
	return w.state;
}

static uint32_t wave_promoted(uint32_t index)
{
	struct wave w;
	assert_int_equal(view_wave(f.st, &f.a, (struct deployment_id){ID}, index, &w), E_OK);
	return w.promoted;
}

static void promote_of_every_wave_state(void **state)
{
	for (int s = WAVE_PENDING; s < WAVE_STATE_NR; s++) {
		begin(ROLLOUT_RUNNING, false);
		put_wave_state(1, (enum wave_state)s);
		struct digest rows = facts();
		int want = s == WAVE_BAKING || s == WAVE_PASSED ? E_OK : E_CONFLICT;
		assert_int_equal(say(VERB_PROMOTE), want);
		assert_int_equal(wave_promoted(1), s == WAVE_BAKING);
		assert_int_equal(same(&rows), s != WAVE_BAKING);
		check_again(VERB_PROMOTE, want);
		end();
	}
}

static void retry_of_every_wave_state(void **state)
{
	for (int s = WAVE_PENDING; s < WAVE_STATE_NR; s++) {
		begin(ROLLOUT_HELD, false);
		put_wave_state(1, (enum wave_state)s);
		assert_int_equal(say(VERB_RETRY), E_OK);
		assert_int_equal(wave_state(1), s == WAVE_FAILED ? WAVE_ROLLING : s);
		check_again(VERB_RETRY, E_OK);
		end();
	}
}

/* ---- verb x task state: retry takes what failed or was lost, and nothing else ---- */

static void retry_of_every_task_state(void **state)
{
	for (int s = TASK_QUEUED; s < TASK_STATE_NR; s++)
		for (int back = 0; back < 2; back++) {
			bool taken = s == TASK_FAILED || s == TASK_LOST;
			enum direction dir = back ? DIRECTION_BACK : DIRECTION_FORWARD;
			begin(ROLLOUT_HELD, back);
			put_task_state("us-2", (enum task_state)s, dir);
			assert_int_equal(say(VERB_RETRY), E_OK);
			struct task t = test_fleet_task(&f, ID, "us-2");
			assert_int_equal(t.state, taken && !back ? TASK_QUEUED : s);
			/* on the way back: free to be taken back anew */
			assert_int_equal(t.direction, taken ? DIRECTION_FORWARD : dir);
			check_again(VERB_RETRY, E_OK);
			end();
		}
}

/* No other verb touches a task or a wave: a host goes on with what it was told. */
static void only_retry_and_promote_touch_tasks_and_waves(void **state)
{
	static const enum verb verbs[] = {VERB_PAUSE, VERB_RESUME, VERB_ABORT, VERB_PROMOTE_FULL,
					  VERB_ROLLBACK};
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		for (int s = TASK_QUEUED; s < TASK_STATE_NR; s++) {
			begin(verbs[i] == VERB_RESUME ? ROLLOUT_PAUSED : ROLLOUT_RUNNING, false);
			put_task_state("us-2", (enum task_state)s, DIRECTION_FORWARD);
			assert_int_equal(say(verbs[i]), E_OK);
			assert_int_equal(test_fleet_task(&f, ID, "us-2").state, s);
			assert_int_equal(wave_state(0), WAVE_FAILED);
			assert_int_equal(wave_state(1), WAVE_BAKING);
			for (size_t k = 0; k < f.changes.nr; k++)
				assert_int_equal(f.changes.v[k].kind, CHANGE_DEPLOYMENT);
			end();
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_in_every_state_is_what_the_table_says_and_twice_is_once),
		cmocka_unit_test(an_unknown_rollout_is_not_found_by_any_verb),
		cmocka_unit_test(promote_of_every_wave_state),
		cmocka_unit_test(retry_of_every_wave_state),
		cmocka_unit_test(retry_of_every_task_state),
		cmocka_unit_test(only_retry_and_promote_touch_tasks_and_waves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

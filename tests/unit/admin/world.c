#include "tests/unit/admin/world.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "coordinator/admin/commands_frame.h"
#include "coordinator/state/machines.h"

/* ---- events, as drive makes them ---- */

static void tell(struct world *w)
{
	for (size_t i = 0; i < w->f.changes.nr; i++) {
		const struct change *c = &w->f.changes.v[i];
		const struct sm *m = c->kind == CHANGE_DEPLOYMENT ? &rollout_machine
				     : c->kind == CHANGE_WAVE	  ? &wave_machine
								  : &task_machine;
		struct event e = {.at = w->f.now,
				  .app = c->app,
				  .host = c->host,
				  .deployment = c->deployment,
				  .wave = c->wave};
		if (c->kind != CHANGE_DEPLOYMENT && c->kind != CHANGE_WAVE && c->kind != CHANGE_TASK)
			continue;
		e.kind = c->kind == CHANGE_DEPLOYMENT ? EVENT_ROLLOUT
			 : c->kind == CHANGE_WAVE     ? EVENT_WAVE
						      : EVENT_TASK;
		snprintf(e.to, sizeof e.to, "%s", sm_name(m, c->to));
		snprintf(e.text, sizeof e.text, "%s", c->reason ? c->reason : "");
		events_add(w->events, &e);
	}
}

/* ---- the backend ---- */

static struct state *get_state(void *b)
{
	return ((struct world *)b)->f.st;
}

static struct wall_ms get_now(void *b)
{
	return ((struct world *)b)->f.now;
}

struct answer {
	uv_timer_t timer;
	admin_done_fn *done;
	void *arg;
	struct command_reply reply;
	char text[256];
};

static void free_answer(uv_handle_t *h)
{
	free(h->data);
}

static void on_answer(uv_timer_t *t)
{
	struct answer *a = t->data;
	a->done(a->arg, &a->reply);
	uv_close((uv_handle_t *)t, free_answer);
}

static void propose(void *b, const struct command *c, admin_done_fn *done, void *arg)
{
	struct world *w = b;
	struct command copy = *c;
	struct answer *a = calloc(1, sizeof *a);
	w->proposed++;
	if (w->propose_code == E_OK) {
		test_fleet_apply(&w->f, &copy);
		tell(w);
		a->reply = w->f.reply;
		snprintf(a->text, sizeof a->text, "%s", w->f.reply.text ? w->f.reply.text : "");
	} else {
		a->reply.code = w->propose_code;
	}
	a->reply.text = a->text;
	a->done = done;
	a->arg = arg;
	a->timer.data = a;
	uv_timer_init(&w->loop, &a->timer);
	uv_timer_start(&a->timer, on_answer, w->hold ? 300 : 0, 0);
}

struct planner {
	struct world *w;
	struct arena *a;
	struct wave waves[8];
	struct task tasks[64];
	size_t waves_nr, tasks_nr;
};

static bool plan_host(void *arg, const struct host *h)
{
	struct planner *p = arg;
	size_t i = 0;
	while (i < p->waves_nr && !name_eq(&p->waves[i].region, &h->region))
		i++;
	if (i == p->waves_nr) {
		p->waves[i] = (struct wave){.index = (uint32_t)i, .region = h->region, .state = WAVE_PENDING};
		p->waves[i].after = i ? 1ull << (i - 1) : 0;
		p->waves_nr++;
	}
	p->tasks[p->tasks_nr] = (struct task){.host = h->name,
					      .wave = (uint32_t)i,
					      .position = (uint32_t)p->tasks_nr,
					      .state = TASK_QUEUED};
	p->tasks_nr++;
	return true;
}

/* The digest is that of the fleet's size: adding a host makes another plan. */
static int plan(void *b, struct arena *a, const struct admin_plan_request *rq, struct command_deploy *out,
		struct admin_plan_text *why)
{
	static const char *changes[] = {"~ run.health.timeout   60s -> 90s"};
	struct world *w = b;
	struct planner *p = arena_new(a, struct planner);
	if (rq->spec_len >= 4 && memcmp(rq->spec, "oops", 4) == 0) {
		why->error = "the file is wrong";
		why->hint = "wavetrain lint";
		return E_SPEC;
	}
	view_each_host(w->f.st, a, plan_host, p);
	out->deployment = (struct deployment){
		.id = {rq->id.v ? rq->id.v : 0x7f3a000000000001},
		.app = rq->app,
		.env = rq->env,
		.target = test_target(rq->version.s),
		.state = ROLLOUT_RUNNING,
		.initiator = rq->initiator,
		.limits = {.batch = {.v = 1}, .unavailable = {.v = 1}, .auto_rollback = true}};
	out->spec = "{}";
	out->spec_len = 2;
	out->plan.b[0] = (uint8_t)p->tasks_nr;
	out->waves = p->waves;
	out->waves_nr = p->waves_nr;
	out->tasks = p->tasks;
	out->tasks_nr = p->tasks_nr;
	why->changes = changes;
	why->changes_nr = 1;
	why->severe = w->severe;
	return E_OK;
}

static void soft(void *b, struct arena *a, const struct name *host, const struct name *app,
		 struct admin_soft *out)
{
	out->seen = true;
	out->last_poll_age_ms = 1500;
	out->agent_version = "0.1.0";
	out->has_app = app != NULL;
	out->health = "healthy";
	out->note = "2/3 passes";
	out->step = "probing";
}

static void explain(void *b, struct arena *a, struct deployment_id id, admin_line_fn *each, void *arg)
{
	each(arg, "wave 1: eu-1 is not healthy yet");
}

static int issue(void *b, struct arena *a, const struct name *host, uint64_t generation,
		 struct admin_file **files, size_t *nr, struct err *e)
{
	const struct world *w = b;
	if (w->issue_code != E_OK)
		return err_set(e, w->issue_code, "the CA key cannot be read");
	*files = arena_array(a, struct admin_file, 1);
	(*files)[0] = (struct admin_file){"agent.key", 0600, (const uint8_t *)"secret", 6};
	*nr = 1;
	return E_OK;
}

static int upload_begin(void *b, const struct admin_release_meta *m, void **upload, uint64_t *offset,
			struct err *e)
{
	struct world *w = b;
	*upload = w;
	*offset = w->upload.len;
	return E_OK;
}

static int upload_data(void *b, void *upload, const uint8_t *p, size_t n, struct err *e)
{
	struct world *w = b;
	if (w->upload_limit && w->upload.len + n > w->upload_limit)
		return err_set(e, E_NO_SPACE, "the store is full");
	buf_put(&w->upload, p, n);
	return E_OK;
}

static void upload_finish(void *b, void *upload, const struct release *release, admin_uploaded_fn *done,
			  void *arg)
{
	struct world *w = b;
	struct err e = {0};
	struct release whole = *release;
	w->finished++;
	memset(whole.artifact.b, 7, DIGEST_LEN);
	whole.size_bytes = w->upload.len;
	whole.type = "tar.gz";
	done(arg, E_OK, &whole, &e);
}

static void upload_cancel(void *b, void *upload)
{
	((struct world *)b)->cancelled++;
}

static void copies(void *b, const struct digest *d, unsigned *known, unsigned *of)
{
	const struct world *w = b;
	*known = w->copies;
	*of = w->coordinators;
}

/* ---- the cluster ---- */

static const char *follows(void *b, struct arena *a)
{
	return ((struct world *)b)->follows;
}

static void cluster(void *b, struct arena *a, struct admin_cluster *out)
{
	const struct world *w = b;
	unsigned voters = w->voters ? w->voters : 3;
	struct admin_node *v = arena_array(a, struct admin_node, 3);
	for (unsigned i = 0; i < 3; i++)
		v[i] = (struct admin_node){.id = i + 1,
					   .role = i < voters ? "voter" : "standby",
					   .address = "c.example:7702",
					   .version = "0.1.0",
					   .waits = i < voters ? "" : "coordinator 3 is silent",
					   .self = i == 0,
					   .leader = i == 0 && !w->follows,
					   .lag = i,
					   .silent_ms = i ? 20 : UINT64_MAX};
	*out = (struct admin_cluster){.v = v,
				      .nr = 3,
				      .name = "prod",
				      .self = 1,
				      .leader = w->follows ? 2 : 1,
				      .term = 4,
				      .applied = 9};
}

static int token(void *b, struct arena *a, struct digest *secret, const char **text, struct err *e)
{
	*secret = (struct digest){.b = {0xab, 0xcd, (uint8_t)((struct world *)b)->proposed}};
	*text = "wtj1.the-secret";
	return E_OK;
}

static void on_handed_over(uv_timer_t *t)
{
	struct answer *a = t->data;
	a->done(a->arg, &a->reply);
	uv_close((uv_handle_t *)t, free_answer);
}

static int transfer(void *b, uint64_t id, admin_done_fn *done, void *arg, struct err *e)
{
	struct world *w = b;
	struct answer *a;
	if (id == 1)
		return err_set(e, E_CONFLICT, "coordinator 1 leads already");
	a = calloc(1, sizeof *a);
	PRE(a);
	*a = (struct answer){.done = done, .arg = arg, .reply = {.code = w->transfer_code, .text = ""}};
	a->timer.data = a;
	uv_timer_init(&w->loop, &a->timer);
	uv_timer_start(&a->timer, on_handed_over, 0, 0);
	return E_OK;
}

static const struct admin_backend_ops ops = {
	.state = get_state,
	.propose = propose,
	.now = get_now,
	.plan = plan,
	.soft = soft,
	.explain = explain,
	.issue_bundle = issue,
	.upload_begin = upload_begin,
	.upload_data = upload_data,
	.upload_finish = upload_finish,
	.upload_cancel = upload_cancel,
	.copies = copies,
	.follows = follows,
	.cluster = cluster,
	.token = token,
	.transfer = transfer,
};

static enum role role_of(void *b, uid_t uid, gid_t gid)
{
	return ((struct world *)b)->role;
}

/* ---- life ---- */

static void open_server(struct world *w)
{
	struct err e = {0};
	struct admin_config config = {.path = w->path,
				      .gid = w->gid,
				      .ops = &ops,
				      .backend = w,
				      .events = w->events,
				      .role = w->real_roles ? NULL : role_of};
	PRE(admin_open(&w->loop, &config, &w->admin, &e) == E_OK);
}

static void init(struct world *w, bool real_roles, gid_t gid)
{
	const char *tmp = getenv("TMPDIR");
	memset(w, 0, sizeof *w);
	signal(SIGPIPE, SIG_IGN);
	test_fleet_init(&w->f);
	buf_init(&w->upload);
	w->role = ROLE_ADMIN;
	w->real_roles = real_roles;
	w->gid = gid;
	snprintf(w->dir, sizeof w->dir, "%.40s/wt-admin-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	PRE(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/admin.sock", w->dir);
	PRE(uv_loop_init(&w->loop) == 0);
	w->events = events_new(64, 1);
	open_server(w);
}

void world_init(struct world *w)
{
	init(w, false, (gid_t)-1);
}

void world_init_real(struct world *w, gid_t gid)
{
	init(w, true, gid);
}

static void on_closed(void *arg)
{
	((struct world *)arg)->closed = true;
}

void world_restart(struct world *w)
{
	w->closed = false;
	admin_close(w->admin, on_closed, w);
	while (!w->closed)
		world_turn(w);
	open_server(w);
}

void world_done(struct world *w)
{
	admin_close(w->admin, NULL, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	PRE(uv_loop_close(&w->loop) == 0);
	events_free(w->events);
	test_fleet_done(&w->f);
	buf_done(&w->upload);
	unlink(w->path);
	PRE(rmdir(w->dir) == 0);
}

void world_turn(struct world *w)
{
	uv_run(&w->loop, UV_RUN_NOWAIT);
	poll(NULL, 0, 1);
}

void world_fill(struct world *w)
{
	test_fleet_app(&w->f, "checkout");
	test_fleet_app(&w->f, "billing");
	test_fleet_env(&w->f, "prod");
	test_fleet_host(&w->f, "eu-1", "eu");
	test_fleet_host(&w->f, "eu-2", "eu");
	test_fleet_host(&w->f, "us-1", "us");
	test_fleet_release(&w->f, "checkout", "1.0");
	test_fleet_release(&w->f, "checkout", "2.0");
}

void world_result(struct world *w, uint64_t id, const char *host, enum task_state state)
{
	test_fleet_assign(&w->f, id, host, state == TASK_REVERTED ? DIRECTION_BACK : DIRECTION_FORWARD);
	tell(w);
	test_fleet_result(&w->f, id, host, state);
	tell(w);
}

void world_move(struct world *w, uint64_t id, enum rollout_state to)
{
	PRE(test_fleet_rollout_to(&w->f, id, to) == E_OK);
	tell(w);
}

/* ---- a peer ---- */

int world_connect(struct world *w)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", w->path);
	PRE(fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof sun) == 0);
	return fd;
}

/* The peer may be refused before all is written: that is not an error of the test. */
void world_write(struct world *w, int fd, const void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t k = send(fd, (const char *)p + at, n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (k < 0 && errno != EAGAIN)
			return;
		at += k > 0 ? (size_t)k : 0;
		world_turn(w);
	}
}

void world_send(struct world *w, int fd, const ProtobufCMessage *m)
{
	struct buf out;
	buf_init(&out);
	commands_frame_put(&out, m);
	world_write(w, fd, out.data, out.len);
	buf_done(&out);
}

static Admin__Reply *take(struct buf *in)
{
	const uint8_t *body;
	size_t n;
	if (commands_frame_next(in->data, in->len, COMMANDS_FRAME_REPLY_MAX, &body, &n) != FRAME_WHOLE)
		return NULL;
	Admin__Reply *r = admin__reply__unpack(NULL, n, body);
	PRE(r);
	buf_drop(in, COMMANDS_FRAME_HEAD + n);
	return r;
}

Admin__Reply *world_reply(struct world *w, int fd, struct buf *in)
{
	for (int i = 0; i < 5000; i++) {
		Admin__Reply *r = take(in);
		if (r)
			return r;
		ssize_t n = recv(fd, buf_reserve(in, 65536), 65536, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return NULL;
		in->len += n > 0 ? (size_t)n : 0;
		if (n < 0)
			world_turn(w);
	}
	return NULL;
}

Admin__Reply *world_ask(struct world *w, Admin__Request *rq, Admin__Reply **first)
{
	struct buf in;
	Admin__Reply *last = NULL;
	int fd = world_connect(w);
	if (first)
		*first = NULL;
	buf_init(&in);
	world_send(w, fd, &rq->base);
	for (Admin__Reply *r; (r = world_reply(w, fd, &in));) {
		if (first && !*first && r->body_case != ADMIN__REPLY__BODY_DONE &&
		    r->body_case != ADMIN__REPLY__BODY_ERROR) {
			*first = r;
			continue;
		}
		if (last)
			admin__reply__free_unpacked(last, NULL);
		last = r;
	}
	close(fd);
	buf_done(&in);
	return last;
}

void world_request(Admin__Request *rq, enum command_id verb)
{
	admin__request__init(rq);
	rq->version = 1;
	rq->verb = (uint32_t)verb;
}

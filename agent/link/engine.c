#include "agent/link/engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <nng/supplemental/tls/engine.h>
#include <openssl/err.h>

#include "base/buf.h"

static const char engine_name[] = "wavetrain-openssl";

/* Of the SP wire (proto/sp.h), all the engine knows about what passes through it. */
enum { HELLO_LEN = 8, FRAME_HEAD_LEN = 8 };

/* notes ---------------------------------------- */

struct engine_note {
	pthread_mutex_t lock;
	unsigned refs;
	struct err err; /* code E_OK: nothing failed yet */
};

struct engine_note *engine_note_new(void)
{
	struct engine_note *note = calloc(1, sizeof(*note));

	PRE(note && pthread_mutex_init(&note->lock, NULL) == 0);
	note->refs = 1;
	return note;
}

static struct engine_note *note_hold(struct engine_note *note)
{
	if (!note)
		return NULL;
	pthread_mutex_lock(&note->lock);
	note->refs++;
	pthread_mutex_unlock(&note->lock);
	return note;
}

void engine_note_drop(struct engine_note *note)
{
	if (!note)
		return;
	pthread_mutex_lock(&note->lock);
	bool last = --note->refs == 0;
	pthread_mutex_unlock(&note->lock);
	if (!last)
		return;
	pthread_mutex_destroy(&note->lock);
	free(note);
}

static void note_put(struct engine_note *note, const struct err *e)
{
	if (!note)
		return;
	pthread_mutex_lock(&note->lock);
	if (note->err.code == E_OK)
		note->err = *e;
	pthread_mutex_unlock(&note->lock);
}

bool engine_note_get(struct engine_note *note, struct err *out)
{
	pthread_mutex_lock(&note->lock);
	bool failed = note->err.code != E_OK;
	if (failed)
		*out = note->err;
	pthread_mutex_unlock(&note->lock);
	return failed;
}

/* configurations ---------------------------------------- */

struct nng_tls_engine_config {
	SSL_CTX *ctx; /* NULL in the ones libnng makes for itself: connections of those fail */
	char *server_name;
	struct engine_note *note;
};

/* libnng allocates our configuration itself and gives no way to hand something in, so engine_config_new
 * leaves it here for the config_init that nng_tls_config_alloc calls on the same thread. */
static __thread struct nng_tls_engine_config *handed_in;

static int config_init(nng_tls_engine_config *cfg, nng_tls_mode mode)
{
	if (mode != NNG_TLS_MODE_CLIENT)
		return NNG_ENOTSUP; /* no NNG listener anywhere in the product */
	if (!handed_in)
		return 0;
	*cfg = *handed_in;
	handed_in = NULL;
	return 0;
}

static void config_fini(nng_tls_engine_config *cfg)
{
	SSL_CTX_free(cfg->ctx);
	free(cfg->server_name);
	engine_note_drop(cfg->note);
}

/* libnng names the host of the URL; ours was given to engine_config_new and stays. */
static int config_server(nng_tls_engine_config *cfg, const char *name)
{
	return 0;
}

/* Mutual authentication is not an option here. */
static int config_auth(nng_tls_engine_config *cfg, nng_tls_auth_mode mode)
{
	return mode == NNG_TLS_AUTH_MODE_REQUIRED ? 0 : NNG_ENOTSUP;
}

static int config_ca_chain(nng_tls_engine_config *cfg, const char *certs, const char *crl)
{
	return NNG_ENOTSUP; /* see engine_config_new */
}

static int config_own_cert(nng_tls_engine_config *cfg, const char *cert, const char *key, const char *pass)
{
	return NNG_ENOTSUP;
}

static int config_version(nng_tls_engine_config *cfg, nng_tls_version least, nng_tls_version most)
{
	return least <= NNG_TLS_1_3 && most >= NNG_TLS_1_3 ? 0 : NNG_ENOTSUP;
}

int engine_config_new(nng_tls_config **out, const struct tls_files *files, const char *server_name,
		      struct engine_note *note, struct err *e)
{
	struct nng_tls_engine_config cfg = {0};

	if (!server_name || server_name[0] == 0)
		return err_set(e, E_INVALID,
			       "link: no server name given; without it any coordinator would do");
	int rc = tls_ctx_load(&cfg.ctx, TLS_CLIENT, files, e);
	if (rc)
		return rc;
	cfg.server_name = strdup(server_name);
	PRE(cfg.server_name);
	cfg.note = note_hold(note);
	handed_in = &cfg;
	int rv = nng_tls_config_alloc(out, NNG_TLS_MODE_CLIENT);
	if (rv == 0 && handed_in == NULL)
		return E_OK;
	handed_in = NULL;
	config_fini(&cfg);
	return err_set(e, E_UNSUPPORTED, "link: libnng does not use our TLS engine: %s", nng_strerror(rv));
}

/* connections ---------------------------------------- */

struct nng_tls_engine_conn {
	void *tls; /* libnng's side: its byte stream */
	SSL *ssl;
	struct engine_note *note;
	struct buf out; /* the hello or frame under way, sent when it is whole */
	size_t sent;	/* bytes of `out` that are sent */
	size_t taken;	/* bytes in `out` that libnng believes not yet taken */
	bool greeted;	/* our hello is sent */
	bool peer_spoke;
	int leaving; /* the handshake failed with this NNG error; 0: it did not */
	bool closed; /* nothing may wait any more: libnng would wait for it for ever */
};

static int bio_read(BIO *bio, char *to, size_t cap, size_t *n)
{
	struct nng_tls_engine_conn *c = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*n = cap;
	int rv = nng_tls_engine_recv(c->tls, (uint8_t *)to, n);
	if (rv == 0 && *n > 0)
		return 1;
	*n = 0;
	if (rv == NNG_EAGAIN)
		BIO_set_retry_read(bio);
	return 0;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *written)
{
	struct nng_tls_engine_conn *c = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*written = n;
	int rv = nng_tls_engine_send(c->tls, (const uint8_t *)p, written);
	if (rv == 0 && *written > 0)
		return 1;
	*written = 0;
	if (rv == NNG_EAGAIN)
		BIO_set_retry_write(bio);
	return 0;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method; /* made by engine_register, for the life of the process */

static void make_bio_method(void)
{
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wavetrain nng stream");
	PRE(bio_method);
	BIO_meth_set_read_ex(bio_method, bio_read);
	BIO_meth_set_write_ex(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

/* The result of an SSL call as libnng may see it; the reason stays in the note. */
static int fail(struct nng_tls_engine_conn *c, int ssl_error)
{
	struct err e;

	tls_explain(c->ssl, ssl_error, &e);
	note_put(c->note, &e);
	if (e.code == E_CLOSED)
		return NNG_ECONNSHUT;
	return e.code == E_DENIED ? NNG_EPEERAUTH : NNG_ECRYPTO;
}

static int result(struct nng_tls_engine_conn *c, int rc)
{
	int error = SSL_get_error(c->ssl, rc);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return c->closed ? NNG_ECONNSHUT : NNG_EAGAIN;
	return fail(c, error);
}

static int conn_init(nng_tls_engine_conn *c, void *tls, nng_tls_engine_config *cfg)
{
	struct err e;

	if (!cfg->ctx)
		return NNG_ENOTSUP;
	BIO *bio = BIO_new(bio_method);
	if (!bio || tls_client_new(&c->ssl, cfg->ctx, cfg->server_name, &e)) {
		BIO_free(bio);
		return NNG_ECRYPTO;
	}
	c->tls = tls;
	c->note = note_hold(cfg->note);
	BIO_set_data(bio, c);
	BIO_set_init(bio, 1);
	SSL_set_bio(c->ssl, bio, bio);
	return 0;
}

static void conn_fini(nng_tls_engine_conn *c)
{
	SSL_free(c->ssl);
	buf_done(&c->out);
	engine_note_drop(c->note);
}

static void conn_close(nng_tls_engine_conn *c)
{
	if (!c->closed && SSL_is_init_finished(c->ssl))
		SSL_shutdown(c->ssl);
	c->closed = true;
	ERR_clear_error();
}

/*
 * The other side shall know who was here and why it failed. What we said last (our certificate, an alert) may
 * still lie in libnng, which throws it away when it closes: so we go only after the peer hung up, which it
 * does at those words. A peer that does not costs the dial's time, like one that says nothing.
 */
static int leave(struct nng_tls_engine_conn *c)
{
	uint8_t ignored[512];
	size_t n;
	int rv;

	do {
		n = sizeof(ignored);
		rv = nng_tls_engine_recv(c->tls, ignored, &n);
	} while (rv == 0 && n > 0);
	return rv == NNG_EAGAIN && !c->closed ? NNG_EAGAIN : c->leaving;
}

static int conn_handshake(nng_tls_engine_conn *c)
{
	struct tls_identity peer;
	struct err e;

	if (c->leaving)
		return leave(c);
	if (SSL_is_init_finished(c->ssl))
		return 0;
	ERR_clear_error();
	int rc = SSL_do_handshake(c->ssl);
	int rv = rc == 1 ? 0 : result(c, rc);
	if (rv == NNG_EAGAIN)
		return rv;
	if (rv == 0 && tls_peer_identity(c->ssl, &peer, &e) == E_OK)
		return 0;
	if (rv == 0) {
		note_put(c->note, &e);
		SSL_shutdown(c->ssl); /* one who would have us shall not wait for more */
	}
	c->leaving = rv == 0 ? NNG_EPEERAUTH : rv;
	return leave(c);
}

static int conn_recv(nng_tls_engine_conn *c, uint8_t *to, size_t *n)
{
	ERR_clear_error();
	int rc = SSL_read_ex(c->ssl, to, *n, n);
	return rc == 1 ? 0 : result(c, rc);
}

/* Has the peer said anything yet? */
static int wait_for_peer(nng_tls_engine_conn *c)
{
	uint8_t byte;
	size_t n;

	ERR_clear_error();
	int rc = SSL_peek_ex(c->ssl, &byte, 1, &n);
	if (rc != 1)
		return result(c, rc);
	c->peer_spoke = true;
	return 0;
}

/* How many bytes the unit under way has: the hello, then frames. 0: not known yet. */
static size_t unit_len(const struct nng_tls_engine_conn *c)
{
	if (!c->greeted)
		return HELLO_LEN;
	return c->out.len >= FRAME_HEAD_LEN ? FRAME_HEAD_LEN + (size_t)get_u64(c->out.data) : 0;
}

static int send_unit(struct nng_tls_engine_conn *c)
{
	while (c->sent < c->out.len) {
		size_t written = 0;

		ERR_clear_error();
		int rc = SSL_write_ex(c->ssl, c->out.data + c->sent, c->out.len - c->sent, &written);
		if (rc != 1)
			return result(c, rc);
		c->sent += written;
	}
	return 0;
}

static void unit_done(struct nng_tls_engine_conn *c)
{
	c->greeted = true;
	c->sent = 0;
	buf_done(&c->out);
	buf_init(&c->out);
}

/*
 * libnng writes length, id and body of a message one after the other, with a task switch between. If the
 * connection dies at such a seam, libnng waits for itself for ever. So the first parts are
 * only collected: a peer cannot see, and answer with a reset, half a message. It also makes one TLS record of
 * three.
 *
 * After NNG_EAGAIN libnng calls again with the same bytes: `taken` remembers that they are here already.
 */
static int conn_send(nng_tls_engine_conn *c, const uint8_t *p, size_t *n)
{
	int rv = 0;

	if (c->closed)
		return NNG_ECONNSHUT;
	if (c->taken == 0) {
		buf_put(&c->out, p, *n);
		c->taken = *n;
	}
	size_t whole = unit_len(c);
	bool is_hello = !c->greeted;
	if (whole > 0 && c->out.len >= whole)
		rv = send_unit(c);
	if (rv == 0 && is_hello && !c->peer_spoke)
		rv = wait_for_peer(c);
	if (rv)
		return rv;
	if (whole > 0 && c->out.len >= whole)
		unit_done(c);
	*n = c->taken;
	c->taken = 0;
	return 0;
}

static bool conn_verified(nng_tls_engine_conn *c)
{
	return SSL_is_init_finished(c->ssl) && SSL_get_verify_result(c->ssl) == X509_V_OK;
}

/* ------------------------------------------------ */

static nng_tls_engine_config_ops config_ops = {
	.size = sizeof(struct nng_tls_engine_config),
	.init = config_init,
	.fini = config_fini,
	.server = config_server,
	.auth = config_auth,
	.ca_chain = config_ca_chain,
	.own_cert = config_own_cert,
	.version = config_version,
};

static nng_tls_engine_conn_ops conn_ops = {
	.size = sizeof(struct nng_tls_engine_conn),
	.init = conn_init,
	.fini = conn_fini,
	.close = conn_close,
	.handshake = conn_handshake,
	.recv = conn_recv,
	.send = conn_send,
	.verified = conn_verified,
};

static const nng_tls_engine engine = {
	.version = NNG_TLS_ENGINE_V1,
	.config_ops = &config_ops,
	.conn_ops = &conn_ops,
	.name = engine_name,
	.description = "OpenSSL 3, TLS 1.3 with certificates on both sides",
};

int engine_register(struct err *e)
{
	if (!bio_method)
		make_bio_method();
	nng_tls_engine_name(); /* sets the library up: doing that later would put its own engine back */
	int rv = nng_tls_engine_register(&engine);
	if (rv == 0 && strcmp(nng_tls_engine_name(), engine_name) == 0)
		return E_OK;
	return err_set(e, E_UNSUPPORTED, "link: this libnng does not take our TLS engine (it uses '%s'): %s",
		       nng_tls_engine_name(), nng_strerror(rv));
}

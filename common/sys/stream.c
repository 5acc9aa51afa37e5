#include "sys/stream.h"

#include <string.h>

#include <openssl/err.h>

/* OpenSSL reads and writes the stream through this BIO: no copy is kept between slices.
 * ---------------------------------------- */

static int bio_read(BIO *bio, char *to, size_t cap, size_t *n)
{
	struct stream *s = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*n = s->in_len < cap ? s->in_len : cap;
	if (*n == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(to, s->in, *n);
	s->in += *n;
	s->in_len -= *n;
	return 1;
}

static int bio_write(BIO *bio, const char *p, size_t n, size_t *written)
{
	struct stream *s = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	buf_put(&s->out, p, n);
	*written = n;
	return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH; /* nothing else means anything here */
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *method;

	if (method)
		return method;
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wavetrain stream");
	PRE(method);
	BIO_meth_set_read_ex(method, bio_read);
	BIO_meth_set_write_ex(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	return method;
}

/* -----------------------------------------------------------------------------------------------------------------
 */

static int attach_bio(struct stream *s, struct err *e)
{
	BIO *bio = BIO_new(bio_method());

	if (!bio) {
		SSL_free(s->ssl);
		s->ssl = NULL;
		return err_set(e, E_NOMEM, "TLS stream");
	}
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(s->ssl, bio, bio);
	return E_OK;
}

int stream_init(struct stream *s, SSL *ssl, uint64_t *bytes_out, void (*on_broken)(struct stream *s),
		struct err *e)
{
	s->ssl = ssl;
	s->in = NULL;
	s->in_len = 0;
	s->writing = false;
	s->bytes_out = bytes_out;
	s->on_broken = on_broken;
	s->on_sent = NULL;
	buf_init(&s->out);
	buf_init(&s->sending);
	return ssl ? attach_bio(s, e) : E_OK;
}

void stream_done(struct stream *s)
{
	SSL_free(s->ssl);
	buf_done(&s->out);
	buf_done(&s->sending);
}

void stream_feed(struct stream *s, const uint8_t *p, size_t n)
{
	s->in = p;
	s->in_len = n;
}

static enum stream_result ssl_result(struct stream *s, int rc, enum tls_fault *fault, struct err *e)
{
	int error = SSL_get_error(s->ssl, rc);

	if (error == SSL_ERROR_WANT_READ)
		return STREAM_MORE;
	*fault = tls_explain(s->ssl, error, e);
	return STREAM_FAILED;
}

enum stream_result stream_handshake(struct stream *s, enum tls_fault *fault, struct err *e)
{
	if (!s->ssl)
		return STREAM_OK;
	ERR_clear_error();
	int rc = SSL_do_handshake(s->ssl);
	return rc == 1 ? STREAM_OK : ssl_result(s, rc, fault, e);
}

static enum stream_result plain_read(struct stream *s, uint8_t *to, size_t cap, size_t *n)
{
	*n = s->in_len < cap ? s->in_len : cap;
	if (*n == 0)
		return STREAM_MORE;
	memcpy(to, s->in, *n);
	s->in += *n;
	s->in_len -= *n;
	return STREAM_OK;
}

enum stream_result stream_read(struct stream *s, uint8_t *to, size_t cap, size_t *n, enum tls_fault *fault,
			       struct err *e)
{
	if (!s->ssl)
		return plain_read(s, to, cap, n);
	ERR_clear_error();
	int rc = SSL_read_ex(s->ssl, to, cap, n);
	return rc == 1 ? STREAM_OK : ssl_result(s, rc, fault, e);
}

bool stream_write(struct stream *s, const void *p, size_t n)
{
	const uint8_t *at = p;

	if (!s->ssl) {
		buf_put(&s->out, p, n);
		return true;
	}
	ERR_clear_error();
	while (n > 0) {
		size_t written = 0;

		if (SSL_write_ex(s->ssl, at, n, &written) != 1) {
			ERR_clear_error();
			return false;
		}
		at += written;
		n -= written;
	}
	return true;
}

void stream_goodbye(struct stream *s)
{
	if (!s->ssl || !SSL_is_init_finished(s->ssl))
		return;
	SSL_shutdown(s->ssl);
	ERR_clear_error();
}

static void give_back(struct buf *b)
{
	buf_done(b);
	buf_init(b);
}

static void on_written(uv_write_t *req, int status)
{
	struct stream *s = req->data;

	s->writing = false;
	give_back(&s->sending);
	bool whole = status == 0 && stream_flush(s);
	if (uv_is_closing(&s->handle))
		return;
	if (!whole)
		s->on_broken(s);
	else if (s->on_sent)
		s->on_sent(s);
}

/* Hand the rest to libuv; one write at a time, so at most two buffers exist. */
static bool write_later(struct stream *s)
{
	s->sending = s->out;
	buf_init(&s->out);
	s->write.data = s;
	s->writing = true;
	uv_buf_t b = uv_buf_init((char *)s->sending.data, (unsigned)s->sending.len);
	if (uv_write(&s->write, &s->io, &b, 1, on_written) == 0)
		return true;
	s->writing = false;
	return false;
}

bool stream_flush(struct stream *s)
{
	if (s->writing || s->out.len == 0)
		return true;
	*s->bytes_out += s->out.len;
	uv_buf_t b = uv_buf_init((char *)s->out.data, (unsigned)s->out.len);
	int n = uv_try_write(&s->io, &b, 1);
	if (n < 0 && n != UV_EAGAIN)
		return false;
	if (n > 0)
		buf_drop(&s->out, (size_t)n);
	if (s->out.len > 0)
		return write_later(s);
	give_back(&s->out);
	return true;
}

size_t stream_unsent(const struct stream *s)
{
	return s->out.len + s->sending.len;
}

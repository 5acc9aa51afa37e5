#include "sys/fetch_http.h"

#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 10 * 1000 };

bool fetch_http_is_base(const char *url, bool plain)
{
	char *scheme = NULL, *path = NULL, *other = NULL;
	CURLU *u = curl_url();
	PRE(u != NULL);
	bool ok = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
		  curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		  (strcmp(scheme, "https") == 0 || (plain && strcmp(scheme, "http") == 0)) &&
		  curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK && strcmp(path, "/") == 0 &&
		  curl_url_get(u, CURLUPART_USER, &other, 0) != CURLUE_OK &&
		  curl_url_get(u, CURLUPART_QUERY, &other, 0) != CURLUE_OK &&
		  curl_url_get(u, CURLUPART_FRAGMENT, &other, 0) != CURLUE_OK;
	curl_free(scheme);
	curl_free(path);
	curl_free(other);
	curl_url_cleanup(u);
	return ok;
}

static void set_tls(CURL *c, const struct tls_files *files)
{
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(c, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(c, CURLOPT_CAINFO, files->ca);
	curl_easy_setopt(c, CURLOPT_CAPATH, NULL); /* else the system's authorities would do, too */
	curl_easy_setopt(c, CURLOPT_SSLCERT, files->cert);
	curl_easy_setopt(c, CURLOPT_SSLKEY, files->key);
}

void fetch_http_prepare(CURL *easy, const struct tls_files *tls, bool plain)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, plain ? "https,http" : "https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "wavetrain");
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	if (tls->ca != NULL)
		set_tls(easy, tls);
}

void fetch_http_aim(CURL *easy, const char *base, const struct digest *d)
{
	char url[FETCH_URL_CAP + 100], hex[DIGEST_HEX_CAP];
	size_t len = strlen(base);
	snprintf(url, sizeof url, "%.*s/v1/artifacts/%s", (int)(len - (base[len - 1] == '/')), base,
		 digest_hex(d, hex));
	curl_easy_setopt(easy, CURLOPT_URL, url);
}

int fetch_http_server(CURL *easy, struct err *e)
{
	struct curl_tlssessioninfo *tls = NULL;
	struct tls_identity id;
	if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL ||
	    tls->backend != CURLSSLBACKEND_OPENSSL || tls->internals == NULL)
		return err_set(e, E_DENIED, "its certificate cannot be looked at");
	return tls_peer_identity(tls->internals, &id, e);
}

int fetch_http_code(CURLcode code)
{
	if (code == CURLE_OPERATION_TIMEDOUT)
		return E_TIMEOUT;
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return E_DENIED;
	if (code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE)
		return E_INVALID; /* our own files */
	return code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY ? E_PROTOCOL
										      : E_UNAVAILABLE;
}

int fetch_http_refusal(long status, struct err *e)
{
	if (status == 404)
		return err_set(e, E_NOT_FOUND, "http 404, it is not there");
	if (status == 401 || status == 403)
		return err_set(e, E_DENIED, "http %ld, it does not accept our certificate", status);
	if (status >= 500 || status == 408 || status == 429)
		return err_set(e, E_UNAVAILABLE, "http %ld", status);
	if (status >= 300 && status < 400)
		return err_set(e, E_PROTOCOL, "http %ld, and redirects are not followed", status);
	return err_set(e, E_PROTOCOL, "http %ld", status);
}

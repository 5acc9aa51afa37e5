#include "tests/lib/test.h"
#include "tests/lib/pki.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void must(int rc, const struct err *e)
{
	if (rc)
		fail_msg("pki: %s", e->text);
}

struct wall_ms pki_days_from_now(int days)
{
	return (struct wall_ms){((int64_t)time(NULL) + (int64_t)days * 86400) * 1000};
}

void pki_open(struct pki *p, const char *cluster)
{
	const char *tmp = getenv("TMPDIR");
	struct err e;

	snprintf(p->dir, sizeof(p->dir), "%s/wavetrain-pki.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(p->dir));
	must(ca_new(&p->ca, cluster, pki_days_from_now(-100), pki_days_from_now(100), &e), &e);
	snprintf(p->ca_file, sizeof(p->ca_file), "%s/ca.crt", p->dir);
	struct ca_pair pair = {0};
	must(ca_cert_pem(p->ca, &pair.cert, &e), &e);
	must(ca_pair_save(&pair, p->ca_file, "", &e), &e);
	ca_pair_done(&pair);
}

void pki_close(struct pki *p)
{
	DIR *d = opendir(p->dir);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
	if (d)
		closedir(d);
	rmdir(p->dir);
	ca_free(p->ca);
}

static void issue(struct pki *p, struct pki_files *out, enum tls_role role, const char *name,
		  struct wall_ms from, struct wall_ms to)
{
	static const char *const dns[] = {"localhost", NULL}, *const ips[] = {"127.0.0.1", "::1", NULL};
	bool serves = role == TLS_ROLE_COORDINATOR;
	struct ca_request r = {.role = role,
			       .name = name,
			       .generation = 1,
			       .dns = serves ? dns : NULL,
			       .ips = serves ? ips : NULL,
			       .from = from,
			       .to = to};
	struct ca_pair pair;
	struct err e;

	must(ca_issue(p->ca, &r, &pair, &e), &e);
	snprintf(out->cert, sizeof(out->cert), "%s/%s.crt", p->dir, name);
	snprintf(out->key, sizeof(out->key), "%s/%s.key", p->dir, name);
	must(ca_pair_save(&pair, out->cert, out->key, &e), &e);
	ca_pair_done(&pair);
	out->files = (struct tls_files){.ca = p->ca_file, .cert = out->cert, .key = out->key};
}

void pki_issue(struct pki *p, struct pki_files *out, enum tls_role role, const char *name)
{
	issue(p, out, role, name, pki_days_from_now(-1), pki_days_from_now(10));
}

void pki_issue_expired(struct pki *p, struct pki_files *out, enum tls_role role, const char *name)
{
	issue(p, out, role, name, pki_days_from_now(-3), pki_days_from_now(-1));
}

/* pki.h: a throw-away cluster CA with certificates in files, for tests. Fails the test on any error. */
#ifndef TESTS_LIB_PKI_H
#define TESTS_LIB_PKI_H

#include "sys/ca.h"

enum { PKI_PATH = 256 };

struct pki {
	char dir[PKI_PATH];
	struct ca *ca;
	char ca_file[PKI_PATH + 16];
};

/* The three paths of one party; valid as long as this struct. */
struct pki_files {
	char cert[PKI_PATH + 128], key[PKI_PATH + 128];
	struct tls_files files;
};

void pki_open(struct pki *p, const char *cluster);
void pki_close(struct pki *p); /* removes everything */
/* A certificate valid now (or `days_ago` days ago for one day); coordinators get "localhost", 127.0.0.1 and
 * ::1. */
void pki_issue(struct pki *p, struct pki_files *out, enum tls_role role, const char *name);
void pki_issue_expired(struct pki *p, struct pki_files *out, enum tls_role role, const char *name);
struct wall_ms pki_days_from_now(int days);

#endif

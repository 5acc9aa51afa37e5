/* Whatever sits at HAProxy's socket may answer anything. */
#include <stdlib.h>
#include <string.h>

#include "agent/steps/lb_haproxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);
	struct lb_view v;
	struct lb_admin a;
	if (!text)
		return 0;
	if (len)
		memcpy(text, data, len);
	text[len] = '\0';
	int rc = lb_haproxy_refusal(text, NULL) + lb_haproxy_view(text, "be", "s1", &v, NULL) +
		 lb_haproxy_admin(text, "be", "s1", &a, NULL);
	free(text);
	return rc < 0 ? -1 : 0;
}

/* The arguments of the program: words separated by zero bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/cli.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	enum { WORDS = 40 };
	char *argv[WORDS + 2] = {(char *)(uintptr_t) "wavetrain"};
	char why[512], *copy = malloc(n + 1);
	struct cli_args args;
	int argc = 1;
	memcpy(copy, p, n);
	copy[n] = '\0';
	for (size_t at = 0; at < n && argc <= WORDS; at += strlen(copy + at) + 1)
		argv[argc++] = copy + at;
	argv[argc] = NULL;
	if (!cli_args_parse(argc, argv, &args, why, sizeof why) && why[0] == '\0')
		abort(); /* a refusal always says why */
	free(copy);
	return 0;
}

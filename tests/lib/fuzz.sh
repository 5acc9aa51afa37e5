#!/usr/bin/env bash
# fuzz.sh SECONDS: builds every tests/fuzz/fuzz_*.c with libFuzzer, ASan and UBSan, proves with a canary that a finding is
# seen, and runs each target from FUZZ_SEED (default 1, so that a run repeats). Results go to build-fuzz/results.txt for the final count.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
seconds=$1
. tests/lib/env.sh
rm -f build-fuzz/results.txt
CC=clang build_in build-fuzz -Dfuzz=true -Dwerror=false -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debug -Doptimization=1 -Db_pie=false
results=build-fuzz/results.txt
status=0
: >"$results"
for target in build-fuzz/tests/fuzz/fuzz_*; do
	[ -f "$target" ] && [ -x "$target" ] || continue
	name=$(basename "$target")
	work=build-fuzz/corpus/$name
	seeds=tests/fuzz/corpus/${name#fuzz_}
	mkdir -p "$work" "$seeds"
	if [ "$name" = fuzz_canary ]; then
		# A target with a planted overflow: if this one is not found, no silence of the others means anything.
		if "$target" -seed=1 -max_total_time=60 -artifact_prefix=build-fuzz/ "$work" >"build-fuzz/$name.log" 2>&1; then
			echo "fail fuzz/canary: the planted overflow was not found" >>"$results"
			status=1
		else
			echo "pass fuzz/canary" >>"$results"
		fi
		continue
	fi
	if "$target" -seed="${FUZZ_SEED:-1}" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="build-fuzz/$name-" "$work" "$seeds" \
		>"build-fuzz/$name.log" 2>&1; then
		echo "pass fuzz/$name $(grep -oE '^#[0-9]+' "build-fuzz/$name.log" | tail -1) runs" >>"$results"
	else
		tail -30 "build-fuzz/$name.log"
		echo "fail fuzz/$name: see build-fuzz/$name.log" >>"$results"
		status=1
	fi
done
cat "$results"
exit $status

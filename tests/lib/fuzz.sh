#!/usr/bin/env bash
# fuzz.sh SECONDS: builds every tests/fuzz/fuzz_*.c with libFuzzer, ASan and UBSan, proves with a canary that a finding is
# seen, and runs each target from FUZZ_SEED (default 1, so that a run repeats), as many at once as there are processors.
# Results go to build-fuzz/results.txt for the final count.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
. tests/lib/env.sh

# The planted overflow must be found: if this one is not, no silence of the others means anything.
run_canary() {
	if "$1" -seed=1 -max_total_time=60 -artifact_prefix=build-fuzz/ "$2" >build-fuzz/fuzz_canary.log 2>&1; then
		echo "fail fuzz/canary: the planted overflow was not found"
	else
		echo "pass fuzz/canary"
	fi
}

# What a reader of the last lines needs to see it again: what was found, and the input.
found_what() { # LOG ARTIFACT-PREFIX
	local artifact
	grep -oE 'BUG: .*|runtime error: .*|^SUMMARY: .*' "$1" | head -2 || true
	for artifact in "$2"*; do
		[ ! -f "$artifact" ] || echo "input (base64): $(base64 -w0 "$artifact" | head -c 8192)"
	done
}

run_target() { # PROGRAM NAME CORPUS SEEDS SECONDS
	local log=build-fuzz/$2.log artifact=$PWD/build-fuzz/$2- edges floor
	floor=$(sed -n "s/^${2#fuzz_} //p" tests/fuzz/floors)
	rm -f "$artifact"*
	if ! "$1" -seed="${FUZZ_SEED:-1}" -max_total_time="$5" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="$artifact" "$3" "$4" >"$log" 2>&1; then
		tail -30 "$log" >&2
		echo "fail fuzz/$2: $(found_what "$log" "$artifact" | paste -sd ' '), see $log"
		return
	fi
	# A target that reaches nothing of ours finds nothing: "cov" counts the edges it has been through.
	edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | tr -dc 0-9)
	if [ "${edges:-0}" -lt "${floor:-999999}" ]; then
		echo "fail fuzz/$2: went through ${edges:-0} edges, tests/fuzz/floors wants ${floor:-a row for it}"
	else
		echo "pass fuzz/$2 $(grep -oE '^#[0-9]+' "$log" | tail -1) runs, cov: $edges"
	fi
}

# fuzz.sh --one SECONDS PROGRAM: one line of result.
if [ "$1" = --one ]; then
	name=$(basename "$3")
	mkdir -p "build-fuzz/corpus/$name"
	if [ "$name" = fuzz_canary ]; then
		run_canary "$3" "build-fuzz/corpus/$name"
	else
		run_target "$3" "$name" "build-fuzz/corpus/$name" "tests/fuzz/corpus/${name#fuzz_}" "$2"
	fi
	exit
fi

rm -f build-fuzz/results.txt
targets=()
for source in tests/fuzz/fuzz_*.c; do
	targets+=("tests/fuzz/$(basename "$source" .c)")
done
# fuzzer-no-link: the libraries count their edges too, else the fuzzer sees nothing of what it is for.
CC=clang build_in build-fuzz -Dfuzz=true -Dwerror=false -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debug -Doptimization=1 -Db_pie=false \
	-Dc_args=-fsanitize=fuzzer-no-link -- "${targets[@]}"
printf 'build-fuzz/%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} tests/lib/fuzz.sh --one "$1" {} >build-fuzz/results.new
sort -k2 build-fuzz/results.new >build-fuzz/results.txt
rm build-fuzz/results.new
cat build-fuzz/results.txt
[ "$(wc -l <build-fuzz/results.txt)" = "${#targets[@]}" ] && ! grep -q '^fail' build-fuzz/results.txt

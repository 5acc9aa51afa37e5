# env.sh: sourced by tests/run and deploy/demo. Installs Debian packages that are missing, builds, counts.
build_packages="gcc libc6-dev meson ninja-build pkg-config protobuf-c-compiler protobuf-compiler libprotobuf-c-dev libuv1-dev libnng-dev
 libraft-dev liblz4-dev liblmdb-dev libssl-dev zlib1g-dev libzstd-dev libarchive-dev libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev
 libfyaml-dev uthash-dev libcmocka-dev libgnutls28-dev haproxy python3 binutils"
demo_packages="curl"
test_packages="clang libclang-rt-14-dev clang-format nginx-light wrk strace socat openssl procps zstd systemd-container mmdebstrap faketime"

# need_packages SET...: installs the packages of these sets (build, demo, test) that are not there.
need_packages() {
	local wanted="" missing=() p
	for p in "$@"; do
		local set="${p}_packages"
		wanted="$wanted ${!set}"
	done
	for p in $wanted; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	local sudo=""
	[ "$(id -u)" -eq 0 ] || sudo=sudo
	echo "installing: ${missing[*]}"
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update -qq
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build_in() { # DIR SETUP-OPTIONS... [-- TARGETS...]
	local dir=$1 options=()
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	if [ ! -f "$dir/build.ninja" ]; then
		rm -rf "$dir"
		meson setup "$dir" "${options[@]}" >"$dir.log" 2>&1 || { cat "$dir.log"; return 1; }
		rm -f "$dir.log"
	fi
	ninja -C "$dir" --quiet "$@" >"$dir/build.log" 2>&1 || { grep -E 'error|FAILED' "$dir/build.log" | head -40; return 1; }
}

build_plain() { build_in build && rm -f build/long.txt; }
# Not -Werror here: the sanitizers' own instrumentation makes gcc warn of what is not there. The plain build is where warnings are errors.
build_sanitized() { build_in build-asan -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=false -Dbuildtype=debug -Doptimization=1; }

# For the suite "threads": what has threads of its own or calls us from a library's (libnng, libuv's pool under raft).
# gcc instruments our code; of the libraries it sees the locks, which is enough but for what tests/tsan.supp names.
build_tsan() { build_in build-tsan -Db_sanitize=thread -Db_lundef=false -Dwerror=false -Dbuildtype=debug -Doptimization=1; }

# run_meson DIR ARGS...: runs the tests of a build; `report` counts them from Meson's own JUnit file.
junit_files=()
run_meson() {
	local dir=$1
	shift
	junit_files+=("$dir/meson-logs/testlog.junit.xml")
	rm -f "$dir/meson-logs/testlog.junit.xml"
	ASAN_OPTIONS=detect_leaks=1 \
		TSAN_OPTIONS="halt_on_error=1:die_after_fork=0:suppressions=$PWD/tests/tsan.supp" UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		meson test -C "$dir" --no-rebuild --print-errorlogs "$@"
}

# reasons LOG: why a suite failed, in one line: what is not ok, or the last words of one that does not write TAP.
reasons() {
	{ grep '^not ok' "$1" || grep -vE '^(#|$)' "$1" | tail -3; } | cut -c1-500 | head -5 | paste -sd '|'
}

# long NAME COMMAND...: one result of build/long.txt.
long() {
	local name=$1 log=build/long-${1//\//-}.log
	shift
	if "$@" >"$log" 2>&1; then
		local last word=pass
		last=$(tail -1 "$log")
		[[ $last != *"# SKIP"* ]] || word=skip
		echo "$word $name $last" | tee -a build/long.txt
	else
		tail -20 "$log"
		echo "fail $name $(reasons "$log")" | tee -a build/long.txt
		return 1
	fi
}

# Two at a time where they do not disturb each other: simulations have no clock but their own; what kills real programs mostly waits for them, has
# ports and a folder of its own, and limits of seconds that it stays far below. What measures or needs the whole machine runs alone.
long_suites() {
	local status=0 other
	long long/sim build/tests/sim/wavetrain-sim --seeds 5000 --start 10000 &
	other=$!
	long long/raft-3 build/tests/sim/raft/raft_sim --seeds 1000 --start 10000 --nodes 3 || status=1
	long long/raft-5 build/tests/sim/raft/raft_sim --seeds 500 --start 10000 --nodes 5 || status=1
	wait $other || status=1
	long long/kill-100 python3 tests/cluster/kill_coordinator.py build/coordinator/wavetraind build/coordinator/cli/wavetrain 100 || status=1
	# A host of its own under a real systemd, as it is installed, with each kind of control groups; the first makes an image.
	long long/systemd-host-v2 python3 tests/cluster/systemd_host.py v2 || status=1
	long long/systemd-host-v1 python3 tests/cluster/systemd_host.py v1 || status=1
	long long/kill-exec python3 tests/cluster/kill_syscalls.py --of exec &
	other=$!
	long long/kill-in-rollouts-100 python3 tests/cluster/kill_in_rollouts.py 100 || status=1
	long long/kill-program python3 tests/cluster/kill_syscalls.py --of program || status=1
	wait $other || status=1
	long long/kill-agent-odd python3 tests/cluster/kill_syscalls.py --of agent --share 1/2 &
	other=$!
	long long/kill-agent-even python3 tests/cluster/kill_syscalls.py --of agent --share 0/2 || status=1
	wait $other || status=1
	long long/demo-without-drain python3 deploy/demo.d/demo.py --json --no-drain || status=1
	return $status
}

# report: the last line. Fails when anything failed or nothing ran.
report() { python3 tests/lib/count.py "${junit_files[@]:-}" build-fuzz/results.txt build/long.txt; }

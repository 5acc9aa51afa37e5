#!/usr/bin/env python3
"""The pure archives reference nothing with a clock, file, socket, thread or randomness: `nm -u` against an allow-list.

usage: purity.py ARCHIVE...
"""
import re
import subprocess
import sys

# memory, strings, formatting into memory, sorting, and the compiler's own helpers
ALLOWED = re.compile(
    r"^(mem(cpy|move|set|cmp|chr|mem)|str(n?len|n?cmp|n?casecmp|chr|rchr|str|spn|cspn|dup|ndup|tol|toul|toll|toull)"
    r"|v?snprintf|qsort|bsearch|malloc|calloc|realloc|free|abort|__(mem|str|v?snprintf)\w*_chk|__stack_chk_fail|__fentry__"
    r"|__asan_.*|__ubsan_.*|__sanitizer_.*|__tsan_.*|__gcov_.*|__errno_location|__ctype_.*_loc|__isoc99_.*|_GLOBAL_OFFSET_TABLE_"
    # libraries that only compute: message packing, and one hash
    r"|protobuf_c_\w+|SHA256)$")

# base: a broken invariant says so before it aborts, and errno has a text. drive: uthash ends the process when memory is out.
# proto_gen: protobuf-c's generated code asserts its own types.
ALLOWED_IN = {
    "libbase.a": {"stderr", "fprintf", "__fprintf_chk", "fwrite", "strerror_r", "__xpg_strerror_r"},
    "libdrive.a": {"exit"},
    "libproto_gen.a": {"__assert_fail"},
}


def undefined(archive):
    out = subprocess.run(["nm", "-u", archive], capture_output=True, text=True, check=True).stdout
    return sorted({line.split()[-1].split("@")[0] for line in out.splitlines() if " U " in line})


def defined(archive):
    out = subprocess.run(["nm", "--defined-only", archive], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in out.splitlines() if len(line.split()) == 3}


def main():
    ours = set().union(*(defined(a) for a in sys.argv[1:]))  # what another pure archive defines is pure
    bad = [f"{a}: references {s}" for a in sys.argv[1:] for s in undefined(a)
           if s not in ours and not ALLOWED.match(s) and s not in ALLOWED_IN.get(a.rsplit("/", 1)[-1], ())]
    print("\n".join(bad) or f"purity: {len(sys.argv) - 1} archives are pure")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

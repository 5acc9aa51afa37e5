#!/usr/bin/env python3
"""Which libraries a program must not load, by itself or through another: usage: linked.py BUILD. What it costs is in docs/decisions/0013."""
import pathlib
import subprocess
import sys

FORBIDDEN = {
    "agent/wavetrain-agent": ["libcurl", "libgnutls", "libarchive"],  # wavetrain-http and wavetrain-unpack load them for it
    "agent/exec/wavetrain-exec": ["libcurl", "libcrypto", "libssl", "libnng", "libarchive", "libjansson"],  # it parses nothing but its record
    "agent/unpack/wavetrain-unpack": ["libcurl", "libssl", "libnng"],
}


def main():
    bad = []
    for program, libraries in FORBIDDEN.items():
        path = pathlib.Path(sys.argv[1]) / program
        loaded = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        if "libc.so" not in loaded:
            bad.append(f"{program}: ldd names no library at all")
        bad += [f"{program}: loads {lib}" for lib in libraries if f"\t{lib}." in loaded]
    print("\n".join(bad) or f"linked: {len(FORBIDDEN)} programs load what they may")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

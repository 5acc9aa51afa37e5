#!/usr/bin/env python3
"""Every C file stands as clang-format of Debian 12 (version 14) writes it with .clang-format: other versions write other things, so without that one
the test is skipped."""
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOPS = ("common", "proto", "coordinator", "agent", "tests", "deploy")
SKIP = 77  # as Meson reads it


def version_is_14():
    if not shutil.which("clang-format"):
        return False
    said = subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"version 14\.", said) is not None


def main():
    if not version_is_14():
        print("clang-format 14 is not there")
        return SKIP
    files = sorted(str(p.relative_to(ROOT)) for top in TOPS for p in (ROOT / top).rglob("*.[ch]"))
    said = subprocess.run(["clang-format", "--dry-run", "--Werror", *files], cwd=ROOT, capture_output=True, text=True, check=False)
    wrong = sorted({line.split(":")[0] for line in said.stderr.splitlines() if "[-Wclang-format-violations]" in line})
    if said.returncode != 0:
        print(said.stderr[:2000] if not wrong else f"not in the tree's format; clang-format -i {' '.join(wrong)}")
        return 1
    print(f"format: {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())

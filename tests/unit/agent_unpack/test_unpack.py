#!/usr/bin/env python3
"""wavetrain-unpack against the hostile corpus: good archives are unpacked as they are, bad ones refused, and nothing is ever outside.

usage: test_unpack.py WAVETRAIN-UNPACK MAKE-HOSTILE   (prints TAP)
"""
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

PROGRAM, MAKE = sys.argv[1:3]
MAX_BYTES, MAX_ENTRIES = str(8 << 20), "1000"
# What the push refuses and unpacking need not: an archive without entries, and names that differ only in case.
ONLY_AT_THE_PUSH = {"bad-empty", "bad-case", "bad-plain-tar", "bad-nothing"}


def unpack(archive, folder):
    """The folder becomes descriptor 3 of the program."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(fd, 3, inheritable=True)
    with open(archive, "rb") as f:
        done = subprocess.run([PROGRAM, MAX_BYTES, MAX_ENTRIES], stdin=f, pass_fds=(3,), capture_output=True, text=True, timeout=60,
                              env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"})  # LeakSanitizer needs /proc, which the jail hides
    if fd != 3:
        os.close(fd)
    return done.returncode, done.stderr.strip()


def modes_are_plain(folder):
    return all(stat.S_IMODE(os.lstat(p).st_mode) in (0o644, 0o755, 0o777) for p in pathlib.Path(folder).rglob("*"))


def with_a_hole(folder):
    """What `tar -S` makes of a file that begins and ends with a hole: its name ends in .gz or .zst."""
    with open(folder / "hole", "wb") as f:
        f.seek(100000)
        f.write(b"hello")
        f.truncate(1 << 20)
    for end, how in (("gz", "--gzip"), ("zst", "--zstd")):
        subprocess.run(["tar", "-C", folder, "-S", how, "-cf", folder / f"tar-S.tar.{end}", "hole"], check=True)
    return [folder / "tar-S.tar.gz", folder / "tar-S.tar.zst"]


def holes_are_there(folder, at):
    want = bytearray(1 << 20)
    want[at:at + 5] = b"hello"
    return (pathlib.Path(folder) / "hole").read_bytes() == want


def owner_is_ours(folder):
    return all(os.lstat(p).st_uid == os.geteuid() for p in pathlib.Path(folder).rglob("*"))


def main():
    top = pathlib.Path(tempfile.mkdtemp(prefix="wavetrain-unpack-"))
    corpus = top / "corpus"
    corpus.mkdir()
    subprocess.run([sys.executable, MAKE, str(corpus)], check=True)
    archives = sorted(a for a in corpus.iterdir() if a.name.split(".")[0] not in ONLY_AT_THE_PUSH)
    made = top / "made"
    made.mkdir()
    archives += with_a_hole(made)
    before = {str(p) for p in top.rglob("*")}
    print(f"1..{len(archives) + 1}")
    for nr, archive in enumerate(archives, 1):
        folder = top / "slot"
        folder.mkdir()
        code, why = unpack(archive, folder)
        want = code == 1 if archive.name.startswith("bad-") else code == 0
        if archive.name.startswith("good-sparse"):
            want = want and holes_are_there(folder, 4096)
        if archive.name.startswith("tar-S"):
            want = want and holes_are_there(folder, 100000)
        good = want and modes_are_plain(folder) and owner_is_ours(folder)
        print("ok" if good else "not ok", nr, "-", archive.name, f"# {why}" if not want else "")
        shutil.rmtree(folder)
    outside = {str(p) for p in top.rglob("*")} - before
    print("ok" if not outside else "not ok", len(archives) + 1, "- nothing was written outside", *outside)
    shutil.rmtree(top)


main()

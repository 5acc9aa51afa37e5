#!/usr/bin/env python3
"""Writes archives into a folder: good-* must be taken, bad-* refused. usage: make_hostile.py FOLDER"""
import gzip
import io
import pathlib
import sys
import tarfile

OUT = pathlib.Path(sys.argv[1])


def entry(name, kind=tarfile.REGTYPE, data=b"x", mode=0o644, link=""):
    t = tarfile.TarInfo(name)
    t.type, t.mode, t.linkname = kind, mode, link
    t.size = len(data) if kind == tarfile.REGTYPE else 0
    return t, data


def archive(name, entries, fmt=tarfile.PAX_FORMAT):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=fmt) as tar:
        for t, data in entries:
            tar.addfile(t, io.BytesIO(data) if t.size else None)
    bytes_ = gzip.compress(raw.getvalue(), mtime=0)
    (OUT / (name + ".tar.gz")).write_bytes(bytes_)
    return bytes_


def main():
    ok = [entry("bin/app", mode=0o755), entry("etc", tarfile.DIRTYPE), entry("etc/app.conf")]
    plain = archive("good-plain", ok)
    archive("good-dot-root", [entry("./", tarfile.DIRTYPE), entry("./a")])
    archive("good-link-inside", ok + [entry("bin/current", tarfile.SYMTYPE, link="app"), entry("etc/up", tarfile.SYMTYPE, link="../bin/app")])
    archive("good-utf8", [entry("gr\u00fc\u00dfe.txt")])
    archive("good-foreign-owner", ok)
    bad_names = {"absolute": "/etc/passwd", "dotdot": "../x", "dotdot-middle": "a/../../x", "dotdot-end": "a/..", "dot-part": "a/./b",
                 "empty-part": "a//b", "control": "a\nb", "bell": "a\x07b", "backslash": "a\\b", "long": "n" * 1100, "deep": "/".join(["d"] * 70)}
    for what, name in bad_names.items():
        archive("bad-name-" + what, [entry(name)])
    links = {"absolute": "/etc/passwd", "climbs": "../../etc/passwd", "climbs-later": "a/../../../x", "empty-ish": "../.."}
    for what, link in links.items():
        archive("bad-symlink-" + what, [entry("a/l", tarfile.SYMTYPE, link=link)])
    archive("bad-hardlink", [entry("a"), entry("b", tarfile.LNKTYPE, link="a")])
    archive("bad-hardlink-outside", [entry("b", tarfile.LNKTYPE, link="../../etc/passwd")])
    for what, kind in {"fifo": tarfile.FIFOTYPE, "char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE}.items():
        archive("bad-kind-" + what, [entry("d", kind)])
    archive("bad-setuid", [entry("s", mode=0o4755)])
    archive("bad-setgid", [entry("s", mode=0o2755)])
    archive("bad-twice", [entry("a"), entry("a")])
    archive("bad-case", [entry("Readme"), entry("README")])
    archive("bad-file-and-folder", [entry("a"), entry("a/", tarfile.DIRTYPE)])
    archive("bad-bomb", [entry("zeros", data=bytes(9 << 20))])
    archive("bad-many", [entry(f"f{i}", data=b"") for i in range(2000)])
    archive("bad-empty", [])
    for n in (1, 20, len(plain) // 2, len(plain) - 9):
        (OUT / f"bad-cut-{n}.tar.gz").write_bytes(plain[:n])
    (OUT / "bad-plain-tar.tar.gz").write_bytes(gzip.decompress(plain))
    (OUT / "bad-junk.tar.gz").write_bytes(b"\x1f\x8b" + bytes(range(256)) * 4)
    (OUT / "bad-nothing.tar.gz").write_bytes(b"")
    flipped = bytearray(plain)
    flipped[len(flipped) // 2] ^= 0xff
    (OUT / "bad-flipped.tar.gz").write_bytes(flipped)


main()

#!/usr/bin/env python3
"""Writes archives into a folder, each as .tar.gz and .tar.zst: good-* must be taken, bad-* refused. usage: make_hostile.py FOLDER"""
import ctypes
import gzip
import io
import pathlib
import sys
import tarfile

OUT = pathlib.Path(sys.argv[1])


zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_createCCtx.restype = ctypes.c_void_p
zstd.ZSTD_compressBound.restype = zstd.ZSTD_compress2.restype = ctypes.c_size_t
zstd.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
zstd.ZSTD_CCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
zstd.ZSTD_compress2.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
CHECKSUM = 201
context = zstd.ZSTD_createCCtx()
zstd.ZSTD_CCtx_setParameter(context, CHECKSUM, 1)


def zst(raw):
    out = ctypes.create_string_buffer(zstd.ZSTD_compressBound(len(raw)))
    n = zstd.ZSTD_compress2(context, out, len(out), raw, len(raw))
    return out.raw[:n]


def write(name, packed):
    for end, bytes_ in packed.items():
        (OUT / f"{name}.tar.{end}").write_bytes(bytes_)


def entry(name, kind=tarfile.REGTYPE, data=b"x", mode=0o644, link=""):
    t = tarfile.TarInfo(name)
    t.type, t.mode, t.linkname = kind, mode, link
    t.size = len(data) if kind == tarfile.REGTYPE else 0
    return t, data


def sparse(name, size, at, data):
    """As GNU tar -S writes it (PAX 1.0): a map of where bytes are, then those bytes; all else up to `size` is a hole."""
    body = f"2\n{at}\n{len(data)}\n{size}\n0\n".encode()
    body += bytes(-len(body) % 512) + data
    t, _ = entry("GNUSparseFile.0/" + name, data=body)
    t.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)}
    return t, body


def owned(e, uid):
    e[0].uid = e[0].gid = uid
    return e


def archive(name, entries, fmt=tarfile.PAX_FORMAT):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=fmt) as tar:
        for t, data in entries:
            tar.addfile(t, io.BytesIO(data) if t.size else None)
    packed = {"gz": gzip.compress(raw.getvalue(), mtime=0), "zst": zst(raw.getvalue())}
    write(name, packed)
    return packed


def main():
    ok = [entry("bin/app", mode=0o755), entry("etc", tarfile.DIRTYPE), entry("etc/app.conf")]
    plain = archive("good-plain", ok)
    archive("good-dot-root", [entry("./", tarfile.DIRTYPE), entry("./a")])
    archive("good-link-inside", ok + [entry("bin/current", tarfile.SYMTYPE, link="app"), entry("etc/up", tarfile.SYMTYPE, link="../bin/app")])
    archive("good-utf8", [entry("gr\u00fc\u00dfe.txt")])
    archive("good-foreign-owner", [owned(entry("bin/app", mode=0o755), 12345), owned(entry("etc", tarfile.DIRTYPE), 12345)])
    archive("good-sparse", [sparse("hole", 1 << 20, 4096, b"hello"), entry("after")])
    archive("bad-sparse-bomb", [sparse("hole", 9 << 20, 4096, b"hello")])
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
    for what, at in {"1": lambda n: 1, "20": lambda n: 20, "half": lambda n: n // 2, "end": lambda n: n - 9}.items():
        write("bad-cut-" + what, {end: p[:at(len(p))] for end, p in plain.items()})
    (OUT / "bad-plain-tar.tar.gz").write_bytes(gzip.decompress(plain["gz"]))
    write("bad-junk", {"gz": b"\x1f\x8b" + bytes(range(256)) * 4, "zst": b"\x28\xb5\x2f\xfd" + bytes(range(256)) * 4})
    (OUT / "bad-nothing.tar.gz").write_bytes(b"")
    write("bad-flipped", {end: p[:len(p) // 2] + bytes([p[len(p) // 2] ^ 0xff]) + p[len(p) // 2 + 1:] for end, p in plain.items()})


main()

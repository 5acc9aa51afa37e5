#!/usr/bin/env python3
"""Every bad archive and folder through `wavetrain release push`: refused with the entry's name, nothing kept of it, the coordinator served others
meanwhile. And pushes that break in the middle: they go on where they stopped.

usage: hostile_artifact.py MAKE_HOSTILE   (WAVETRAIN_BUILD names the build folder)
"""
import gzip
import hashlib
import os
import pathlib
import socket
import subprocess
import sys
import tarfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet
import wire
from fleet import wait_for

MAKE_HOSTILE = sys.argv[1]
tap = wire.Tap()
# What those are whose own limits were small in the unit test: here they are within the real ones.
WITHIN_LIMITS = {"bad-bomb", "bad-many", "bad-sparse-bomb"}


class World:
    def __init__(self, folder):
        self.folder = folder
        self.co = fleet.Coordinator(folder)
        self.co.start()
        self.co.must("app", "add", "shop")
        self.versions = 0

    def push(self, path, **more):
        self.versions += 1
        return self.co.ask("release", "push", "shop", f"1.{self.versions}", path, timeout=200, **more)

    def kept(self):
        a = self.co.data / "artifacts"
        return sorted(p.name for p in (a / "sha256").iterdir()), len(self.co.json("release", "list", "shop"))


def said(v):
    return f"exit {v[0]}: {v[2][:300]}"


def archives(w):
    made = w.folder / "archives"
    made.mkdir()
    subprocess.run([sys.executable, MAKE_HOSTILE, made], check=True, timeout=120)
    for path in sorted(made.glob("bad-*")):
        name = path.name
        if name.split(".")[0] in WITHIN_LIMITS:
            continue
        before = w.kept()
        v = w.push(path)
        tap.check(f"{name} is refused in words, and nothing is kept", v[0] in (1, 64) and "error:" in v[2] and "next:" in v[2] and w.kept() == before, (said(v), w.kept()))
    for path in sorted(made.glob("good-*")):
        v = w.push(path)
        tap.check(f"{path.name} is taken", v[0] == 0, said(v))


def header(name, size=0):
    t = tarfile.TarInfo(name)
    t.size = size
    return t.tobuf(tarfile.USTAR_FORMAT)


def huge(w):
    """Both unpack to far more than they are; the reader has limits, and others are served while it reads."""
    bomb = w.folder / "bomb.tar.gz"
    zeros = gzip.compress(bytes(64 << 20), 9, mtime=0)
    with open(bomb, "wb") as f:
        f.write(gzip.compress(header("zeros", 6 << 30), mtime=0) + zeros * 96)
    many = w.folder / "many.tar.gz"
    with open(many, "wb") as f:
        for k in range(100):  # 10 million
            if k < 2:
                part = gzip.compress(b"".join(header(f"f{k}-{n}") for n in range(100000)), 1, mtime=0)
            f.write(part)
    for path, words in ((bomb, "unpack to more than its limit"), (many, "more than 100000 entries")):
        stop, slowest = threading.Event(), [0.0]

        def others():
            while not stop.is_set():
                began = time.monotonic()
                wire.ask_raw(w.co.socket, wire.request("app list"), 120)
                slowest[0] = max(slowest[0], time.monotonic() - began)
        t = threading.Thread(target=others)
        t.start()
        before, began = w.kept(), time.monotonic()
        v = w.push(path)
        took = time.monotonic() - began
        stop.set()
        t.join()
        tap.check(f"{path.name} ({path.stat().st_size >> 10} KiB) is refused, and nothing is kept", v[0] in (1, 64) and words in v[2] and w.kept() == before, said(v))
        tap.check(f"others are served while {path.name} is read", slowest[0] < max(1.0, took / 3), f"{slowest[0]:.1f} s of {took:.1f} s")
        path.unlink()


def folders(w):
    """What a folder may hold that a release may not: refused by name, or cleaned where that is harmless."""
    d = w.folder / "app"
    d.mkdir()
    (d / "run").write_text("#!/bin/sh\n")
    (d / "run").chmod(0o4755)
    if os.geteuid() == 0:
        os.chown(d / "run", 12345, 12345)
        (d / "run").chmod(0o4755)
    v = w.push(d)
    tap.check("setuid and a foreign owner are dropped", v[0] == 0, said(v))
    newest = max((w.co.data / "artifacts/sha256").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    listing = subprocess.run(f"zstd -dc {newest} | tar tvf - --numeric-owner", shell=True, capture_output=True, text=True).stdout
    tap.check("the archive shows none of them", "-rwxr-xr-x 0/0" in listing and "12345" not in listing, listing)

    def one(name, make, words):
        e = w.folder / f"app-{w.versions}"
        e.mkdir()
        (e / "run").write_text("x")
        make(e)
        before = w.kept()
        got = w.push(e)
        tap.check(f"a folder with {name} is refused by name, and nothing is kept", got[0] in (1, 64) and words in got[2] and w.kept() == before, said(got))
    one("a fifo", lambda e: os.mkfifo(e / "pipe"), "pipe")
    s = socket.socket(socket.AF_UNIX)
    one("a socket", lambda e: s.bind(str(e / "sock")), "sock")
    one("a link to /etc/passwd", lambda e: (e / "l").symlink_to("/etc/passwd"), "'l'")
    one("a link that climbs out", lambda e: (e / "l").symlink_to("../../x"), "'l'")
    one("names that differ in case only", lambda e: ((e / "A").write_text(""), (e / "a").write_text("")), "case")
    one("a control character in a name", lambda e: (e / "a\x1bb").write_text(""), "control")
    one("a name that is not UTF-8", lambda e: open(os.fsencode(e) + b"/\xff", "w").close(), "UTF-8")
    one("100,001 files", lambda e: [os.close(os.open(e / f"f{n}", os.O_CREAT)) for n in range(100001)], "entries")
    if os.geteuid() == 0:
        one("a device", lambda e: os.mknod(e / "null", 0o20666, os.makedev(1, 3)), "null")
    hard = w.folder / "hard"
    hard.mkdir()
    (hard / "a").write_text("same")
    os.link(hard / "a", hard / "b")
    v = w.push(hard)
    tap.check("hard links are packed as the files they are", v[0] == 0, said(v))
    v = w.push(w.folder / "nowhere")
    tap.check("a path that is not there is told", v[0] == 1 and "nowhere" in v[2], said(v))


# ---- uploads that lie or break

def upload(w, digest, size, version, app="shop"):
    a = wire.Admin(w.co.socket)
    a.send(wire.frame(wire.request("release push", "release", wire.message([(1, app), (2, version), (3, digest), (4, size), (5, "tar.gz")]))))
    return a


def ready_at(a):
    r = a.reply()
    return r[12].get(1, [0])[0] if r and 12 in r else None


def liars(w):
    good = (w.folder / "archives/good-plain.tar.gz").read_bytes()
    wrong, before = hashlib.sha256(b"other").digest(), w.kept()
    a = upload(w, wrong, len(good), "9.1")
    ready_at(a)
    a.send(wire.frame(wire.message([(1, good)])) + wire.frame(b""))
    got = a.last()
    tap.check("bytes of another digest are thrown away, in words", got[0] == "E_CORRUPT" and "announced" in got[1] and w.kept() == before, got)
    a = upload(w, wrong, 10, "9.1")
    ready_at(a)
    a.send(wire.frame(wire.message([(1, good)])))
    got = a.last()
    tap.check("more bytes than announced are refused", got[0] == "E_PROTOCOL", got)
    a = upload(w, wrong, 10, "9.1")
    ready_at(a)
    a.send(wire.frame(b""))
    got = a.last()
    tap.check("fewer bytes than announced are no release", got[0] == "E_PROTOCOL" and "0 of 10" in got[1], got)
    for name, digest, size, want in (("a short digest", b"x", 10, "E_INVALID"), ("no size", wrong, 0, "E_INVALID"), ("2^63 bytes", wrong, 2**63, "E_NO_SPACE"), ("2^64-1 bytes", wrong, 2**64 - 1, "E_NO_SPACE")):
        got = upload(w, digest, size, "9.1").last()
        tap.check(f"a push with {name} is refused", got[0] == want, got)
    tap.check("nothing is kept of any of them", w.kept() == before, w.kept())


def big_archive(w, name, mib):
    path = w.folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as t:
        blob = w.folder / "blob"
        blob.write_bytes(os.urandom(mib << 20))
        t.add(blob, "blob")
    return path


def partial_size(w):
    return sum(p.stat().st_size for p in (w.co.data / "artifacts/partial").iterdir())


def broken(w):
    """Kill the program, then the coordinator, in the middle; the third push goes on and the bytes are right."""
    path = big_archive(w, "broken", 96)
    raw = path.read_bytes()
    words = w.co.command("release", "push", "shop", "5.0", path)
    for who in ("program", "coordinator"):
        had = partial_size(w)
        p = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for("some bytes arrive", lambda: partial_size(w) > had + (1 << 20) or p.poll() is not None, step=0.001)
        if who == "program":
            p.kill()
            p.communicate()
            wait_for("they stay", lambda: partial_size(w) > had)
        else:
            w.co.kill()
            out, err = p.communicate(timeout=60)
            tap.check("the coordinator dies during a push: 69, and what to do", p.returncode == 69 and "goes on where it stopped" in err, (p.returncode, err))
            w.co.start()
        tap.check(f"the {who} is killed: the bytes stay and no release is said", 0 < partial_size(w) < len(raw) and w.co.ask("release", "show", "shop", "5.0")[0] == 1, partial_size(w))
    v = w.co.ask("release", "push", "shop", "5.0", path, timeout=200)
    tap.check("the next push goes on where it stopped", v[0] == 0 and "Going on at byte" in v[2], said(v))
    hex_ = hashlib.sha256(raw).hexdigest()
    tap.check("and the bytes are those", (w.co.data / "artifacts/sha256" / hex_).read_bytes() == raw and partial_size(w) == 0)
    v = w.co.ask("release", "push", "shop", "5.0", path, timeout=200)
    tap.check("pushed again it is there already", v[0] == 0 and "already" in v[2], said(v))


def two_at_once(w):
    """One archive from two sides: the second is told and harms nothing, also when it announces another size."""
    path = big_archive(w, "two", 1)
    raw = path.read_bytes()
    digest = hashlib.sha256(raw)
    first = upload(w, digest.digest(), len(raw), "7.0")
    ready_at(first)
    first.send(wire.frame(wire.message([(1, raw[:1000])])))
    for size in (len(raw), 10):
        got = upload(w, digest.digest(), size, "7.1").last()
        tap.check(f"a second push of it ({size} bytes) is told to wait", got[0] == "E_BUSY" and "same command again" in got[2], got)
    for i in range(1000, len(raw), 128 << 10):
        first.send(wire.frame(wire.message([(1, raw[i:i + (128 << 10)])])))
    first.send(wire.frame(b""))
    got = first.last()
    tap.check("the first one ends as if it had been alone", got[0] == "done" and (w.co.data / "artifacts/sha256" / digest.hexdigest()).read_bytes() == raw, got)
    v = w.co.ask("release", "push", "shop", "7.1", path, timeout=200)
    tap.check("and then the second may use it", v[0] == 0, said(v))
    got = upload(w, digest.digest(), 10, "7.2").last()
    tap.check("a size that is not its own is refused", got[0] == "E_INVALID" and f"has {len(raw)} bytes" in got[1], got)


def full_disk(w):
    """A tmpfs below the artifacts that fills up while bytes come, at several places; with room again the push goes on."""
    w.co.kill()
    mount = w.co.data / "artifacts"
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", mount], stderr=subprocess.DEVNULL).returncode != 0:
        tap.skip("a full disk during a push", "no tmpfs can be mounted here")
        w.co.start()
        return
    try:
        w.co.start()
        path = big_archive(w, "full", 30)
        raw = path.read_bytes()
        digest = hashlib.sha256(raw).digest()
        ballast = mount / "ballast"
        for n, at in enumerate((1, 4095, 65537, 10 << 20, len(raw) - 1)):
            a = upload(w, digest, len(raw), "6.0")
            offset = ready_at(a)
            free = os.statvfs(mount).f_bavail * 4096
            room = max(0, (at - offset) // 4096 * 4096)
            with open(ballast, "wb") as f:
                os.posix_fallocate(f.fileno(), 0, free - room)
            try:
                for i in range(offset, len(raw), 128 << 10):
                    a.send(wire.frame(wire.message([(1, raw[i:i + (128 << 10)])])))
                a.send(wire.frame(b""))
                got = a.last()
            finally:
                a.close()
            tap.check(f"no room after byte {at}: refused in words, the coordinator lives", got[0] == "E_NO_SPACE" and "space" in got[2] and w.co.process.alive(), got)
            ballast.unlink()
        v = w.co.ask("release", "push", "shop", "6.0", path, timeout=200)
        tap.check("with room again the push goes on where it stopped", v[0] == 0 and "Going on at byte" in v[2], said(v))
    finally:
        subprocess.run(["umount", "-l", mount], check=False)


def main():
    with fleet.folder_of_processes("wavetrain-artifact-") as folder:
        w = World(folder)
        for part in (archives, folders, liars, broken, two_at_once, huge, full_disk):
            part(w)
        w.co.process.kill(15)
        tap.check("it stops in order", w.co.process.p.returncode == 0, w.co.process.tail())
    return tap.done()


os.environ["NO_COLOR"] = "1"
sys.exit(main())

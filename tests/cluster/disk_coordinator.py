#!/usr/bin/env python3
"""A disk that fails under the coordinator, at each system call that makes something durable: the process ends with 70 and says why; nothing that
was not on disk was acknowledged; on a healthy disk everything acknowledged is there again. And a disk that is full for real (tmpfs).

usage: disk_coordinator.py   (WAVETRAIN_BUILD names the build folder; strace is needed, the tmpfs needs root)
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet
import wire
from fleet import wait_for

tap = wire.Tap()
WRITERS = 3
# Which calls, which error, and from which of them on. The log is written by io_submit, or pwritev2 where the kernel has no asynchronous writes; its
# files are made by fallocate and closed by ftruncate and fsync; the state store writes by pwrite64. The first fault thrice: what it hits is chance.
SYNC, LOG, MAKE, STORE = "fsync,fdatasync", "io_submit,pwritev2", "fallocate", "pwrite64"
FAULTS = [(LOG, "EIO", "1+"), (LOG, "EIO", "1+"), (LOG, "ENOSPC", "1+"), (LOG, "EIO", "40+"), (STORE, "ENOSPC", "1+"), (STORE, "EIO", "5+"),
          (MAKE, "ENOSPC", "1+"), (SYNC, "EIO", "1+"), ("ftruncate", "EIO", "1"), ("rename,renameat", "EIO", "1"), (",".join((SYNC, LOG, MAKE, STORE)) + ",ftruncate,rename,renameat", "ENOSPC", "20+")]


class Writers:
    """Operators who write until they are refused; `acked` is what they were told is done."""

    def __init__(self, co, prefix):
        self.co, self.prefix, self.acked, self.other, self.filled, self.stop = co, prefix, [], [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(WRITERS)] + [threading.Thread(target=self.fill) for _ in range(3)]
        [t.start() for t in self.threads]

    def run(self, n):
        i = 0
        while not self.stop.is_set():
            app = f"{self.prefix}-{n}-{i}"
            i += 1
            try:
                got = wire.ask_raw(self.co.socket, wire.request("app add", "app", wire.message([(1, app)])), 20)
            except OSError:
                got = ("closed", "", "")
            (self.acked if got[0] == "done" else self.other).append((app, got))
            if got[0] == "closed":
                time.sleep(0.05)

    def fill(self):
        """Large commands: the log's files are filled, closed and made anew, which is where most of the fsyncs are."""
        body = wire.message([(1, "filler"), (2, "x" * 4000)])
        while not self.stop.is_set():
            try:
                got = wire.ask_raw(self.co.socket, wire.request("env add", "env", body), 20)
            except OSError:
                got = ("closed", "", "")
            self.filled += got[0] == "done"
            if got[0] == "closed":
                time.sleep(0.05)

    def end(self):
        self.stop.set()
        [t.join() for t in self.threads]
        return {a for a, _ in self.acked}


def names(co):
    return [a["name"] for a in co.json("app", "list")]


def check_kept(co, name, acked):
    """On a healthy disk: what was acknowledged is there, once."""
    there = names(co)
    missing = acked - set(there)
    tap.check(f"{name}: all {len(acked)} that were acknowledged are there after a restart, once",
              acked and not missing and len(there) == len(set(there)), (len(missing), sorted(missing)[:5]))


def reason_told(text):
    """The last thing in the log tells what failed and what to do."""
    last = [line for line in text.splitlines() if "<3>" in line or "<2>" in line]
    return bool(last) and re.search(r"disk|space|Input/output|No space", last[-1]) is not None


def tracer_attach(co, calls, error, when):
    out = co.data.parent / "strace.out"
    out.unlink(missing_ok=True)
    p = subprocess.Popen(["strace", "-q", "-f", "-o", out, "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}",
                          "-p", str(co.process.p.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Attached: the kernel says so.
    wait_for("strace is attached", lambda: f"TracerPid:\t{p.pid}" in pathlib.Path(f"/proc/{co.process.p.pid}/status").read_text() or p.poll() is not None)
    return p, out


def injected(folder):
    """The disk fails while the coordinator works."""
    co = fleet.Coordinator(folder)
    acked = set()
    for n, (calls, error, when) in enumerate(FAULTS):
        name = f"{error} of {calls.split(',')[0]}{'...' if ',' in calls else ''} from number {when}"
        co.start()
        seen = len(co.process.tail(10 ** 9))
        w = Writers(co, f"f{n}")
        wait_for("something is acknowledged", lambda: len(w.acked) >= 5)
        tracer, out = tracer_attach(co, calls, error, when)
        hit = lambda: "(INJECTED)" in (out.read_text(errors="replace") if out.exists() else "")
        try:
            wait_for("the fault has happened", lambda: hit() or not co.process.alive(), 20)
            wait_for("the coordinator ends", lambda: not co.process.alive(), 15)
        except TimeoutError:
            pass
        ended = not co.process.alive()
        code = co.process.p.returncode
        text = co.process.tail(10 ** 9)[seen:]
        tracer.kill()
        tracer.wait()
        if not ended:
            co.kill()
        acked |= w.end()
        if hit() or ended:
            tap.check(f"{name}: the process ends with 70", ended and code == 70, f"exit {code}: {text[-600:]}")
            tap.check(f"{name}: it says why and what to do", ended and reason_told(text), text[-600:])
            wrong = [x for x in w.other if x[1][0] not in ("closed", "E_NO_SPACE", "E_UNKNOWN_OUTCOME", "E_IO", "E_UNAVAILABLE")]
            tap.check(f"{name}: nobody was told anything false", not wrong, wrong[:3])
        else:
            tap.skip(f"{name}: no such call was made", "this kernel uses another one")
        co.start()
        check_kept(co, name, acked)
        co.kill()


def full_at_start(folder):
    """A disk that fails while the log is opened: it does not start, and says why; afterwards nothing is missing."""
    co = fleet.Coordinator(folder)
    co.start()
    for n in range(20):
        co.must("app", "add", f"s-{n}")
    co.process.kill(15)
    for calls, error in (("fsync,fdatasync", "EIO"), ("fallocate", "ENOSPC"), ("pwrite64,pwritev2,io_submit", "ENOSPC")):
        before = co.process.tail(10 ** 9)
        with open(co.process.log, "ab") as log:
            done = subprocess.run(["strace", "-q", "-f", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when=1+", fleet.WAVETRAIND, "run",
                                   "--data", co.data], stdout=log, stderr=log, timeout=60)
        text = co.process.tail(10 ** 9)[len(before):]
        tap.check(f"{error} of {calls.split(',')[0]} from the start: it does not run (1 or 70)", done.returncode in (1, 70), (done.returncode, text[-500:]))
        tap.check(f"{error} of {calls.split(',')[0]} from the start: it says why", re.search(r"No space|Input/output|disk", text), text[-500:])
    co.start()
    tap.check("afterwards all is there", set(names(co)) == {f"s-{n}" for n in range(20)}, names(co))
    co.kill()


def tmpfs(folder):
    """A disk that really fills up: the watermark refuses first, in words; what stops things still goes through; without any room at all it ends with 70."""
    mount = folder / "small"
    mount.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", mount], stderr=subprocess.DEVNULL).returncode != 0:
        tap.skip("a real full disk", "no tmpfs can be mounted here")
        return
    try:
        full_disk(mount)
    finally:
        fleet.kill_all_children()
        subprocess.run(["umount", "-l", mount], check=False)


def fill(path, leave):
    free = os.statvfs(path.parent)
    size = free.f_bavail * free.f_frsize - leave
    with open(path, "ab") as f:
        if size > 0:
            os.posix_fallocate(f.fileno(), f.tell(), size)


def full_disk(mount):
    co = fleet.Coordinator(mount)
    co.start()
    acked = {f"t-{n}" for n in range(20)}
    for n in sorted(acked):
        co.must("app", "add", n)
    ballast = mount / "ballast"
    fill(ballast, 300 << 20)
    tries = iter(range(10 ** 6))
    refused = wait_for("the watermark is seen", lambda: next((v for v in [co.ask("app", "add", f"over-{next(tries)}")] if v[0] != 0), None))
    tap.check("below the watermark a write is refused: 1, how much is missing and what to do",
              refused[0] == 1 and "512 MiB" in refused[2] and "free" in refused[2] and "E_NO_SPACE" in refused[2], refused)
    tap.check("reading goes on", len(names(co)) >= 20)
    doctor = json.loads(co.ask("doctor", "-o", "json")[1])
    tap.check("doctor says so", any(c["name"] == "disk" and c["result"] == "fail" for c in doctor["checks"]), doctor)
    ballast.unlink()
    wait_for("it is accepted again", lambda: co.ask("app", "add", "again")[0] == 0)
    acked |= {"again", "over-0"} if next(tries) > 1 else {"again"}
    # No watermark helps against one who fills the disk between two looks at it.
    seen = len(co.process.tail(10 ** 9))
    w = Writers(co, "race")
    try:
        wait_for("something is acknowledged", lambda: len(w.acked) >= 20)
        deadline = time.monotonic() + 30
        while co.process.alive() and time.monotonic() < deadline:
            fill(ballast, 0)
            time.sleep(0.2)
            if co.process.alive():
                ballast.unlink()  # it had room prepared: let it use that up
                wait_for("it is used", lambda: not co.process.alive() or len(w.acked) % 5 == 0, 5)
    except (TimeoutError, OSError):
        pass
    acked |= w.end()
    if co.process.alive():
        tap.check("with no room at all nothing is lost and nothing false is said", all(x[1][0] in ("E_NO_SPACE", "closed") for x in w.other), w.other[:3])
        co.kill()
    else:
        tap.check("with no room at all it ends with 70", co.process.p.returncode == 70, (co.process.p.returncode, co.process.tail(10 ** 9)[seen:]))
    ballast.unlink(missing_ok=True)
    co.start()
    check_kept(co, "after a full disk", acked)
    co.kill()


def main():
    if not shutil.which("strace"):
        tap.check("strace is installed", False)
        return tap.done()
    with fleet.folder_of_processes("wavetrain-disk-") as folder:
        for part in (injected, full_at_start, tmpfs):
            (folder / part.__name__).mkdir()
            part(folder / part.__name__)
    return tap.done()


os.environ["NO_COLOR"] = "1"
sys.exit(main())

#!/usr/bin/env python3
"""How one coordinator starts and ends, beside what goes on at that moment.

usage: WAVETRAIN_BUILD=build start_stop.py   (prints TAP)
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet
import wire

tap = wire.Tap()
STOPS = 12


def started_twice(folder):
    """A data directory belongs to one process; the second one says who has it and ends, whatever the first is doing."""
    co = fleet.Coordinator(folder)
    co.start()
    co.must("app", "add", "first")
    checks = {c["name"]: c for c in co.json("doctor")["checks"]}
    tap.check("doctor tells how large the state is", checks["state"]["result"] == "ok" and "of at most 4096" in checks["state"]["text"], checks)
    tap.check("and how long the loop was busy at once", "the longest turn took" in checks["loop"]["text"], checks)
    co.must("app", "list")  # leaves the state store in the middle of a transaction
    for state in ("running", "stopped in the middle"):
        if state != "running":
            os.kill(co.process.p.pid, signal.SIGSTOP)
        try:
            done = subprocess.run([fleet.WAVETRAIND, "run", "--data", co.data], capture_output=True, text=True, timeout=20)
            said = (done.returncode, done.stderr)
        except subprocess.TimeoutExpired:
            said = ("hangs", "")
        os.kill(co.process.p.pid, signal.SIGCONT)
        tap.check(f"a second start beside one that is {state} ends at once: 1, and names the process",
                  said[0] == 1 and f"held by process {co.process.p.pid}" in said[1], said)
    co.must("app", "add", "second")
    tap.check("the first works on", [a["name"] for a in co.json("app", "list")] == ["first", "second"])
    co.kill()
    co.start()
    tap.check("after kill -9 nothing holds the directory, and all is there", [a["name"] for a in co.json("app", "list")] == ["first", "second"])
    co.process.kill(15)


@contextlib.contextmanager
def quick_disk(folder, name):
    """A small disk in memory; None when it cannot be had."""
    mount = folder / "small"
    mount.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", mount], stderr=subprocess.DEVNULL).returncode != 0:
        tap.skip(name, "no tmpfs can be mounted here")
        yield None
        return
    try:
        yield mount
    finally:
        fleet.kill_all_children()
        subprocess.run(["umount", "-l", mount], check=False)


def stopped_while_writing(folder):
    """On a disk that is quicker than the loop: the log's last file is closed before those who wrote it are."""
    with quick_disk(folder, "stops while the log is written") as mount:
        if mount is None:
            return
        co = fleet.Coordinator(mount)
        codes = set()
        for n in range(STOPS):
            co.start()
            co.must("app", "add", f"app-{n}")
            os.kill(co.process.p.pid, signal.SIGSTOP)
            os.kill(co.process.p.pid, signal.SIGTERM)
            os.kill(co.process.p.pid, signal.SIGCONT)
            codes.add(co.process.p.wait(timeout=20))
        tap.check(f"{STOPS} stops right after a write end in order: 0", codes == {0}, (codes, co.process.tail()))


def refused_at_the_end(folder):
    """The log takes nothing new, and in the same turn as an operator is refused the coordinator is told to stop."""
    with quick_disk(folder, "a stop while an operator is refused") as mount:
        if mount is None:
            return
        co = fleet.Coordinator(mount)
        co.start()
        co.must("app", "add", "first")
        free = os.statvfs(mount)
        with open(mount / "ballast", "wb") as f:
            os.posix_fallocate(f.fileno(), 0, free.f_bavail * free.f_frsize - (400 << 20))
        tries = iter(range(100))
        fleet.wait_for("the watermark is seen", lambda: co.ask("app", "add", f"over-{next(tries)}")[0] != 0)
        operator = wire.Admin(co.socket)
        co.json("app", "list")  # a later connection was answered: this one is accepted
        os.kill(co.process.p.pid, signal.SIGSTOP)
        operator.send(wire.frame(wire.request("app add", "app", wire.message([(1, "late")]))))
        os.kill(co.process.p.pid, signal.SIGTERM)
        os.kill(co.process.p.pid, signal.SIGCONT)
        try:
            code = co.process.p.wait(timeout=15)
        except subprocess.TimeoutExpired:
            code = "hangs"
        tap.check("a stop in the turn in which an operator is refused ends in order: 0", code == 0, (code, co.process.tail()))
        operator.close()


def main():
    with fleet.folder_of_processes("wavetrain-start-stop-") as folder:
        for part in (started_twice, stopped_while_writing, refused_at_the_end):
            (folder / part.__name__).mkdir()
            part(folder / part.__name__)
    return tap.done()


os.environ["NO_COLOR"] = "1"
sys.exit(main())

#!/usr/bin/env python3
"""How one coordinator starts and ends, beside what goes on at that moment.

usage: WAVETRAIN_BUILD=build start_stop.py   (prints TAP)
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet
import wire

tap = wire.Tap()


def started_twice(folder):
    """A data directory belongs to one process; the second one says who has it and ends, whatever the first is doing."""
    co = fleet.Coordinator(folder)
    co.start()
    co.must("app", "add", "first")
    co.must("app", "list")  # leaves the state store in the middle of a transaction
    for state in ("running", "stopped in the middle"):
        if state != "running":
            os.kill(co.process.p.pid, 19)
        try:
            done = subprocess.run([fleet.WAVETRAIND, "run", "--data", co.data], capture_output=True, text=True, timeout=20)
            said = (done.returncode, done.stderr)
        except subprocess.TimeoutExpired:
            said = ("hangs", "")
        os.kill(co.process.p.pid, 18)
        tap.check(f"a second start beside one that is {state} ends at once: 1, and names the process",
                  said[0] == 1 and f"held by process {co.process.p.pid}" in said[1], said)
    co.must("app", "add", "second")
    tap.check("the first works on", [a["name"] for a in co.json("app", "list")] == ["first", "second"])
    co.kill()
    co.start()
    tap.check("after kill -9 nothing holds the directory, and all is there", [a["name"] for a in co.json("app", "list")] == ["first", "second"])
    co.process.kill(15)


def main():
    with fleet.folder_of_processes("wavetrain-start-stop-") as folder:
        for part in (started_twice,):
            (folder / part.__name__).mkdir()
            part(folder / part.__name__)
    return tap.done()


os.environ["NO_COLOR"] = "1"
sys.exit(main())

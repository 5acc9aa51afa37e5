#!/usr/bin/env python3
"""deploy/demo --cluster, as it is: its exit code says whether all it promised held, and what it prints has the promised keys.

usage: WAVETRAIN_BUILD=build demo_cluster.py   (prints TAP)
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
from tap import Tap  # noqa: E402

KEYS = {"coordinators", "status", "leader_kills", "requests_ok", "requests_failed", "tasks_doubled", "stall_ms"}


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix="wavetrain-") as folder:
        done = subprocess.run([sys.executable, ROOT / "deploy/demo.d/demo.py", "--cluster", "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=500, env=os.environ | {"TMPDIR": folder})
        tap.check("all it promises held", done.returncode == 0, done.stderr[-3000:])
        last = json.loads((done.stdout.strip().splitlines() or ["{}"])[-1])
        tap.check("its last line has the promised keys", set(last) == KEYS, last)
        tap.check("it leaves nothing behind", os.listdir(folder) == [], os.listdir(folder))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

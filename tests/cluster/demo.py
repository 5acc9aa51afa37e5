#!/usr/bin/env python3
"""The README's demo, as it is: its exit code says whether all it promises held; what it prints has the promised keys; it ends in the promised time;
and it leaves nothing behind, also when somebody presses Ctrl-C.

usage: WAVETRAIN_BUILD=build demo.py SECONDS   (SECONDS: what it may take; prints TAP)
"""
import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
import fleet as f  # noqa: E402
from tap import Tap  # noqa: E402

KEYS = {"hosts", "regions", "deploys", "requests_ok", "requests_failed", "coordinator_kills", "lost_transitions"}
DEPLOY_KEYS = {"version", "status", "seconds", "hosts_touched", "regions_touched"}
DEMO = ROOT / "deploy/demo.d/demo.py"
MOST_S = float(sys.argv[1])
PROGRAMS = 12  # of those it starts, when it is interrupted


def verdict(tap):
    """Each part of it can fail."""
    spec = importlib.util.spec_from_file_location("told", DEMO)
    told = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(told)

    def faults(requests_failed=0, requests_ok=20000, lost=0, acked=50, no_drain=False, regions_touched=1, last="succeeded", watched=True, served=True):
        d = told.Demo(argparse.Namespace(json=True, no_drain=no_drain, keep=False))
        d.deploys = [{"version": v, "status": s, "regions_touched": regions_touched}
                     for v, s in (("1.0", "succeeded"), ("1.1", "succeeded"), ("1.2", "rolled_back"), ("1.3", last))]
        d.acked, d.watched, d.served, d.lost_transitions = dict.fromkeys(range(acked)), watched, served, lambda: lost
        return d.faults({"requests_ok": requests_ok, "requests_failed": requests_failed})

    good = [faults(), faults(no_drain=True, requests_failed=3)]
    tap.check("a good story has no fault, nor the control that loses requests", good == [[], []], good)
    for what in ({"requests_failed": 1}, {"requests_ok": 5}, {"lost": 1}, {"acked": 0}, {"no_drain": True}, {"regions_touched": 2}, {"last": "rolled_back"},
                 {"watched": False}, {"served": False}):
        tap.check(f"{what} is one fault", len(faults(**what)) == 1, faults(**what))


def start(folder):
    """In the foreground of nobody, but as a shell would: Ctrl-C is not ignored."""
    return subprocess.Popen([sys.executable, DEMO, "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder)},
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def check_nothing_left(tap, when, folder):
    left = f.children_of(os.getpid())
    tap.check(f"{when} none of its processes is left", left == [], [pathlib.Path(f"/proc/{p}/comm").read_text().strip() for p in left])
    tap.check(f"{when} its folder is gone", list(folder.iterdir()) == [], list(folder.iterdir()))


def whole_story(tap, folder):
    began = time.monotonic()
    p = start(folder)
    out, err = p.communicate(timeout=280)
    seconds = time.monotonic() - began
    lines = out.splitlines()
    said = json.loads(lines[0]) if len(lines) == 1 else {}
    tap.check("it keeps its promises", p.returncode == 0, err or out)
    tap.check("one JSON object with the promised keys", set(said) == KEYS and all(set(d) == DEPLOY_KEYS for d in said["deploys"]), out)
    tap.check("and what it counts is there", [said.get(k) for k in ("hosts", "regions", "coordinator_kills", "lost_transitions", "requests_failed")]
              == [12, 3, 1, 0, 0] and said["requests_ok"] > 1000, out)
    tap.check(f"it ends within {MOST_S:.0f} s", seconds < MOST_S, f"{seconds:.1f} s")
    check_nothing_left(tap, "at its end", folder)


def interrupted(tap, folder):
    p = start(folder)
    f.wait_for("its programs run", lambda: len(f.children_of(p.pid)) > PROGRAMS, seconds=60)
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=60)
    tap.check("Ctrl-C ends it with 130", p.returncode == 130, p.returncode)
    check_nothing_left(tap, "after Ctrl-C", folder)


def main():
    tap = Tap()
    f.own_processes()  # what it leaves behind comes to us
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wavetrain-demo-test-"))
    try:
        verdict(tap)
        whole_story(tap, folder)
        interrupted(tap, folder)
    except Exception as e:  # noqa: BLE001: whatever it was, the test failed
        tap.early(e)
    finally:
        f.kill_all_children()
        shutil.rmtree(folder, ignore_errors=True)
    return tap.done()


sys.exit(main())

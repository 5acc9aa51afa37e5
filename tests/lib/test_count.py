#!/usr/bin/env python3
"""The last lines of a run: what failed is counted whatever way it failed, and each failure says why.   (prints TAP)"""
import json
import pathlib
import subprocess
import sys
import tempfile

from tap import Tap

COUNT = pathlib.Path(__file__).with_name("count.py")
JUNIT = """<?xml version='1.0' encoding='utf-8'?><testsuites>
<testsuite name="wavetrain.unit / cases"><testcase name="1 - good" classname="c"/><testcase name="2 - bad" classname="c"><failure/></testcase>
<system-out>ok 1 - good
not ok 2 - bad
# 0x1 != 0x2
# a.c:23: error: Failure!
ok 3 - more</system-out></testsuite>
<testsuite name="wavetrain.cluster / story"><testcase name="1 - it holds" classname="c"><failure/></testcase>
<system-out>not ok 1 - it holds # seen: nothing
# agent: 100 lines of its log</system-out></testsuite>
<testsuite name="wavetrain.unit / leaks"><testcase name="1 - good" classname="c"/>
<system-err>SUMMARY: AddressSanitizer: 8 bytes leaked</system-err></testsuite>
<testsuite name="wavetrain"><testcase name="sim / slow" classname="w"/><testcase name="sim / good" classname="w"/>
<testcase name="sim / found" classname="w"><failure/><system-out>events
seed 7: VIOLATION the floor was broken
1 seeds</system-out></testcase>
<testcase name="unit / skipped" classname="w"><skipped/></testcase></testsuite></testsuites>"""
PROGRAMS = {"unit / cases": "ERROR", "cluster / story": "FAIL", "unit / leaks": "ERROR", "sim / slow": "TIMEOUT", "sim / good": "OK", "sim / found": "FAIL"}
LONG = "pass long/sim 5000 seeds, 0 violations\nfail long/kill-agent not ok 1 - agent: too slow\nskip long/systemd no nspawn\n"


def count(junit, programs, long):
    with tempfile.TemporaryDirectory() as folder:
        top = pathlib.Path(folder)
        (top / "testlog.junit.xml").write_text(junit)
        (top / "testlog.json").write_text("".join(json.dumps({"name": n, "result": r}) + "\n" for n, r in programs.items()))
        (top / "long.txt").write_text(long)
        done = subprocess.run([sys.executable, COUNT, *(top / n for n in ("testlog.junit.xml", "long.txt"))], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout.splitlines()


def main():
    tap = Tap()
    code, lines = count(JUNIT, PROGRAMS, LONG)
    tap.check("the last line has the totals", lines[-1] == "4 passed, 6 failed, 2 skipped", lines)
    last = lines[-7:-1]
    for what, words in {"an assertion": "c 2 - bad: 0x1 != 0x2 | a.c:23: error: Failure!",
                        "a story with what was seen, not with its logs": "c 1 - it holds: seen: nothing",
                        "a leak after good cases": "unit / leaks: ERROR although each case is good: SUMMARY: AddressSanitizer: 8 bytes leaked",
                        "a program out of time": "w sim / slow: TIMEOUT",
                        "a seed": "w sim / found: FAIL seed 7: VIOLATION the floor was broken",
                        "a long suite": "long/kill-agent: not ok 1 - agent: too slow"}.items():
        tap.check(f"{what} stands in the last lines", "FAILED: " + words in last, last)
    tap.check("and the run is bad", code == 1, code)
    good = count("<testsuites/>", {}, "pass long/sim x\n")
    tap.check("a run without failures is good", good == (0, ["1 passed, 0 failed, 0 skipped"]), good)
    tap.check("a run of nothing is bad", count("<testsuites/>", {}, "")[0] == 1)
    return tap.done()


sys.exit(main())

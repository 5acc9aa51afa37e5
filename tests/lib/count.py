#!/usr/bin/env python3
"""Counts test cases from Meson's JUnit files and from plain result files ("pass NAME", "fail NAME reason", "skip NAME reason"). What failed stands
last, a line each with its reason, before the line of totals: often that is all a reader of CI sees.

Meson's JUnit file calls a program passed that ran out of time, and one whose cases are good but which then died (a leak found at its end): those are
taken from testlog.json beside it.
"""
import itertools
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

BAD = {"FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS"}
REASON_MAX = 600
TELLING = re.compile(r"BUG: |SUMMARY: |runtime error: |VIOLATION|[Ee]rror|not ok ")


class Count:
    def __init__(self):
        self.n = {"passed": 0, "failed": 0, "skipped": 0}
        self.failures = []

    def passed(self):
        self.n["passed"] += 1

    def skipped(self, name, why=""):
        self.n["skipped"] += 1
        print("skipped:", name, why)

    def failed(self, name, why=""):
        self.n["failed"] += 1
        why = " ".join(why.split())
        self.failures.append(f"FAILED: {name}" + (f": {why[:REASON_MAX]}" if why else ""))

    def done(self):
        print(*self.failures, *[f"{self.n['passed']} passed, {self.n['failed']} failed, {self.n['skipped']} skipped"], sep="\n")
        return 1 if self.n["failed"] or not self.n["passed"] else 0


def said(element):
    return [line for kind in ("system-out", "system-err") for line in (element.findtext(kind) or "").splitlines() if line.strip()]


def telling(lines):
    """Of what a program printed, what says why it failed."""
    return " | ".join([line for line in lines if TELLING.search(line)][:3] or lines[-2:])


def of_case(case, lines):
    """What stands in the case's own "not ok" line; cmocka puts the failed assertion into the comments below it."""
    for i, line in enumerate(lines):
        if line.startswith("not ok " + case.get("name")):
            below = itertools.takewhile(lambda b: b.startswith("# "), lines[i + 1:i + 4])
            return line.partition(" # ")[2] or " | ".join(b[2:] for b in below)
    return telling(lines)


def bad_programs(junit_path):
    log = junit_path.with_name("testlog.json")
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return {r["name"]: r["result"] for r in rows if r["result"] in BAD}


def junit(path, count):
    bad = bad_programs(path)
    for suite in ET.parse(path).getroot().iter("testsuite"):
        failed_before = count.n["failed"]
        for case in suite.iter("testcase"):
            name = f"{case.get('classname', '')} {case.get('name')}"
            program = bad.get(case.get("name"))
            if case.find("failure") is not None or case.find("error") is not None or program:
                lines = said(case) or said(suite)
                count.failed(name, of_case(case, lines) if said(suite) else f"{program or ''} {telling(lines)}")
            elif case.find("skipped") is not None:
                count.skipped(name, case.find("skipped").get("message") or "")
            else:
                count.passed()
        program = suite.get("name").partition(".")[2]
        if program in bad and count.n["failed"] == failed_before:
            count.failed(program, f"{bad[program]} although each case is good: {telling(said(suite))}")


def plain(path, count):
    for line in path.read_text().splitlines():
        word, _, rest = line.partition(" ")
        name, _, why = rest.partition(" ")
        if word == "pass":
            count.passed()
        elif word == "skip":
            count.skipped(name, why)
        else:
            count.failed(name, why)


def main():
    count = Count()
    for path in map(pathlib.Path, filter(None, sys.argv[1:])):
        if path.suffix == ".xml" and not path.exists():
            count.failed(f"no results in {path}")
        elif path.exists():
            (junit if path.suffix == ".xml" else plain)(path, count)
    return count.done()


if __name__ == "__main__":
    sys.exit(main())

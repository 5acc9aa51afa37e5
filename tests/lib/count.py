#!/usr/bin/env python3
"""Counts test cases from Meson's JUnit files and from plain result files ("pass NAME", "fail NAME", "skip NAME reason")."""
import pathlib
import sys
import xml.etree.ElementTree as ET


def junit(path, n):
    for case in ET.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            n["failed"] += 1
            print("FAILED:", case.get("classname", ""), case.get("name"))
        elif case.find("skipped") is not None:
            n["skipped"] += 1
            print("skipped:", case.get("classname", ""), case.get("name"), case.find("skipped").get("message") or "")
        else:
            n["passed"] += 1


def plain(path, n):
    words = {"pass": "passed", "fail": "failed", "skip": "skipped"}
    for line in path.read_text().splitlines():
        word, _, rest = line.partition(" ")
        n[words[word]] += 1
        if word != "pass":
            print(words[word] + ":", rest)


def main():
    n = {"passed": 0, "failed": 0, "skipped": 0}
    for name in filter(None, sys.argv[1:]):
        path = pathlib.Path(name)
        if path.suffix == ".xml" and not path.exists():
            n["failed"] += 1
            print("FAILED: no results in", name)
        elif path.exists():
            (junit if path.suffix == ".xml" else plain)(path, n)
    print(f"{n['passed']} passed, {n['failed']} failed, {n['skipped']} skipped")
    return 1 if n["failed"] or not n["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())

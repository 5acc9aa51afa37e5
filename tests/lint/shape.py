#!/usr/bin/env python3
"""Size and promises. A function of more than 100 lines or a file of more than 900 fails; so do words that promise instead of
do, and paths of a developer's machine. An exemption is a comment `lint: long because ...` inside the function or at the file's top."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOPS = ("common", "proto", "coordinator", "agent", "tests", "deploy")
FUNCTION_MAX, FILE_MAX = 100, 900
EXEMPT = re.compile(r"lint: long because \w+")
PROMISE = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "not yet imple" + "mented"]) + r")\b")
MACHINE = re.compile(r"(?<![\w.])/(work|farm)/|/root/\.")


def functions(lines):
    """(name, first line, length) of each function: an opening brace in column 0 after a signature, closed in column 0."""
    start = None
    for nr, line in enumerate(lines, 1):
        if line == "{":
            start = nr
        elif line.startswith("}") and start:
            sig = next((lines[i] for i in range(start - 2, max(start - 8, -1), -1) if "(" in lines[i]), "?")
            name = re.search(r"(\w+)\s*\(", sig)
            yield (name.group(1) if name else "?", start, nr - start)
            start = None


def main():
    bad, lengths = [], []
    for path in sorted(p for t in TOPS for p in (ROOT / t).rglob("*") if p.suffix in (".c", ".h", ".py", ".sh", ".build", ".proto")):
        rel, text = path.relative_to(ROOT), path.read_text(errors="replace")
        lines = text.splitlines()
        if len(lines) > FILE_MAX and not EXEMPT.search("\n".join(lines[:30])):
            bad.append(f"{rel}: {len(lines)} lines, the limit is {FILE_MAX}")
        for nr, line in enumerate(lines, 1):
            if rel.name != "shape.py" and PROMISE.search(line):
                bad.append(f"{rel}:{nr}: a promise, not a thing: {line.strip()[:80]}")
            if rel.name != "shape.py" and MACHINE.search(line):
                bad.append(f"{rel}:{nr}: a path of one machine: {line.strip()[:80]}")
        if path.suffix == ".c":
            for name, start, length in functions(lines):
                lengths.append(length)
                if length > FUNCTION_MAX and not EXEMPT.search("\n".join(lines[start - 1:start + length])):
                    bad.append(f"{rel}:{start}: {name} has {length} lines, the limit is {FUNCTION_MAX}")
    lengths.sort()
    print("\n".join(bad) or f"shape: {len(lengths)} functions, median {lengths[len(lengths) // 2]} lines, "
          f"p90 {lengths[len(lengths) * 9 // 10]}, longest {lengths[-1]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Who may include whom ("Who may include whom" of docs/architecture.md). Every #include "..." of the tree is checked against the table."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# folder -> folders whose headers it may include, besides its own. A folder that is not listed may not exist.
MAY = {
    "common/base": [],
    "common/sys": ["common/base"],
    "proto": ["common/base"],
    "coordinator/spec": ["common/base"],
    "coordinator/state": ["common/base", "proto"],
    "coordinator/plan": ["common/base", "coordinator/state"],
    "coordinator/consensus": ["common/base", "common/sys", "proto"],
    "coordinator/cluster": ["common/base", "common/sys", "coordinator/consensus"],
    "coordinator/edge": ["common/base", "common/sys", "proto"],
    "coordinator/artifact": ["common/base", "common/sys"],
    "coordinator/drive": ["common/base", "common/sys", "proto", "coordinator/state", "coordinator/plan", "coordinator/spec"],
    "coordinator/adapters": ["common/base", "common/sys", "proto", "coordinator/state", "coordinator/artifact", "coordinator/drive"],
    "coordinator/admin": ["common/base", "common/sys", "proto", "coordinator/state", "coordinator/plan", "coordinator/spec",
                          "coordinator/drive", "coordinator/artifact"],
    # The CLI holds no decisions and no state: it sees the verbs' table and the deployment file's own library.
    "coordinator/cli": ["common/base", "common/sys", "proto", "coordinator/spec", "coordinator/admin/commands"],
    "agent/core": ["common/base", "proto"],
    "agent/unpack": ["common/base", "common/sys"],
    "agent/exec": ["common/base", "common/sys", "agent/steps"],
    "agent/http": ["common/base", "common/sys"],
    "agent/link": ["common/base", "common/sys", "proto"],
    "agent/steps": ["common/base", "common/sys", "agent/exec", "agent/http", "agent/unpack"],
    "agent/host": ["agent", "agent/core", "agent/exec", "agent/http", "agent/link", "agent/steps", "common/base", "common/sys", "proto"],
    "agent": ["common/base", "common/sys", "proto", "agent/core", "agent/host", "agent/unpack", "agent/exec", "agent/link", "agent/steps"],
    "coordinator": ["*coordinator", "common/base", "common/sys", "proto"],  # main.c and what wires it
}
# The planner reads the state through two headers only.
PLAN_SEES = {"model.h", "view.h", "command.h", "machines.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def folder_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] in ("common", "coordinator", "agent") and len(parts) > 2 else parts[0]


def resolve(inc):
    """The tree path an include means: base/ and sys/ live under common/."""
    return "common/" + inc if inc.split("/")[0] in ("base", "sys") else inc


def allowed(src, inc):
    folder, target = folder_of(src), folder_of(inc)
    if folder == target:
        return True
    if target == "agent/host" and src != "agent/main.c":
        return False  # the top of the agent: main.c wires it, and what it joins does not know it
    for rule in MAY.get(folder, []):
        if rule.startswith("*") and inc.startswith(rule[1:] + "/"):
            return True
        if rule == target or (rule.count("/") == 2 and inc.startswith(rule)):
            return folder != "coordinator/plan" or target != "coordinator/state" or inc.split("/")[-1] in PLAN_SEES
    return False


def main():
    bad = []
    files = [p for top in ("common", "proto", "coordinator", "agent") for p in (ROOT / top).rglob("*.[ch]")]
    for path in files:
        src = str(path.relative_to(ROOT))
        if folder_of(src) not in MAY:
            bad.append(f"{src}: folder is not in the table of layers")
        for nr, line in enumerate(path.read_text().splitlines(), 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            inc = resolve(m.group(1))
            if "/" not in inc:
                bad.append(f'{src}:{nr}: include "{inc}" must be a path from the root of the tree')
            elif not allowed(src, inc):
                bad.append(f"{src}:{nr}: {folder_of(src)} may not include {inc}")
    print("\n".join(bad) or f"layers: {len(files)} files keep to the table")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Every key of the deployment file is read by somebody, or its documentation says that it is for people. A key that nothing reads is a setting that people
believe in: the agent reads names (agent/host/runspec.c), the coordinator members of struct spec (coordinator/drive/make.c)."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROW = re.compile(r'\{"(\w+)", FIELD_(\w+), [^,]*, (?:AT\(\w+, (\w+)\)|0),.*?(?=\n\t\{"|\n\};)', re.DOTALL)
OF_MAPPINGS = {"GROUP", "LIST", "VALUES"}  # what is in them is looked at
USED_UP = {"schema", "type", "default"}    # by the reader itself: the format, and declarations of values
TABLE_OF_VALUES = re.compile(r"static const struct field value_fields\[\] = \{.*?\n\};", re.DOTALL)


def one_choice(table, row):
    """A word that can only be one: there is nothing to read in it."""
    words = re.search(r"\.words = (\w+)", row)
    return words and len(re.search(rf"\b{words.group(1)}\[\] = \{{(.*?), NULL\}}", table).group(1).split(",")) == 1


def main():
    table = (ROOT / "coordinator/spec/fields.c").read_text()
    agent = (ROOT / "agent/host/runspec.c").read_text()
    coordinator = (ROOT / "coordinator/drive/make.c").read_text()
    values = TABLE_OF_VALUES.search(table).span()
    rows = list(ROW.finditer(table))
    bad = []
    for row in rows:
        name, kind, member = row.groups()
        declared = values[0] <= row.start() < values[1] or name == "schema"
        if kind in OF_MAPPINGS or (declared and name in USED_UP) or one_choice(table, row.group(0)):
            continue
        read = f'"{name}"' in agent or re.search(rf"(\.|->){member}\b", coordinator)
        if not read and "for people" not in row.group(0):
            line = table[: row.start()].count("\n") + 1
            bad.append(f"coordinator/spec/fields.c:{line}: nothing reads '{name}'")
    if len(rows) < 80:
        bad.append(f"only {len(rows)} rows were found: the table is written in another way")
    print("\n".join(bad) or f"fields: {len(rows)} keys, each is read or for people")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

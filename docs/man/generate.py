#!/usr/bin/env python3
"""The manual pages of the daemons, from their own --help, and of the deployment file, from its reference (which comes from the table of fields).

usage: docs/man/generate.py [--check] WAVETRAIND WAVETRAIN-AGENT WAVETRAIN-EXEC

Writes docs/man/wavetraind.8 and so on; with --check it says which of them differ from what it would write, and fails.
"""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REFERENCE = HERE.parent / "reference/deployment-file.md"
EXAMPLE = HERE.parent / "examples/deploy.yaml"

# What --help does not say: (heading, text). A line that begins with "- " is an entry "what: text".
MORE = {
    "wavetraind": [
        ("FILES", """- /var/lib/wavetraind: the data directory of the service: config.json, the certificate authority (ca.pem, ca-key.pem), its own
certificate, raft/ (the log, which is the truth), state/ (made from the log), artifacts/, events/
- /run/wavetraind/admin.sock: where operators connect; /run/wavetrain/admin.sock, where the command line looks, is a link to it"""),
        ("WHO MAY WHAT", """Root and the user of the coordinator may do everything. Members of its group (wavetrain) are operators: they deploy, but add and remove
no hosts. Nobody else can open the socket."""),
        ("SIGNALS", """- TERM, INT: stop in order. Programs on hosts run on"""),
    ],
    "wavetrain-agent": [
        ("FILES", """- /var/lib/wavetrain-agent: journal (what this host obeys), spool (results that no coordinator has acknowledged), archives, ledgers of slots
- /var/lib/wavetrain-agent/coordinators.json: the coordinators as one of them named them last; dialed beside those of the bundle, written anew when it is gone
- /var/lib/wavetrain-agent/bundle: who this host is: bundle.json, ca.pem, cert.pem, key.pem
- /var/lib/wavetrain/slots: one folder per release, named by the digest of its archive"""),
    ],
    "wavetrain-exec": [
        ("FILES", """- ROOT/slots: releases, written by the agent
- ROOT/apps/APP/current: link to the slot that APP should run
- ROOT/apps/APP/run: what exec meant to do, written before it is done; the next exec reads it
- ROOT/apps/APP/output.log, output.log.1: what the program printed
- /etc/default/wavetrain-exec: WAVETRAIN_EXEC_USERS of the service: who programs may run as; WAVETRAIN_EXEC_BALANCERS: which HAProxy
and which server state file it may use (none without it)"""),
        ("SIGNALS", """- TERM, INT: end. Programs run on, and the next exec takes them over, unless --stop-programs was given"""),
        ("SERVICES", """wavetrain-exec.service can be stopped, restarted and killed under running programs; one that prints
more than 64 KiB meanwhile waits for the next exec. wavetrain-programs.service is the control group
they live in; its stop ends them all."""),
    ],
}
SEE = ["wavetrain(1)", "wavetrain-deploy(5)", "wavetrain-agent(8)", "wavetrain-exec(8)", "wavetraind(8)"]


def roff(s):
    s = s.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + s if s[:1] in (".", "'") else s


def plain(lines):
    return ".nf\n" + "".join(roff(line) + "\n" for line in lines) + ".fi\n"


def text(s):
    """Hand-written text: paragraphs, and entries `- what: text`."""
    out = ""
    for line in re.sub(r"\n(?!- )", " ", s).splitlines():
        what, _, rest = line[2:].partition(": ") if line.startswith("- ") else ("", "", line)
        out += (f".TP\n.B {roff(what)}\n" if what else "") + roff(rest) + (".\n" if not rest.endswith(".") else "\n")
    return out


def head(name, section, what):
    return (".\\\" Made by docs/man/generate.py; do not edit.\n"
            f".TH {name.upper().replace('-', chr(92) + '-')} {section} \"\" \"wavetrain\" \"wavetrain\"\n"
            f".SH NAME\n{roff(name)} \\- {roff(what)}\n")


def see_also(me):
    return ".SH SEE ALSO\n" + ",\n".join(f".BR {roff(s.split('(')[0])} ({s[-2]})" for s in SEE if not s.startswith(me + "(")).replace(",\n", " ,\n") + "\n"


def daemon_page(program):
    name = pathlib.Path(program).name
    lines = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    what = lines[0].split(": ", 1)[1]
    usage = [line.strip() for line in lines[1:] if line.startswith(f"  {name}")]
    # Options stand in one block of indented lines; what is around it says what the program does.
    option = [i for i, line in enumerate(lines) if line.startswith("  --")]
    first, last = option[0], option[-1]
    while last + 1 < len(lines) and lines[last + 1].startswith("   "):
        last += 1
    around = [line for line in lines[1:first] + lines[last + 1:] if line.strip() and line.strip() not in usage]
    out = head(name, 8, what) + ".SH SYNOPSIS\n" + plain(usage)
    out += ".SH DESCRIPTION\n" + roff(what[0].upper() + what[1:]) + ".\n" + "".join(roff(line.strip()) + "\n" for line in around)
    out += ".SH OPTIONS\n" + plain(lines[first:last + 1])
    return out + "".join(f".SH {title}\n{text(body)}" for title, body in MORE[name]) + see_also(name)


def inline(s):
    """Markdown of one table cell or line."""
    parts = re.split(r"`([^`]*)`", s.replace("\\|", "|").replace("**", ""))
    return "".join(roff(p) if i % 2 == 0 else f"\\fB{roff(p)}\\fR" for i, p in enumerate(parts)).replace("\\&", "")


def guard(line):
    return "\\&" + line if line[:1] in (".", "'") else line


def row(cells):
    key, kind, default, meaning = cells
    more = {"": "", "**required**": ", required"}.get(default, f", default {inline(default)}")
    return f".TP\n{guard(inline(key))}\n({inline(kind)}{more})\n.br\n{guard(inline(meaning))}\n"


def file_page():
    out = head("wavetrain-deploy", 5, "the deployment file of wavetrain") + ".SH DESCRIPTION\n"
    for line in REFERENCE.read_text().splitlines()[3:]:
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("#"):
            out += f".SS {inline(line.lstrip('# '))}\n"
        elif len(cells) == 4 and cells[0] != "Key" and set(cells[0]) != {"-"}:
            out += row(cells)
        elif not cells:
            out += guard(inline(line)) + "\n" if line.strip() else ".PP\n"
        elif len(cells) != 4:
            sys.exit(f"{REFERENCE.name}: a table that this program does not know: {line}")
    out = re.sub(r"(\.PP\n)+(?=\.(SS|TP|PP)|\Z)", "", out)
    return out + ".SH EXAMPLE\n" + plain(EXAMPLE.read_text().splitlines()) + see_also("wavetrain-deploy")


def main():
    check = "--check" in sys.argv[1:]
    programs = [a for a in sys.argv[1:] if a != "--check"]
    if sorted(pathlib.Path(p).name for p in programs) != sorted(MORE):
        sys.exit(__doc__)
    pages = {f"{pathlib.Path(p).name}.8": daemon_page(p) for p in programs}
    pages["wavetrain-deploy.5"] = file_page()
    stale = [name for name, page in pages.items() if not (HERE / name).exists() or (HERE / name).read_text() != page]
    for name in [] if check else stale:
        (HERE / name).write_text(pages[name])
    if check and stale:
        sys.exit(f"docs/man/{' '.join(stale)} stale: docs/man/generate.py {' '.join(programs)}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The program `wavetrain` against a whole fleet: one coordinator, four agents in two regions. What operators type, and what they are told. TAP.

A release is deployed, one goes back by itself (with the evidence of the host), one is undone by `rollback`; then terminals, pipes, signals,
timeouts and refusals.
"""
import json
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402

FILE = """schema: wavetrain/v1
app: shop
artifact: { name: shop, type: tar.zst }
targets: { labels: { role: web } }
values: { passes: { type: int, default: 1 } }
regions:
  - { name: eu }
  - { name: us, after: eu, bake: 1s }
strategy:
  rolling: { batch: 1 }
  maxUnavailable: 50%
  floor: 50%
  failureBudget: 0
  minHealthyTime: 200ms
  deadlines: { progress: 60s, host: 60s }
run:
  command: [./start]
  env: { PORT: "{{ labels.port }}" }
  stop: { timeout: 5s }
health:
  ready:
    http: "http://127.0.0.1:{{ labels.port }}/healthz"
    interval: 200ms
    timeout: 2s
    pass: "{{ values.passes }}"
    fail: 2
    deadline: 15s
rollback: { auto: true, batch: 50%, floor: 50% }
keep: 3
"""
BAD = "echo 'panic: nil session' >&2\nsleep 1\nexit 3\n"

tests = []


def test(fn):
    tests.append(fn)
    return fn


class World:
    def __init__(self):
        self.fleet = f.Fleet({"eu": 2, "us": 2}, prefix="wavetrain-cli-")
        self.co = self.fleet.co
        self.file = self.fleet.folder / "deploy.yaml"

    def set_up(self):
        self.fleet.start(balancers=False)
        self.co.must("app", "add", "shop")
        self.co.must("env", "add", "prod")
        self.file.write_text(FILE)
        for version in ("1.0", "1.1", "1.2"):
            folder = f.service_release(self.fleet.folder, version, **({"start": BAD} if version == "1.2" else {}))
            self.co.must("release", "push", "shop", version, folder)
        f.wait_for("all agents have said hello", lambda: sum(h["seen"] for h in self.co.json("agents", "list")) == 4)

    def deploy(self, version, *more):
        return self.co.ask("deploy", "shop", version, "-e", "prod", "-f", self.file, "--yes", *more, timeout=120)

    def newest(self):
        return self.co.json("list", "--limit", "1")[0]

    def versions(self):
        return {a["current_version"] for h in self.co.json("agents", "list") for a in h["apps"]}

    def status(self, *more):
        return json.loads(self.co.ask("status", "--watch=false", "-o", "json", *more)[1])


def want(what, good, *shown):
    if not good:
        raise AssertionError("\n".join([what, *(str(s) for s in shown)]))


def on_terminal(w, words, columns=80, keys=b"", env=None, until=None, signo=None):
    """(exit code, all that was drawn) of the program on a terminal of its own."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update({"TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})
        argv = w.co.command(*words)
        os.execv(argv[0], argv)
    import fcntl
    import struct
    import termios
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    out, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                got = os.read(fd, 65536)
            except OSError:
                break
            if not got:
                break
            out += got
        if keys and b"[y/N]" in out:
            os.write(fd, keys)
            keys = b""
        if until and until in out and signo:
            os.kill(pid, signo)
            signo = None
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), out.decode(errors="replace")


@test
def values_of_the_file_are_set_on_the_command_line(w):
    code, out, err = w.co.ask("plan", "shop", "1.0", "-e", "prod", "-f", w.file, "--set", "passes=2", "--detailed-exitcode")
    want("changes are exit 2", code == 2, code, out, err)
    code, _, err = w.co.ask("plan", "shop", "1.0", "-e", "prod", "-f", w.file, "--set", "pases=2")
    want("an undeclared value is refused with a suggestion", code == 65 and "did you mean 'passes'?" in err, code, err)


@test
def a_deployment_asks_on_a_terminal_and_draws_in_place(w):
    code, out = on_terminal(w, ["deploy", "shop", "1.0", "-e", "prod", "-f", str(w.file)], keys=b"y\n")
    want("it succeeded", code == 0 and "succeeded" in out, code, out[-2000:])
    want("it drew a tree over itself", "└─ us" in out and "\x1b[J" in out, out[-2000:])
    want("waves say what they wait for", "after wave 1" in out, out[-3000:])
    want("1.0 runs everywhere", w.versions() == {"1.0"}, w.versions())


@test
def one_trace_greps_a_whole_rollout_in_the_audit(w):
    rows = w.co.json("audit", "list", "--limit", "1000")
    trace = next(r["trace_id"] for r in reversed(rows) if r["verb"] == "deploy")
    verbs = [r["verb"] for r in rows if r["trace_id"] == trace]
    want("from the deploy over what was assigned and what hosts answered to the end",
         {"deploy", "assign", "results", "wave", "rollout"} <= set(verbs), trace, sorted((r["verb"], r["trace_id"]) for r in rows))
    want("no answer of a host is without one", all(int(r["trace_id"], 16) for r in rows if r["verb"] == "results"), rows)


@test
def an_environment_shows_what_runs_in_it(w):
    want("on how many hosts", w.co.json("env", "show", "prod")[0]["apps"] == [{"app": "shop", "version": "1.0", "hosts": 4}], w.co.json("env", "show", "prod"))
    want("in words, too", "shop=1.0 (4)" in w.co.must("env", "show", "prod"), w.co.must("env", "show", "prod"))


@test
def no_line_is_wider_than_a_narrow_terminal(w):
    code, out = on_terminal(w, ["deploy", "shop", "1.1", "-e", "prod", "-f", str(w.file), "--yes"], columns=40,
                            env={"LC_ALL": "C", "NO_COLOR": "1"})
    want("it succeeded", code == 0, code, out[-2000:])
    text = re.sub(r"\x1b\[[0-9]*[A-Za-z]", "", out).replace("\r", "")
    want("no colours were asked for", "\x1b[3" not in out, out[-500:])
    want("ASCII where the locale is", text.isascii() and "`- " in text, text[-1500:])
    tree = [line for line in text.split("\n") if re.match(r"(\||`|@ r-|NAME)", line)]
    want("the tree was drawn", len(tree) > 5, text)
    want("lines fit", all(len(line) <= 40 for line in tree), [line for line in tree if len(line) > 40])


@test
def a_bad_version_goes_back_with_the_evidence_of_the_host(w):
    code, out, err = w.deploy("1.2")
    want("exit 3: rolled back automatically", code == 3, code, out, err)
    want("cause, evidence, state, next step", all(k in out for k in ("Why:", "Seen:", "Now:", "Next:")), out)
    want("what the program printed is quoted", '"panic: nil session"' in out, out)
    rollout = w.newest()["id"]
    want("where to read more", f"wavetrain logs {rollout[:10]} --host eu-1" in out, out)
    want("1.1 runs everywhere again", w.versions() == {"1.1"}, w.versions())
    seen = w.status()["seen"]
    want("the same as JSON", len(seen) == 1 and seen[0]["host"] == "eu-1" and seen[0]["line"] == "panic: nil session", seen)
    code, _, err = w.deploy("1.2")
    want("the version is marked bad", code != 0 and "marked bad" in err and "--force-bad" in err, code, err)


@test
def severe_plans_want_the_name_and_yes_is_not_enough(w):
    words = ("deploy", "shop", "1.2", "-e", "prod", "-f", w.file, "--force-bad", "--reason", "test")
    code, _, err = w.co.ask(*words, "--yes")
    want("refused", code == 64 and "--confirm=shop" in err, code, err)
    code, _, err = w.co.ask(*words, "--confirm=shpo")
    want("another name is refused", code == 64 and "'shpo'" in err, code, err)
    code, out, err = w.co.ask(*words, "--confirm=shop", "--dry-run")
    want("the name is enough", code == 0 and "nothing was changed" in err, code, out, err)
    saved = w.fleet.folder / "forced.json"
    w.co.must("plan", *words[1:], "--out", saved)
    code, out, err = w.co.ask("deploy", "--plan", saved, "--reason", "test", "--confirm=shop", "--dry-run")
    want("a saved plan knows what was forced", code == 0 and "nothing was changed" in err, code, out, err)
    code, _, err = w.co.ask("deploy", "--plan", saved, "--reason", "test", "--confirm=shop", "--skip-stop-hooks")
    want("and takes nothing beside it", code == 64 and "left out" in err, code, err)


@test
def an_ended_rollout_is_undone_by_deploying_what_was_before(w):
    code, _, err = w.co.ask("rollback", "shop", "--yes")
    want("the automatic one is not repeated", code == 6 and "rolled back already" in err, code, err)
    code, out, err = w.co.ask("rollback", "shop", "-e", "prod", "--to", "1.0", "--yes", timeout=120)
    want("1.0 is deployed again, with its file", code == 0 and "with its file" in out, code, out, err)
    want("1.0 runs everywhere", w.versions() == {"1.0"}, w.versions())
    code, out, err = w.co.ask("rollback", w.newest()["id"][:8], "--yes", timeout=120)
    want("no version means the one before", code == 0 and w.versions() == {"1.1"}, code, out, err, w.versions())


@test
def an_interrupt_detaches_and_the_rollout_goes_on(w):
    code, out = on_terminal(w, ["deploy", "shop", "1.0", "-e", "prod", "-f", str(w.file), "--yes"], until=b"Ctrl-C detaches", signo=signal.SIGINT)
    want("exit 130, and how to come back", code == 130 and "wavetrain watch r-" in out, code, out[-1000:])
    rollout = w.newest()["id"]
    code, _, err = w.co.ask("watch", rollout[:8], "--timeout", "100ms")
    want("a timeout is exit 124 and says what it waited for", code in (0, 124) and (code == 0 or "waits for:" in err), code, err)
    code, out, err = w.co.ask("status", rollout, timeout=120)
    want("it succeeded without its watcher", code == 0, code, out, err)


@test
def pipes_and_scripts_are_served(w):
    p = subprocess.run(f"{f.WAVETRAIN} --socket {w.co.socket} events -o jsonl | head -1", shell=True, capture_output=True, text=True, timeout=60)
    want("a closed pipe is no trouble", json.loads(p.stdout)["event"]["cursor"] > 0 and p.stderr == "", p.stdout, p.stderr)
    rows = w.co.json("history", "shop")
    at = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
    want("times are RFC 3339 in UTC", all(at.fullmatch(r["created_at"]) for r in rows), rows[0])
    lines = w.co.must("release", "list", "shop", "-o", "jsonl").splitlines()
    want("one line per row", [json.loads(line)["app"] for line in lines] == ["shop"] * 3, lines)
    names = w.co.must("agents", "list", "-o", "name").split()
    want("names alone, for loops of a shell", names == ["eu-1", "eu-2", "us-1", "us-2"], names)
    code, out, err = w.co.ask("deploy", "shop", "1.1", "-e", "prod", "-f", w.file)
    want("nobody to ask: exit 64 and the option", code == 64 and "add --yes" in err, code, err)


@test
def refusals_say_what_and_what_next(w):
    for words, code, text in ((("deploy", "shpo", "1.0", "-e", "prod", "-f", w.file), 1, "did you mean 'shop'?"),
                              (("plan", "shop", "1.0", "-e", "prdo", "-f", w.file), 1, "did you mean 'prod'?"),
                              (("agents", "show", "eu-11"), 1, "did you mean 'eu-1'?"),
                              (("delpoy",), 64, "did you mean 'deploy'?"),
                              (("list", "--tiemout", "3s"), 64, "did you mean '--timeout'?"),
                              (("status", "r-zzzz"), 1, "wavetrain list"),
                              (("list", "--socket", "/nonexistent"), 69, "next:")):
        got, _, err = w.co.ask(*words)
        want(" ".join(str(x) for x in words), got == code and text in err, got, err)


@test
def doctor_sees_what_is_wrong_with_hosts(w):
    checks = {c["name"]: c for c in w.co.json("doctor")["checks"]}
    want("certificates are looked at", "more days" in checks["certificate"]["text"] and "more days" in checks["ca"]["text"], checks)
    want("all is well", all(c["result"] == "ok" for c in checks.values()), checks)
    host = w.fleet.hosts[0]
    program = next(p for p in f.children_of(os.getpid()) if "demo-service" in command_line(p) and host_of(p) == host.name)
    os.kill(program, signal.SIGSTOP)
    try:
        f.wait_for("doctor sees it", lambda: any(c["name"] == "health" and c["result"] == "warn" and host.name in c["text"]
                                                for c in w.co.json("doctor")["checks"]))
        rows = w.co.must("agents", "show", host.name)
        want("so does agents show", "unhealthy" in rows, rows)
    finally:
        os.kill(program, signal.SIGCONT)


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def host_of(pid):
    env = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((e.split(b"=", 1)[1].decode() for e in env if e.startswith(b"WAVETRAIN_HOST=")), "")


def main():
    w, bad = World(), 0
    print(f"1..{len(tests)}", flush=True)
    try:
        w.set_up()
        for i, t in enumerate(tests, 1):
            try:
                t(w)
                print(f"ok {i} - {t.__name__}", flush=True)
            except Exception as e:  # one failure is told; the others still run
                bad += 1
                print(f"not ok {i} - {t.__name__}", flush=True)
                print("\n".join("# " + line for line in f"{type(e).__name__}: {e}".splitlines()), flush=True)
    finally:
        w.fleet.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""SIGKILL at each syscall of a swap: strace kills wavetrain-exec or wavetrain-agent at the k-th call of each kind while a host changes its
version; the program is started again, as a service manager would. After each: `current` names the old slot or the new one, what serves is what
`current` names, the rollout ends, and the version is never blamed.

The same for the program of the release: strace halts the agent or exec at the k-th file that it renames into place, which is how both write down
what they are about to do; whatever of the release runs at that step is killed, and who was halted goes on. Here a version may be blamed for one
thing: that its own program died after it was proven healthy and before its wave was over. From outside that is what a crash looks like.

usage: WAVETRAIN_BUILD=build kill_syscalls.py [--of exec|agent|program] [--stride N] [--first N] [--share I/N]   (prints TAP; stride 1 kills at every
call; with a share only at those whose number has the remainder I, so that N runs side by side kill at all of them)
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
from tap import Tap  # noqa: E402

DIED_AFTER_PROOF = "became unhealthy after it was healthy"
PATIENCE = 5.0  # seconds until all is in order again: what a swap may cost when its program is killed in the middle

FILE = """schema: wavetrain/v1
app: shop
artifact: { name: shop, type: tar.zst }
targets: { labels: { role: web } }
regions: [{ name: eu }]
strategy: { rolling: { batch: 1 }, maxUnavailable: 1, floor: 0%, minHealthyTime: 0s, failureBudget: 0, deadlines: { host: 40s, progress: 50s } }
run:
  command: [./start]
  env: { PORT: "{{ labels.port }}" }
  stop: { timeout: 2s }
health:
  ready: { http: "http://127.0.0.1:{{ labels.port }}/healthz", interval: 50ms, timeout: 1s, pass: 1, deadline: 20s }
keep: 2
"""


class Swapper:
    """One host that goes to and fro between two versions."""

    def __init__(self):
        self.fl = f.Fleet({"eu": 1}, poll_wait_ms=2000, prefix="wavetrain-kill-")
        self.fl.start(balancers=False)
        self.host, self.version = self.fl.hosts[0], None
        co = self.fl.co
        co.must("app", "add", "shop")
        co.must("env", "add", "prod")
        self.file = self.fl.folder / "deploy.yaml"
        self.file.write_text(FILE)
        self.slots = {}
        for v in ("1", "2"):
            co.must("release", "push", "shop", v, f.service_release(self.fl.folder, v))
        for v in ("1", "2"):
            self.deploy(v)
            self.finished()
            self.slots[self.host.current()] = v
            self.version = v

    def other(self):
        return "1" if self.version == "2" else "2"

    def deploy(self, version):
        self.fl.co.must("deploy", "shop", version, "-e", "prod", "-f", self.file, "--confirm=shop", "--detach")

    def rollout(self):
        rows = self.fl.co.json("list", "--limit", "1")
        return json.loads(self.fl.co.ask("status", rows[0]["id"], "--watch", "false", "-o", "json")[1])

    def finished(self):
        return f.wait_for("the rollout ends", lambda: (lambda r: r if r["terminal"] else None)(self.rollout()), seconds=60)

    def serves(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.host.port}/", timeout=2) as r:
                return r.read().decode().strip()
        except OSError:
            return None

    def in_order(self):
        host = self.fl.co.json("agents", "show", self.host.name)
        host = host[0] if isinstance(host, list) else host
        app = host["apps"][0] if host["apps"] else {}
        return app.get("drift") == "" and app.get("health") == "healthy" and self.serves() == self.slots.get(self.host.current())

    def counts(self, victim):
        """How often each syscall comes in one swap, in the thread that calls it most."""
        log = self.fl.folder / "strace.txt"
        tracer = attach(victim, ["-e", "trace=all", "-o", str(log)])
        self.deploy(self.other())
        self.finished()
        detach(tracer)
        self.version = self.slots[self.host.current()]
        seen = collections.defaultdict(collections.Counter)
        for line in log.read_text(errors="replace").splitlines():
            m = re.match(r"(?:(\d+)\s+)?(\w+)\(", line)
            if m:
                seen[m.group(2)][m.group(1)] += 1
        return {name: max(c.values()) for name, c in sorted(seen.items())}

    @staticmethod
    def started_again(victim):
        """Whether it was dead. As a service manager would."""
        if victim.alive():
            return False
        victim.start()
        return True

    def release_bad(self, r):
        self.fl.co.must("release", "release-bad", "shop", r["version"], "--reason", "it was killed from outside", "--yes")

    def kill_at(self, victim, name, k):
        """None when the call did not come that often; else (seconds until all was in order, what went wrong)."""
        tracer = attach(victim, ["-e", f"trace={name}", "-e", f"inject={name}:signal=SIGKILL:when={k}", "-o", "/dev/null"])
        self.deploy(self.other())
        f.wait_for("a kill or the end", lambda: not victim.alive() or self.rollout()["terminal"], seconds=60, step=0.02)
        detach(tracer)
        return self.ends_well(victim, self.started_again(victim))

    def programs(self):
        """What runs of the releases, {pid: version}: it stands in its slot."""
        found = {}
        for pid in f.children_of(os.getpid()):
            try:
                slot = pathlib.Path(os.readlink(f"/proc/{pid}/cwd"))
            except OSError:
                continue
            if slot.parent == self.host.root / "slots":
                found[pid] = self.slots[slot.name]
        return found

    def kill_program_at(self, victim, name, k):
        """As kill_at; the victim is halted, and the program dies."""
        tracer = attach(victim, ["-e", f"trace={name}", "-e", f"inject={name}:signal=SIGSTOP:when={k}", "-o", "/dev/null"])
        self.deploy(self.other())
        f.wait_for("a halt or the end", lambda: halted(victim) or self.rollout()["terminal"], seconds=60, step=0.02)
        programs = self.programs() if halted(victim) else {}
        for pid in programs:
            os.kill(pid, f.signal.SIGKILL)
        detach(tracer)
        victim.p.send_signal(f.signal.SIGCONT)
        return self.ends_well(victim, bool(programs), DIED_AFTER_PROOF if self.other() in programs.values() else None)

    def ends_well(self, victim, killed, excuse=None):
        if self.host.current() not in self.slots:
            return 0, f"current names {self.host.current()}"
        began = time.monotonic()
        r = self.finished()
        # A kill that came together with the end shows itself only now.
        f.wait_for("all is in order", lambda: self.in_order() if not self.started_again(victim) else None, seconds=60)
        self.version = self.slots[self.host.current()]
        wrong = ""
        if r["target_bad"] and excuse and excuse in r["reason"]:
            self.release_bad(r)
        elif r["target_bad"]:
            told = [line for line in self.fl.co.must("events").splitlines() if "failed" in line]
            wrong = "the version was blamed: " + " / ".join(told[-3:])
            self.release_bad(r)
        return (time.monotonic() - began, wrong) if killed else None


def halted(victim):
    """By a signal, and not for the moment that each traced call takes."""
    for _ in range(10):
        state = pathlib.Path(f"/proc/{victim.p.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if state not in "Tt":
            return False
        time.sleep(0.005)
    return True


def traced(victim):
    return "TracerPid:\t0" not in pathlib.Path(f"/proc/{victim.p.pid}/status").read_text()


def attach(victim, words):
    """All threads there are, and none of the programs it starts."""
    tids = [w for t in sorted(pathlib.Path(f"/proc/{victim.p.pid}/task").iterdir()) for w in ("-p", t.name)]
    p = subprocess.Popen(["strace", "-q", *tids, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    f.wait_for("strace is attached", lambda: not victim.alive() or traced(victim), seconds=20, step=0.01)
    return p


def detach(tracer):
    """strace may hang on a thread that died under it; its own death lets go of the others as well."""
    tracer.send_signal(f.signal.SIGINT)
    try:
        tracer.wait(timeout=5)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait(timeout=20)


def run(s, name, victim, args, tap, kill, only=""):
    counts = {n: c for n, c in s.counts(victim).items() if n.startswith(only)}
    mine, of = (int(w) for w in args.share.split("/"))
    points = [(n, k) for n, c in counts.items() for k in range(1, c + 1) if k % of == mine][args.first::args.stride]
    print(f"# {name}: {sum(counts.values())} calls of {len(counts)} kinds in one swap; killing at {len(points)} of them", flush=True)
    killed, slowest, slowest_at, wrong = 0, 0.0, "none", []
    for n, k in points:
        try:
            got = kill(victim, n, k)
        except TimeoutError as e:
            wrong.append(f"{n} {k}: {e}")
            break
        if got is None:
            continue
        killed += 1
        if got[0] > slowest:
            slowest, slowest_at = got[0], f"{n} {k}"
        if got[1]:
            wrong.append(f"{n} {k}: {got[1]}")
    tap.check(f"{name}: {killed} kills, all in order again after at most {slowest:.1f} s (allowed: {PATIENCE:.0f} s)",
              not wrong and killed > 0 and slowest <= PATIENCE, "; ".join(wrong) or f"the slowest: {slowest_at}")
    if wrong:
        print("# agent: " + s.host.agent.tail(1500).replace("\n", "\n# ") + "\n# exec: " + s.host.exec.tail(1500).replace("\n", "\n# "))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--of", choices=["exec", "agent", "program"])
    p.add_argument("--stride", type=int, default=1)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--share", default="0/1", metavar="I/N")
    args, tap, s = p.parse_args(), Tap(), None
    try:
        s = Swapper()
        for name in ("exec", "agent"):
            if args.of in (None, name):
                run(s, name, getattr(s.host, name), args, tap, s.kill_at)
        if args.of in (None, "program"):
            for name in ("exec", "agent"):
                run(s, f"program, at the steps of {name}", getattr(s.host, name), args, tap, s.kill_program_at, only="rename")
    except Exception as e:  # noqa: BLE001: whatever it was, the test failed
        tap.early(e)
    finally:
        if s is not None:
            s.fl.close()
        else:
            f.kill_all_children()
    return tap.done()


sys.exit(main())

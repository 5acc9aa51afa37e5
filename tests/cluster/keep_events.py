#!/usr/bin/env python3
"""Events and log lines outlive kill -9 of the coordinator: no number twice, none missing, every line of a program once.

usage: keep_events.py WAVETRAIND WAVETRAIN LOG_AGENT
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

WAVETRAIND, WAVETRAIN, LOG_AGENT = sys.argv[1:4]
KILLS, LINES = 6, 3000
results = []


def check(name, ok, seen=""):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(results)} - {name}" + ("" if ok else f" # {str(seen)[:300]}"), flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(cond, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if cond():
            return True
        time.sleep(0.05)
    return False


class Coordinator:
    def __init__(self, data):
        self.data, self.process = data, None
        subprocess.run([WAVETRAIND, "init", "--data", str(data), "--peer-port", "0", "--agent-port", str(free_port()), "--artifact-port", str(free_port())],
                       check=True, stdout=subprocess.DEVNULL)

    def start(self):
        self.process = subprocess.Popen([WAVETRAIND, "run", "--data", str(self.data)], stderr=open(self.data / "log", "a"))
        if not wait_for(lambda: self.ask("app", "list")[0] == 0):
            raise SystemExit("the coordinator does not answer: " + (self.data / "log").read_text()[-500:])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def run(self, *words):
        done = subprocess.run([WAVETRAIN, "--socket", str(self.data / "admin.sock"), "--timeout", "20s", *words],
                              capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def ask(self, *words):
        return self.run(*words)[:2]

    def must(self, *words):
        code, out, err = self.run(*words)
        if code != 0:
            raise SystemExit(f"{words}: exit code {code}: {err[-300:]}")
        return out

    def events(self, cursor=0):
        out = self.must("events", "-o", "jsonl", "--cursor", str(cursor))
        return [json.loads(line)["event"] for line in out.splitlines()]

    def lines(self):
        return [json.loads(line) for line in self.must("logs", "shop", "-o", "jsonl").splitlines()]


def deploy(co, folder):
    """A rollout that waits for its host: pause and resume make events without any agent."""
    app = folder / "app"
    app.mkdir()
    (app / "run").write_text("#!/bin/sh\n")
    spec = folder / "deploy.yaml"
    spec.write_text("schema: wavetrain/v1\napp: shop\nartifact: { name: shop }\ntargets: { labels: { role: web } }\n"
                    "regions: [{ name: eu }]\nstrategy: { floor: \"50%\" }\nrun: { command: [./run] }\nhealth: { ready: { tcp: \"127.0.0.1:80\" } }\n")
    co.must("app", "add", "shop")
    co.must("env", "add", "prod", "--label", "role=web")
    for host in ("eu-1", "eu-2"):
        co.must("agents", "add", host, "--region", "eu", "--label", "role=web", "--out", str(folder / host))
    co.must("release", "push", "shop", "1.0", str(app))
    co.must("deploy", "shop", "1.0", "-e", "prod", "-f", str(spec), "--yes", "--detach", "--reason", "test")


def story_of(events):
    return [(e["cursor"], e["at"], e["kind"], e["host"], e["from"], e["to"], e["reason"]) for e in events]


def check_events(co):
    known = story_of(co.events())
    check("a rollout makes events", len(known) > 0 and known[0][0] == 1, known)
    for _ in range(3):
        co.kill()
        co.start()
        co.must("pause", "--reason", "x" * 100)
        co.must("resume")
        now = story_of(co.events())
        if now[:len(known)] != known or len(now) <= len(known):
            check("events are kept over a kill", False, now)
            return
        known = now
    check("events are kept over three kills", True)
    check("numbers have no gap and no repeat", [k[0] for k in known] == list(range(1, len(known) + 1)), known)
    half = len(known) // 2
    check("a cursor of a life before goes on", story_of(co.events(half)) == known[half:])


def program(output):
    """Prints all lines in a little over the time of the kills, and rotates as exec does."""
    for n in range(LINES):
        with open(output, "a") as f:
            f.write(f"line {n} of {LINES}\n")
        if n % 1000 == 999:
            os.replace(output, str(output) + ".1")
        time.sleep(0.002)


def check_lines(co, folder):
    output, state = folder / "output.log", folder / "agent"
    state.mkdir()
    agent = subprocess.Popen([LOG_AGENT, str(folder / "eu-1"), str(state), str(output)], stderr=open(folder / "agent.log", "w"))
    try:
        printer = threading.Thread(target=program, args=(output,))
        printer.start()
        for _ in range(KILLS):
            time.sleep(0.7)
            co.kill()
            co.start()
        agent.terminate()  # an orderly restart of the agent meanwhile
        code = agent.wait(timeout=30)
        check("the agent stops in order", code == 0, (code, (folder / "agent.log").read_text()[-250:]))
        agent = subprocess.Popen([LOG_AGENT, str(folder / "eu-1"), str(state), str(output)], stderr=open(folder / "agent.log", "a"))
        printer.join()
        last = f"line {LINES - 1} of {LINES}"
        arrived = wait_for(lambda: any(last == l["text"] for l in co.lines()[-50:]))
        lines = co.lines()
        texts = [l["text"] for l in lines]
        check("all lines arrive", arrived and len(texts) >= LINES, texts[-3:])
        check("each line is there once and in its place", texts == [f"line {n} of {LINES}" for n in range(LINES)],
              f"{len(texts)} lines, {len(set(texts))} different")
        check("they are those of the host", {(l["host"], l["app"], l["stream"]) for l in lines} == {("eu-1", "shop", "output")})
        check("the newest can be asked for", co.must("logs", "shop", "--limit", "1") == f"eu-1 output: {last}\n")
    finally:
        agent.kill()
        agent.wait()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wavetrain-events-"))
    co = Coordinator(folder / "co")
    try:
        co.start()
        deploy(co, folder)
        check_events(co)
        check_lines(co, folder)
        code, doctor = co.ask("doctor", "-o", "json")
        kept = [c for c in json.loads(doctor)["checks"] if c["name"] == "events"]
        check("doctor looks at them", len(kept) == 1 and kept[0]["result"] == "ok", doctor)
        co.process.terminate()
        check("it stops in order", co.process.wait(timeout=20) == 0)
    finally:
        if co.process.poll() is None:
            co.process.kill()
        shutil.rmtree(folder)
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


os.environ["NO_COLOR"] = "1"
sys.exit(main())

#!/usr/bin/env python3
"""kill -9 of the coordinator under load: every acknowledged write is there afterwards, once, and the audit chain has no gap.

usage: kill_coordinator.py WAVETRAIND WAVETRAIN [ROUNDS]
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

WAVETRAIND, WAVETRAIN = sys.argv[1:3]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 10


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Coordinator:
    def __init__(self, data):
        self.data, self.process = data, None
        subprocess.run([WAVETRAIND, "init", "--data", data, "--peer-port", "0", "--agent-port", str(free_port()), "--artifact-port", str(free_port())],
                       check=True, stdout=subprocess.DEVNULL)

    def start(self):
        self.process = subprocess.Popen([WAVETRAIND, "run", "--data", self.data], stderr=open(self.data + "/log", "a"))
        for _ in range(200):
            if self.ask("version-check")[0] == 0:
                return
            if self.process.poll() is not None:
                raise SystemExit("the coordinator did not come back: " + open(self.data + "/log").read()[-500:])
            time.sleep(0.05)
        raise SystemExit("the coordinator does not answer")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, *words):
        words = ["app", "list", "-o", "json"] if words == ("version-check",) else list(words)
        done = subprocess.run([WAVETRAIN, "--socket", self.data + "/admin.sock", "--timeout", "5s", *words], capture_output=True, text=True)
        return done.returncode, done.stdout


def writer(co, name, acked, stop):
    n = 0
    while not stop.is_set():
        app = f"{name}-{n}"
        if co.ask("app", "add", app)[0] == 0:
            acked.append(app)
        n += 1  # an unanswered write may or may not be there; it is not counted




def main():
    data = tempfile.mkdtemp(prefix="wavetrain-kill-")
    co, acked = Coordinator(data), []
    try:
        co.start()
        for r in range(ROUNDS):
            stop = threading.Event()
            threads = [threading.Thread(target=writer, args=(co, f"r{r}w{w}", acked, stop)) for w in range(2)]
            [t.start() for t in threads]
            time.sleep(random.uniform(0.05, 0.4))
            co.kill()
            stop.set()
            [t.join() for t in threads]
            co.start()
        code, out = co.ask("app", "list", "-o", "json")
        names = [a["name"] for a in json.loads(out)]
        missing = set(acked) - set(names)
        twice = len(names) - len(set(names))
        code2, audit = co.ask("audit", "list", "--limit", "5000", "-o", "json")
        added = [a for a in json.loads(audit) if a["verb"] == "app add"]
        objects = [a["object"] for a in added]  # several commands may share one entry of the log
        print(f"{ROUNDS} kills, {len(acked)} acknowledged writes, {len(missing)} missing, {twice} twice, {len(added)} in the audit")
        ok = code == 0 and code2 == 0 and not missing and not twice and len(acked) > ROUNDS and len(objects) == len(set(objects))
        co.process.terminate()
        left = co.process.wait(timeout=20)
        print(f"lists answered {code} and {code2}, stopped in order with {left}")
        ok = left == 0 and ok
        return 0 if ok else 1
    finally:
        if co.process and co.process.poll() is None:
            co.process.kill()
        shutil.rmtree(data)


os.environ["NO_COLOR"] = "1"
sys.exit(main())

#!/usr/bin/env python3
"""kill -9 of the coordinator in the middle of rollouts, again and again: each rollout ends, each host starts each version exactly once, and no
acknowledged transition is gone from the audit.

usage: WAVETRAIN_BUILD=build kill_in_rollouts.py [KILLS]   (prints TAP)
"""
import json
import pathlib
import random
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
from tap import Tap  # noqa: E402

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
SEED = 1

FILE = """schema: wavetrain/v1
app: shop
artifact: { name: shop, type: tar.zst }
targets: { labels: { role: web } }
regions: [{ name: eu }, { name: us, after: eu, bake: 100ms }]
strategy: { rolling: { batch: 1 }, maxUnavailable: 1, floor: 50%, minHealthyTime: 100ms, failureBudget: 0 }
run:
  command: [./start]
  env: { PORT: "{{ labels.port }}" }
health:
  ready: { http: "http://127.0.0.1:{{ labels.port }}/healthz", interval: 50ms, timeout: 2s, pass: 1, deadline: 30s }
keep: 2
"""

tap = Tap()
check = tap.check


def starts(host):
    return len(re.findall(r"started pid", pathlib.Path(host.exec.log).read_text(errors="replace")))


def audit(co):
    return {(r["index"], r["verb"], r["object"], r["detail"]): r["chain"] for r in co.json("audit", "list", "--limit", "5000", "--from", "1")}


class Story:
    def __init__(self):
        self.fl = f.Fleet({"eu": 3, "us": 3}, poll_wait_ms=2000, prefix="wavetrain-kills-")
        self.co, self.kills, self.deploys, self.wrong, self.acked = self.fl.co, 0, 0, [], {}

    def set_up(self):
        self.fl.start(balancers=False)
        self.co.must("app", "add", "shop")
        self.co.must("env", "add", "prod")
        self.file = self.fl.folder / "deploy.yaml"
        self.file.write_text(FILE)
        for v in ("1", "2"):
            self.co.must("release", "push", "shop", v, f.service_release(self.fl.folder, v))

    def newest(self):
        rows = self.co.json("list", "--limit", "1")
        return json.loads(self.co.ask("status", rows[0]["id"], "--watch", "false", "-o", "json")[1])

    def one_rollout(self, rng):
        """Kills the coordinator at a random moment of the rollout, twice at most; it begins in earnest each time it is back."""
        version = "12"[self.deploys % 2]
        before = [starts(h) for h in self.fl.hosts]
        self.co.must("deploy", "shop", version, "-e", "prod", "-f", self.file, "--yes", "--detach")
        self.deploys += 1
        for _ in range(2):
            time.sleep(rng.uniform(0.0, 1.2))  # where it strikes is the test's chance, not a wait for something
            if self.newest()["terminal"]:
                break
            self.acked.update(audit(self.co))
            self.co.kill()
            self.kills += 1
            self.co.start()
        r = f.wait_for("the rollout ends", lambda: (lambda r: r if r["terminal"] else None)(self.newest()), seconds=120, step=0.1)
        ran = [starts(h) - b for h, b in zip(self.fl.hosts, before)]
        if r["state"] != "SUCCEEDED" or ran != [1] * len(ran):
            self.wrong.append(f"rollout {self.deploys}: {r['state']} ({r['reason']}), starts of each host: {ran}")

    def run(self):
        rng = random.Random(SEED)
        self.set_up()
        while self.kills < KILLS and not self.wrong:
            self.one_rollout(rng)
        for w in self.wrong:
            print("# " + w)
        check(f"{self.kills} kills in {self.deploys} rollouts: each ended well, each host started each version once", not self.wrong)
        there = audit(self.co)
        lost = sum(1 for k, chain in self.acked.items() if there.get(k) != chain)
        check(f"{lost} of {len(self.acked)} acknowledged transitions are gone", lost == 0 and len(self.acked) > 10)


def main():
    s = Story()
    return f.run_story(s.fl, lambda _: s.run(), tap, lambda: [json.dumps(s.newest(), indent=1)[:4000], *(h.agent.tail(700) for h in s.fl.hosts)])


sys.exit(main())

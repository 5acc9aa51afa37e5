#!/usr/bin/env python3
"""Three coordinators and six agents: leaders are killed and the lead is handed over in the middle of rollouts, under load behind HAProxy. Each rollout goes on to
its end, on each host each release is started once, no request fails, and what was acknowledged is there.

usage: WAVETRAIN_BUILD=build cluster_rollouts.py   (prints TAP; needs haproxy)
"""
import collections
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
from tap import Tap  # noqa: E402

REGIONS = {"eu": 2, "us": 2, "ap": 2}
FILE = """schema: wavetrain/v1
app: shop
artifact: {{ name: shop, type: tar.zst }}
targets: {{ labels: {{ role: web }} }}
regions: [{{ name: eu }}, {{ name: us, after: eu, bake: 1s }}, {{ name: ap, after: us, bake: 1s }}]
strategy:
  rolling: {{ batch: 50% }}
  maxUnavailable: 50%
  floor: 50%
  failureBudget: 0
  minHealthyTime: 500ms
  deadlines: {{ progress: 90s, host: 90s }}
traffic:
  haproxy:
    socket: {folder}/haproxy-{{{{ region }}}}.sock
    backend: app
    server: "{{{{ host }}}}"
    stateFile: {folder}/haproxy-{{{{ region }}}}.state
  drain: {{ timeout: 10s, then: abort }}
run:
  command: [./start]
  env: {{ PORT: "{{{{ labels.port }}}}" }}
  stop: {{ timeout: 5s }}
health:
  ready: {{ http: "http://127.0.0.1:{{{{ labels.port }}}}/healthz", interval: 200ms, timeout: 1s, pass: 2, fail: 3, deadline: 30s }}
"""
tap = Tap()


class Story:
    def __init__(self, fl):
        self.fl, self.acked = fl, {}
        self.all = []

    def leader(self):
        return f.wait_for("somebody leads", lambda: f.leader_of(self.all), 60)

    def set_up(self):
        fl = self.fl
        fl.co.start()
        self.all = f.grow(fl.co, fl.folder, 3)
        fl.start()
        co = self.leader()
        co.must("app", "add", "shop")
        co.must("env", "add", "prod")
        self.file = fl.folder / "deploy.yaml"
        self.file.write_text(FILE.format(folder=fl.folder))
        bundle = json.loads((fl.hosts[0].agent_dir / "bundle/bundle.json").read_text())
        tap.check("a join bundle names all coordinators", len(bundle["coordinators"]) == 3, bundle)
        for version in ("1.0", "1.1", "1.2", "1.3"):
            co.must("release", "push", "shop", version, f.service_release(fl.folder, version))
        f.wait_for("each coordinator has all archives", lambda: all(self.copies(co, v) == (3, 3) for v in ("1.0", "1.1", "1.2", "1.3")), 60)

    def copies(self, co, version):
        shown = co.json("release", "show", "shop", version)
        shown = shown[0] if isinstance(shown, list) else shown
        return shown["copies"], shown["coordinators"]

    def rollout(self, version):
        for co in self.all:
            code, out, _ = co.ask("list", "--limit", "100", "-o", "json") if co.process.alive() else (1, "", "")
            found = [r for r in json.loads(out) if r["version"] == version] if code == 0 else []
            if found:
                return found[0]
        return None

    def is_rolling(self, version, region):
        row = self.rollout(version)
        co = f.leader_of(self.all)
        if row is None or co is None:
            return False
        r = json.loads(co.ask("status", row["id"], "--watch", "false", "-o", "json")[1])
        return any(w["region"] == region and w["state"] == "ROLLING" for w in r["waves"])

    def begin(self, version):
        """Deploys on whoever leads; nobody waits for it."""
        self.leader().must("deploy", "shop", version, "-e", "prod", "-f", self.file, "--yes", "--detach")

    def ended(self, version):
        return f.wait_for(f"{version} ends", lambda: (r := self.rollout(version)) and r["state"] in ("SUCCEEDED", "FAILED", "ROLLED_BACK", "PAUSED") and r["state"], 180)

    def audit(self):
        for row in self.leader().json("audit", "list", "--limit", "5000"):
            self.acked[(row["index"], row["verb"], row["object"])] = row["chain"]

    def lost(self, co):
        there = {(r["index"], r["verb"], r["object"]): r["chain"] for r in co.json("audit", "list", "--limit", "5000")}
        return [k for k, chain in self.acked.items() if there.get(k) != chain]

    def kill_in_the_middle(self, version, region):
        self.begin(version)
        f.wait_for(f"{version} rolls in {region}", lambda: self.is_rolling(version, region), 60, step=0.05)
        self.audit()
        victim = self.leader()
        victim.kill()
        state = self.ended(version)
        tap.check(f"{version}: the leader is killed while {region} rolls, and the rollout goes on to its end", state == "SUCCEEDED", state)
        victim.start()

    def hand_over_in_the_middle(self, version, region):
        self.begin(version)
        f.wait_for(f"{version} rolls in {region}", lambda: self.is_rolling(version, region), 60, step=0.05)
        old = self.leader()
        code, out, err = old.ask("cluster", "transfer")
        state = self.ended(version)
        tap.check(f"{version}: the lead is handed over while {region} rolls, and the rollout goes on to its end",
                  code == 0 and self.leader() is not old and state == "SUCCEEDED", (code, out, err, state))

    def starts(self):
        """How often exec of each host started a program."""
        return collections.Counter({h.name: h.exec.tail(1 << 20).count("started pid") for h in self.fl.hosts})

    def same_everywhere(self):
        """All coordinators have applied the same entries."""
        return len({co.json("cluster", "status")["applied"] for co in self.all}) == 1

    def tell(self):
        self.set_up()
        self.begin("1.0")
        tap.check("1.0 goes everywhere", self.ended("1.0") == "SUCCEEDED")
        self.fl.load = f.Load(self.fl.folder, [f"http://127.0.0.1:{b.port}/" for b in self.fl.balancers])
        f.wait_for("each balancer has its servers", lambda: all(self.serves(b) for b in self.fl.balancers), 60)
        self.fl.load.process.start()
        f.wait_for("the users are served", lambda: self.fl.load.counts()["requests_ok"] > 0)
        self.kill_in_the_middle("1.1", "eu")
        self.kill_in_the_middle("1.2", "us")
        self.hand_over_in_the_middle("1.3", "us")
        counts = self.fl.load.stop()
        tap.check("no request failed", counts["requests_failed"] == 0 and counts["requests_ok"] > 500, counts)
        tap.check("on each host each release was started once", set(self.starts().values()) == {4} and len(self.starts()) == 6, self.starts())
        f.wait_for("all coordinators are level", self.same_everywhere, 60)
        tap.check("every acknowledged transition is on each of them", len(self.acked) > 20 and not any(self.lost(co) for co in self.all),
                  [self.lost(co) for co in self.all])

    def serves(self, balancer):
        done = subprocess.run(["curl", "-sf", f"http://127.0.0.1:{balancer.port}/"], capture_output=True, timeout=10)
        return done.returncode == 0


def logs(fl):
    return [p.read_text(errors="replace")[-2500:] for p in sorted(fl.folder.glob("coordinator*.log"))] + [h.agent.tail(800) for h in fl.hosts[:2]]


def main():
    fl = f.Fleet(REGIONS)
    return f.run_story(fl, lambda _: Story(fl).tell(), tap, lambda: logs(fl))


if __name__ == "__main__":
    sys.exit(main())

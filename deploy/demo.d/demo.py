#!/usr/bin/env python3
"""The demo's story. Started by deploy/demo, which builds first."""
import argparse
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lib"))
import fleet as f  # noqa: E402

REGIONS = {"eu": 4, "us": 4, "ap": 4}
APP = "shop"

TRAFFIC = """
traffic:
  haproxy:
    socket: {folder}/haproxy-{{{{ region }}}}.sock
    backend: app
    server: "{{{{ host }}}}"
    stateFile: {folder}/haproxy-{{{{ region }}}}.state
  drain: {{ timeout: 10s, then: abort }}
"""

FILE = """schema: wavetrain/v1
app: shop
artifact: {{ name: shop, type: tar.zst }}
targets: {{ labels: {{ role: web }} }}
regions: # the quietest first
  - {{ name: eu }}
  - {{ name: us, after: eu, bake: 2s }}
  - {{ name: ap, after: us, bake: 1s }}
strategy:
  rolling: {{ batch: 50% }}
  maxUnavailable: 50%
  floor: 50%
  failureBudget: 0
  minHealthyTime: 500ms
  deadlines: {{ progress: 40s, host: 40s }}
{traffic}
run:
  command: [./start]
  env: {{ PORT: "{{{{ labels.port }}}}" }}
  stop: {{ timeout: 5s }}
health:
  ready: {{ http: "http://127.0.0.1:{{{{ labels.port }}}}/healthz", interval: 200ms, timeout: 1s, pass: 2, fail: 2, deadline: 20s }}
rollback: {{ auto: true, batch: 50%, floor: 50% }}
keep: 3
"""

# Fewer than these and the verdict rests on nothing: what watches the story has died, or never saw it.
ACKED_LEAST, REQUESTS_LEAST = 20, 1000

# 1.2 starts well, answers its probe, and fails it a second and a half later.
STARTS = {"1.2": "FAIL_AFTER_MS=1500 exec ./demo-service \"$WAVETRAIN_VERSION\"\n"}


class Demo:
    COORDINATORS = "One coordinator"

    def __init__(self, args):
        self.args, self.fleet, self.deploys = args, None, []
        self.tty = sys.stdout.isatty() and not args.json
        self.acked = {}
        self.auditor = threading.Thread(target=self.watch_audit, daemon=True)
        self.watched = self.served = False  # to the end, by the auditor and by the users
        self.stop = False

    def say(self, text):
        if not self.args.json:
            print(f"\n\033[1m==> {text}\033[0m" if self.tty else f"\n==> {text}", flush=True)

    # ---- setting up

    def set_up(self):
        self.say(f"{self.COORDINATORS}, 12 agents in 3 regions (each with its wavetrain-exec), one HAProxy per region. All on this machine, in "
                 f"{self.fleet.folder}.")
        self.fleet.start()
        co = self.fleet.co
        co.must("app", "add", APP)
        co.must("env", "add", "prod")
        self.file = self.fleet.folder / "deploy.yaml"
        traffic = "" if self.args.no_drain else TRAFFIC.format(folder=self.fleet.folder)
        self.file.write_text(FILE.format(traffic=traffic))
        co.must("lint", self.file)
        f.wait_for("all agents have said hello", lambda: sum(h["seen"] for h in co.json("agents", "list")) == 12)

    def push(self, version):
        folder = f.service_release(self.fleet.folder, version, **({"start": STARTS[version]} if version in STARTS else {}))
        self.fleet.co.must("release", "push", APP, version, folder)

    # ---- deploying

    def deploy_words(self, version):
        return ["deploy", APP, version, "-e", "prod", "-f", str(self.file), "--yes"]

    def deploy_command(self, version):
        return self.fleet.co.command(*self.deploy_words(version))

    def watch_audit(self):
        """What the coordinator has acknowledged so far, by log index: none of it may be gone or changed later."""
        while not self.stop:
            code, out, _ = self.fleet.co.ask("audit", "list", "--limit", "5000", "-o", "json")
            if code == 0:
                for row in json.loads(out):
                    self.acked[(row["index"], row["verb"], row["object"])] = row["chain"]
            time.sleep(0.3)

    def lost_transitions(self):
        rows = self.fleet.co.json("audit", "list", "--limit", "5000")
        there = {(r["index"], r["verb"], r["object"]): r["chain"] for r in rows}
        return sum(1 for key, chain in self.acked.items() if there.get(key) != chain)

    def rollout(self, version):
        rows = [r for r in self.fleet.co.json("list", "--limit", "100") if r["version"] == version]
        return rows[0] if rows else None

    def status(self, rollout):
        """The exit code is the rollout's result, which may be bad; what is printed holds all the same."""
        return json.loads(self.fleet.co.ask("status", rollout, "--watch", "false", "-o", "json")[1])

    def record(self, version, began):
        r = self.status(self.rollout(version)["id"])
        touched = [t for t in r["tasks"] if t["touched"]]
        regions = {w["index"]: w["region"] for w in r["waves"]}
        self.deploys.append({"version": version, "status": r["state"].lower(), "seconds": round(time.monotonic() - began, 1),
                             "hosts_touched": len(touched), "regions_touched": len({regions[t["wave"]] for t in touched})})

    def run_deploy(self, version):
        began = time.monotonic()
        quiet = subprocess.DEVNULL if self.args.json else None
        code = subprocess.run(self.deploy_command(version), stdin=subprocess.DEVNULL, stdout=quiet, stderr=quiet, timeout=120).returncode
        self.record(version, began)
        return code

    def deploy_and_kill(self, version):
        """kill -9 of the coordinator once the second region is under way; started again, it goes on by itself."""
        began, co = time.monotonic(), self.fleet.co
        out = None if not self.args.json else subprocess.DEVNULL
        watcher = subprocess.Popen(self.deploy_command(version), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        f.wait_for("the second region is under way", lambda: self.second_region_rolls(version), seconds=60, step=0.1)
        co.kill()
        self.say("The coordinator was killed (SIGKILL) in the middle of the rollout. The programs keep serving. It is started again.")
        co.start()
        watcher.wait(timeout=120)
        self.record(version, began)

    def second_region_rolls(self, version):
        row = self.rollout(version)
        if row is None:
            return False
        r = self.status(row["id"])
        return any(w["region"] == "us" and w["state"] == "ROLLING" for w in r["waves"])

    # ---- the story

    def story(self):
        self.set_up()
        self.auditor.start()
        for version in ("1.0", "1.1", "1.2", "1.3"):
            self.push(version)
        self.say("1.0 goes everywhere. Nothing runs so far, so nothing has to be drained.")
        self.run_deploy("1.0")
        urls = [f"http://127.0.0.1:{b.port}/" for b in self.fleet.balancers]
        f.wait_for("every HAProxy has all its servers", self.all_up)
        self.fleet.load = f.Load(self.fleet.folder, urls)
        self.fleet.load.process.start()
        f.wait_for("the users are served", lambda: self.fleet.load.counts()["requests_ok"] > 0)
        self.say("Users send requests to all three regions from here to the end. 1.1 goes out in waves: eu, then us, then ap.")
        self.run_deploy("1.1")
        self.say("1.2 starts well, and then fails its health check. Nobody does anything.")
        code = self.run_deploy("1.2")
        self.say(f"It came back by itself (exit code {code}). 1.2 is marked bad.")
        self.say("1.3 goes out, and the coordinator is killed on the way.")
        self.deploy_and_kill("1.3")
        self.watched, self.served = self.auditor.is_alive(), self.fleet.load.process.alive()
        counts = self.fleet.load.stop()
        self.stop = True
        return counts

    def all_up(self):
        for b in self.fleet.balancers:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(b.socket))
                s.sendall(b"show stat app 4 -1\n")
                text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
            if sum(1 for line in text.splitlines() if line.startswith("app,") and ",UP," in line) < 4:
                return False
        return True

    def summary(self, counts):
        out = {"hosts": 12, "regions": 3, "deploys": self.deploys, "requests_ok": counts["requests_ok"],
               "requests_failed": counts["requests_failed"], "coordinator_kills": 1, "lost_transitions": self.lost_transitions()}
        if self.args.json:
            print(json.dumps(out))
            return
        self.say("Summary")
        for d in self.deploys:
            print(f"  {d['version']}  {d['status']:<12} {d['seconds']:>5} s   {d['hosts_touched']:>2} hosts in {d['regions_touched']} regions touched")
        print(f"  requests: {out['requests_ok']} answered, {out['requests_failed']} failed")
        print(f"  the coordinator was killed once; {out['lost_transitions']} of {len(self.acked)} acknowledged transitions were lost")
        for note in counts["failures"][:5]:
            print(f"  failed: {note}")

    def faults(self, counts):
        """What is not as promised, in words."""
        want = [("1.0", "succeeded"), ("1.1", "succeeded"), ("1.2", "rolled_back"), ("1.3", "succeeded")]
        got, lost, failed = [(d["version"], d["status"]) for d in self.deploys], self.lost_transitions(), counts["requests_failed"]
        promises = {
            f"the deploys ended as {got}": got == want,
            "the bad version left its first region": len(got) < 3 or self.deploys[2]["regions_touched"] == 1,
            "the control without draining lost no request": not self.args.no_drain or failed > 0,
            f"{failed} requests failed": self.args.no_drain or failed == 0,
            f"the users died on the way, or sent only {counts['requests_ok']} requests": self.served and counts["requests_ok"] > REQUESTS_LEAST,
            f"{lost} acknowledged transitions were lost": lost == 0,
            f"whoever watched the audit died on the way, or saw only {len(self.acked)} transitions": self.watched and len(self.acked) > ACKED_LEAST,
        }
        return [text for text, kept in promises.items() if not kept]


def story_of(args):
    if not args.cluster:
        return Demo(args)
    sys.modules["demo"] = sys.modules["__main__"]  # the other story builds on this one
    import cluster
    return cluster.ClusterDemo(args)


def main():
    p = argparse.ArgumentParser(prog="deploy/demo")
    p.add_argument("--json", action="store_true", help="quietly; one JSON object at the end")
    p.add_argument("--no-drain", action="store_true", help="the control: without draining, requests must fail")
    p.add_argument("--cluster", action="store_true", help="three coordinators: the leader is killed, and a region is cut off")
    p.add_argument("--keep", action="store_true", help="keep the folder with all logs and files")
    args = p.parse_args()
    if args.cluster and args.no_drain:
        p.error("--cluster has no control: leave --no-drain out")
    demo, code = story_of(args), 1
    demo.fleet = f.Fleet(REGIONS, prefix="wavetrain-demo-")
    try:
        counts = demo.story()
        demo.summary(counts)
        faults = demo.faults(counts)
        for fault in faults:
            print(f"the demo failed: {fault}", file=sys.stderr)
        code = 1 if faults else 0
    except KeyboardInterrupt:
        print("\ninterrupted; cleaning up", file=sys.stderr)
        code = 130
    except (RuntimeError, TimeoutError, subprocess.SubprocessError) as e:
        print(f"the demo failed: {e}\nlogs: {demo.fleet.folder} (with --keep)", file=sys.stderr)
    finally:
        demo.stop = True
        if args.keep:
            f.kill_all_children()
            print(f"kept: {demo.fleet.folder}", file=sys.stderr)
        else:
            demo.fleet.close()
    return code


if __name__ == "__main__":
    sys.exit(main())

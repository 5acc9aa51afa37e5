#!/usr/bin/env python3
"""`recreate` with real programs: all hosts of a wave have stopped the old before the first starts the new, forward and on the way back.

usage: WAVETRAIN_BUILD=build recreate.py   (prints TAP)
"""
import json
import pathlib
import sys
import threading
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
from tap import Tap  # noqa: E402

FILE = """schema: wavetrain/v1
app: shop
artifact: { name: shop, type: tar.zst }
targets: { labels: { role: web } }
regions: [{ name: eu }]
strategy: { recreate: {}, minHealthyTime: 300ms, failureBudget: 0, floor: 0% }
run:
  command: [./start]
  env: { PORT: "{{ labels.port }}" }
health:
  ready: { http: "http://127.0.0.1:{{ labels.port }}/healthz", interval: 100ms, timeout: 2s, pass: 2, fail: 2, deadline: 4s }
"""

tap = Tap()
check = tap.check


def served(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as r:
            return r.read().decode().strip()
    except OSError:
        return None


class Watcher(threading.Thread):
    """Asks all hosts at once, all the time: which versions were ever seen serving side by side."""

    def __init__(self, hosts):
        super().__init__(daemon=True)
        self.hosts, self.stop, self.looks, self.mixed, self.dark = hosts, False, 0, [], 0

    def run(self):
        while not self.stop:
            seen = [served(h.port) for h in self.hosts]
            again = [served(h.port) for h in self.hosts]
            held = {a for a, b in zip(seen, again) if a == b and a}  # what answered twice was there all the time in between
            self.looks += 1
            self.dark += not any(seen)
            if len(held) > 1:
                self.mixed.append(seen)


def deploy(fl, version):
    w = Watcher(fl.hosts)
    w.start()
    code, _, err = fl.co.ask("deploy", "shop", version, "-e", "prod", "-f", fl.folder / "deploy.yaml", "--confirm=shop", timeout=120)
    w.stop = True
    w.join()
    return code, err, w


def story(fl):
    fl.start(balancers=False)
    fl.co.must("app", "add", "shop")
    fl.co.must("env", "add", "prod")
    (fl.folder / "deploy.yaml").write_text(FILE)
    bad = 'FAIL_AFTER_MS=1 exec ./demo-service "$WAVETRAIN_VERSION"\n'
    for version, more in (("1", {}), ("2", {}), ("3", {"start": bad})):
        fl.co.must("release", "push", "shop", version, f.service_release(fl.folder, version, **more))
    check("1 goes out", deploy(fl, "1")[0] == 0)
    code, err, w = deploy(fl, "2")
    check(f"2 replaces it: {err.strip()[-200:]}", code == 0 and all(served(h.port) == "2" for h in fl.hosts))
    check(f"never side by side in {w.looks} looks, and dark in between: {w.mixed[:2]}", not w.mixed and w.dark > 0)
    code, err, w = deploy(fl, "3")
    check(f"3 is never healthy, and 2 is back: {err.strip()[-200:]}", code == 3 and all(served(h.port) == "2" for h in fl.hosts))
    check(f"nor on the way back, in {w.looks} looks: {w.mixed[:2]}", not w.mixed)
    row = [r for r in fl.co.json("list", "--limit", "10") if r["version"] == "3"][0]
    print("#", json.dumps({k: row[k] for k in ("state", "reason")}))


def main():
    fl = f.Fleet({"eu": 4}, poll_wait_ms=3000, prefix="wavetrain-recreate-")
    return f.run_story(fl, story, tap, lambda: [h.agent.tail() for h in fl.hosts[:2]])


sys.exit(main())

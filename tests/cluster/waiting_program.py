#!/usr/bin/env python3
"""A host comes up as after a reboot: the program of its release waits to be started again when the agent begins. It is started, and measured.

usage: WAVETRAIN_BUILD=build waiting_program.py   (prints TAP)
"""
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
from tap import Tap  # noqa: E402

FILE = """schema: wavetrain/v1
app: shop
artifact: { name: shop, type: tar.zst }
targets: { labels: { role: web } }
regions: [{ name: eu }]
strategy: { maxUnavailable: 1, floor: 0%, minHealthyTime: 300ms }
run:
  command: [./start]
  env: { PORT: "{{ labels.port }}" }
  restart: { backoff: { initial: 4s, max: 8s } }
health:
  ready: { http: "http://127.0.0.1:{{ labels.port }}/healthz", interval: 200ms, timeout: 1s, pass: 2, deadline: 20s }
"""

tap = Tap()


def app(fl):
    return (fl.co.json("agents", "list")[0]["apps"] or [{}])[0]


def story(fl):
    fl.start(balancers=False)
    fl.co.must("app", "add", "shop")
    fl.co.must("env", "add", "prod")
    fl.co.must("release", "push", "shop", "1.0", f.service_release(fl.folder, "1.0"))
    (fl.folder / "deploy.yaml").write_text(FILE)
    f.wait_for("the agent has said hello", lambda: fl.co.json("agents", "list")[0]["seen"])
    fl.co.must("deploy", "shop", "1.0", "-e", "prod", "-f", fl.folder / "deploy.yaml", "--confirm", "shop", timeout=120)
    host = fl.hosts[0]
    program = [p for p in f.children_of(os.getpid()) if pathlib.Path(f"/proc/{p}/comm").read_text().strip() == "demo-service"]
    host.agent.kill()
    host.exec.kill()
    for p in program:
        os.kill(p, signal.SIGKILL)
    f.wait_for("the coordinator sees it go", lambda: app(fl).get("health") != "healthy" or fl.co.json("agents", "list")[0]["last_poll_age_ms"] > 1500)
    host.sock.unlink(missing_ok=True)
    host.start()
    f.wait_for("the program waits to be started again", lambda: app(fl).get("health") == "unhealthy", seconds=20, step=0.1)
    tap.check("the agent began while the program waited", True)
    f.wait_for("it is healthy", lambda: app(fl).get("health") == "healthy", seconds=40)
    tap.check("it was started again and is healthy", True)


def main():
    fl = f.Fleet({"eu": 1}, poll_wait_ms=500)
    return f.run_story(fl, story, tap, lambda: [h.agent.tail() for h in fl.hosts])


if __name__ == "__main__":
    sys.exit(main())

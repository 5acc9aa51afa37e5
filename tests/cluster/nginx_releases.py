#!/usr/bin/env python3
"""A real third-party server: Debian's nginx, repacked as releases, over 6 agents behind HAProxy under wrk. Two configurations go out without a
failed request; a third that is broken never leaves its first host.

usage: WAVETRAIN_BUILD=build nginx_releases.py   (prints TAP)
"""
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
from tap import Tap  # noqa: E402

tap = Tap()
check = tap.check

CONFIG = """daemon off;
{user}worker_processes 1;
error_log stderr warn;
pid @RUN@/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path @RUN@/body; proxy_temp_path @RUN@/proxy; fastcgi_temp_path @RUN@/fastcgi;
    uwsgi_temp_path @RUN@/uwsgi; scgi_temp_path @RUN@/scgi;
    server {{
        listen 127.0.0.1:@PORT@;
        location = /healthz {{ return {health}; }}
        location / {{ return 200 "{word}\\n"; }}
    }}
}}
"""

START = """#!/bin/sh
set -e
mkdir -p "$RUN"
sed "s|@PORT@|$PORT|; s|@RUN@|$RUN|g" nginx.conf >"$RUN/nginx.conf"
exec ./nginx -p "$RUN" -c "$RUN/nginx.conf"
"""

FILE = """schema: wavetrain/v1
app: shop
artifact: {{ name: shop, type: tar.zst }}
targets: {{ labels: {{ role: web }} }}
regions: [{{ name: eu }}]
strategy:
  rolling: {{ batch: 1 }}
  maxUnavailable: 1
  floor: 60%
  failureBudget: 0
  minHealthyTime: 500ms
traffic:
  haproxy: {{ socket: {folder}/haproxy-eu.sock, backend: app, server: "{{{{ host }}}}", stateFile: {folder}/haproxy-eu.state }}
  drain: {{ timeout: 10s }}
run:
  command: [./start]
  env: {{ PORT: "{{{{ labels.port }}}}", RUN: "{folder}/hosts/{{{{ host }}}}/nginx" }}
  stop: {{ timeout: 5s }}
health:
  ready: {{ http: "http://127.0.0.1:{{{{ labels.port }}}}/healthz", interval: 200ms, timeout: 1s, pass: 2, fail: 2, deadline: 4s, status: 200-299 }}
"""


def release(folder, version, word, health="200 ok"):
    d = folder / f"nginx-{version}"
    d.mkdir()
    shutil.copy(shutil.which("nginx", path="/usr/sbin:/usr/bin"), d / "nginx")
    user = "user root;\n" if f.os.geteuid() == 0 else ""
    (d / "nginx.conf").write_text(CONFIG.format(word=word, health=health, user=user))
    (d / "start").write_text(START)
    (d / "start").chmod(0o755)
    return d


def deploy(fl, version):
    return fl.co.ask("deploy", "shop", version, "-e", "prod", "-f", fl.folder / "deploy.yaml", "--yes", timeout=180)


def tasks(fl, version):
    row = [r for r in fl.co.json("list", "--limit", "50") if r["version"] == version][0]
    return f.json.loads(fl.co.ask("status", row["id"], "--watch", "false", "-o", "json")[1])


def answer(port):
    return subprocess.run(["curl", "-s", "--max-time", "5", f"http://127.0.0.1:{port}/"], capture_output=True, text=True).stdout.strip()


class Wrk:
    """wrk until it is told to stop; it prints its counts at SIGINT."""

    def __init__(self, url):
        self.p = subprocess.Popen(["wrk", "-t1", "-c8", "-d600s", url], stdout=subprocess.PIPE, text=True)

    def stop(self):
        self.p.send_signal(f.signal.SIGINT)
        return self.p.communicate(timeout=30)[0]


def under_load(fl, version, expect_code):
    wrk = Wrk(f"http://127.0.0.1:{fl.balancers[0].port}/")
    code, _, err = deploy(fl, version)
    out = wrk.stop()
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    bad = re.findall(r"(?:Non-2xx or 3xx responses|Socket errors).*", out)
    if code != expect_code or bad:
        print(f"# exit {code}: {err.strip()[-600:]}\n# {out}")
    check(f"{version}: exit code {expect_code}", code == expect_code)
    check(f"{version}: {'no' if not bad else bad} failed request", not bad and requests > 100)
    print(f"# {version}: {requests} requests")


def story(fl):
    fl.start()
    fl.co.must("app", "add", "shop")
    fl.co.must("env", "add", "prod")
    (fl.folder / "deploy.yaml").write_text(FILE.format(folder=fl.folder))
    for version, word, health in (("1.0", "one", "200 ok"), ("2.0", "two", "200 ok"), ("3.0", "three", "500 broken")):
        fl.co.must("release", "push", "shop", version, release(fl.folder, version, word, health))
    check("1.0 goes out to empty hosts", deploy(fl, "1.0")[0] == 0)
    port = fl.balancers[0].port
    f.wait_for("HAProxy serves 1.0", lambda: answer(port) == "one")
    under_load(fl, "2.0", 0)
    check("2.0 is what is served", answer(port) == "two")
    under_load(fl, "3.0", 3)
    r = tasks(fl, "3.0")
    touched = [t["host"] for t in r["tasks"] if t["touched"]]
    check(f"the broken one touched one host: {touched}", len(touched) == 1)
    check("and was rolled back", r["state"] == "ROLLED_BACK")
    check("2.0 is served everywhere", all(answer(h.port) == "two" for h in fl.hosts))


def main():
    fl = f.Fleet({"eu": 6}, poll_wait_ms=3000, prefix="wavetrain-nginx-")
    return f.run_story(fl, story, tap, lambda: [h.agent.tail() for h in fl.hosts[:2]])


sys.exit(main())

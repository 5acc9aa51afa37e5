#!/usr/bin/env python3
"""Hints: who subscribes learns for which region and app there is something new, and not a word more. An agent with the same certificate beside it
is not disturbed.

usage: WAVETRAIN_BUILD=build hints.py   (prints TAP)
"""
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
import wire  # noqa: E402
from tap import Tap  # noqa: E402

SUB_HELLO = b"\0SP\0\0\x21\0\0"
HINT = 16
tap = Tap()

FILE = """schema: wavetrain/v1
app: shop
artifact: { name: shop, type: tar.zst }
targets: { labels: { role: web } }
regions: [{ name: eu }, { name: us, after: eu }]
strategy: { rolling: { batch: 100% }, maxUnavailable: 100%, floor: 0%, minHealthyTime: 0s }
run: { command: [./start], env: { PORT: "{{ labels.port }}" } }
"""


def next_hint(sub):
    head = sub.take(8)
    raw = sub.take(struct.unpack(">Q", head)[0])
    region, app, body = raw.split(b"/", 2)
    hint = wire.fields_of(wire.fields_of(body)[HINT][0])
    return region.decode(), app.decode(), hint, raw


def story(fl):
    fl.start(balancers=False)
    fl.co.must("app", "add", "shop")
    fl.co.must("env", "add", "prod")
    (fl.folder / "deploy.yaml").write_text(FILE)
    digest = fl.co.must("release", "push", "shop", "1", f.service_release(fl.folder, "1")).split("sha256:")[1][:64]
    sub = wire.Peer(fl.co.port, wire.Bundle(fl.hosts[0].agent_dir / "bundle").context(), hello=SUB_HELLO)
    tap.check("the coordinator says it is a publisher", sub.take(8) == b"\0SP\0\0\x20\0\0")
    code, _, err = fl.co.ask("deploy", "shop", "1", "-e", "prod", "-f", fl.folder / "deploy.yaml", "--confirm=shop")
    tap.check("the deployment succeeds beside a subscriber", code == 0, err)
    for region in ("eu", "us"):
        got, app, hint, raw = next_hint(sub)
        tap.check(f"a hint for {region}", (got, app) == (region, "shop"), raw)
        tap.check(f"{region}: it names region, app, sequence and epoch", hint[1] == [region.encode()] and hint[3][0] >= 1 and hint[4][0] >= 1, hint)
        tap.check(f"{region}: and nothing of what is to run", bytes.fromhex(digest) not in raw and b"start" not in raw, raw)
    fl.co.must("agents", "remove", fl.hosts[0].name, "--reason", "test", f"--confirm={fl.hosts[0].name}")
    try:
        tap.check("whoever is removed from the fleet gets no hints any more: the connection ends", sub.ended())
    except TimeoutError:
        tap.check("whoever is removed from the fleet gets no hints any more: the connection ends", False)
    sub.close()


def main():
    fl = f.Fleet({"eu": 2, "us": 2}, poll_wait_ms=3000, prefix="wavetrain-hints-")
    return f.run_story(fl, story, tap, lambda: [fl.co.process.tail()])


sys.exit(main())

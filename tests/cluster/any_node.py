#!/usr/bin/env python3
"""Any coordinator will do: a real agent and a real coordinator that leads, beside one that does not (made by hand here, with the certificate of the
cluster), whose bundle is all the host has.

usage: WAVETRAIN_BUILD=build any_node.py   (prints TAP)
"""
import contextlib
import json
import pathlib
import socket
import ssl
import struct
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402
import wire  # noqa: E402
from tap import Tap  # noqa: E402

SP_REP_HELLO = b"\0SP\0\0\x31\0\0"
tap = Tap()

FILE = """schema: wavetrain/v1
app: shop
artifact: { name: shop, type: tar.zst }
targets: { labels: { role: web } }
regions: [{ name: eu }]
strategy: { rolling: { batch: 100% }, maxUnavailable: 100%, floor: 0%, minHealthyTime: 0s }
run: { command: [./start], env: { PORT: "{{ labels.port }}" } }
"""


class Follower:
    """A coordinator that does not lead. `leader` is what it says of who does ("" = an election). While `leads` it welcomes agents and lets
    their polls and reports wait, as one whose commits do not come through; `depose` answers them all."""

    def __init__(self, data, cluster):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(data / "ca.pem")
        self.context.load_cert_chain(data / "cert.pem", data / "key.pem")
        self.cluster, self.leader, self.leads = cluster, "", False
        self.heard, self.parked = [], []
        self.port, self.listener = f.free_ports(1)[0], None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.listener = None

    def accept(self, listener):
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        try:
            with self.context.wrap_socket(raw, server_side=True) as s:
                s.sendall(SP_REP_HELLO)
                if wire.take(s, 8) != wire.SP_REQ_HELLO:
                    return
                while head := wire.take(s, 8):
                    self.answer(s, wire.take(s, struct.unpack(">Q", head)[0]))
        except (OSError, TypeError):
            pass  # an agent that leaves in mid-sentence

    def answer(self, s, frame):
        fields = wire.fields_of(frame[4:])
        kind = next(k for k in (wire.HELLO, wire.POLL, wire.REPORT) if k in fields)
        self.heard.append(kind)
        if not self.leads:
            self.refer(s, frame[:4], fields[4][0])
        elif kind == wire.HELLO:
            self.say(s, frame[:4], fields[4][0], wire.WELCOME, [(1, 1), (2, 7), (3, 20000)])
        else:
            self.parked.append((s, frame[:4], fields[4][0]))

    def refer(self, s, head, number):
        problem = [(1, "E_NOT_LEADER"), (2, "made by hand")] + ([(4, self.leader)] if self.leader else [(3, 100)])
        self.say(s, head, number, wire.PROBLEM, problem)

    def say(self, s, head, number, kind, fields):
        body = head + wire.envelope(kind, wire.message(fields), self.cluster, number)
        s.sendall(struct.pack(">Q", len(body)) + body)

    def depose(self):
        self.leads = False
        for request in self.parked:
            with contextlib.suppress(OSError):  # of a session that has ended
                self.refer(*request)
        self.parked.clear()


def log_of(host):
    return host.agent.tail(200000)


def comes_up(host, address, since):
    f.wait_for(f"{host.name} is up to {address}", lambda: f"up to {address}" in log_of(host)[since:])


def leader_is_named(fl, host, follower):
    leader = f"127.0.0.1:{fl.co.port}"
    follower.leader = leader
    host.start()
    comes_up(host, leader, 0)
    said = log_of(host)
    tap.check("the agent is sent to the leader, which its bundle does not name",
              f"{follower.address} does not lead its cluster and sends us to {leader}, which does" in said, said)
    tap.check("it said hello there and nothing else", follower.heard == [wire.HELLO], follower.heard)
    kept = host.agent_dir / "coordinators.json"
    f.wait_for("the list is kept", kept.exists)
    tap.check("it keeps the coordinators that the leader names, for nobody else to read",
              json.loads(kept.read_text())["coordinators"] == [leader] and kept.stat().st_mode & 0o777 == 0o600, kept.read_text())
    code, _, err = fl.co.ask("deploy", "shop", "1", "-e", "prod", "-f", fl.folder / "deploy.yaml", "--confirm=shop")
    tap.check("a deployment succeeds on it", code == 0, err)


def restart_without_the_bundles_coordinator(fl, host, follower):
    follower.stop()
    host.agent.kill()
    since = len(log_of(host))
    host.agent.start()
    comes_up(host, f"127.0.0.1:{fl.co.port}", since)
    tap.check("a restart finds the leader although the one of the bundle is gone", True)
    follower.start()


def damaged_list_and_an_election(fl, host, follower):
    kept = host.agent_dir / "coordinators.json"
    host.agent.kill()
    kept.write_text('{"cluster_id": "junk"')
    follower.leader = ""
    follower.heard.clear()
    since = len(log_of(host))
    host.agent.start()
    f.wait_for("the agent has asked twice in the election", lambda: len(follower.heard) >= 2)
    said = log_of(host)[since:]
    tap.check("a damaged list is said and not used", "coordinators.json" in said and "the file is not used" in said, said)
    tap.check("an election is called one", "knows nobody who does (an election?)" in said and "next try" in said, said)
    follower.leader = f"127.0.0.1:{fl.co.port}"
    comes_up(host, follower.leader, since)
    f.wait_for("the list is whole again", lambda: kept.read_text().startswith("{\n") and json.loads(kept.read_text()))
    tap.check("the first leader that answers has it written anew", json.loads(kept.read_text())["coordinators"] == [follower.leader])


def leader_that_is_deposed(fl, host, follower):
    fl.co.kill()
    follower.leads = True
    f.wait_for("the agent speaks to the one that leads now", lambda: follower.parked)
    fl.co.start()
    since = len(log_of(host))
    follower.depose()
    comes_up(host, follower.leader, since)
    code, _, err = fl.co.ask("deploy", "shop", "2", "-e", "prod", "-f", fl.folder / "deploy.yaml", "--confirm=shop")
    tap.check("what waits where the lead is lost is told, and the agent goes on with the next leader", code == 0, err)


def story(fl):
    fl.co.start()
    fl.co.must("app", "add", "shop")
    fl.co.must("env", "add", "prod")
    (fl.folder / "deploy.yaml").write_text(FILE)
    for version in ("1", "2"):
        fl.co.must("release", "push", "shop", version, f.service_release(fl.folder, version))
    host = f.Host(fl.co, fl.folder, "eu-1", "eu", f.free_ports(1)[0])
    fl.hosts.append(host)
    bundle = host.agent_dir / "bundle/bundle.json"
    text = json.loads(bundle.read_text())
    tap.check("a bundle names the coordinators that are known", text["coordinators"] == [f"127.0.0.1:{fl.co.port}"], text)
    follower = Follower(fl.co.data, bytes.fromhex(text["cluster_id"]))
    bundle.write_text(json.dumps(text | {"coordinators": [follower.address]}))
    follower.start()
    leader_is_named(fl, host, follower)
    restart_without_the_bundles_coordinator(fl, host, follower)
    damaged_list_and_an_election(fl, host, follower)
    leader_that_is_deposed(fl, host, follower)


def main():
    fl = f.Fleet({"eu": 1}, poll_wait_ms=3000, prefix="wavetrain-any-node-")
    return f.run_story(fl, story, tap, lambda: [fl.co.process.tail()] + [log_of(h)[-4000:] for h in fl.hosts])


sys.exit(main())

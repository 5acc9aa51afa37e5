#!/usr/bin/env python3
"""A real coordinator and every kind of bad peer at the agents' port: each is refused with its reason in the log, a good agent is served at once
all the time, and no socket is left over.

usage: hostile_wire.py   (WAVETRAIN_BUILD names the build folder)
"""
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet
import wire
from fleet import wait_for

tap = wire.Tap()
AT_ONCE = 10  # seconds: far below every timeout of the coordinator that a blocked agent would wait for in sum, far above a slow machine


class World:
    def __init__(self, folder):
        self.folder = folder
        self.co = fleet.Coordinator(folder)
        self.co.start()
        self.good = self.add("good")
        self.good_context = self.good.context()

    def add(self, host, region="eu"):
        out = self.folder / f"bundle-{host}-{time.monotonic_ns()}"
        self.co.must("agents", "add", host, "--region", region, "--out", out)
        return wire.Bundle(out)

    def log(self):
        return pathlib.Path(self.co.process.log).read_text(errors="replace")

    def pid(self):
        return self.co.process.p.pid

    def peer(self, bundle=None, **more):
        return wire.Peer(self.co.port, (bundle or self.good).context(), **more)

    def served(self, name):
        """A good agent greets, asks, and is answered."""
        p = wire.Peer(self.co.port, self.good_context, timeout=AT_ONCE)
        try:
            kind = p.greet(self.good.cluster)
            p.request(wire.envelope(wire.REPORT, b"", self.good.cluster, 2))
            answer = p.answer()
            tap.check(f"a good agent is served at once: {name}", kind == wire.WELCOME and answer and answer[0] == wire.ACK, (kind, answer))
        except TimeoutError:
            tap.check(f"a good agent is served at once: {name}", False, "no answer")
        finally:
            p.close()

    def refused(self, name, peer, reason, before):
        """The coordinator hangs up and its log says why."""
        try:
            peer.ended()
            wait_for(reason, lambda: reason in self.log()[before:], 20)
            tap.check(f"{name} is refused: {reason}", True)
        except TimeoutError as e:
            tap.check(f"{name} is refused: {reason}", False, f"{e}: {self.log()[before:]}")
        peer.close()

    def hostile(self, name, reason, make):
        before = len(self.log())
        peer = make()
        self.refused(name, peer, reason, before)


def plain(w, raw):
    p = wire.Peer(w.co.port)
    p.send(raw)
    return p


def after_hello(w, raw):
    p = w.peer()
    p.take(8)
    p.send(raw)
    return p


def greeted(w, raw=b"", bundle=None):
    p = w.peer(bundle)
    assert p.greet(w.good.cluster) == wire.WELCOME
    p.send(raw)
    return p


def said(w, body, greet=True):
    p = greeted(w) if greet else after_hello(w, b"")
    p.request(body)
    return p


def junk(w):
    w.hostile("junk instead of TLS", "refused", lambda: plain(w, b"GET / HTTP/1.1\r\n\r\n"))
    w.hostile("random bytes instead of TLS", "refused", lambda: plain(w, os.urandom(4096)))
    w.hostile("junk instead of the SP hello", "no SP hello", lambda: w.peer(hello=b"\xff" * 64))
    w.hostile("another SP protocol", "neither REQ nor SUB", lambda: w.peer(hello=b"\0SP\0\0\x50\0\0"))
    w.hostile("junk instead of an envelope", "not an envelope", lambda: said(w, b"\xff" * 100, greet=False))
    w.hostile("an empty envelope", "not an envelope", lambda: said(w, b""))
    w.served("after junk")


def lengths(w):
    for n, name in ((2**63, "2^63 bytes"), (2**64 - 1, "2^64-1 bytes"), (4097, "4097 bytes before the hello")):
        w.hostile(f"a frame of {name}", "over the limit", lambda n=n: after_hello(w, struct.pack(">Q", n)))
    w.hostile("a frame of 256 KiB and one byte after it", "over the limit", lambda: greeted(w, struct.pack(">Q", 256 * 1024 + 1)))
    w.hostile("a frame without an id", "no request", lambda: greeted(w, struct.pack(">Q", 0)))
    w.served("after huge lengths")


def deep(levels):
    m = b""
    for _ in range(levels):
        m = wire.message([(1, m)])
    return m


def contents(w):
    cluster = w.good.cluster
    w.hostile("nesting of 5,000 levels", "not an envelope", lambda: said(w, wire.envelope(wire.REPORT, deep(5000), cluster)))
    w.hostile("70,000 fields", "not an envelope", lambda: said(w, wire.envelope(wire.REPORT, b"", cluster) + wire.message([(5, 1)]) * 70000))
    w.hostile("20,000 empty chunks", "not an envelope", lambda: said(w, wire.envelope(wire.REPORT, wire.message([(1, b"")]) * 20000, cluster)))
    apps = wire.message([(4, wire.message([(1, f"a{n}")])) for n in range(12000)])
    w.hostile("a status of 12,000 apps", "more than 64 apps", lambda: said(w, wire.envelope(wire.POLL, apps, cluster)))
    w.hostile("version 2", "not an envelope", lambda: said(w, wire.envelope(wire.HELLO, b"", cluster, version=2), greet=False))
    w.hostile("a poll before the hello", "before saying hello", lambda: said(w, wire.envelope(wire.POLL, b"", cluster), greet=False))
    w.hostile("what only coordinators say", "only coordinators", lambda: said(w, wire.envelope(wire.DESIRED, b"", cluster)))
    w.hostile("another cluster's id", "another cluster", lambda: said(w, wire.envelope(wire.REPORT, b"", b"x" * 16)))
    p = after_hello(w, b"")
    p.request(wire.envelope(wire.HELLO, wire.message([(1, "t"), (2, 7), (3, 9), (4, 1)]), cluster))
    kind, f = p.answer() or (0, {})
    tap.check("a protocol that is not spoken gets that as its answer", kind == wire.PROBLEM and b"protocol 1" in f.get(2, [b""])[0], (kind, f))
    p.close()
    w.served("after bad contents")


def harmless(raw):
    """No byte a terminal would obey: neither C0 nor DEL, nor anything that is not UTF-8, nor C1."""
    try:
        return not any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 for c in raw.decode())
    except UnicodeDecodeError:
        return False


def texts(w):
    """What an agent says is shown to people: it must not speak to their terminals."""
    for name, evil in {"control characters": b"seen \x1b]0;owned\x07\x1b[2J \xc2\x9b31m \x7f", "no UTF-8": b"seen \x1b[2J \xff\xfe \x9b31m \xc3"}.items():
        speak(w, name, evil)


def speak(w, name, evil):
    p = after_hello(w, b"")
    p.request(wire.envelope(wire.HELLO, wire.message([(1, evil), (2, 1), (3, 1), (4, 1), (5, evil), (7, name[:1].encode() * 16)]), w.good.cluster))
    p.answer()
    chunk = wire.message([(1, 1), (2, "shop"), (13, wire.message([(1, evil), (2, evil)]))])
    step = wire.message([(1, 2), (2, "shop"), (11, wire.message([(1, 1), (2, 2), (3, evil)]))])
    p.request(wire.envelope(wire.REPORT, wire.message([(1, chunk), (1, step)]), w.good.cluster, 2))
    p.answer()
    status = wire.message([(1, "shop"), (3, 2), (8, evil), (10, 1)])
    p.request(wire.envelope(wire.POLL, wire.message([(3, 1), (4, status)]), w.good.cluster, 3))
    p.answer()
    w.co.must("app", "add", "shop")
    for words in (("agents", "list"), ("agents", "show", "good"), ("logs", "shop"), ("events",), ("doctor",)):
        for more in ((), ("-o", "jsonl")):
            out = subprocess.run(w.co.command(*words, *more), capture_output=True, stdin=subprocess.DEVNULL, timeout=60).stdout
            tap.check(f"wavetrain {' '.join(words + more)} shows nothing that a terminal obeys ({name})", harmless(out) and (b"seen" in out) >= (words[0] in ("logs", "events") or words[0] == "agents" and bool(more)), out)
    p.close()


def identities(w):
    other = fleet.Coordinator(w.folder / "other")
    other.start()
    out = w.folder / "bundle-of-other"
    other.must("agents", "add", "good", "--region", "eu", "--out", out)
    stranger = wire.Bundle(out)
    before = len(w.log())
    try:
        p = wire.Peer(w.co.port, stranger.context(trust=False))  # TLS 1.3: the refusal comes after our side is done
        ended = p.ended()
        p.close()
    except ssl.SSLError:
        ended = True
    wait_for("its refusal is logged", lambda: "refused" in w.log()[before:])
    tap.check("another cluster's bundle is refused", ended, w.log()[before:])
    try:
        wire.Peer(w.co.port, stranger.context())
        tap.check("and it does not accept this coordinator either", False)
    except ssl.SSLError as e:
        tap.check("and it does not accept this coordinator either", "CERTIFICATE_VERIFY_FAILED" in str(e), e)
    other.kill()
    no_certificate(w)
    claims_another(w)
    w.served("after strangers")


def no_certificate(w):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    w.hostile("no certificate", "refused", lambda: wire.Peer(w.co.port, c))
    c2 = w.good.context()
    c2.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        wire.Peer(w.co.port, c2)
        tap.check("TLS 1.2 is refused", False)
    except ssl.SSLError as e:
        tap.check("TLS 1.2 is refused", True, e)


def claims_another(w):
    """No field of a message names a host: whatever one writes anywhere, it speaks for the host of its certificate."""
    victim = w.add("victim")
    p = w.peer()
    p.take(8)
    p.request(wire.envelope(wire.HELLO, wire.message([(1, "evil"), (2, 1), (3, 1), (4, 1), (5, "victim"), (7, b"s" * 16)]), w.good.cluster))
    p.answer()
    chunk = wire.message([(1, 1), (2, "victim"), (13, wire.message([(1, "output"), (2, "i am victim")]))])
    p.request(wire.envelope(wire.REPORT, wire.message([(1, chunk)]), w.good.cluster, 2))
    p.answer()
    shown = {h["name"]: h for h in w.co.json("agents", "list")}
    lines = w.co.json("logs", "victim") if w.co.ask("logs", "victim")[0] == 0 else []
    p.close()
    tap.check("an agent that claims another's name speaks only for its own",
              not shown["victim"]["seen"] and shown["good"]["agent_version"] == "evil" and all(l["host"] == "good" for l in lines), shown)
    return victim


def replays(w):
    p = greeted(w)
    raw = wire.envelope(wire.REPORT, wire.message([(1, chunk_of("once"))]), w.good.cluster, 50)
    for _ in range(20):
        p.request(raw, 50)
        if p.answer() is None:
            break
    p.close()
    p = greeted(w)  # the same bytes on another connection
    p.request(raw, 50)
    again = p.answer()
    p.close()
    lines = [l["text"] for l in w.co.json("logs", "shop")]
    tap.check("replayed frames are answered, and count once", again and again[0] == wire.ACK and lines.count("once") == 1, (again, lines))
    w.served("after replays")


def chunk_of(text):
    return wire.message([(1, 7), (2, "shop"), (13, wire.message([(1, "output"), (2, text)]))])


def half_frames(w, pid, sockets):
    """Connections that stop at every place stay until their time is over; meanwhile others are served."""
    held = []
    for i in range(24):
        p = wire.Peer(w.co.port)
        p.send(b"\x16\x03\x01\x02\x00\x01"[:i % 6])
        held.append(p)
    for i in range(1, 13):
        held.append(greeted(w, (struct.pack(">Q", 200) + b"\x80" * 60)[:i * 5]))
    w.served("beside 36 half frames")
    for p in held:
        p.close()
    settled(w, pid, sockets, "half frames")


def flood(w, pid, sockets):
    """More connections than may be unfinished at a time, from the same address as the good agent: it waits its turn, not for them all."""
    crowd = []
    for _ in range(300):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", w.co.port))
        crowd.append(s)
    before = len(w.log())
    p = None

    def try_once():
        try:
            q = wire.Peer(w.co.port, w.good_context, timeout=5)
            kind = q.greet(w.good.cluster)
            q.close()
            return kind == wire.WELCOME
        except OSError:
            return False
    try:
        wait_for("a good agent gets through", try_once, 60)
        tap.check("a good agent gets through a crowd of 300 silent connections of its own address", True)
    except TimeoutError as e:
        tap.check("a good agent gets through a crowd of 300 silent connections of its own address", False, w.log()[before:])
    for s in crowd:
        s.close()
    settled(w, pid, sockets, "the crowd")


def settled(w, pid, sockets, what):
    try:
        wait_for("sockets", lambda: wire.sockets_of(pid) <= sockets, 40)
        tap.check(f"no socket is left of {what}", True)
    except TimeoutError:
        tap.check(f"no socket is left of {what}", False, f"{wire.sockets_of(pid)}, at first {sockets}")


def removal(w):
    old = w.add("leaver")
    parked = greeted(w, bundle=old)
    parked.request(wire.envelope(wire.POLL, wire.message([(3, 60000)]), old.cluster, 2))
    w.co.must("agents", "remove", "leaver", "--reason", "test", "--confirm=leaver")
    tap.check("the session of a removed host ends", parked.ended())
    parked.close()
    w.hostile("the certificate of a removed host", "not allowed to connect", lambda: w.peer(old))
    new = w.add("leaver")
    tap.check("the host added again has another generation", new.json["generation"] == old.json["generation"] + 1, new.json)
    w.hostile("the certificate of the generation before", "generation 1 is not allowed to connect", lambda: w.peer(old))
    p = w.peer(new)
    tap.check("the new bundle is accepted", p.greet(new.cluster, new.json["generation"]) == wire.WELCOME)
    artifacts_refuse(w, old)
    p.close()
    w.served("after a removal")


def artifacts_refuse(w, old):
    """The other port asks for the same certificates."""
    config = __import__("json").loads((w.co.data / "config.json").read_text())
    p = None
    try:
        p = wire.Peer(config["artifact_port"], old.context(), hello=None)
        p.send(b"GET /v1/artifacts/" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        status = (p.take(12) or b"closed")
    except OSError as e:
        status = str(e).encode()
    tap.check("the artifact port refuses the certificate of the generation before", b" 403" in status or not status.startswith(b"HTTP/1.1 "), status)
    if p:
        p.close()


def main():
    with fleet.folder_of_processes("wavetrain-wire-") as folder:
        (folder / "other").mkdir()
        w = World(folder)
        w.served("at first")
        pid = w.pid()
        wait_for("the first one is forgotten", lambda: "disconnected" in w.log())
        sockets = wire.sockets_of(pid)
        for part in (junk, lengths, contents, texts, identities, replays, removal):
            part(w)
        settled(w, pid, sockets, "hostile peers")
        half_frames(w, pid, sockets)
        flood(w, pid, sockets)
        tap.check("it is the same process, and it stops in order", w.pid() == pid and stopped(w) == 0, w.co.process.tail())
    return tap.done()


def stopped(w):
    w.co.process.kill(15)
    return w.co.process.p.returncode


os.environ["NO_COLOR"] = "1"
sys.exit(main())

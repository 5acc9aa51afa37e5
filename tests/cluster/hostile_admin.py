#!/usr/bin/env python3
"""The operator's side of a real coordinator: bad deployment files through lint, plan and deploy; clients of the admin socket that say anything
at all; and what a person sees when there is no coordinator, no permission, or nobody who reads the output.

usage: hostile_admin.py   (WAVETRAIN_BUILD names the build folder)
"""
import json
import os
import pathlib
import resource
import pwd
import random
import shutil
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet
import wire
from fleet import wait_for

tap = wire.Tap()
GOOD = """schema: wavetrain/v1
app: shop
artifact: { name: shop }
targets: { labels: { role: web } }
regions: [{ name: eu }]
strategy: { floor: "50%" }
run: { command: [./run] }
health: { ready: { tcp: "127.0.0.1:80" } }
"""


class World:
    def __init__(self, folder):
        self.folder = folder
        self.co = fleet.Coordinator(folder)
        self.co.start()
        self.spec = folder / "deploy.yaml"
        app = folder / "app"
        app.mkdir()
        (app / "run").write_text("#!/bin/sh\n")
        self.co.must("app", "add", "shop")
        self.co.must("app", "add", "shoe")
        self.co.must("env", "add", "prod", "--label", "role=web")
        for host in ("eu-1", "eu-2", "eu-3", "eu-4"):
            self.co.must("agents", "add", host, "--region", "eu", "--label", "role=web", "--out", folder / host)
        self.co.must("release", "push", "shop", "1.0", app)

    def with_spec(self, text, *words):
        raw = text if isinstance(text, bytes) else text.encode()
        self.spec.write_bytes(raw)
        return self.co.ask(*words, "-f", self.spec)

    def state(self):
        return self.co.json("list"), self.co.json("app", "list"), self.co.json("env", "list")


def say(verdict):
    code, out, err = verdict
    return f"exit {code}: {out[:200]} {err[:400]}"


# ---- deployment files

def bomb():
    lines = ["x-0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"x-{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(lines) + "\n" + GOOD


def nested(levels):
    return GOOD + "x-deep: " + "[" * (levels - 1) + "]" * (levels - 1) + "\n"


LOCAL = {  # refused by lint already, and so by plan and deploy, with line and column
    "a syntax error": (GOOD.replace("[{ name: eu }]", "[{ name: eu }"), "deploy.yaml:"),
    "a duplicate key": (GOOD + "app: shop\n", "deploy.yaml:9:"),
    "an unknown key": (GOOD + "stratgey: {}\n", "strategy"),
    "a wrong unit": (GOOD.replace('floor: "50%"', 'floor: "50%", minHealthyTime: 10x'), "deploy.yaml:6:"),
    "65 levels": (nested(65), "deploy.yaml:9:"),
    "an alias bomb": (bomb(), "deploy.yaml:"),
    "2 MiB": (GOOD + "#" * (2 << 20), "1 MiB"),
    "a circle in after": (GOOD.replace("[{ name: eu }]", "[{ name: eu, after: us }, { name: us, after: eu }]"), "deploy.yaml:5:"),
    "a region after itself": (GOOD.replace("{ name: eu }", "{ name: eu, after: eu }"), "deploy.yaml:5:"),
    "a region after one that is not there": (GOOD.replace("{ name: eu }", "{ name: eu, after: mars }"), "mars"),
    "bytes that are no text": (os.urandom(4096).replace(b"\0", b"\1") + b"\xff", "deploy.yaml:"),
    "nothing at all": ("", "deploy.yaml:"),
}
REMOTE = {  # only the coordinator knows the hosts
    "a floor that cannot be met": (GOOD.replace('floor: "50%"', 'floor: "90%"'), ("4 hosts", "floor of 4", "75%")),
    "a region without hosts": (GOOD.replace("[{ name: eu }]", "[{ name: eu }, { name: us, after: eu }]"), ("us", "no host")),
    "labels that no host has": (GOOD.replace("role: web", "role: db"), ("eu", "no host")),
    "the file of another application": (GOOD.replace("app: shop", "app: shoe"), ("shoe", "shop")),
}


def specs(w):
    before = w.state()
    for name, (text, place) in LOCAL.items():
        began = time.monotonic()
        lint = w.with_spec(text, "lint")
        plan = w.with_spec(text, "plan", "shop", "1.0", "-e", "prod")
        deploy = w.with_spec(text, "deploy", "shop", "1.0", "-e", "prod", "--yes")
        seconds = time.monotonic() - began
        ok = [v[0] for v in (lint, plan, deploy)] == [65, 65, 65] and all(place in v[1] + v[2] for v in (lint, plan, deploy))
        tap.check(f"{name} is refused by lint, plan and deploy, with its place", ok, say(lint) + say(plan) + say(deploy))
        tap.check(f"{name} takes no time worth mentioning", seconds < 30, seconds)
        raw = text if isinstance(text, bytes) else text.encode()
        refused_by_coordinator(w, name, raw)
    for name, (text, words) in REMOTE.items():
        lint = w.with_spec(text, "lint")
        plan = w.with_spec(text, "plan", "shop", "1.0", "-e", "prod")
        deploy = w.with_spec(text, "deploy", "shop", "1.0", "-e", "prod", "--yes")
        ok = lint[0] == 0 and plan[0] not in (0, 2) and deploy[0] == plan[0] and all(x in plan[2] and x in deploy[2] for x in words)
        tap.check(f"{name} is refused by plan and deploy, and they say why", ok, say(lint) + say(plan) + say(deploy))
    tap.check("nothing came of any of them", w.state() == before, w.state())


def deploy_request(spec, verb="plan", plan=b"", deployment=0):
    fields = [(1, "shop"), (2, "1.0"), (3, "prod"), (4, spec)]
    if plan:
        fields += [(5, plan), (8, deployment)]
    return wire.request(verb, "deploy", wire.message(fields))


def refused_by_coordinator(w, name, raw):
    """A client that does not check sends the file as it is."""
    for verb in ("plan", "deploy"):
        body = deploy_request(raw, verb, b"p" * 32, 7)
        if len(body) > 256 * 1024:
            got = wire.ask_raw(w.co.socket, body)
            tap.check(f"{name}, unchecked over the socket ({verb}): too large", got[0] == "E_TOO_LARGE", got)
            continue
        got = wire.ask_raw(w.co.socket, body)
        tap.check(f"{name}, unchecked over the socket ({verb}): refused", got[0] == "E_SPEC" and len(got[1]) > 10, got)


def hostile_deploys(w):
    """What the log gets is what the coordinator made, not what a client says."""
    good = GOOD.encode()
    before = w.state()
    got = wire.ask_raw(w.co.socket, deploy_request(good, "deploy"))
    tap.check("a deploy without a plan is refused", got[0] == "E_INVALID", got)
    got = wire.ask_raw(w.co.socket, deploy_request(good, "deploy", b"\0" * 32, 99))
    tap.check("a deploy with another plan is refused", got[0] == "E_STALE", got)
    got = wire.ask_raw(w.co.socket, deploy_request(good, "deploy", b"short", 99))
    tap.check("a plan of the wrong length is refused", got[0] == "E_INVALID", got)
    tap.check("nothing came of them", w.state() == before)
    # Not rendered: YAML with comments, order and defaults of its own. The target is that of the rendered file.
    w.spec.write_text(GOOD)
    rendered = w.co.json("plan", "shop", "1.0", "-e", "prod", "-f", w.spec)
    a = wire.Admin(w.co.socket)
    a.send(wire.frame(deploy_request(b"# not rendered\n" + good)))
    plan = a.reply()
    a.close()
    tap.check("a file that was not rendered gives the plan of the rendered one",
              plan and 9 in plan and plan[9][5][0].hex() == rendered["digest"], (plan, rendered))


# ---- frames of the admin socket

def frames(w):
    served(w, "at first")
    sock = w.co.socket
    rng = random.Random(7)
    for name, raw in (("random bytes", rng.randbytes(100000)), ("4 GiB announced", b"\xff\xff\xff\xff"), ("256 KiB and one byte", struct.pack(">I", (256 << 10) + 1)),
                      ("HTTP", b"GET / HTTP/1.1\r\n\r\n" * 20)):
        a = wire.Admin(sock)
        a.send(raw)
        got = a.last()
        tap.check(f"a frame of {name} is refused", got[0] in ("E_TOO_LARGE", "E_PROTOCOL"), got)
        a.close()
    for name, body, want in (("no message", b"\xff" * 50, "E_PROTOCOL"), ("nothing", b"", "E_VERSION"), ("version 2", wire.request("app list", version=2), "E_VERSION"),
                             ("an unknown verb", wire.request(9999), "E_UNSUPPORTED"), ("other arguments", wire.request("app add", "env", b""), "E_PROTOCOL"),
                             ("no arguments", wire.request("deploy"), "E_PROTOCOL"), ("a reason of 100 KB", wire.request("app list", reason="x" * 100000), "E_TOO_LARGE")):
        got = wire.ask_raw(sock, body)
        tap.check(f"a request with {name} is refused", got[0] == want, got)
    for _ in range(2000):
        body = bytearray(wire.request(rng.choice(list(wire.VERBS)), rng.choice(list(wire.ARGS)), wire.message([(1, "shop"), (2, "1.0"), (3, "prod"), (4, GOOD)])))
        for _ in range(rng.randrange(1, 6)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        a = wire.Admin(sock)
        a.send(wire.frame(bytes(body)))
        a.s.shutdown(socket.SHUT_WR)
        a.close()
    served(w, "after 2,000 damaged requests")
    for n in range(300):  # a second request on a connection whose first is on its way to the disk
        a = wire.Admin(sock)
        a.send(wire.frame(wire.request("app add", "app", wire.message([(1, f"twice-{n}")]))) + wire.frame(b"again"))
        a.close() if n % 2 else a.last()
    served(w, "after 300 that spoke out of turn")


def texts(w):
    """What a client says as a reason, or anywhere else, goes into the log and the audit: it must do no harm to the fold, nor to a reader's terminal."""
    evil = b"\x1b]0;owned\x07\x1b[2J \xc2\x9b31m \x7f \xff\xfe"
    for reason in (evil, evil[:-3], b"a\nb", "\u202egnp".encode()):
        wire.ask_raw(w.co.socket, wire.request("app add", "app", wire.message([(1, f"evil-{len(reason)}")]), reason=reason))
    env = wire.message([(1, "evil"), (2, evil), (3, wire.message([(1, evil), (2, evil)]))])
    wire.ask_raw(w.co.socket, wire.request("env add", "env", env))
    wire.ask_raw(w.co.socket, wire.request("env add", "env", wire.message([(1, "evil"), (2, evil)])))
    host = wire.message([(1, "evil"), (2, "eu"), (4, wire.message([(1, "k"), (2, evil)]))])
    wire.ask_raw(w.co.socket, wire.request("agents add", "host", host))
    many = wire.message([(1, "many"), (2, "eu")] + [(4, wire.message([(1, f"k{n}"), (2, "v" * 50)])) for n in range(3000)])
    got = wire.ask_raw(w.co.socket, wire.request("agents add", "host", many))
    tap.check("3,000 labels are refused", got[0].startswith("E_"), got)
    for words in (("audit", "list"), ("env", "list"), ("env", "show", "evil"), ("agents", "list"), ("agents", "show", "evil"), ("app", "list"), ("events",)):
        for more in ((), ("-o", "json")):
            done = subprocess.run(w.co.command(*words, *more), capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
            tap.check(f"wavetrain {' '.join(words + more)} shows nothing that a terminal obeys", harmless(done.stdout + done.stderr), done.stdout + done.stderr)
    w.co.kill()
    w.co.start()
    served(w, "after a restart over all of that")


def harmless(raw):
    try:
        return not any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 for c in raw.decode())
    except UnicodeDecodeError:
        return False


def served(w, name, patience=20):
    began = time.monotonic()
    got = wire.ask_raw(w.co.socket, wire.request("app list"), patience)
    tap.check(f"another client is served: {name}", got[0] == "done", got)
    return time.monotonic() - began


def crowds(w):
    pid = w.co.process.p.pid
    sockets = wire.sockets_of(pid)
    slow = [wire.Admin(w.co.socket) for _ in range(20)]
    request = wire.frame(wire.request("app list"))
    for n, a in enumerate(slow):
        a.send(request[:n % len(request)])
    served(w, "beside 20 slow writers")
    for n, a in enumerate(slow):  # one that is slow but honest is served in the end
        a.send(request[n % len(request):])
    got = [a.last()[0] for a in slow]
    tap.check("slow writers that come to an end are answered", got == ["done"] * 20, got)
    idle = []
    for n in range(1000):
        idle.append(wire.Admin(w.co.socket))
        if n % 200 == 199:
            served(w, f"beside {n + 1} idle connections")
    code, out, err = w.co.ask("app", "list")
    tap.check("the program works beside them", code == 0, err)
    for a in slow + idle:
        a.close()
    try:
        wait_for("sockets", lambda: wire.sockets_of(pid) <= sockets, 30)
        tap.check("none of them is left", True)
    except TimeoutError:
        tap.check("none of them is left", False, f"{wire.sockets_of(pid)}, at first {sockets}")


# ---- what a person sees

def people(w):
    none = subprocess.run([fleet.WAVETRAIN, "--socket", w.folder / "nowhere.sock", "app", "list"], capture_output=True, text=True)
    tap.check("no coordinator: 69, the socket and what to do", none.returncode == 69 and "nowhere.sock" in none.stderr and "--socket" in none.stderr, none)
    none = subprocess.run([fleet.WAVETRAIN, "--socket", w.folder / "nowhere.sock", "app", "list", "-o", "json"], capture_output=True, text=True)
    tap.check("no coordinator, in JSON: 69", none.returncode == 69, none)
    stale = w.folder / "stale.sock"
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(stale))
    s.close()
    none = subprocess.run([fleet.WAVETRAIN, "--socket", stale, "app", "list"], capture_output=True, text=True)
    tap.check("a socket that nobody listens on: 69", none.returncode == 69, none)
    mute = socket.socket(socket.AF_UNIX)
    mute.bind(str(w.folder / "mute.sock"))
    mute.listen(1)
    none = subprocess.run([fleet.WAVETRAIN, "--socket", w.folder / "mute.sock", "--timeout", "1s", "app", "list"], capture_output=True, text=True, timeout=60)
    tap.check("one that never answers: the time is over (124)", none.returncode == 124 and "in time" in none.stderr, none)
    mute.close()
    permission(w)
    ambiguous(w)
    closed_pipe(w)


def permission(w):
    if os.geteuid() != 0:
        tap.skip("no permission", "needs root to be somebody else")
        return
    nobody = pwd.getpwnam("nobody")
    as_nobody = dict(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    wavetrain = w.folder / "bin" / "wavetrain"
    wavetrain.parent.mkdir()
    shutil.copy(fleet.WAVETRAIN, wavetrain)
    for p in (w.folder, wavetrain.parent):
        p.chmod(0o755)
    done = subprocess.run([wavetrain, "--socket", w.co.socket, "app", "list"], capture_output=True, text=True, cwd="/", **as_nobody)
    tap.check("no permission: 4, and what to do", done.returncode == 4 and "group" in done.stderr, done)
    w.co.data.chmod(0o711)
    w.co.socket.chmod(0o666)
    read = subprocess.run([wavetrain, "--socket", w.co.socket, "app", "list"], capture_output=True, text=True, cwd="/", **as_nobody)
    write = subprocess.run([wavetrain, "--socket", w.co.socket, "app", "add", "mine"], capture_output=True, text=True, cwd="/", **as_nobody)
    tap.check("who may only look is told so when it wants more: 4", read.returncode == 0 and write.returncode == 4 and "viewer" in write.stderr, (read, write))
    w.co.socket.chmod(0o660)
    w.co.data.chmod(0o700)
    tap.check("and nothing came of it", "mine" not in [a["name"] for a in w.co.json("app", "list")])


def ambiguous(w):
    w.spec.write_text(GOOD)
    for _ in range(40):  # ids are random: until two begin alike
        w.co.must("deploy", "shop", "1.0", "-e", "prod", "-f", w.spec, "--yes", "--detach", "--reason", "x")
        w.co.must("abort", "--reason", "next", "--yes")
        ids = [r["id"] for r in w.co.json("list")]
        firsts = [i[:3] for i in ids]
        twice = [f for f in firsts if firsts.count(f) > 1]
        if twice:
            break
    code, out, err = w.co.ask("status", twice[0])
    tap.check("an ambiguous prefix: 64, with the candidates", code == 64 and sum(i[:6] in err for i in ids) >= 2, (twice, code, err))
    code, out, err = w.co.ask("app", "show", "sho")
    tap.check("an application that is not there: a suggestion", code == 1 and "shop" in err, (code, err))
    code, out, err = w.co.ask("a", "list")
    tap.check("half a command: 64", code == 64, (code, err))


def closed_pipe(w):
    for n in range(300):
        wire.ask_raw(w.co.socket, wire.request("app add", "app", wire.message([(1, f"many-{n}")])))
    for words in (["app", "list"], ["app", "list", "-o", "json"], ["audit", "list", "--limit", "1000", "-o", "jsonl"], ["help"]):
        p = subprocess.Popen(w.co.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdout.close()
        err = p.stderr.read()
        code = p.wait(timeout=60)
        tap.check(f"nobody reads 'wavetrain {' '.join(words)}': it ends by itself, quietly", code >= 0 and b"Sanitizer" not in err and err.count(b"\n") <= 2, (code, err))
    full = subprocess.run(f"{' '.join(w.co.command('app', 'list'))} > /dev/full", shell=True, capture_output=True, text=True)
    tap.check("a full disk below the output is not success", full.returncode == 1 and "No space" in full.stderr, full)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))  # crowds of connections
    with fleet.folder_of_processes("wavetrain-admin-") as folder:
        w = World(folder)
        for part in (specs, hostile_deploys, frames, texts, crowds, people):
            part(w)
        w.co.process.kill(15)
        tap.check("it stops in order", w.co.process.p.returncode == 0, w.co.process.tail())
    return tap.done()


os.environ["NO_COLOR"] = "1"
sys.exit(main())

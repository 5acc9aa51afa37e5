#!/usr/bin/env python3
"""Taking a host out of traffic and handing its sockets over, with clients that do not wait.

usage: WAVETRAIN_BUILD=build agent_traffic.py [SCENE...]   (prints TAP)
"""
import re
import signal
import socket
import threading

import agent_lib as a

# Answers with its version; /slow answers when a file is there.
SLOW = '''import http.server, os, sys, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while self.path == "/slow" and not os.path.exists(os.environ["RELEASE"]):
            time.sleep(0.02)
        body = (os.environ["WAVETRAIN_VERSION"] + "\\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Host", os.environ["WAVETRAIN_HOST"])
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 64
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
'''


class Clients:
    """Connect, ask, read, all the time; what is refused or cut is counted."""

    def __init__(self, port, nr=4):
        self.port, self.ok, self.bad, self.end = port, 0, [], False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(nr)]
        for t in self.threads:
            t.start()

    def run(self):
        while not self.end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s:
                    s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    text = b"".join(iter(lambda: s.recv(4096), b""))
                if b"200" in text:
                    self.ok += 1
                else:
                    self.bad.append(f"answer {text[:60]!r}")
            except OSError as e:
                self.bad.append(repr(e))

    def stop(self):
        self.end = True
        for t in self.threads:
            t.join()


class Slow:
    """One request that is not answered for as long as we want, through HAProxy to one host."""

    def __init__(self, st):
        self.release = st.folder / "release"
        self.release.unlink(missing_ok=True)
        self.s = socket.create_connection(("127.0.0.1", st.fleet.balancers[0].port), timeout=60)
        self.s.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        self.host = a.wait_for("HAProxy gave it to a host", lambda: next((h for h in st.hosts if int(server(st, h)["scur"]) > 0), None))

    def cut(self):
        """Was it ended without an answer of the program?"""
        self.s.settimeout(0.05)
        try:
            text = self.s.recv(4096)
            return b" 200 " not in text
        except socket.timeout:
            return False
        except OSError:
            return True

    def answer(self):
        self.release.touch()
        self.s.settimeout(30)
        return b" 200 " in self.s.recv(4096)


def haproxy(st, words):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(st.fleet.balancers[0].socket))
        s.sendall(words.encode() + b"\n")
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def server(st, host):
    lines = haproxy(st, "show stat app 4 -1").splitlines()
    names = lines[0].lstrip("# ").split(",")
    return next(row for row in (dict(zip(names, line.split(","))) for line in lines[1:]) if row.get("svname") == host.name)


def all_up(st):
    return all(server(st, h)["status"] == "UP" for h in st.hosts)


def drained_file(st, timeout, then):
    b = st.fleet.balancers[0]
    return {"targets": {"labels": {"solo": None, "role": "web"}}, "strategy": {"floor": "50%", "deadlines": {"host": "60s", "progress": "60s"}},
            "run": {"env": {"PORT": "{{ labels.port }}", "RELEASE": str(st.folder / "release")}},
            "health": {"ready": {"http": "http://127.0.0.1:{{ labels.port }}/healthz"}},
            "traffic": {"haproxy": {"socket": str(b.socket), "backend": "app", "server": "{{ host }}", "stateFile": str(b.state)},
                        "drain": {"timeout": timeout, "then": then}}}


def push(app, version):
    return app.push(version, "exec python3 ./slow.py\n", files=[("slow.py", SLOW)])


def listener_handed_over(st):
    port = a.f.free_ports(1)[0]
    app = st.app("listen", {"run": {"listen": [{"name": "web", "address": f"127.0.0.1:{port}"}]}, "health": {"ready": {"http": f"http://127.0.0.1:{port}/"}}}, port=port)
    app.push("1", "exec ./testapp\n").up("1")
    clients = Clients(port)
    a.wait_for("clients are served", lambda: clients.ok > 20)
    for version in ("2", "3", "4"):
        before = clients.ok
        app.push(version, "exec ./testapp\n").up(version)
        a.wait_for("and go on to be", lambda: clients.ok > before + 20)
    clients.stop()
    st.check(f"three swaps of a program that takes its socket over: none of {clients.ok} connections was refused", not clients.bad, clients.bad[:5])
    app.write({"run": {"env": {"PORT": str(port)}}, "health": {"ready": {"http": f"http://127.0.0.1:{port}/healthz"}}})
    clients = Clients(port)
    app.push("5", "sleep 0.5\n" + a.SERVE)
    app.up("5")
    clients.stop()
    st.check(f"the control: a program that opens its socket itself loses some ({len(clients.bad)})", clients.bad)


def drain_then_abort(st):
    app = st.shop.write(drained_file(st, "1s", "abort"))
    slow = Slow(st)
    r = push(app, "2").deploy("2", seconds=90)
    st.check("abort: a connection that does not end gives the host up, without blame for the version", r["state"] == "HELD" and not r["target_bad"],
             (r["state"], r["why"]))
    st.check(f"and the reason says so: {r['why']}", "LEAVING" in r["why"])
    a.wait_for("the host is put back into traffic", lambda: all_up(st))
    st.check("the connection was not cut", not slow.cut())
    st.check("and is answered by the version it was with", slow.answer())
    st.co.must("retry", r["id"])
    r = app.finished(90)
    if r["state"] == "HELD":
        r = a.wait_for("after a retry it goes on", lambda: (lambda r: r if r["state"] == "SUCCEEDED" else None)(app.rollout()), seconds=60)
    st.check("once it ended, `retry` goes on", r["state"] == "SUCCEEDED", r["reason"])
    a.wait_for("all are in traffic", lambda: all_up(st))


def drain_then_kill(st):
    """How a version is drained stands in its own file: 3 brings `kill`, 4 takes its place by it."""
    app = st.shop.write(drained_file(st, "1s", "kill"))
    push(app, "3").up("3")
    slow = Slow(st)
    r = push(app, "4").deploy("4", seconds=90)
    st.check("kill: a connection that does not end is cut, and the rollout goes on", r["state"] == "SUCCEEDED", (r["state"], r["why"]))
    st.check("it was cut", slow.cut())
    a.wait_for("all are in traffic", lambda: all_up(st))


def last_server(st):
    app = st.shop.write(drained_file(st, "5s", "abort"))
    haproxy(st, f"set server app/{st.hosts[1].name} state maint")
    push(app, "5").begin("5")
    why = a.wait_for("`explain` says what is waited for", lambda: (lambda t: t if "tried again" in t else None)(app.explain()), seconds=30)
    st.check("the last server that is up is not drained, and `explain` says so: " + " ".join(why.split())[:300], st.hosts[0].name in why and "up" in why.lower(), why)
    st.check("it serves on", server(st, st.hosts[0])["status"] == "UP" and a.get(st.hosts[0].port))
    haproxy(st, f"set server app/{st.hosts[1].name} state ready")
    r = app.finished(90)
    st.check("when another one is up it goes on by itself", r["state"] == "SUCCEEDED", r["reason"])
    a.wait_for("all are in traffic", lambda: all_up(st))


def haproxy_restarts(st):
    """Killed and started again while a host is being drained: the state file keeps what was drained, and the rollout ends."""
    b, app = st.fleet.balancers[0], st.shop.write(drained_file(st, "30s", "abort"))
    push(app, "6").up("6")
    slow = Slow(st)
    push(app, "7").begin("7")
    a.wait_for("the host of the slow request is drained", lambda: server(st, slow.host)["status"].startswith("DRAIN"), seconds=60)
    b.process.kill()
    b.socket.unlink(missing_ok=True)
    b.start()
    slow.release.touch()
    r = app.finished(90)
    st.check("HAProxy restarted during a drain: the rollout ends", r["state"] == "SUCCEEDED", (r["state"], r["reason"]))
    a.wait_for("all are in traffic", lambda: all_up(st))
    st.check("and each host serves the new version in traffic", all(a.get(h.port) == "7" for h in st.hosts))


def not_allowed(st):
    """wavetrain-exec takes no balancer from a deployment file that its own command line does not name."""
    app, b = st.app("denied"), st.fleet.balancers[0]
    for key, path, option in (("socket", st.folder / "other.sock", "--balancer-socket-allowed"), ("stateFile", st.folder / "other.state", "--state-file-allowed")):
        haproxy = {"socket": str(b.socket), "backend": "app", "server": st.hosts[0].name} | {key: str(path)}
        version = {"socket": "1", "stateFile": "2"}[key]
        r = app.write({"traffic": {"haproxy": haproxy}}).push(version).deploy(version)
        st.check(f"a {key} that is not allowed: the host is given up, the version is not blamed, and the reason names {option}",
                 r["state"] != "SUCCEEDED" and not r["target_bad"] and option in r["why"] and str(path) in r["why"], (r["state"], r["why"]))
        st.check("and nothing is there", not path.exists())


def haproxy_hangs(st):
    """`then: kill` cuts connections that do not end. A HAProxy that says nothing has not even stopped giving it new ones."""
    b, app = st.fleet.balancers[0], st.shop.write(drained_file(st, "1s", "kill"))
    push(app, "8").up("8")
    push(app, "9")
    b.process.p.send_signal(signal.SIGSTOP)
    try:
        app.begin("9")
        why = a.wait_for("`explain` says what is waited for", lambda: (lambda t: t if "gave no answer" in t else None)(app.explain()), seconds=30)
        st.check("a HAProxy that hangs is waited for, and what runs is not stopped", all(a.get(h.port) == "8" for h in st.hosts), why)
    finally:
        b.process.p.send_signal(signal.SIGCONT)
    r = app.finished(90)
    st.check("when it answers again the rollout goes on", r["state"] == "SUCCEEDED", (r["state"], r["reason"]))
    a.wait_for("all are in traffic", lambda: all_up(st))


def haproxy_away(st):
    """D3: the balancer is away for longer than a host and the wave have. Their clocks stand, and `explain` says so."""
    b = st.fleet.balancers[0]
    app = st.shop.write(a.merge(drained_file(st, "1s", "abort"), {"strategy": {"deadlines": {"host": "10s", "progress": "10s", "infrastructure": "10m"}}}))
    push(app, "10").up("10")
    push(app, "11")
    b.process.kill()
    b.socket.unlink(missing_ok=True)
    app.begin("11")

    def stood():
        found = re.search(r"have failed it for (\d+) s: its clock stands, for 600 s at most", " ".join(app.explain().split()))
        return found and int(found.group(1)) > 12
    a.wait_for("its clock has stood for longer than it has time", stood, seconds=60)
    r = app.rollout()
    st.check("a balancer that is away stops the clocks: nothing is failed or held", r["state"] == "RUNNING", (r["state"], r["reason"]))
    st.check("and the old version serves on", all(a.get(h.port) == "10" for h in st.hosts))
    b.start()
    r = app.finished(150)
    st.check("when it is back the rollout goes on by itself", r["state"] == "SUCCEEDED", (r["state"], r["reason"]))
    a.wait_for("all are in traffic", lambda: all_up(st))


def hook_commands(st):
    log = st.folder / "traffic.log"
    say = ["/bin/sh", "-c", f'echo "$0 $WAVETRAIN_HOST $(curl -s -o /dev/null -w "%{{http_code}}" "$URL")" >> {log}']
    app = st.app("hooked")
    more = {"run": {"env": {"PORT": str(app.port), "URL": f"http://127.0.0.1:{app.port}/healthz"}},
            "traffic": {"hook": {"drain": [*say, "drain"], "undrain": [*say, "undrain"]}}}
    app.write(more).push("1").up("1").push("2").up("2")
    lines = log.read_text().split("\n")[:-1]
    st.check("commands take the host out before the stop and in after the proof, and nothing more",
             lines[-2:] == [f"drain {st.hosts[0].name} 200", f"undrain {st.hosts[0].name} 200"], lines)
    tries = st.folder / "tries.log"
    fire = ["/bin/sh", "-c", f"echo x >> {tries}; echo 'the balancer is on fire' >&2; exit 5"]
    app.write(a.merge(more, {"traffic": {"hook": {"drain": fire}}, "strategy": {"deadlines": {"infrastructure": "1s"}}})).push("3").up("3")
    pid = app.server()
    r = app.push("4").deploy("4")
    st.check("a drain command that fails for longer than `infrastructure` gives the host up and says what it said", r["state"] != "SUCCEEDED" and "the balancer is on fire" in r["why"], (r["state"], r["why"]))
    st.check("after trying it again, and without blame for the new version", len(tries.read_text().split()) > 1 and not r["target_bad"], (tries.read_text(), r))
    st.heard()
    st.check("and what ran was not touched", app.server() == pid and a.get(app.port) == "3")


def setup(st):
    st.start(balancers=True)
    st.shop = st.app("shop", port=st.hosts[0].port)
    st.shop.write(drained_file(st, "1s", "abort"))
    push(st.shop, "1").up("1")
    a.wait_for("HAProxy has both", lambda: all_up(st))


if __name__ == "__main__":
    a.run("traffic", [drain_then_abort, drain_then_kill, last_server, haproxy_restarts, haproxy_hangs, haproxy_away, not_allowed, listener_handed_over, hook_commands], regions={"eu": 2}, setup=setup)

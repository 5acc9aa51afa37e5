"""A real fleet on one machine, for the demo and the tests: coordinator, agents with wavetrain-exec, HAProxy, load. Everything lives in one
folder and on free ports of 127.0.0.1; `close` ends every process that was started, whatever happened before.

Paths of programs come from WAVETRAIN_BUILD (the build folder; the default is `build` of this tree).
"""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WAVETRAIN_BUILD", ROOT / "build"))
WAVETRAIND = BUILD / "coordinator/wavetraind"
WAVETRAIN = BUILD / "coordinator/cli/wavetrain"
AGENT = BUILD / "agent/wavetrain-agent"
EXEC = BUILD / "agent/exec/wavetrain-exec"
UNPACK = BUILD / "agent/unpack/wavetrain-unpack"
HTTP = BUILD / "agent/wavetrain-http"
SERVICE = BUILD / "deploy/demo-service"
LOAD = BUILD / "deploy/demo-load"
PR_SET_CHILD_SUBREAPER = 36


def free_ports(n):
    """n free ports. All are held until the last is found, so that none is given twice."""
    socks = [socket.socket() for _ in range(n)]
    for s in socks:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in socks]
    for s in socks:
        s.close()
    return ports


def wait_for(what, cond, seconds=30.0, step=0.05):
    """Waits for a condition, never for a time; raises with `what` when it does not come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = cond()
        if got:
            return got
        time.sleep(step)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")


def own_processes():
    """No process outlives us: orphans (programs whose exec was killed) become our children, and a TERM unwinds to what ends them."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    kids = [int(w) for w in text.split()]
    return kids + [k for kid in kids for k in children_of(kid)]


def kill_all_children():
    """TERM, then KILL, everything below this process."""
    for signo, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        end = time.monotonic() + patience
        for pid in children_of(os.getpid()):
            try:
                os.kill(pid, signo)
            except ProcessLookupError:
                pass
        while children_of(os.getpid()) and time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.02)
            except ChildProcessError:
                time.sleep(0.02)


@contextlib.contextmanager
def folder_of_processes(prefix):
    """A temporary folder for a test and the processes it starts there; all of them, and it, are gone at the end."""
    own_processes()
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        kill_all_children()
        shutil.rmtree(folder, ignore_errors=True)


class Process:
    """One program with its log, which can be killed and started again."""

    def __init__(self, log, *argv, env=None):
        self.argv, self.log, self.env, self.p = [str(a) for a in argv], log, env, None

    def start(self):
        with open(self.log, "ab") as out:
            self.p = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env, start_new_session=True)
        return self

    def alive(self):
        return self.p is not None and self.p.poll() is None

    def kill(self, signo=signal.SIGKILL, patience=20):
        if self.alive():
            self.p.send_signal(signo)
            self.p.wait(timeout=patience)

    def tail(self, n=2000):
        try:
            return pathlib.Path(self.log).read_text(errors="replace")[-n:]
        except OSError:
            return ""


class Coordinator:
    def __init__(self, folder, poll_wait_ms=5000):
        self.data = folder / "coordinator"
        agent, artifact, self.peer_port, self.join_port = free_ports(4)
        self.port, self.socket = agent, self.data / "admin.sock"
        subprocess.run([WAVETRAIND, "init", "--data", self.data, "--name", "demo", "--agent-port", str(agent), "--artifact-port", str(artifact),
                        "--peer-port", str(self.peer_port), "--join-port", str(self.join_port), "--poll-wait-ms", str(poll_wait_ms)], check=True, stdout=subprocess.DEVNULL)
        # The agents of these fleets dial again within 3 s (--reconnect-max below), so nobody need be given 90 s of grace.
        config = json.loads((self.data / "config.json").read_text())
        (self.data / "config.json").write_text(json.dumps(config | {"grace_ms": 8000}))
        self.process = Process(folder / "coordinator.log", WAVETRAIND, "run", "--data", self.data)

    def start(self):
        self.process.start()
        wait_for("the coordinator answers on its admin socket", lambda: self.ask("app", "list", "-o", "json")[0] == 0)

    def kill(self):
        self.process.kill()

    def command(self, *words):
        return [str(WAVETRAIN), "--socket", str(self.socket), *(str(w) for w in words)]

    def ask(self, *words, timeout=60):
        """(exit code, stdout, stderr)"""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout, done.stderr

    def must(self, *words, timeout=60):
        code, out, err = self.ask(*words, timeout=timeout)
        if code != 0:
            raise RuntimeError(f"wavetrain {' '.join(str(w) for w in words)}: exit {code}: {err.strip() or out.strip()}")
        return out

    def json(self, *words, timeout=60):
        return json.loads(self.must(*words, "-o", "json", timeout=timeout))


class Joined(Coordinator):
    """A coordinator that joined. Made without `init`; `join` may be said more than once."""

    def __init__(self, folder, name):
        self.data = folder / name
        self.ports = free_ports(4)
        self.port, self.socket = self.ports[0], self.data / "admin.sock"
        self.peer_port, self.join_port = self.ports[2], self.ports[3]
        self.process = Process(folder / f"{name}.log", WAVETRAIND, "run", "--data", self.data)

    def join(self, token, ports=None, data=None):
        agent, artifact, peer, join = ports or self.ports
        done = subprocess.run([WAVETRAIND, "join", "--data", data or self.data, "--token", "-", "--agent-port", str(agent), "--artifact-port",
                               str(artifact), "--peer-port", str(peer), "--join-port", str(join)],
                              input=token + "\n", capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr


def leader_of(coordinators):
    """Whoever says of itself that it leads; None in an election."""
    for co in coordinators:
        code, out, _ = co.ask("cluster", "status", "-o", "json") if co.process.alive() else (1, "", "")
        status = json.loads(out) if code == 0 else {}
        if code == 0 and status["leader"] == status["self"]:
            return co
    return None


def grow(co, folder, nr):
    """A cluster of `nr` voters out of the coordinator `co`, which runs. All of them, in the order of their ids."""
    all_ = [co]
    for i in range(2, nr + 1):
        token = co.json("cluster", "token", "create")[0]["token"]
        joined = Joined(folder, f"coordinator-{i}")
        code, said = joined.join(token)
        if code != 0:
            raise RuntimeError(f"coordinator {i} does not join: {said}")
        joined.start()
        all_.append(joined)
        wait_for(f"coordinator {i} votes", lambda i=i: any(n["id"] == i and n["role"] == "voter" for n in co.json("cluster", "status")["nodes"]), 60)
    return all_


def balancer_files(folder, region):
    """(socket, server state file) of the HAProxy of a region, which its hosts' wavetrain-exec are allowed."""
    return folder / f"haproxy-{region}.sock", folder / f"haproxy-{region}.state"


class Host:
    """wavetrain-exec and wavetrain-agent of one host, each its own process."""

    def __init__(self, co, folder, name, region, port, labels=()):
        self.name, self.region, self.port = name, region, port
        self.dir = folder / "hosts" / name
        self.dir.mkdir(parents=True)
        self.root, self.agent_dir, self.sock = self.dir / "root", self.dir / "agent", self.dir / "exec.sock"
        self.root.mkdir()
        self.agent_dir.mkdir()
        more = [w for k, v in labels for w in ("--label", f"{k}={v}")]
        co.must("agents", "add", name, "--region", region, "--label", "role=web", "--label", f"port={port}", *more,
                "--out", self.agent_dir / "bundle")
        allowed = ["--user-allowed", "root"] if os.geteuid() == 0 else []
        lb_socket, lb_state = balancer_files(folder, region)
        allowed += ["--balancer-socket-allowed", lb_socket, "--state-file-allowed", lb_state]
        self.exec = Process(self.dir / "exec.log", EXEC, "--socket", self.sock, "--root", self.root, *allowed)
        self.agent = Process(self.dir / "agent.log", AGENT, "--dir", self.agent_dir, "--root", self.root, "--exec-socket", self.sock,
                             "--unpack", UNPACK, "--reconnect-max", "3")

    def start(self):
        self.exec.start()
        wait_for(f"wavetrain-exec of {self.name} listens", self.sock.exists)
        self.agent.start()

    def current(self):
        """The digest that `current` of the one app names, or None."""
        for link in (self.root / "apps").glob("*/current"):
            return os.readlink(link).rsplit("/", 1)[-1]
        return None


class Balancer:
    """HAProxy of one region. Checks find out by themselves who serves."""

    def __init__(self, folder, region, hosts):
        self.port, self.region = free_ports(1)[0], region
        self.socket, self.state = balancer_files(folder, region)
        self.state.touch()
        servers = "\n".join(f"    server {h.name} 127.0.0.1:{h.port} check inter 500ms fall 2 rise 1" for h in hosts)
        config = folder / f"haproxy-{region}.cfg"
        config.write_text(f"""global
    stats socket {self.socket} mode 600 level admin
    server-state-file {self.state}
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 20s
    timeout server 20s
    load-server-state-from-file global
    option redispatch
    retries 3
frontend web
    bind 127.0.0.1:{self.port}
    default_backend app
backend app
    balance roundrobin
    option httpchk GET /healthz
{servers}
""")
        self.process = Process(folder / f"haproxy-{region}.log", shutil.which("haproxy", path="/usr/sbin:/usr/bin:/sbin:/bin"), "-db", "-f", config)

    def start(self):
        self.process.start()
        wait_for(f"HAProxy of {self.region} listens", self.socket.exists)


class Load:
    """Users: demo-load against each address until stopped; counts are read from its file."""

    def __init__(self, folder, urls, clients=5):
        self.stats = folder / "load.json"
        self.process = Process(folder / "load.log", LOAD, self.stats, clients, *urls)

    def counts(self):
        try:
            return json.loads(self.stats.read_text())
        except (OSError, ValueError):
            return {"requests_ok": 0, "requests_failed": 0, "failures": []}

    def stop(self):
        self.process.kill(signal.SIGTERM)
        return self.counts()


class Fleet:
    """regions: {"eu": 4, ...}: hosts of each."""

    def __init__(self, regions, poll_wait_ms=5000, prefix="wavetrain-"):
        own_processes()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
        self.regions, self.hosts, self.balancers, self.load = regions, [], [], None
        self.mounts = []  # what a test has mounted in the folder
        self.co = Coordinator(self.folder, poll_wait_ms)

    def start(self, balancers=True):
        if not self.co.process.alive():
            self.co.start()
        ports = iter(free_ports(sum(self.regions.values())))
        for region, nr in self.regions.items():
            mine = [Host(self.co, self.folder, f"{region}-{i + 1}", region, next(ports)) for i in range(nr)]
            self.hosts += mine
            if balancers:
                self.balancers.append(Balancer(self.folder, region, mine))
        for p in self.balancers + self.hosts:
            p.start()

    def close(self):
        kill_all_children()
        for where in self.mounts:
            subprocess.run(["umount", "--lazy", where], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def run_story(fl, story, tap, logs):
    """Tells `story` with the fleet and closes it. Whatever it raises is a failure, and the texts of logs() say more. The exit code of the test."""
    try:
        story(fl)
    except Exception as e:  # noqa: BLE001: whatever it was, the test failed
        tap.early(e, *logs())
    finally:
        fl.close()
    return tap.done()


def service_release(folder, version, start="exec ./demo-service \"$WAVETRAIN_VERSION\"\n"):
    """A folder to push: the demo's service with the script that starts it."""
    d = folder / f"release-{version}"
    d.mkdir()
    shutil.copy(SERVICE, d / "demo-service")
    (d / "start").write_text("#!/bin/sh\n" + start)
    (d / "start").chmod(0o755)
    (d / "VERSION").write_text(version + "\n")
    return d

"""agent: the idle wavetrain-agent and wavetrain-exec with one connection, beside Debian's prometheus-node-exporter that nobody scrapes."""
import http.server
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import threading
import time

import common

TARGETS = ["coordinator/wavetraind", "coordinator/cli/wavetrain", "tests/cluster/log-agent", "agent/wavetrain-agent", "agent/wavetrain-http",
           "agent/exec/wavetrain-exec", "agent/unpack/wavetrain-unpack"]
FILE = """\
schema: wavetrain/v1
app: shop
artifact: {{ name: shop }}
targets:
  labels: {{ role: web }}
regions: [{{ name: eu }}]
strategy:
  rolling: {{ batch: 100% }}
  maxUnavailable: 100%
  floor: 0%
  minHealthyTime: 0s
run:
  command: [./shop]
  user: {user}
  stop: {{ timeout: 2s }}
health:
  ready: {{ {ready}, pass: 1 }}
"""
PROGRAM = "#!/bin/sh\n# {version}\nexec sleep 1000000\n"


def options(p):
    p.add_argument("--agent", type=pathlib.Path, help="wavetrain-agent [BUILD/agent/wavetrain-agent]")
    p.add_argument("--exec", dest="exec_", type=pathlib.Path, help="wavetrain-exec [BUILD/agent/exec/wavetrain-exec]")
    p.add_argument("--http", type=pathlib.Path, help="wavetrain-http [BUILD/agent/wavetrain-http]")
    p.add_argument("--unpack", type=pathlib.Path, help="wavetrain-unpack [BUILD/agent/unpack/wavetrain-unpack]")
    p.add_argument("--seconds", type=float, default=300, help="of idling, in all [%(default)s]")
    p.add_argument("--rounds", type=int, default=5, help="windows that the idling is cut into [%(default)s]")
    p.add_argument("--deployments", type=int, default=100)


class Watched:
    """One or more processes seen as one: what they hold and what they did since the last look."""

    def __init__(self, *processes):
        self.processes = processes
        self.cpu, self.wakeups, self.at = self.look()

    def fields(self, name):
        for p in self.processes:
            p.alive()
            yield {k: v.split() for k, v in (line.split(":", 1) for line in pathlib.Path(f"/proc/{p.pid}/{name}").read_text().splitlines()
                                             if ":" in line)}

    def kib(self, name, key):
        return sum(int(f[key][0]) for f in self.fields(name))

    def memory(self):
        return {"pss_kib": self.kib("smaps_rollup", "Pss"), "rss_kib": self.kib("status", "VmRSS"), "rss_anon_kib": self.kib("status", "RssAnon")}

    def switches(self):
        """A wakeup is a voluntary switch away from it, of any of its threads."""
        total = 0
        for p in self.processes:
            for task in pathlib.Path(f"/proc/{p.pid}/task").iterdir():
                text = (task / "status").read_text()
                total += int(text.split("voluntary_ctxt_switches:", 1)[1].split()[0])
        return total

    def threads(self):
        return sum(len(list(pathlib.Path(f"/proc/{p.pid}/task").iterdir())) for p in self.processes)

    def look(self):
        return sum(p.cpu_s() for p in self.processes), self.switches(), time.monotonic()

    def window(self):
        cpu, wakeups, at = self.look()
        took = at - self.at
        out = {**self.memory(), "threads": self.threads(), "wakeups_per_s": (wakeups - self.wakeups) / took,
               "cpu_s_per_hour": (cpu - self.cpu) / took * 3600}
        self.cpu, self.wakeups, self.at = cpu, wakeups, at
        return out


UNITS = pathlib.Path(__file__).resolve().parents[2] / "deploy/systemd"


def unit_environment(name):
    """What the unit of this name sets, plain NAME=VALUE lines alone."""
    lines = (UNITS / f"{name}.service.in").read_text().splitlines()
    return dict(line.split("=", 2)[1:] for line in lines if line.startswith("Environment=") and '"' not in line)


GLIBC = ("libc.so", "libm.so", "libpthread", "libdl.so", "librt.so", "libresolv.so")


def own_libraries(folder, programs):
    """Copies of the programs' libraries: other users of libcrypto on this machine, the coordinator first of all, pay no part of what agent
    and exec hold. glibc stays the system's, which every process of a host shares."""
    folder.mkdir()
    for program in programs:
        for line in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines():
            words = line.split()
            if len(words) > 2 and words[1] == "=>" and words[2].startswith("/") and not words[0].startswith(GLIBC):
                shutil.copy(words[2], folder)
    return {**os.environ, "LD_LIBRARY_PATH": str(folder)}


class Host:
    def __init__(self, o, folder):
        self.o, self.folder, self.user = o, folder, pwd.getpwuid(os.geteuid()).pw_name
        self.co = common.Coordinator(folder / "coordinator", o.build).start()
        self.co.ask("agents", "add", "host-1", "--region", "eu", "--label", "role=web", "--out", folder / "bundle")
        sock, root = folder / "exec.sock", folder / "root"
        env = own_libraries(folder / "lib", (o.agent, o.exec_, o.http))
        self.exec = common.Process([o.exec_, "--socket", sock, "--root", root, "--user-allowed", self.user, "--stop-programs"],
                                   folder / "exec.log", env={**env, **unit_environment("wavetrain-exec")})
        self.until(lambda: sock.exists() and root.exists(), "wavetrain-exec")
        self.agent = common.Process([o.agent, "--dir", folder / "agent", "--bundle", folder / "bundle", "--root", root, "--exec-socket", sock,
                                     "--unpack", o.unpack, "--http", o.http, "--reserve", "1"],
                                    folder / "agent.log", env={**env, **unit_environment("wavetrain-agent")})
        self.until(self.connected, "wavetrain-agent")

    def until(self, condition, who):
        for _ in range(400):
            if condition():
                return
            time.sleep(0.05)
        raise SystemExit(f"{who} does not get ready: " + "".join(p.read_text(errors="replace")[-600:] for p in self.folder.glob("*.log")))

    def connected(self):
        self.agent.alive()
        hosts = json.loads(self.co.ask("agents", "list", "-o", "json").stdout)
        return bool(hosts) and bool(hosts[0].get("seen") or hosts[0].get("last_poll_age_ms") is not None)

    def link_alone(self):
        """What a connection costs before any agent is there: libnng, OpenSSL and one session that says nothing, in libraries of its own."""
        program, state, output = self.o.build / "tests/cluster/log-agent", self.folder / "link", self.folder / "link-output"
        state.mkdir()
        output.touch()
        self.co.ask("agents", "add", "host-2", "--region", "eu", "--out", self.folder / "bundle-2")
        env = own_libraries(self.folder / "lib-2", (program,))
        link = common.Process([program, self.folder / "bundle-2", state, output], self.folder / "link.log", env=env)
        time.sleep(5)
        memory = Watched(link).memory()
        link.stop()
        return memory

    def prepare(self):
        self.co.ask("app", "add", "shop")
        self.co.ask("env", "add", "prod", "--label", "role=web")
        self.probe_by("exec: [/bin/true], interval: 200ms")
        for version in ("1.0", "1.1"):
            made = self.folder / version
            made.mkdir()
            (made / "shop").write_text(PROGRAM.format(version=version))
            (made / "shop").chmod(0o755)
            self.co.ask("release", "push", "shop", version, made)

    def probe_by(self, ready):
        (self.folder / "deploy.yaml").write_text(FILE.format(user=self.user, ready=ready))

    def deploy(self, version):
        self.co.ask("deploy", "shop", version, "-e", "prod", "--file", self.folder / "deploy.yaml", "--yes", "--confirm=shop",
                    "--timeout", "120s", timeout=180)

    def stop(self):
        for p in (self.agent, self.exec):
            p.stop()
        self.co.stop()


def idle(o, ours, theirs):
    rounds = []
    for i in range(o.rounds):
        common.say(f"agent: idle, window {i + 1} of {o.rounds}")
        time.sleep(o.seconds / o.rounds)
        rounds.append({"wavetrain": ours.window(), "node_exporter": theirs.window()})
    sides = {side: {k: common.spread([r[side][k] for r in rounds]) for k in rounds[0][side]} for side in rounds[0]}
    sides["ratio"] = {k: common.ratios([r["wavetrain"][k] for r in rounds], [r["node_exporter"][k] for r in rounds])
                      for k in rounds[0]["wavetrain"]}
    return sides


def memory_of_child(parent, name):
    """KiB of PSS and RssAnon; None when it is not there."""
    for pid in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        folder = pathlib.Path("/proc") / pid
        if folder.joinpath("comm").read_text().strip() == name:
            rollup = folder.joinpath("smaps_rollup").read_text().split("\n")
            return {line.split(":")[0].lower() + "_kib": int(line.split()[1]) for line in rollup if line.startswith(("Pss:", "Anonymous:"))}
    return None


REST_S = 25  # after the last deployment: wavetrain-http is let go after 15 s, and agent and exec rest after 5


def deployments(o, host, ours):
    """RssAnon before; after the first, when the tables that an app needs are there; after ten; and after all; each
    when wavetrain-http has gone. What that holds while it is there is told apart."""
    host.prepare()
    out, start = {"before": ours.memory()}, time.monotonic()
    warm = min(10, max(1, o.deployments // 2))
    for i in range(o.deployments + 1):
        host.deploy(("1.0", "1.1")[i % 2])
        if i == 0:
            out["wavetrain-http"] = memory_of_child(host.agent.pid, "wavetrain-http")
        if i in (0, warm):
            time.sleep(REST_S)
            out["first" if i == 0 else "warm"] = ours.memory()
            common.say(f"agent: {i + 1} deployments of {o.deployments + 1}")
    time.sleep(REST_S)
    out["after"] = ours.memory()
    out["deployments"], out["warm_after"], out["seconds"] = o.deployments, warm, time.monotonic() - start
    for since in ("before", "first", "warm"):
        out[f"growth_since_{since}_kib"] = out["after"]["rss_anon_kib"] - out[since]["rss_anon_kib"]
    return out


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def probing(host, ours):
    """What is held on a host whose program is probed over HTTP each second, all three processes: wavetrain-http stays for it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host.probe_by(f'http: "http://127.0.0.1:{server.server_port}/", interval: 1s')
    host.deploy("1.0")
    time.sleep(2 * REST_S)
    out = {"wavetrain-http": memory_of_child(host.agent.pid, "wavetrain-http"), "agent + exec": ours.memory()}
    server.shutdown()
    return out


def run(o):
    o.agent = o.agent or o.build / "agent/wavetrain-agent"
    o.exec_ = o.exec_ or o.build / "agent/exec/wavetrain-exec"
    o.http = o.http or o.build / "agent/wavetrain-http"
    o.unpack = o.unpack or o.build / "agent/unpack/wavetrain-unpack"
    for program in (o.agent, o.exec_, o.unpack, o.http):
        if not program.exists():
            raise SystemExit(f"tests/bench/run agent: {program} is not built; build everything, or name it (--help)")
    exporter = common.need_package("prometheus-node-exporter", "prometheus-node-exporter")
    with common.Folder(o.dir) as folder:
        host = Host(o, folder.path)
        peer = None
        try:
            peer = common.Process([exporter, f"--web.listen-address=127.0.0.1:{common.free_port()}"], folder.path / "exporter.log")
            time.sleep(2)
            ours = Watched(host.agent, host.exec)
            sides = idle(o, ours, Watched(peer))
            each = {"agent": Watched(host.agent).memory(), "exec": Watched(host.exec).memory(), "a link alone": host.link_alone()}
            return {"seconds": o.seconds, "idle": sides, "each": each, "deployments": deployments(o, host, ours),
                    "probing": probing(host, ours)}
        finally:
            if peer:
                peer.stop()
            host.stop()


def text(result):
    sides, d = result["idle"], result["deployments"]
    rows = [[k, sides["wavetrain"][k], sides["node_exporter"][k], sides["ratio"][k]] for k in sides["wavetrain"]]
    out = common.table(f"idle for {result['seconds']:g} s: median (min..max of the windows)",
                       ["", "agent + exec", "node-exporter", "ratio"], rows)
    http_pss = result["probing"]["wavetrain-http"]
    anon = {k: d[k]["rss_anon_kib"] for k in ("before", "first", "warm", "after")}
    return out + (f"\n  each: {result['each']}; while something is fetched, wavetrain-http: {d['wavetrain-http']}; while it only probes, "
                  f"each second: {http_pss}\n  deployments: RssAnon {anon['before']} KiB before, {anon['first']} after the first, {anon['warm']} after "
                  f"{d['warm_after']} more, {anon['after']} after {d['deployments']} more: grown by {d['growth_since_before_kib']} KiB, "
                  f"{d['growth_since_first_kib']} since the first, {d['growth_since_warm_kib']} since the last of these")

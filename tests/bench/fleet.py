"""fleet: thousands of agents that speak the real protocol, beside the same exchanges with a bare TLS echo server."""
import json
import pathlib
import subprocess
import time

import common

TARGETS = ["coordinator/wavetraind", "coordinator/cli/wavetrain", "tests/bench/bench-fleet", "tests/bench/bench-echo"]
FILE = """\
schema: wavetrain/v1
app: shop
artifact: { name: shop }
targets:
  labels: { role: web }
regions: [{ name: eu }]
strategy:
  rolling: { batch: 100% }
  maxUnavailable: 100%
  floor: 0%
  failureBudget: 100%
  minHealthyTime: 0s
run:
  command: [./shop]
"""


def options(p):
    p.add_argument("--agents", default="1000,5000", help="comma-separated [%(default)s]")
    p.add_argument("--rounds", type=int, default=5, help="deployments [%(default)s]")
    p.add_argument("--idle", type=float, default=60, help="seconds of parked polls [%(default)s]")


class Load:
    """bench-fleet: one line in, one line of JSON out."""

    def __init__(self, words, log):
        self.process = common.Process(words, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self):
        line = self.process.popen.stdout.readline()
        if not line:
            self.process.popen.wait()
            raise SystemExit("bench-fleet ended: " + pathlib.Path(self.process.log).read_text(errors="replace")[-500:])
        return json.loads(line)

    def say(self, line):
        self.process.popen.stdin.write(line + "\n")
        self.process.popen.stdin.flush()
        return self.read()

    def stop(self):
        self.process.stop()


class Fleet:
    def __init__(self, o, folder, agents):
        self.o, self.agents, self.folder = o, agents, folder
        folder.mkdir()
        self.co = common.Coordinator(folder / "coordinator", o.build).start()
        data = self.co.data
        self.echo = common.Process([o.build / "tests/bench/bench-echo", "--ca", data / "ca.pem", "--cert", data / "cert.pem", "--key",
                                    data / "key.pem"], folder / "echo.log", stdout=subprocess.PIPE, text=True)
        echo_port = self.echo.popen.stdout.readline().strip()
        self.load = Load([o.build / "tests/bench/bench-fleet", "--socket", self.co.socket, "--port", self.co.agent_port, "--agents", agents,
                          "--echo-port", echo_port], folder / "load.log")
        self.file = folder / "deploy.yaml"
        self.file.write_text(FILE)

    def costed(self, process, measure):
        before = process.cpu_s()
        out = measure()
        return {**out, "server_cpu_s": process.cpu_s() - before}

    def prepare(self):
        out = {"register": self.costed(self.co.process, lambda: self.load.say("register"))}
        empty = self.co.process.memory()["VmRSS"]
        out["connect"] = self.costed(self.co.process, lambda: self.load.say("connect"))
        out["connect"]["rss_kib_per_agent"] = (self.co.process.memory()["VmRSS"] - empty) / self.agents
        empty = self.echo.memory()["VmRSS"]
        out["connect_echo"] = self.costed(self.echo, lambda: self.load.say("connect-echo"))
        out["connect_echo"]["rss_kib_per_agent"] = (self.echo.memory()["VmRSS"] - empty) / self.agents
        self.co.ask("app", "add", "shop")
        self.co.ask("env", "add", "prod", "--label", "role=web")
        for version in ("1.0", "1.1"):
            made = self.folder / version
            made.mkdir()
            (made / "shop").write_text(f"#!/bin/sh\necho {version}\n")
            (made / "shop").chmod(0o755)
            self.co.ask("release", "push", "shop", version, made)
        return out

    def deploy(self, version):
        """Times count from when the CLI has its answer: the deployment is committed, its wave is not yet."""
        if self.load.say("round") != {"armed": True}:
            raise SystemExit("bench-fleet did not arm")
        cpu = self.co.process.cpu_s()
        asked = time.monotonic()
        self.co.ask("deploy", "shop", version, "-e", "prod", "--file", self.file, "--yes", "--confirm=shop", "--detach")
        answered = time.monotonic()
        t = self.load.read()
        told = min(answered, t["first_desired"])
        rollout = self.until_over()
        return {"plan_and_commit_s": answered - asked, "first_told_s": t["first_desired"] - asked, "all_told_s": t["last_desired"] - told,
                "accepted_s": t["last_accepted"] - told, "result_s": t["last_result"] - t["results_begun"],
                "over_s": time.monotonic() - t["last_result"], "state": rollout, "client_cpu_s": t["client_cpu_s"],
                "server_cpu_s": self.co.process.cpu_s() - cpu, "bytes_sent": t["bytes_sent"], "bytes_received": t["bytes_received"]}

    def until_over(self):
        for _ in range(600):
            rows = json.loads(self.co.ask("list", "-o", "json").stdout)
            if rows and rows[0]["state"].upper() in ("SUCCEEDED", "FAILED", "ROLLED_BACK", "CANCELLED", "SUPERSEDED"):
                return rows[0]["state"].upper()
            time.sleep(0.02)
        raise SystemExit("the rollout does not end")

    def round(self, i):
        ours = self.deploy(("1.0", "1.1")[i % 2])
        if ours["state"] != "SUCCEEDED":
            raise SystemExit(f"the rollout ended {ours['state']}")
        return {"wavetrain": ours, "echo": self.costed(self.echo, lambda: self.load.say("echo"))}

    def idle(self):
        return self.costed(self.co.process, lambda: self.load.say(f"idle {self.o.idle}"))

    def stop(self):
        self.load.stop()
        self.co.stop()
        self.echo.stop()


def summary(agents, prepared, rounds, idle, memory):
    def ours(key):
        return [r["wavetrain"][key] for r in rounds]

    def echo(key):
        return [r["echo"][key] for r in rounds]

    out = {"agents": agents, **prepared, "idle": idle, "memory_kib": memory,
           "bytes_per_agent": {"sent": ours("bytes_sent")[-1] / agents, "received": ours("bytes_received")[-1] / agents}}
    out["wavetrain"] = {k: common.spread(ours(k)) for k in ("plan_and_commit_s", "first_told_s", "all_told_s", "accepted_s", "result_s",
                                                            "over_s", "server_cpu_s", "client_cpu_s")}
    out["echo"] = {k: common.spread(echo(k)) for k in ("accepted_s", "result_s", "server_cpu_s", "client_cpu_s")}
    out["ratio"] = {k: common.ratios(ours(k), echo(k)) for k in ("accepted_s", "result_s", "server_cpu_s")}
    return out


def one(o, folder, agents):
    fleet = Fleet(o, folder, agents)
    try:
        common.say(f"fleet: {agents} agents")
        prepared, rounds = fleet.prepare(), []
        for i in range(o.rounds):
            common.say(f"fleet: {agents} agents, round {i + 1} of {o.rounds}")
            rounds.append(fleet.round(i))
        common.say(f"fleet: {agents} agents, {o.idle:g} s idle")
        idle = fleet.idle()
        memory = {"wavetrain": fleet.co.process.memory(), "echo": fleet.echo.memory()}
    finally:
        fleet.stop()
    return summary(agents, prepared, rounds, idle, memory)


def run(o):
    with common.Folder(o.dir) as folder:
        return {"fleets": [one(o, folder.path / n, int(n)) for n in o.agents.split(",")]}


def text_of(f):
    n, ours, echo, ratio = f["agents"], f["wavetrain"], f["echo"], f["ratio"]
    rows = [["commit to last Accepted acknowledged, s", ours["accepted_s"], echo["accepted_s"], ratio["accepted_s"]],
            ["all Results at once to last acknowledged, s", ours["result_s"], echo["result_s"], ratio["result_s"]],
            ["server CPU of all exchanges, s", ours["server_cpu_s"], echo["server_cpu_s"], ratio["server_cpu_s"]],
            ["load generator CPU, s", ours["client_cpu_s"], echo["client_cpu_s"], ""],
            ["CLI: plan, ask, commit, s", ours["plan_and_commit_s"], "", ""],
            ["first agent told, from the CLI's start, s", ours["first_told_s"], "", ""],
            ["last Result to rollout over, s", ours["over_s"], "", ""]]
    reg, con, cone, idle = f["register"], f["connect"], f["connect_echo"], f["idle"]
    more = [f"register: {n / reg['seconds']:.0f} hosts/s, coordinator CPU {reg['server_cpu_s'] / n * 1e3:.2f} ms each",
            f"connect: {n / con['seconds']:.0f}/s at {con['server_cpu_s'] / n * 1e3:.2f} ms CPU and {con['rss_kib_per_agent']:.1f} KiB each; "
            f"echo {n / cone['seconds']:.0f}/s at {cone['server_cpu_s'] / n * 1e3:.2f} ms and {cone['rss_kib_per_agent']:.1f} KiB",
            f"idle: {idle['polls']} polls in {idle['seconds']:.0f} s, coordinator {idle['server_cpu_s'] / idle['seconds'] * 100:.2f} % CPU",
            f"memory KiB: {f['memory_kib']}; bytes per agent and deployment: {f['bytes_per_agent']}"]
    return common.table(f"\n{n} agents: median (min..max of the rounds)", ["", "wavetrain", "TLS echo", "ratio"], rows) + "\n  " + \
        "\n  ".join(more)


def text(result):
    return "\n".join(text_of(f) for f in result["fleets"])

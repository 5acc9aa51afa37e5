"""What the agent_*.py tests share: a stage (a small fleet with apps as they are needed) and TAP. Scenes wait for conditions, never for a time."""
import json
import os
import pathlib
import shutil
import sys
import time
import traceback
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet as f  # noqa: E402

TESTAPP = f.BUILD / "tests/lib/testapp"
SERVE = "exec ./demo-service \"$WAVETRAIN_VERSION\"\n"
wait_for = f.wait_for


def merge(base, more):
    """`more` over `base`: mappings are merged, None takes a key away, everything else replaces."""
    out = dict(base)
    for k, v in more.items():
        if v is None:
            out.pop(k, None)
        else:
            out[k] = merge(out[k], v) if isinstance(v, dict) and isinstance(out.get(k), dict) else v
    return out


def get(port, path="/", timeout=2):
    """What the service says, or None."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as r:
            return r.read().decode().strip()
    except (OSError, ValueError, urllib.error.HTTPError):
        return None


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def flip(path, at=None):
    """One bit of a file, in the middle unless told."""
    data = bytearray(pathlib.Path(path).read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x10
    pathlib.Path(path).write_bytes(data)


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


class App:
    """One application of the stage's one environment, with its file."""

    def __init__(self, stage, name, more=None, port=None):
        self.stage, self.name, self.co = stage, name, stage.co
        self.port = f.free_ports(1)[0] if port is None else port
        self.file = stage.folder / f"{name}.yaml"
        self.co.must("app", "add", name)
        url = f"http://127.0.0.1:{self.port}/healthz"
        self.base = {
            "schema": "wavetrain/v1", "app": name, "artifact": {"name": name}, "targets": {"labels": {"solo": "yes"}},
            "regions": [{"name": next(iter(stage.fleet.regions))}],  # the first host alone, unless a scene says otherwise: the port is its own
            "strategy": {"rolling": {"batch": 1}, "maxUnavailable": 1, "floor": "0%", "minHealthyTime": "0s", "failureBudget": 0,
                         "deadlines": {"host": "20s", "progress": "25s"}},
            "run": {"command": ["./start"], "env": {"PORT": str(self.port)}, "stop": {"timeout": "2s"},
                    "restart": {"backoff": {"initial": "100ms", "max": "200ms"}, "maxTries": 5}},
            "health": {"ready": {"http": url, "interval": "100ms", "timeout": "500ms", "pass": 1, "fail": 2, "deadline": "5s"}}, "keep": 2}
        self.write(more or {})

    def write(self, more):
        """The file as the stage has it, with changes."""
        self.file.write_text(json.dumps(merge(self.base, more), indent=1))
        return self

    def push(self, version, start=SERVE, files=()):
        d = self.stage.folder / f"release-{self.name}-{version}"
        d.mkdir()
        shutil.copy(f.SERVICE, d / "demo-service")
        shutil.copy(TESTAPP, d / "testapp")
        (d / "start").write_text("#!/bin/sh\n" + start)
        (d / "VERSION").write_text(f"{self.name} {version}\n")
        for name, text in files:
            (d / name).write_text(text)
        for name in ("start", *(n for n, _ in files)):
            (d / name).chmod(0o755)
        self.co.must("release", "push", self.name, version, d)
        return self

    def begin(self, version, *more):
        self.co.must("deploy", self.name, version, "-e", "prod", "-f", self.file, f"--confirm={self.name}", "--detach", *more)

    def rollout(self):
        row = max((r for r in self.co.json("list", "--limit", "100") if r["app"] == self.name), key=lambda r: r["serial"])
        return json.loads(self.co.ask("status", row["id"], "--watch", "false", "-o", "json")[1])

    def explain(self):
        return self.co.ask("explain", self.rollout()["id"])[1]

    def finished(self, seconds=60):
        return wait_for(f"the rollout of {self.name} ends", lambda: (lambda r: r if r["terminal"] or r["state"] == "HELD" else None)(self.rollout()),
                        seconds=seconds)

    def deploy(self, version, seconds=60):
        """The rollout when it is over; its `why` is what the first host that failed said."""
        self.begin(version)
        r = self.finished(seconds)
        r["why"] = self.why(r)
        return r

    def why(self, r):
        rows = [json.loads(line)["event"] for line in self.co.must("events", "-o", "jsonl").splitlines()]
        mine = [e for e in rows if e.get("deployment") == r["id"] and e.get("host") and e.get("to") == "FAILED"]
        return mine[0]["reason"] if mine else r["reason"]

    def up(self, version):
        r = self.deploy(version)
        if r["state"] != "SUCCEEDED":
            raise RuntimeError(f"{self.name} {version}: {r['state']}: {r['why']}")
        return self

    def seen(self, host=0):
        """What the coordinator knows of it on a host; {} when nothing."""
        rows = self.co.json("agents", "show", self.stage.hosts[host].name)
        rows = rows if isinstance(rows, list) else [rows]
        return next((a for a in rows[0]["apps"] if a["app"] == self.name), {})

    def sound(self, version, host=0):
        a = self.seen(host)
        return a.get("drift") == "" and a.get("health") == "healthy" and a.get("current_version") == version

    def settled(self, version, seconds=30, host=0):
        self.stage.heard(host)
        try:
            return wait_for(f"{self.name} is {version} again and sound", lambda: self.sound(version, host), seconds=seconds)
        except TimeoutError as e:
            raise TimeoutError(f"{e}; it is {self.seen(host)}; {self.explain()}") from None

    def dir(self, host=0):
        return self.stage.hosts[host].root / "apps" / self.name

    def slot(self, host=0):
        return (self.dir(host) / "current").resolve()

    def pids(self, host=0):
        """Processes whose working folder is a slot of this app: what runs, and what it forked."""
        out, slots = [], str(self.stage.hosts[host].root / "slots")
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                cwd = os.readlink(p / "cwd")
                if cwd.startswith(slots) and (pathlib.Path(cwd) / "VERSION").read_text().startswith(self.name + " ") and alive(int(p.name)):
                    out.append(int(p.name))
            except OSError:
                continue
        return sorted(out)

    def server(self, host=0):
        """The pid that answers: the program itself, found by its name."""
        return next((p for p in self.pids(host) if comm(p) in ("demo-service", "testapp")), None)

    def output(self, host=0):
        return (self.dir(host) / "output.log").read_text(errors="replace")


def comm(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Stage:
    def __init__(self, prefix, regions=None, poll_wait_ms=2000):
        self.results, self.fleet, self.failed_scenes = [], f.Fleet(regions or {"eu": 1}, poll_wait_ms, prefix=f"wavetrain-{prefix}-"), 0
        self.folder, self.co, self.hosts = self.fleet.folder, self.fleet.co, self.fleet.hosts

    def start(self, balancers=False, exec_more=()):
        """The first host has the label solo=yes; `exec_more` are further options of wavetrain-exec."""
        self.co.start()
        ports = iter(f.free_ports(sum(self.fleet.regions.values())))
        for region, nr in self.fleet.regions.items():
            for i in range(nr):
                labels = [] if self.hosts else [("solo", "yes")]
                self.hosts.append(f.Host(self.co, self.folder, f"{region}-{i + 1}", region, next(ports), labels))
                self.hosts[-1].exec.argv += exec_more
            if balancers:
                self.fleet.balancers.append(f.Balancer(self.folder, region, [h for h in self.hosts if h.region == region]))
        for p in self.fleet.balancers + self.hosts:
            p.start()
        self.co.must("env", "add", "prod")
        wait_for("all agents have said hello", lambda: all(h["seen"] for h in self.co.json("agents", "list")))

    def app(self, name, more=None, port=None):
        return App(self, name, more, port)

    def check(self, what, ok, evidence=""):
        self.results.append(bool(ok))
        print("ok" if ok else "not ok", len(self.results), "-", what, flush=True)
        if not ok and evidence != "":
            print("# " + str(evidence).replace("\n", "\n# "), flush=True)

    def heard(self, host=0):
        """The coordinator heard of the host after now: what it shows is not from before."""
        began, name = time.monotonic(), self.hosts[host].name

        def fresh():
            rows = self.co.json("agents", "show", name)
            row = rows[0] if isinstance(rows, list) else rows
            return row["seen"] and row["last_poll_age_ms"] / 1000 < time.monotonic() - began - 0.05
        wait_for(f"{name} is heard of", fresh)

    def scene(self, act):
        """One scene; what goes wrong in it does not end the others."""
        before = len(self.results)
        try:
            act(self)
        except Exception:  # noqa: BLE001: whatever it was, the scene failed
            self.check(f"{act.__name__}: ended early", False, traceback.format_exc())
        if not all(self.results[before:]):
            self.failed_scenes += 1
            for h in self.hosts:
                print(f"# {h.name} agent: " + h.agent.tail(1500).replace("\n", "\n# ") + "\n# exec: " + h.exec.tail(1500).replace("\n", "\n# "))


def run(prefix, scenes, regions=None, setup=None, **more):
    """All scenes of a test, or those that are named on the command line."""
    stage = Stage(prefix, regions, **more)
    try:
        stage.start() if setup is None else setup(stage)
        for act in scenes:
            if len(sys.argv) < 2 or act.__name__ in sys.argv[1:]:
                stage.scene(act)
    except Exception:  # noqa: BLE001: whatever it was, the test failed
        stage.check("the stage was set", False, traceback.format_exc())
    finally:
        stage.fleet.close()
    print(f"1..{len(stage.results)}")
    sys.exit(0 if stage.results and all(stage.results) else 1)

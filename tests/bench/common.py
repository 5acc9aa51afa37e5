"""What the measurements share: a coordinator in a folder of its own, what processes cost, rounds and their spread, the report."""
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HZ = os.sysconf("SC_CLK_TCK")


def say(text):
    print(text, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def build(folder, targets, setup=()):
    """Compiles what a measurement needs. A folder that is there is used as it is set up."""
    folder = pathlib.Path(folder)
    if not (folder / "build.ninja").exists():
        say(f"setting up {folder}")
        subprocess.run(["meson", "setup", str(folder), *setup], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(folder), "--quiet", *targets], check=True, stdout=sys.stderr)


def need_package(name, program):
    """The peers are Debian's; they are installed here and nowhere else, and never started by the system."""
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/bin")
    if path is None:
        say(f"installing {name}")
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-o", "DPkg::Lock::Timeout=300"]
        subprocess.run([*apt, "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*apt, "install", "-y", "-qq", "--no-install-recommends", name], check=True, stdout=subprocess.DEVNULL)
        path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/bin")
    return path


class Folder:
    """A temporary folder on a real disk: fdatasync on tmpfs measures nothing."""

    def __init__(self, parent):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="wavetrain-bench-", dir=parent))
        kind = subprocess.run(["stat", "-f", "-c", "%T", str(self.path)], capture_output=True, text=True, check=True).stdout.strip()
        if kind == "tmpfs":
            say("warning: this folder is in memory (tmpfs); give --dir on a disk")
        self.kind = kind

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


class Process:
    """A program under measurement. Ended by its own id."""

    def __init__(self, words, log, **more):
        self.log = log
        self.popen = subprocess.Popen([str(w) for w in words], stderr=open(log, "ab"), **{"stdout": subprocess.DEVNULL, **more})

    @property
    def pid(self):
        return self.popen.pid

    def cpu_s(self):
        """Of all its threads, to the nanosecond where the kernel counts that (threads that ended are missed), else in ticks."""
        try:
            return sum(int((t / "schedstat").read_text().split()[0]) for t in pathlib.Path(f"/proc/{self.pid}/task").iterdir()) / 1e9
        except FileNotFoundError:
            pass
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / HZ

    def memory(self, what=("VmRSS", "VmHWM", "RssAnon", "RssFile")):
        lines = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return {key: int(lines[key].split()[0]) for key in what}

    def alive(self):
        if self.popen.poll() is not None:
            raise SystemExit(f"process ended with {self.popen.returncode}: {pathlib.Path(self.log).read_text(errors='replace')[-800:]}")

    def stop(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Coordinator:
    """A real `wavetraind run` in a new folder, and the real CLI beside it."""

    def __init__(self, folder, programs, init=()):
        self.data, self.programs = folder, programs
        self.agent_port, self.artifact_port = free_port(), free_port()
        self.socket = folder / "admin.sock"
        subprocess.run([programs / "coordinator/wavetraind", "init", "--data", folder, "--peer-port", "0", "--agent-port", str(self.agent_port),
                        "--artifact-port", str(self.artifact_port), *init], check=True, stdout=subprocess.DEVNULL)
        self.process = None

    def start(self):
        self.process = Process([self.programs / "coordinator/wavetraind", "run", "--data", self.data], f"{self.data}.log")
        for _ in range(400):
            self.process.alive()
            if self.ask("app", "list", "-o", "json", check=False).returncode == 0:
                return self
            time.sleep(0.05)
        raise SystemExit("the coordinator does not answer")

    def ask(self, *words, check=True, **more):
        done = subprocess.run([self.programs / "coordinator/cli/wavetrain", "--socket", self.socket, *words], capture_output=True,
                              text=True, env={**os.environ, "NO_COLOR": "1"}, **more)
        if check and done.returncode != 0:
            raise SystemExit(f"wavetrain {' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def stop(self):
        self.process.stop()


def run_json(words):
    """Runs a program of tests/bench that prints one JSON object."""
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}: exit {done.returncode}")
    return json.loads(done.stdout)


def children_cpu_s():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return u.ru_utime + u.ru_stime


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def ratios(ours, theirs):
    """Round by round: both sides of a round saw the same machine."""
    return spread([a / b if b else float("inf") for a, b in zip(ours, theirs)])


def number(v):
    if isinstance(v, dict):
        return f"{number(v['median'])} ({number(v['min'])}..{number(v['max'])})"
    if isinstance(v, (int, float)):
        return f"{v:,.0f}" if abs(v) >= 1000 or isinstance(v, int) else f"{v:.3g}"
    return str(v)


def table(title, head, rows):
    cells = [[str(c) for c in head]] + [[number(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [title] + ["  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))
                       for row in cells]
    return "\n".join(lines)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {"cpus": os.cpu_count(), "cpu": model, "kernel": os.uname().release, "load": os.getloadavg(),
            "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}

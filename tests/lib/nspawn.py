"""A Debian host of our own with systemd as its first process, in systemd-nspawn: booted, powered off, cut off. Needs root, systemd-container
and mmdebstrap. `close` leaves no process, mount or control group behind; what is kept for the next run is the image, in the build folder.
"""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import fleet as f

BASE = ["systemd", "systemd-sysv", "dbus", "procps", "util-linux"]
# What a small host has no use for; each costs a boot a moment.
MASKED = ["systemd-logind.service", "console-getty.service", "systemd-networkd.service", "systemd-resolved.service", "apt-daily.timer",
          "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer", "systemd-timesyncd.service"]


def must(*argv, timeout=120, **more):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(a) for a in argv)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout


def cannot():
    """Why no machine can be booted here, or None. What is merely not installed is no such reason: the tests install it."""
    if os.geteuid() != 0:
        return "only root may boot a machine of its own"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "mount", "--make-rslave", "/"], capture_output=True, text=True)
    return f"nobody may mount here: {tried.stderr.strip()}" if tried.returncode != 0 else None


def libraries(programs):
    """The Debian packages of the shared libraries of programs."""
    names = {line.split()[0] for p in programs for line in must("ldd", p).splitlines() if "=> /" in line}
    found = {}
    for line in must("dpkg-query", "-S", *(f"*/{n}" for n in sorted(names))).splitlines():
        packages, _, path = line.partition(": ")
        if path.rsplit("/", 1)[-1] in names and re.fullmatch(r"(/usr)?/lib/[^/]+/[^/]+", path):
            found[path.rsplit("/", 1)[-1]] = packages.split(",")[0].split(":")[0]
    missing = names - set(found)
    if missing:
        raise RuntimeError(f"no Debian package has {', '.join(sorted(missing))}")
    return sorted(set(found.values()))


def apt_sources():
    where = pathlib.Path("/etc/apt")
    return [p for p in [where / "sources.list", *sorted((where / "sources.list.d").glob("*.list")),
                        *sorted((where / "sources.list.d").glob("*.sources"))] if p.exists() and p.read_text().strip()]


def image(packages):
    """A tar of a small Debian of this machine's release, made from this machine's apt sources."""
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    folder = f.BUILD / "images"
    folder.mkdir(exist_ok=True)
    packages = sorted(set(BASE + packages))
    tar = folder / f"host-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:12]}.tar"
    if not tar.exists():
        print(f"# an image of {len(packages)} packages and what they need is made once for this build folder", flush=True)
        fresh = folder / f"fresh-{os.getpid()}.tar"
        options = [f"--aptopt={line}" for line in must("apt-config", "dump").splitlines()
                   if re.match(r"Acquire::(https?::Proxy|Check-\S+|Retries)\b", line)]
        try:
            must("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", *options,
                 release["VERSION_CODENAME"].strip('"'), fresh, *apt_sources(), timeout=400)
            fresh.rename(tar)
        finally:
            fresh.unlink(missing_ok=True)
    return tar


class Groups:
    """A control group of our own in each hierarchy, so that the systemd inside owns nothing that others are in."""

    def __init__(self, name):
        text = pathlib.Path("/proc/self/mountinfo").read_text()
        points = re.findall(r"^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2? ", text, re.M)
        self.dirs = [pathlib.Path(p) / name for p in points if os.access(p, os.W_OK)]

    def enter(self):
        for d in self.dirs:
            d.mkdir(exist_ok=True)
            if d.parts[3:4] == ("cpuset",) or (d / "cpuset.cpus").exists() and not (d / "cgroup.controllers").exists():
                for leaf in ("cpuset.cpus", "cpuset.mems"):  # v1: empty in a new group, which takes no process so
                    (d / leaf).write_text((d.parent / leaf).read_text())
            (d / "cgroup.procs").write_text("0")

    def remove(self):
        """Everything that is left in them is ours, and ends."""
        for d in self.dirs:
            for sub, _, _ in os.walk(d, topdown=False):
                f.wait_for(f"{sub} is empty", lambda s=sub: self.gone(pathlib.Path(s)), seconds=20)

    @staticmethod
    def gone(d):
        try:
            for pid in (d / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            d.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


class Machine:
    """cgroup_v2: the host has the one tree (as systemd makes it), else the trees of v1. Controllers it has are those that are free: where
    the machine around it has given them to v1, a host of v2 has groups without limits."""

    def __init__(self, programs, cgroup_v2=True, name="wthost"):
        f.own_processes()
        self.cgroup_v2 = cgroup_v2
        self.name, self.init, self.nspawn, self.boots = f"{name}-{os.getpid()}", None, None, 0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wavetrain-host-"))
        self.root, self.log = self.folder / "root", self.folder / "nspawn.log"
        self.groups = Groups(self.name)
        self.root.mkdir()
        must("tar", "-C", self.root, "-xf", image(libraries(programs)))
        for unit in MASKED:
            (self.root / "etc/systemd/system" / unit).symlink_to("/dev/null")

    def boot(self):
        argv = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--keep-unit", "--register=no", f"--machine={self.name}",
                "--private-network", "--console=read-only", "--link-journal=no", "--system-call-filter=pidfd_getfd"]  # a host has it
        with open(self.log, "ab") as out:
            self.nspawn = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                           env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1" if self.cgroup_v2 else "0"},
                                           preexec_fn=self.groups.enter)
        self.init = f.wait_for("the host's first process", self.find_init)
        f.wait_for("the host has booted", lambda: self.ask("systemctl", "is-system-running")[1].strip() in ("running", "degraded"), seconds=120)
        self.allow_limits()
        self.boots += 1

    def find_init(self):
        if self.nspawn.poll() is not None:
            raise RuntimeError(f"systemd-nspawn ended: {self.log.read_text(errors='replace')[-1500:]}")
        kids = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
        ready = kids and pathlib.Path(f"/proc/{kids[0]}/comm").read_text().strip() == "systemd"
        return int(kids[0]) if ready else None

    def allow_limits(self):
        """systemd-nspawn shows the controllers of cgroup v1 read-only; a host has them writable."""
        for controller in ("memory", "pids", "cpu", "cpuacct"):
            if self.ask("test", "-d", f"/sys/fs/cgroup/{controller}")[0] == 0:
                self.ask("mount", "-o", "remount,bind,rw", f"/sys/fs/cgroup/{controller}")
        self.must("systemctl", "daemon-reexec")

    def ask(self, *argv, timeout=60, text=None):
        """(exit code, stdout, stderr) of a command on the host, as root."""
        done = subprocess.run(["nsenter", "-t", str(self.init), "-a", "--", "/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                               *(str(a) for a in argv)], capture_output=True, text=True, timeout=timeout, input=text or "")
        return done.returncode, done.stdout, done.stderr

    def must(self, *argv, timeout=60, text=None):
        code, out, err = self.ask(*argv, timeout=timeout, text=text)
        if code != 0:
            raise RuntimeError(f"{' '.join(str(a) for a in argv)}: exit {code}: {(err or out).strip()[-1500:]}")
        return out

    def ended(self):
        return self.nspawn.poll() is not None

    def power_off(self):
        self.must("systemctl", "poweroff", "--no-block")
        f.wait_for("the host is off", self.ended, seconds=120)

    def cut_power(self):
        os.kill(self.init, signal.SIGKILL)
        f.wait_for("the host is off", self.ended, seconds=60)

    def close(self):
        if self.nspawn is not None and not self.ended():
            self.nspawn.kill()
        f.kill_all_children()
        self.groups.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

#!/usr/bin/env python3
"""Little room on the host's disk, and what is kept of old versions.

usage: WAVETRAIN_BUILD=build agent_disk.py [SCENE...]   (prints TAP)
"""
import os
import subprocess
import sys

import agent_lib as a

INSIDE, SIZE, INODES = "AGENT_DISK_INSIDE", "100m", 100


def reserve(st):
    """An agent that must leave more free than there is takes not one byte."""
    h, app = st.hosts[0], st.app("reserve", {"strategy": {"deadlines": {"host": "12s"}}}).push("1").push("2").up("1")
    pid = app.server()
    h.agent.kill(15)
    usual, h.agent.argv = h.agent.argv, h.agent.argv + ["--reserve", str(1 << 30)]
    h.agent.start()
    st.heard()
    archives = h.agent_dir / "archives"
    app.begin("2")
    note = a.wait_for("the host says why it waits", lambda: app.rollout()["tasks"][0]["note"] or app.rollout()["tasks"][0]["reason"])
    st.check(f"the reserve is refused in words: {note}", "reserve" in note or "free" in note, note)
    st.check("before the first byte", not [p for p in archives.iterdir() if p.stat().st_size], list(archives.iterdir()))
    r = app.finished()
    st.check("and never blamed on the version", r["state"] == "HELD" and not r["target_bad"], (r["state"], r["reason"]))
    st.check("what ran runs on", app.server() == pid)
    h.agent.kill(15)
    h.agent.argv = usual
    h.agent.start()
    st.heard()
    st.co.must("retry", r["id"])
    a.wait_for("with room the retry succeeds", lambda: app.rollout()["state"] == "SUCCEEDED")
    st.check("with room the retry succeeds", a.get(app.port) == "2")


def held_until_room(st, app, version, make_room):
    pid = app.server()
    r = app.deploy(version)
    st.check(f"no room for {version}: held without blame, in words: {r['why']}",
             r["state"] == "HELD" and not r["target_bad"] and any(w in r["why"] for w in ("space", "free", "room", "reserve")), (r["state"], r["why"]))
    st.check("what ran runs on", app.server() == pid and a.get(app.port) == "1")
    st.check("nothing half unpacked stays", not list((st.hosts[0].root / "slots").glob(".partial-*")), list((st.hosts[0].root / "slots").iterdir()))
    make_room()
    st.co.must("retry", r["id"])
    a.wait_for("with room the retry succeeds", lambda: app.rollout()["state"] == "SUCCEEDED")
    st.check("with room the retry succeeds", a.get(app.port) == version)


def too_full_to_unpack(st):
    """There is room for the archive where that lies, but not for what is in it: refused before it is begun."""
    app, fill = st.app("toofull").push("1").up("1"), st.hosts[0].root / "fill"
    app.push("2", files=[("big", os.urandom(2 << 20).hex())])
    free = os.statvfs(st.hosts[0].root)
    fill.write_bytes(b"x" * (free.f_bavail * free.f_frsize - (65 << 20)))
    held_until_room(st, app, "2", fill.unlink)


def full_while_unpacking(st):
    """The disk has no inode left in the middle of unpacking."""
    app = st.app("full").push("1").up("1")
    app.push("2", files=[(f"file{i}", f"{i}") for i in range(INODES)])
    held_until_room(st, app, "2", lambda: mount(st.hosts[0].root, f"remount,size={SIZE},nr_inodes=10000"))


def keep(st):
    """After six versions as many slots as `keep` says are there, and no archive."""
    h, app = st.hosts[0], st.app("keep", {"keep": 3})
    before = {p.name for p in (h.root / "slots").iterdir()}
    slots = []
    for v in "123456":
        app.push(v).up(v)
        slots.append(app.slot().name)

    def mine():
        return {p.name for p in (h.root / "slots").iterdir() if p.is_dir()} - before
    a.wait_for("old slots are gone", lambda: len(mine()) <= 3)
    st.check("after six versions the newest three slots are there", mine() == set(slots[-3:]), (mine(), slots))
    st.check("and their manifests, and nothing else", {p.name for p in (h.root / "slots").iterdir()} - before == set(slots[-3:]) | {f"{s}.manifest" for s in slots[-3:]})
    st.check("no archive is kept", not list((h.agent_dir / "archives").iterdir()), list((h.agent_dir / "archives").iterdir()))
    app.push("7", "exit 1\n")
    r = app.deploy("7")
    app.settled("6")
    a.wait_for("the failed one goes", lambda: len(mine()) <= 4)
    st.check("a failed version takes no good one's place", r["state"] == "ROLLED_BACK" and set(slots[-3:]) <= mine() | {slots[-3]} and a.get(app.port) == "6", mine())


def mount(where, options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], check=True)


def setup(st):
    """The host's root is a disk of its own, in a mount namespace that ends with this process."""
    st.start()
    if INSIDE not in os.environ:
        return
    h = st.hosts[0]
    h.exec.kill()
    h.agent.kill()
    mount(h.root, f"size={SIZE},nr_inodes={INODES}")
    st.fleet.mounts.append(h.root)
    h.sock.unlink(missing_ok=True)
    h.start()


def may_mount():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0


if __name__ == "__main__":
    if INSIDE not in os.environ and may_mount():
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv])
    if INSIDE in os.environ:
        a.run("disk", [too_full_to_unpack, full_while_unpacking, reserve, keep], setup=setup)
    print("# no right to mount a small disk: the scenes of the full disk are left out")
    a.run("disk", [reserve, keep], setup=setup)

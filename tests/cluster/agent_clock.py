#!/usr/bin/env python3
"""The wall clock of a host or of the coordinator jumps in the middle of a rollout (libfaketime; the monotonic clock goes on): nothing fails,
nothing is lost, nothing is hurried.

usage: WAVETRAIN_BUILD=build agent_clock.py [SCENE...]   (prints TAP)
"""
import sys
import glob
import os
import time

import agent_lib as a

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
MIN_HEALTHY_S = 3


class Clock:
    """The wall clock of one process, which we set while it runs."""

    def __init__(self, st, name, process):
        self.file = st.folder / f"clock-{name}"
        self.set("+0")
        process.env = {**os.environ, "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                       "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, offset):
        """Whole: a reader sees the old offset or the new one."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(offset + "\n")
        fresh.rename(self.file)


def jumps(st, clock, who):
    app = st.app(f"clock-{who}", {"strategy": {"minHealthyTime": f"{MIN_HEALTHY_S}s"}}).push("0").up("0")
    for version, offset in enumerate(("+1d", "+0", "-50m", "+0"), 1):
        app.push(str(version)).begin(str(version))
        began = a.wait_for("the program is being proven", lambda: (lambda t: time.monotonic() if t["step"] == "probing" else None)(app.rollout()["tasks"][0]), step=0.02)
        pid = a.wait_for("it runs", app.server)
        clock.set(offset)
        r = app.finished()
        took = time.monotonic() - began
        st.check(f"{who}: the clock jumps to {offset} in the middle: the rollout succeeds", r["state"] == "SUCCEEDED", (r["state"], r["reason"]))
        st.check(f"{who}: by the same process, after no less than minHealthyTime", app.server() == pid and took > MIN_HEALTHY_S - 1, (app.server(), pid, took))
    os.kill(app.server(), 9)
    clock.set("+1h")
    app.settled(str(version))
    st.check(f"{who}: a crash is restarted across a jump", a.get(app.port) == str(version))
    clock.set("+0")


def agent_clock(st):
    jumps(st, st.agent_clock, "agent")


def coordinator_clock(st):
    jumps(st, st.coordinator_clock, "coordinator")


def coordinator_bake(st):
    """A jump ends no bake and no deadline early."""
    app = st.app("bakes", {"targets": {"labels": {"solo": None, "role": "web"}}, "regions": [{"name": "eu"}, {"name": "us", "after": "eu", "bake": "4s"}],
                           "run": {"env": {"PORT": "{{ labels.port }}"}}, "health": {"ready": {"http": "http://127.0.0.1:{{ labels.port }}/healthz"}}},
                 port=st.hosts[0].port)
    app.push("1").begin("1")
    began = a.wait_for("the first region bakes", lambda: (lambda r: time.monotonic() if r["waves"][0]["state"] == "BAKING" else None)(app.rollout()), step=0.02)
    st.coordinator_clock.set("+1d")
    a.wait_for("the second region begins", lambda: app.rollout()["waves"][1]["state"] in ("ROLLING", "BAKING", "PASSED"), step=0.02)
    took = time.monotonic() - began
    r = app.finished()
    st.check(f"the coordinator's clock jumps a day ahead in a bake of 4 s: it takes its time ({took:.1f} s)", took > 3, took)
    st.check("and the rollout succeeds", r["state"] == "SUCCEEDED", (r["state"], r["reason"]))
    rows = len(st.co.json("audit", "list", "--limit", "5000"))
    st.coordinator_clock.set("-50m")
    st.co.kill()
    st.co.start()
    st.check("with the clock a day back after a restart nothing is lost", len(st.co.json("audit", "list", "--limit", "5000")) == rows)
    app.push("2")
    app.up("2")
    st.check("and with the clock behind its own state a rollout with a bake goes through: time goes on", all(a.get(h.port) == "2" for h in st.hosts))
    st.coordinator_clock.set("+0")
    st.co.kill()
    st.co.start()
    app.push("3")
    app.up("3")
    st.check("so it does when the clock is right again", all(a.get(h.port) == "3" for h in st.hosts))


def setup(st):
    st.coordinator_clock = Clock(st, "coordinator", st.co.process)
    st.start()
    st.agent_clock = Clock(st, "agent", st.hosts[0].agent)
    st.hosts[0].agent.kill(15)
    st.hosts[0].agent.start()
    st.heard()


if __name__ == "__main__":
    if LIBRARY is None:
        sys.exit("libfaketime (Debian package faketime) is not installed")
    else:
        a.run("clock", [agent_clock, coordinator_clock, coordinator_bake], regions={"eu": 1, "us": 1}, setup=setup)

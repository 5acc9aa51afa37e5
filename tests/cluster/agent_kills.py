#!/usr/bin/env python3
"""SIGKILL and absence: agent, exec, program, the whole host, the coordinator, the agent's folder. What runs keeps running, and all comes back
to order by itself.

usage: WAVETRAIN_BUILD=build agent_kills.py [SCENE...]   (prints TAP)
"""
import os
import shutil
import subprocess

import agent_lib as a


def starts_of(app):
    """How often a program of the app was started, as exec tells it."""
    return app.stage.hosts[0].exec.tail(1 << 20).count(f"{app.name}: started pid")


def agent_restarts(st):
    app = st.app("steady").push("1").up("1")
    h, pid, starts = st.hosts[0], app.server(), starts_of(app)
    for signo in (9, 15, 9):
        h.agent.kill(signo)
        h.agent.start()
        app.settled("1")
    st.check("an agent that is killed and started again touches nothing", app.server() == pid and starts_of(app) == starts)


def wide_app(st, bake):
    """The one app that runs in both regions, on the port of each host."""
    more = {"targets": {"labels": {"solo": None, "role": "web"}}, "regions": [{"name": "eu"}, {"name": "us", "after": "eu", "bake": bake}], "run": {"env": {"PORT": "{{ labels.port }}"}},
            "strategy": {"rolling": {"batch": 1}, "maxUnavailable": 2, "failureBudget": 1, "deadlines": {"host": "8s", "progress": "20s"}},
            "health": {"ready": {"http": "http://127.0.0.1:{{ labels.port }}/healthz"}}}
    if not hasattr(st, "wide"):
        st.wide = st.app("wide", port=st.hosts[0].port)
    return st.wide.write(more)


def agent_restarts_in_bake(st):
    app = wide_app(st, "4s")
    app.push("1").begin("1")
    a.wait_for("the first region bakes", lambda: app.rollout()["waves"][0]["state"] == "BAKING" and app.server())
    pid = app.server()
    st.hosts[0].agent.kill()
    st.hosts[0].agent.start()
    r = app.finished()
    st.check("an agent killed during the bake fails nothing", r["state"] == "SUCCEEDED", r["reason"])
    st.check("and the same process serves on", app.server() == pid)


def exec_restarts(st):
    app = st.app("adopted").push("1").up("1")
    h, pid, starts = st.hosts[0], app.server(), starts_of(app)
    for signo in (9, 15):
        h.exec.kill(signo)
        st.check("it serves while exec is away", a.get(app.port) == "1")
        h.exec.start()
        a.wait_for("exec listens", h.sock.exists)
        app.settled("1")
    st.check("an exec that is killed and started again takes its programs over", app.server() == pid and starts_of(app) == starts)
    os.kill(pid, 9)
    a.wait_for("it is started again", lambda: app.server() not in (None, pid))
    app.settled("1")
    st.check("and looks after them: a crash is still restarted", a.get(app.port) == "1")


def both_killed(st):
    app = st.app("orphan").push("1").up("1")
    h, pid, starts = st.hosts[0], app.server(), starts_of(app)
    h.agent.kill()
    h.exec.kill()
    st.check("with agent and exec dead the program serves", a.get(app.port) == "1")
    h.start()
    app.settled("1")
    st.check("and they find it again", app.server() == pid and starts_of(app) == starts)
    h.agent.kill()
    h.exec.kill()
    os.kill(pid, 9)
    h.start()
    app.settled("1")
    st.check("a program that died while both were away is started again", app.server() not in (None, pid) and a.get(app.port) == "1")


def reboot_without_coordinator(st):
    app = st.app("reboot").push("1").up("1")
    h, before = st.hosts[0], app.pids()
    st.co.kill()
    h.agent.kill()
    h.exec.kill()
    for p in before:
        os.kill(p, 9)
    a.wait_for("all of the host is dead", lambda: not app.pids())
    h.sock.unlink(missing_ok=True)
    h.start()
    a.wait_for("the program came back without a coordinator", lambda: a.get(app.port) == "1")
    st.check("after a reboot the program comes back without a coordinator (A10)", a.get(app.port) == "1")
    for _ in range(2):
        pid = app.server()
        os.kill(pid, 9)
        a.wait_for("it is restarted without a coordinator", lambda: app.server() not in (None, pid) and a.get(app.port) == "1")
    st.check("and is restarted after crashes without one", True)
    st.co.start()
    app.settled("1")
    st.check("the coordinator, back, finds all in order", app.rollout()["state"] == "SUCCEEDED")
    app.push("2").up("2")
    st.check("and deploys on", a.get(app.port) == "2")


def dir_wiped(st):
    app = st.app("wiped").push("1").push("2").push("3").up("1")
    h, pid, starts = st.hosts[0], app.server(), starts_of(app)
    app.up("2")
    pid, starts = app.server(), starts_of(app)
    h.agent.kill()
    for name in os.listdir(h.agent_dir):
        if name != "bundle":
            path = h.agent_dir / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    h.agent.start()
    app.settled("2")
    st.check("an agent whose folder was wiped finds its program running", app.server() == pid and starts_of(app) == starts, (pid, app.server()))
    app.up("3")
    st.check("and its results count: the next release goes through", a.get(app.port) == "3")


def away_for_days(st):
    """Three releases go by while the agent is stopped; the host of the other region carries the rollouts."""
    app = wide_app(st, "0s").push("first").up("first")
    h, starts = st.hosts[0], starts_of(app)
    h.agent.kill(15)
    for v in ("2", "3", "4"):
        app.push(v)
        app.begin(v)
        a.wait_for(f"{v} is served by the others", lambda v=v: a.get(st.hosts[-1].port) == v, seconds=60)
        r = app.finished()
        print(f"# {v}: {r['state']}: {r['reason']}; " + ", ".join(f"{t['host']} {t['state']}" for t in r["tasks"]))
    st.check("the rollouts went through without it", r["state"] == "SUCCEEDED", r["reason"])
    st.check("what it ran served on meanwhile", a.get(h.port) == "first")
    h.agent.start()
    a.wait_for("it comes to the right state", lambda: a.get(h.port) == "4", seconds=60)
    st.heard()
    a.wait_for("it is seen as sound", lambda: app.seen()["running"] == app.seen()["desired"] and app.seen()["health"] == "healthy" and app.seen()["drift"] == "")
    st.check("back, it goes to the newest by one poll, over none of those between", starts_of(app) == starts + 1, (starts, starts_of(app)))


def two_agents(st):
    h = st.hosts[0]
    r = subprocess.run(h.agent.argv, capture_output=True, text=True, timeout=30)
    st.check("a second agent with the same --dir refuses", r.returncode == 1 and f"another wavetrain-agent works in {h.agent_dir}" in r.stderr, (r.returncode, r.stderr))
    st.check("and the first goes on", h.agent.alive())


if __name__ == "__main__":
    a.run("kills", [agent_restarts, agent_restarts_in_bake, exec_restarts, both_killed, reboot_without_coordinator, dir_wiped, away_for_days, two_agents],
          regions={"eu": 1, "us": 1})

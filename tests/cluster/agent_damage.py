#!/usr/bin/env python3
"""Files of the agent, of exec and of a slot that the disk changed (a bit, half of it, all of it), while the agent is down and while it is up:
what runs keeps running, nothing wrong is started, the text names the file, and the next deployment mends it.

usage: WAVETRAIN_BUILD=build agent_damage.py [SCENE...]   (prints TAP)
"""
import os
import pathlib
import time

import agent_lib as a

HARM = {"a bit": a.flip, "half": a.cut, "all": lambda p: pathlib.Path(p).unlink()}


def starts_of(app):
    return app.stage.hosts[0].exec.tail(1 << 20).count(f"{app.name}: started pid")


def harm_file(st, name, what, path_of, named=True, while_up=True):
    """`path_of(app)` is harmed in each way, with the agent down and up; each time the program must run on untouched, and then make way for the
    next version."""
    h, version = st.hosts[0], 1
    app = st.app(name).push("1").up("1")
    for harm_name, harm in HARM.items():
        for up in (False, True) if while_up else (False,):
            pid, starts, seen = app.server(), starts_of(app), len(h.agent.tail(1 << 24))
            if not up:
                h.agent.kill()
            path = path_of(app)
            harm(path)
            if not up:
                h.agent.start()
            app.settled(str(version))
            title = f"{what}, {harm_name} of it gone wrong with the agent {'up' if up else 'down'}"
            same = app.server() == pid and starts_of(app) == starts
            st.check(f"{title}: the program runs on", same, (pid, app.server(), starts, starts_of(app)))
            if named and not up and harm_name != "all":
                said = h.agent.tail(1 << 24)[seen:]
                st.check(f"{title}: the log names the file", str(path) in said, said[-1500:])
            version += 1
            r = app.push(str(version)).deploy(str(version))
            st.check(f"{title}: the next deployment goes through", r["state"] == "SUCCEEDED" and a.get(app.port) == str(version), (r["state"], r["why"]))


def journal(st):
    harm_file(st, "journal", "the journal", lambda app: st.hosts[0].agent_dir / "journal" / f"{app.name}.journal")


def rendered_file(st):
    harm_file(st, "text", "the rendered file", lambda app: st.hosts[0].agent_dir / "targets" / app.seen()["running"])


def labels(st):
    harm_file(st, "labels", "the labels", lambda app: st.hosts[0].agent_dir / "targets" / f"{app.name}.labels")


def ledger(st):
    harm_file(st, "ledger", "the ledger of slots", lambda app: st.hosts[0].agent_dir / "ledger" / f"{app.name}.ledger", named=False)


def waiting_segments(st):
    """Segments in which something waits for the coordinator."""
    return sorted(p for p in (st.hosts[0].agent_dir / "spool").glob("*.seg") if p.stat().st_size)


def spool(st):
    """Lines of output wait in the spool when it is harmed."""
    h, app = st.hosts[0], st.app("spool")
    talkative = "while sleep 0.05; do echo line; done &\n" + a.SERVE
    app.push("1", talkative).up("1")
    for version, (harm_name, harm) in enumerate(HARM.items(), 2):
        pid = app.server()
        st.co.kill()
        a.wait_for("something waits in the spool", lambda: waiting_segments(st))
        h.agent.kill()
        harm(waiting_segments(st)[-1])
        h.agent.start()
        st.co.start()
        app.settled(str(version - 1))
        st.check(f"a segment of the spool, {harm_name} of it gone wrong: the program runs on", app.server() == pid)
        r = app.push(str(version), talkative).deploy(str(version))
        st.check(f"a segment of the spool, {harm_name} of it gone wrong: the next deployment goes through", r["state"] == "SUCCEEDED", (r["state"], r["why"]))
    harm_file(st, "spoolid", "the spool's id", lambda app: h.agent_dir / "spool" / "id", named=False, while_up=False)


def spool_with_news(st):
    """A result that waits in the spool is damaged with it: the coordinator hears it all the same."""
    h, go = st.hosts[0], st.folder / "go"
    app = st.app("news").push("1").up("1").push("2", f"while [ ! -e {go} ]; do sleep 0.05; done\n" + a.SERVE)
    app.begin("2")
    a.wait_for("the host is probing", lambda: app.rollout()["tasks"][0]["step"] == "probing", step=0.02)
    st.co.kill()
    go.touch()
    a.wait_for("2 serves", lambda: a.get(app.port) == "2")
    a.wait_for("its result waits in the spool", lambda: any(app.name.encode() in p.read_bytes() for p in waiting_segments(st)))
    h.agent.kill()
    for p in waiting_segments(st):
        a.flip(p, at=20)  # in the first chunk: all after it is cut off
    h.agent.start()
    st.co.start()
    r = app.finished()
    st.check("a rollout whose results were damaged in the spool ends all the same", r["state"] == "SUCCEEDED", r["reason"])


def text_without_coordinator(st):
    """The rendered file is damaged, the host reboots, no coordinator is there: exec brings the program back with what it was started with."""
    h = st.hosts[0]
    app = st.app("alone", {"run": {"env": {"WORD": "right"}}}).push("1", "echo \"word $WORD\"\n" + a.SERVE).up("1")
    text = h.agent_dir / "targets" / app.seen()["running"]
    st.co.kill()
    h.agent.kill()
    h.exec.kill()
    for p in app.pids():
        os.kill(p, 9)
    good = text.read_bytes()
    text.write_bytes(good.replace(b'"right"', b'"wrong"'))
    h.start()
    a.wait_for("it came back", lambda: a.get(app.port) == "1")
    a.wait_for("the agent says that it cannot measure it", lambda: str(text) in h.agent.tail(4000))
    st.check("a changed rendered file starts nothing wrong", good != text.read_bytes() and "wrong" not in app.output(), app.output())
    st.co.start()
    app.settled("1")
    st.check("the coordinator, back, mends the file", text.read_bytes() == good)


def text_that_cannot_be_kept(st):
    """A file stands where rendered files are kept, so nothing that is assigned can be obeyed."""
    h, app = st.hosts[0], st.app("unkept").push("1").up("1").push("2")
    targets, aside = h.agent_dir / "targets", h.agent_dir / "aside"

    def said():
        return h.agent.tail(1 << 24).count("is not obeyed")
    before = said()
    targets.rename(aside)
    targets.write_text("")
    app.begin("2")
    a.wait_for("the agent says that it does not obey", lambda: said() > before)
    began, first = time.monotonic(), said()
    a.wait_for("and says it again", lambda: said() >= first + 3)
    took = time.monotonic() - began
    st.check(f"what cannot be kept is asked for again and again, with a pause ({said() - first} times in {took:.1f} s)",
             (said() - first) / took < 2.5)
    targets.unlink()
    aside.rename(targets)
    r = app.finished()
    st.check("and is obeyed as soon as it can be kept", r["state"] == "SUCCEEDED" and a.get(app.port) == "2", (r["state"], r["reason"]))


def slot_file(st):
    for how, (harm_name, harm) in enumerate(HARM.items()):
        app = st.app(f"slot{how}", {"run": {"restart": {"maxTries": 0}}}).push("1").push("2").up("1")
        old = app.slot()
        app.up("2")
        pid = app.server()
        harm(old / "demo-service")
        app.stage.heard()
        st.check(f"a file of an old slot, {harm_name} of it: what runs is not touched", app.server() == pid and app.sound("2"))
        r = app.deploy("1")
        st.check(f"a file of an old slot, {harm_name} of it: fetched anew at the next deployment of it", r["state"] == "SUCCEEDED" and a.get(app.port) == "1",
                 (r["state"], r["why"]))
        st.check(f"a file of an old slot, {harm_name} of it: the log names slot and file",
                 str(old.name)[:12] in st.hosts[0].agent.tail(1 << 20) and "demo-service" in st.hosts[0].agent.tail(1 << 20), st.hosts[0].agent.tail(600))


def slot_gone_back_to(st):
    """The agent's own way back goes to a slot that was damaged meanwhile: it is not started as it is."""
    app = st.app("back").push("1", "echo good\n" + a.SERVE).up("1")
    start = app.slot() / "start"
    app.push("2", "exit 1\n")
    start.write_text(start.read_text().replace("good", "evil"))
    r = app.deploy("2")
    a.wait_for("the version before is mended and serves", lambda: a.get(app.port) == "1" and app.sound("1"), seconds=40)
    st.check("a damaged slot is not gone back to; it is fetched anew first", "evil" not in app.output() and r["state"] in ("ROLLED_BACK", "HELD"),
             (r["state"], r["reason"], app.output()))


def run_state(st):
    h = st.hosts[0]
    app = st.app("state").push("1").up("1")
    path, pid = app.dir() / "run", app.server()
    a.flip(path)
    app.settled("1")
    st.check("exec's run state harmed while exec is up: the program runs on", app.server() == pid)
    app.push("2").up("2")
    st.check("and the next deployment writes it anew", a.get(app.port) == "2")
    for harm_name, harm in (("a bit", a.flip), ("half", a.cut)):
        pid = app.server()
        h.exec.kill()
        whole = path.read_bytes()
        harm(path)
        h.exec.start()
        a.wait_for("exec says so", lambda: f"{path} is damaged" in h.exec.tail(3000))
        st.check(f"exec's run state, {harm_name} of it gone wrong: the program runs on, nothing else is started", app.server() == pid)
        st.check(f"exec's run state, {harm_name} of it gone wrong: other apps are not touched", a.get(st.other.port) == "1")
        version = {"a bit": "3", "half": "4"}[harm_name]
        r = app.push(version).deploy(version)
        st.check(f"exec's run state, {harm_name} of it gone wrong: a deployment says which file and what to do: {r['why'][:120]}",
                 r["state"] == "HELD" and str(path) in r["why"] and not r["target_bad"], (r["state"], r["why"]))
        h.exec.kill()
        path.write_bytes(whole)
        h.exec.start()
        st.heard()
        st.check("mended by hand, the same program is looked after", app.server() == pid)
        st.co.must("retry", r["id"])
        a.wait_for("the retry succeeds", lambda: app.rollout()["state"] == "SUCCEEDED")
        st.check("and `retry` goes on where it was held", a.get(app.port) == version)


def setup(st):
    st.start()
    st.other = st.app("other").push("1").up("1")


if __name__ == "__main__":
    a.run("damage", [journal, rendered_file, labels, ledger, spool, spool_with_news, text_without_coordinator, text_that_cannot_be_kept, slot_file, slot_gone_back_to, run_state], setup=setup)

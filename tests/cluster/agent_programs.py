#!/usr/bin/env python3
"""Programs, probes and hooks that misbehave, each as a release of its own on a real host.

usage: WAVETRAIN_BUILD=build agent_programs.py [SCENE...]   (prints TAP)
"""
import json
import os
import re
import socket
import threading

import agent_lib as a

EVERYWHERE = {"labels": {"solo": None, "role": "web"}}
READY = {"interval": "100ms", "timeout": "300ms", "pass": 1, "fail": 2, "deadline": "1500ms"}


class Deaf:
    """Accepts, reads, and never answers."""

    def __enter__(self):
        self.s, self.kept = socket.create_server(("127.0.0.1", 0)), []
        self.port = self.s.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        try:
            while True:
                self.kept.append(self.s.accept()[0])
        except OSError:
            pass

    def __exit__(self, *_):
        self.s.close()


def probe_hangs(st):
    app = st.app("deaf").push("1")
    with Deaf() as deaf:
        app.write({"health": {"ready": {"http": f"http://127.0.0.1:{deaf.port}/", **READY}}})
        r = app.deploy("1")
        st.check("a probe that is accepted and never answered fails the host by its deadline", r["state"] == "ROLLED_BACK" and "not healthy within" in r["why"], r["why"])
        st.check("and it was tried again and again, each within its timeout", len(deaf.kept) >= 2, len(deaf.kept))
    st.check("nothing of the first release is left running", not app.pids(), app.pids())


def probe_command_hangs(st):
    app = st.app("deafcmd", {"health": {"ready": {"http": None, "exec": ["./hang"], **READY}}})
    app.push("1", files=[("hang", "#!/bin/sh\n(setsid sleep 1000 &) ; exec sleep 1000\n")])
    r = app.deploy("1")
    st.check("a probe command that hangs fails the host by its deadline", r["state"] == "ROLLED_BACK" and "not healthy within" in r["why"], r["why"])
    a.wait_for("nothing of the command is left", lambda: not app.pids())
    st.check("what it forked into another session ended with it", not app.pids())


def probe_cannot_be_taken_up(st):
    """Only the host knows what `{{ host }}` is: an address of no host of its own."""
    for name, kind in (("farready", "ready"), ("farstart", "start")):
        app = st.app(name, {"health": {kind: {"http": "http://{{ host }}:80/", **READY}}}).push("1")
        r = app.deploy("1")
        st.check(f"a {kind} probe that cannot be taken up is told as that: {r['why']}", "not an address of this host" in r["why"], r["why"])
        st.check("and no version is blamed for it", r["state"] == "HELD" and not r["target_bad"], (r["state"], r["reason"]))


def hook_never_ends(st):
    hook = [("hook", "#!/bin/sh\n(setsid sh -c 'sleep 1000 & sleep 1000' &)\nsetsid sleep 1000 &\nexec sleep 1000\n")]
    app = st.app("hookfork").push("1").up("1")
    pid = app.server()
    app.write({"hooks": {"beforeStart": [{"run": ["./hook"], "timeout": "500ms"}]}}).push("2", files=hook)
    r = app.deploy("2")
    st.check("a hook that forks and never ends is ended at its timeout and fails the host", r["state"] == "ROLLED_BACK" and "ran longer than 500 ms" in r["why"],
             (r["state"], r["why"]))
    app.settled("1")
    st.check("the version before runs, anew", app.server() not in (None, pid) and a.get(app.port) == "1")
    st.check("nothing the hook forked is left", [a.comm(p) for p in app.pids() if a.comm(p) == "sleep"] == [])
    app.write({"hooks": {"beforeStop": [{"run": ["./hook"], "timeout": "500ms"}]}}).push("3", files=hook).up("3")
    pid = app.server()
    r = app.push("4").deploy("4")
    st.check("a hook before the stop, which is the running version's, fails the host without blame for the new one",
             r["state"] == "HELD" and not r["target_bad"] and "beforeStop" in r["why"], (r["state"], r["why"]))
    st.heard()
    st.check("what ran was not touched", app.server() == pid and a.get(app.port) == "3")
    refused = st.co.ask("deploy", app.name, "4", "-e", "prod", "-f", app.file, f"--confirm={app.name}", "--detach", "--skip-stop-hooks")
    st.check("leaving it out needs a reason", refused[0] != 0 and "--reason" in refused[2], refused)
    app.begin("4", "--skip-stop-hooks", "--reason", "the hook of 3 never ends")
    r = app.finished()
    st.check("with --skip-stop-hooks it is left out, and the next version comes up", r["state"] == "SUCCEEDED" and a.get(app.port) == "4", (r["state"], r["reason"]))


def hook_is_missing(st):
    app = st.app("nohook", {"hooks": {"beforeStart": [{"run": ["./hook"]}]}}).push("1")
    r = app.deploy("1")
    st.check(f"a hook that is not in the release is said so: {r['why'][-60:]}", "/hook" in r["why"] and "No such file" in r["why"], r["why"])


def hook_fails(st):
    app = st.app("hookfail").push("1").up("1").push("2")
    app.write({"hooks": {"beforeStart": [{"run": "echo starting; echo 'no database on this host' >&2; exit 3"}]}})
    r = app.deploy("2")
    st.check("the reason of a failed hook names hook, exit code and its last line",
             r["state"] == "ROLLED_BACK" and all(w in r["why"] for w in ("beforeStart", "ended with 3", "no database on this host")), r["why"])
    app.settled("1")
    st.check("and the version before serves", a.get(app.port) == "1")
    pid = app.server()
    app.write({"hooks": {"afterHealthy": [{"run": "exit 4"}]}})
    app.push("3")
    r = app.deploy("3")
    st.check("a hook after healthy that fails rolls back, too", r["state"] == "ROLLED_BACK" and "afterHealthy" in r["why"], r["why"])
    app.settled("1")
    st.check("by a start of the version before", app.server() != pid and a.get(app.port) == "1")


def ignores_term(st):
    app = st.app("stubborn", {"run": {"stop": {"timeout": "500ms"}}})
    app.push("1", "trap '' TERM\n./demo-service 1 &\nwhile :; do sleep 0.2; done\n").up("1").push("2")
    before = app.pids()
    app.up("2")
    st.check("a program that ignores TERM is killed after its stop timeout, with all below it", not [p for p in before if a.alive(p)] and len(before) >= 2, before)
    st.check("and the next one serves on the same port", a.get(app.port) == "2")


def dies_at_once(st):
    app = st.app("dies").push("1").up("1").push("2", "echo 'cannot open the license' >&2\nexit 7\n")
    r = app.deploy("2")
    st.check("a program that dies at once is rolled back", r["state"] == "ROLLED_BACK" and r["target_bad"], (r["state"], r["why"]))
    st.check(f"with a reason of its own: {r['why']}", "PROBING" in r["why"] and re.search("died|dies|ended", r["why"]), r["why"])
    app.settled("1")
    st.check("the version before serves", a.get(app.port) == "1")


def dies_in_min_healthy_time(st):
    app = st.app("diesmin", {"strategy": {"minHealthyTime": "2s"}}).push("1").up("1")
    app.push("2", "./demo-service 2 &\np=$!\nsleep 1\nkill -9 $p\nexit 1\n")
    r = app.deploy("2")
    st.check("a program that dies after its probes passed, during minHealthyTime, is rolled back", r["state"] == "ROLLED_BACK" and r["target_bad"],
             (r["state"], r["why"]))
    app.settled("1")
    st.check("the version before serves", a.get(app.port) == "1")


def dies_in_bake(st):
    regions = [{"name": "eu"}, {"name": "us", "after": "eu", "bake": "60s"}]
    app = st.app("diesbake", {"targets": EVERYWHERE, "regions": regions, "run": {"env": {"PORT": "{{ labels.port }}"}},
                              "health": {"ready": {"http": "http://127.0.0.1:{{ labels.port }}/healthz"}}}, port=st.hosts[0].port)
    app.push("1")
    quick = a.merge(json.loads(app.file.read_text()), {"regions": [{"name": "eu"}, {"name": "us", "after": "eu"}]})
    app.file.write_text(json.dumps(quick))
    app.up("1")
    app.push("2", "[ \"$WAVETRAIN_REGION\" = eu ] || exec ./demo-service 2\n./demo-service 2 &\np=$!\n"
                  "while [ ! -e $PORTFILE ]; do sleep 0.1; done\nkill -9 $p\nexit 1\n")
    app.write({"targets": EVERYWHERE, "regions": regions, "run": {"env": {"PORT": "{{ labels.port }}", "PORTFILE": str(st.folder / "die")}},
               "health": {"ready": {"http": "http://127.0.0.1:{{ labels.port }}/healthz"}}})
    app.begin("2")
    a.wait_for("the first region bakes", lambda: app.rollout()["waves"][0]["state"] == "BAKING")
    (st.folder / "die").touch()
    r = app.finished()
    st.check("a program that dies during the bake is rolled back", r["state"] == "ROLLED_BACK" and r["target_bad"], (r["state"], r["reason"]))
    st.check("and never reached the second region", {t["host"] for t in r["tasks"] if t["touched"]} == {"eu-1"}, r["tasks"])
    app.settled("1")
    st.check("the version before serves", a.get(st.hosts[0].port) == "1")


def dies_after_bake(st):
    app = st.app("dieslate", {"run": {"restart": {"backoff": {"initial": "1s", "max": "1s"}, "maxTries": 3}}})
    app.push("1", f"[ -e {st.folder}/crash ] && {{ echo 'cannot go on' >&2; exit 9; }}\nexec ./demo-service 1\n").up("1")
    first = app.server()
    os.kill(first, 9)
    a.wait_for("the host is shown as unhealthy", lambda: app.seen()["health"] != "healthy", step=0.02)
    app.settled("1")
    st.check("a program that dies after the rollout is restarted", app.server() not in (None, first) and a.get(app.port) == "1")
    st.check("and the restart is counted", app.seen()["restarts"] >= 1, app.seen())
    (st.folder / "crash").touch()
    os.kill(app.server(), 9)
    a.wait_for("it is shown as a crash loop", lambda: "again and again" in app.seen()["note"] or "crash" in app.seen()["note"], seconds=30)
    seen = app.seen()
    st.check(f"a crash loop beyond its tries shows as such: {seen['health']}, {seen['note']}", seen["health"] == "unhealthy")
    st.check("`agents show` says so in words", "crash" in st.co.must("agents", "show", st.hosts[0].name) or seen["note"] in st.co.must("agents", "show", st.hosts[0].name),
             st.co.must("agents", "show", st.hosts[0].name))
    (st.folder / "crash").unlink()
    app.push("2").up("2")
    st.check("and the next deployment mends it", a.get(app.port) == "2")


def files_and_limits(st):
    app = st.app("limits", {"run": {"limits": {"nofile": 333}}})
    app.push("1", "ulimit -n > \"$OUT\"\ncat ./data >> \"$OUT\"\n" + a.SERVE, files=[("data", "the file\n")])
    out = st.folder / "limits.out"
    more = {"run": {"limits": {"nofile": 333}, "env": {"OUT": str(out)}}}
    app.write(more).up("1")
    st.check("the limit of open files is the program's, and its files are where it stands", out.read_text() == "333\nthe file\n", out.read_text())
    app.write(a.merge(more, {"run": {"limits": {"memory": "64MiB"}}}))
    app.push("2", "./testapp --eat 300 || { echo \"eat: $?\" >&2; exit 1; }\n" + a.SERVE)
    r = app.deploy("2")
    st.check("a program that takes more memory than its limit is ended and rolled back", r["state"] == "ROLLED_BACK", (r["state"], r["why"]))
    app.settled("1")


def user_not_allowed(st):
    if os.geteuid() != 0:
        return
    app = st.app("nouser", {"run": {"user": "nobody"}}).push("1")
    r = app.deploy("1")
    st.check(f"a user that exec may not use is refused in plain words: {r['why'][:100]}",
             r["state"] == "ROLLED_BACK" and "user nobody may not run programs here" in r["why"] and "--user-allowed nobody" in r["why"], r["why"])
    st.check("and nothing runs", not app.pids())


def live_probe(st):
    flag = st.folder / "sick"
    app = st.app("live", {"health": {"live": {"exec": ["/bin/sh", "-c", f"test ! -e {flag}"], "interval": "100ms", "timeout": "1s", "pass": 1, "fail": 2}}})
    app.push("1").up("1")
    first = app.server()
    flag.touch()
    a.wait_for("it is restarted", lambda: app.server() not in (None, first))
    flag.unlink()
    app.settled("1")
    st.check("a live probe that fails restarts the program", app.server() != first and a.get(app.port) == "1")
    st.check("and the rollout stays what it was", app.rollout()["state"] == "SUCCEEDED")


def start_probe(st):
    flag, started = st.folder / "started", {"interval": "100ms", "timeout": "1s", "pass": 1, "fail": 1, "deadline": "2s"}
    app = st.app("startprobe", {"health": {"start": {"exec": ["/bin/sh", "-c", f"test -e {flag}"], **started}}}).push("1")
    r = app.deploy("1")
    st.check("a start probe that never passes fails the host", r["state"] == "ROLLED_BACK" and "start probe did not pass" in r["why"], r["why"])
    app.write({"health": {"start": {"exec": ["/bin/sh", "-c", f"id -un > {flag}.user; test -e {flag}"], **started, "deadline": "20s"}}})
    app.push("2").begin("2")
    a.wait_for("the command ran", lambda: (st.folder / "started.user").exists())
    flag.touch()
    r = app.finished()
    st.check("one that passes after a while lets it go on", r["state"] == "SUCCEEDED", r["reason"])


def probe_user(st):
    if os.geteuid() != 0:
        return
    import pwd
    user = "daemon"
    out = st.folder / "who"
    out.mkdir()
    os.chown(out, pwd.getpwnam(user).pw_uid, -1)
    app = st.app("probeuser", {"run": {"user": user}, "health": {"ready": {"http": None, "exec": ["/bin/sh", "-c", f"id -un > {out}/probe"]}},
                               "hooks": {"beforeStart": [{"run": f"id -un > {out}/hook"}]}})
    os.chmod(st.folder, 0o755)
    app.push("1", f"id -un > {out}/program\n" + a.SERVE).up("1")
    names = {n: (out / n).read_text().strip() for n in ("probe", "hook", "program")}
    st.check("program, probe command and hook run as run.user", set(names.values()) == {user}, names)


def behind_our_back(st):
    app = st.app("behind", {"run": {"restart": {"maxTries": 0}}}).push("1").push("2").up("1")
    a.wait_for("sound at first", lambda: app.sound("1"))
    os.kill(app.server(), 19)
    a.wait_for("one that was stopped (SIGSTOP) is unhealthy", lambda: app.seen()["health"] == "unhealthy")
    os.kill(app.server(), 18)
    app.settled("1")
    os.kill(app.server(), 9)
    a.wait_for("one that was killed, and is not to be restarted, is drift", lambda: app.seen()["drift"] == "nothing runs")
    for words in (("agents", "list"), ("agents", "show", st.hosts[0].name)):
        row = next(line for line in st.co.must(*words).splitlines() if "behind" in line)
        st.check(f"`{' '.join(words[:2])}` shows what someone did behind the agent's back", "unhealthy" in row and "nothing runs" in row and "crash loop" in row, row)
    app.up("2")
    st.check("and the next deployment mends it", a.get(app.port) == "2")


def setup(st):
    st.start(exec_more=["--user-allowed", "daemon"] if os.geteuid() == 0 else [])


if __name__ == "__main__":
    a.run("programs", [probe_hangs, probe_command_hangs, probe_cannot_be_taken_up, hook_never_ends, hook_is_missing, hook_fails, ignores_term, dies_at_once, dies_in_min_healthy_time, dies_in_bake,
                       dies_after_bake, files_and_limits, user_not_allowed, live_probe, start_probe, probe_user, behind_our_back],
          regions={"eu": 1, "us": 1}, setup=setup)

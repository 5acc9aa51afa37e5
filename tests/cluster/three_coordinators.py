#!/usr/bin/env python3
"""A cluster of three real coordinators: it grows by tokens, loses its leader, gives the lead away, loses a member for good; and what must not come in.

usage: WAVETRAIN_BUILD=build three_coordinators.py   (prints TAP)
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet
import tap as taplib

tap = taplib.Tap()


def status(co):
    return co.json("cluster", "status")


def roles(co):
    return {n["id"]: n["role"] for n in status(co)["nodes"]}


leader_of = fleet.leader_of


def add_app(nodes, name):
    """Writes on whoever leads; the leader that took it."""

    def try_it():
        co = leader_of(nodes)
        return co if co and co.ask("app", "add", name)[0] == 0 else None

    return fleet.wait_for(f"somebody takes the write of {name}", try_it, 60)


def apps(co):
    return sorted(a["name"] for a in co.json("app", "list"))


def token(co, *more):
    return co.json("cluster", "token", "create", *more)[0]["token"]


def starts(co):
    """(exit code, what it said) of a start that must fail."""
    done = subprocess.run([fleet.WAVETRAIND, "run", "--data", co.data], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr


def open_port(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        return True
    except OSError:
        return False


def grow(folder):
    one, two, three = fleet.Coordinator(folder), fleet.Joined(folder, "two"), fleet.Joined(folder, "three")
    config = json.loads((one.data / "config.json").read_text())
    new_keys = ("node_id", "peer_port", "join_port", "joined", "started", "members")
    (one.data / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in new_keys}))
    one.start()
    one.must("app", "add", "before")
    code, _, err = one.ask("cluster", "token", "create")
    tap.check("a configuration of before there were clusters goes on as a cluster of one, and says what it lacks",
              roles(one) == {1: "voter"} and code == 1 and "peer_port" in err, err)
    one.process.kill(signal.SIGTERM)
    config = json.loads((one.data / "config.json").read_text())
    (one.data / "config.json").write_text(json.dumps(config | {"peer_port": one.peer_port, "join_port": one.join_port}))
    one.start()
    tap.check("a cluster of one shows itself, and no join port is open without a token",
              roles(one) == {1: "voter"} and not open_port(one.join_port), status(one))

    first = token(one)
    fleet.wait_for("the join port opens", lambda: open_port(one.join_port))
    code, said = two.join(first)
    tap.check("join: the second gets id 2", code == 0 and "coordinator 2" in said, said)
    shown = json.dumps([one.json("cluster", "token", "list"), one.json("audit", "list")])
    tap.check("neither the list of tokens nor the audit holds a secret", first.split(".")[2] not in shown and first not in shown)
    waits = fleet.wait_for("the second is a standby that waits", lambda: [n for n in status(one)["nodes"] if n["id"] == 2 and n["waits"]], 30)
    tap.check("until it runs, status says what it waits for", "silent" in waits[0]["waits"] and waits[0]["role"] == "standby", waits)
    two.start()
    fleet.wait_for("the second votes", lambda: roles(one).get(2) == "voter", 60)
    tap.check("two voters are warned of", "2 voters" in status(one)["warning"], status(one))

    second = token(one)
    elsewhere = ".".join([*second.split(".")[:3], f"127.0.0.1:{two.join_port}"])
    fleet.wait_for("the join port of the follower opens, too", lambda: open_port(two.join_port))
    code, said = three.join(elsewhere)
    tap.check("join at a follower: it says who leads, and the program goes there", code == 0 and "coordinator 3" in said, said)
    (three.data / "config.json").rename(three.data / "config.lost")
    before = (three.data / "key.pem").read_text()
    code, said = three.join(second)
    tap.check("join again, when the answer was lost: the same id, over the same key",
              code == 0 and "coordinator 3" in said and (three.data / "key.pem").read_text() == before, said)
    three.start()
    fleet.wait_for("the third votes", lambda: roles(one) == {1: "voter", 2: "voter", 3: "voter"}, 60)
    s = status(one)
    tap.check("status shows three voters, versions, certificates and lag, and warns of nothing",
              s["warning"] == "" and s["voters"] == 3 and all(n["version"] and n["cert_ends_at"] and n["lag_known"] for n in s["nodes"]), s)
    return one, two, three, second


def bad_tokens(folder, one, two, used):
    other = fleet.Joined(folder, "stranger")
    code, said = other.join(used)
    tap.check("a used token: refused, and says by whom", code == 1 and "was used by coordinator 3" in said, said)
    parts = used.split(".")
    wrong = ".".join([parts[0], parts[1], parts[2][::-1], *parts[3:]])
    code, said = other.join(wrong)
    tap.check("a wrong secret: refused", code == 1 and "no such token" in said and wrong not in said, said)
    wrong = ".".join([parts[0], parts[1][::-1], *parts[2:]])
    before = len(one.json("audit", "list"))
    code, said = other.join(wrong)
    tap.check("the CA of another cluster: nothing is sent", code == 1 and "does not belong to the CA" in said, said)
    tap.check("none of them reached the log", len(one.json("audit", "list")) == before)
    code, said = other.join(".".join([*used.split(".")[:3], "coord.example:7703"]))
    tap.check("an address that only this machine can dial, for a cluster of others: refused", code == 1 and "means another machine" in said, said)
    code, said = other.join("wtj1.abc")
    tap.check("half a token is told from a whole one", code == 1 and "not whole" in said, said)
    short = token(one, "--ttl", "1s")
    fleet.wait_for("it has expired", lambda: any(t["state"] == "expired" for t in one.json("cluster", "token", "list")), 30)
    code, said = other.join(short)
    tap.check("an expired token: refused", code == 1 and "expired" in said, said)
    fresh = one.json("cluster", "token", "create")[0]
    clash = fleet.Joined(folder, "clash")
    code, said = clash.join(fresh["token"], ports=[*clash.ports[:2], two.peer_port, clash.join_port])
    tap.check("the address of a member: refused, with what to do", code == 1 and "wavetrain cluster remove 2" in said, said)
    one.must("cluster", "token", "revoke", fresh["id"])
    code, said = other.join(fresh["token"])
    tap.check("a revoked token: refused", code == 1 and "revoked" in said, said)
    code, said = other.join(fresh["token"], data=two.data)
    tap.check("a directory that is a coordinator already: refused", code == 1 and "is a coordinator already" in said, said)


def followers(one, two):
    one.must("app", "add", "grown")
    fleet.wait_for("the follower has it", lambda: "grown" in apps(two))
    code, _, err = two.ask("app", "list")
    tap.check("a follower answers reads, and says that they may be old", code == 0 and "does not lead" in err, err)
    code, _, err = two.ask("app", "add", "refused")
    tap.check("and refuses writes, naming who leads", code == 69 and "E_NOT_LEADER" in err and "coordinator 1 on 127.0.0.1 leads" in err, err)


def leader_lost(nodes):
    one, two, three = nodes
    acked = []
    for n in range(20):
        add_app(nodes, f"kept-{n}")
        acked.append(f"kept-{n}")
    one.process.kill(signal.SIGKILL)
    new = add_app(nodes, "after")
    tap.check("SIGKILL of the leader: another leads", new is not one)
    tap.check("every acknowledged write is there", set(acked) <= set(apps(new)), (acked, apps(new)))
    one.start()
    fleet.wait_for("the killed one follows", lambda: status(one)["leader"] not in (0, 1) and "after" in apps(one), 60)
    tap.check("it comes back as a follower, with all", set(acked) <= set(apps(one)) and roles(one)[1] == "voter", status(one))
    return new


def transferred(nodes, led):
    target = next(co for co in nodes if co is not led)
    number = status(target)["self"]
    out = led.ask("cluster", "transfer", str(number))
    tap.check("transfer: the one that was named leads", out[0] == 0 and leader_of(nodes) is target, out)
    add_app(nodes, "handed-over")
    code, _, err = target.ask("cluster", "transfer", str(number))
    tap.check("to itself: refused", code != 0 and "leads already" in err, err)
    code, _, err = target.ask("cluster", "remove", str(number), "--confirm", str(number))
    tap.check("a leader is not removed by itself: transfer first", code == 6 and "cluster transfer" in err, err)
    target.process.kill(signal.SIGTERM)
    new = add_app(nodes, "stopped")
    tap.check("SIGTERM of the leader ends in order and another leads", target.process.p.returncode == 0 and new is not target)
    target.start()
    fleet.wait_for("it follows again", lambda: status(target)["leader"] not in (0, number), 60)


def emptied(nodes):
    """A member that lost its disk may have voted: it must not come back under its id."""
    led = add_app(nodes, "before-emptied")
    lost = next(co for co in nodes if co is not led)
    lost.process.kill(signal.SIGKILL)
    keep = lost.data / "raft.gone"
    (lost.data / "raft").rename(keep)
    (lost.data / "raft").mkdir(mode=0o700)
    code, said = starts(lost)
    tap.check("an emptied log: refused, with what to do", code == 1 and "never comes back under this id" in said and "cluster remove" in said, said)
    shutil.rmtree(lost.data / "raft")
    keep.rename(lost.data / "raft")
    lost.start()
    fleet.wait_for("with its log it follows", lambda: "before-emptied" in apps(lost), 60)
    code, said = starts(lost)
    tap.check("the same directory started twice: refused", code == 1 and "held by process" in said, said)


def foreign(folder, nodes):
    """Another cluster's coordinator in the place of a member, and with another cluster's log."""
    (folder / "foreign").mkdir()
    other = fleet.Coordinator(folder / "foreign")
    other.start()
    other.must("app", "add", "foreign")
    other.process.kill(signal.SIGTERM)
    led = add_app(nodes, "before-foreign")
    mine = next(co for co in nodes if co is not led)
    mine.process.kill(signal.SIGKILL)
    kept = {}
    for part in ("raft", "state"):
        kept[part] = mine.data / f"{part}.mine"
        (mine.data / part).rename(kept[part])
        shutil.copytree(other.data / part, mine.data / part)
    code, said = starts(mine)
    tap.check("another cluster's log: refused", code == 1 and "is that of cluster 'demo'" in said, said)
    for part, path in kept.items():
        shutil.rmtree(mine.data / part)
        path.rename(mine.data / part)
    config = json.loads((other.data / "config.json").read_text())
    (other.data / "config.json").write_text(json.dumps(config | {"peer_port": mine.peer_port}))
    before = status(led)["term"]
    other.start()
    fleet.wait_for("the leader meets the stranger", lambda: "no link to" in led.process.tail(8000) or "refused a connection" in led.process.tail(8000), 60)
    add_app(nodes, "with-foreign")
    tap.check("another cluster's node at the address of a member: the cluster goes on without it",
              "with-foreign" not in apps(other) and status(led)["term"] == before, status(led))
    other.process.kill()
    mine.start()
    fleet.wait_for("the member is back", lambda: "with-foreign" in apps(mine), 60)


def removed(folder, nodes):
    led = add_app(nodes, "before-removed")
    gone = next(co for co in nodes if co is not led)
    number = status(gone)["self"]
    led.must("cluster", "remove", str(number), "--confirm", str(number))
    fleet.wait_for("it is no member any more", lambda: number not in roles(led), 60)
    add_app([led] + [co for co in nodes if co not in (led, gone)], "after-removed")
    lines = {c["name"]: c for c in led.json("doctor")["checks"]}
    tap.check("doctor warns of two voters, too", lines["coordinators"]["result"] == "warn" and "2 of 2 vote" in lines["coordinators"]["text"], lines)
    tap.check("removed: it is gone, and the two others go on, with a warning", "2 voters" in status(led)["warning"], status(led))
    me = status(led)["self"]
    rest = next(n for n in roles(led) if n != me)
    led.must("cluster", "remove", str(rest), "--confirm", str(rest))
    fleet.wait_for("one is left", lambda: roles(led) == {me: "voter"}, 60)
    add_app([led], "alone")
    code, _, err = led.ask("cluster", "remove", str(me), "--confirm", str(me))
    tap.check("back to one voter, which goes on, and stays", code == 1 and "is the last that votes" in err and status(led)["warning"] == "", err)
    gone.process.kill(signal.SIGTERM)
    code, said = starts(gone)
    tap.check("its directory is not started again", code == 1 and "was removed from cluster" in said, said)
    code, said = fleet.Joined.join(gone, token(led), ports=fleet.free_ports(4))
    tap.check("nor joined with", code == 1 and "is a coordinator already" in said, said)
    (gone.data / "config.json").unlink()
    code, said = fleet.Joined.join(gone, token(led), ports=fleet.free_ports(4))
    tap.check("nor without its configuration, while its log is there", code == 1 and "holds the log of a coordinator that was here" in said, said)
    new = fleet.Joined(folder, "four")
    new.ports = [*new.ports[:2], gone.peer_port, new.ports[3]]
    code, said = new.join(token(led, "--standby"))
    tap.check("a new one at its address gets an id that was never used", code == 0 and "coordinator 4" in said, said)
    new.start()
    fleet.wait_for("it holds everything", lambda: new.ask("app", "list", "-o", "json")[0] == 0 and "after-removed" in apps(new), 60)
    time.sleep(3)  # in which it would be promoted
    tap.check("and does not vote, as its token said", roles(led)[4] == "standby", status(led))
    never = fleet.Joined(folder, "five")
    code, said = never.join(token(led))
    fleet.wait_for("the one that never starts is a member", lambda: code == 0 and roles(led).get(5) == "standby", 60)
    led.must("cluster", "remove", "5", "--confirm", "5")
    fleet.wait_for("it is gone", lambda: 5 not in roles(led), 60)
    tap.check("one that joined and never started can be removed", roles(led)[4] == "standby", status(led))


def main():
    with fleet.folder_of_processes("wavetrain-three-") as folder:
        nodes = []
        try:
            one, two, three, used = grow(folder)
            nodes = [one, two, three]
            followers(one, two)
            bad_tokens(folder, one, two, used)
            led = leader_lost(nodes)
            transferred(nodes, led)
            emptied(nodes)
            foreign(folder, nodes)
            removed(folder, nodes)
        except Exception as e:  # noqa: BLE001: whatever it was, the test failed
            tap.early(e, *(p.read_text(errors="replace")[-3000:] for p in folder.glob("*.log")))
    return tap.done()


os.environ["NO_COLOR"] = "1"
sys.exit(main())

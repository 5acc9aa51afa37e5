#!/usr/bin/env python3
"""Three consensus nodes as processes, linked over TLS: kill -9 and SIGSTOP of leaders and followers while somebody writes. Every acknowledged number
is on each node afterwards, once, and all nodes are the same.

usage: peer_kills.py PEER-NODE [ROUNDS [SEED]]
"""
import pathlib
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from peernodes import Cluster, Writer  # noqa: E402
from tap import Tap  # noqa: E402

PROGRAM = sys.argv[1]
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 9
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 1


def acks_after(writer, when, wanted=1):
    return [t for t in writer.times[-2000:] if t > when][:wanted]


def one_round(cluster, writer, rng, number, failovers):
    """Leader, follower, and a leader that only stands still, in turn."""
    leader = cluster.leader()
    followers = [n for n in cluster.nodes.values() if n.runs() and n is not leader]
    victim = rng.choice(followers) if number % 3 == 1 else leader
    when = time.monotonic()
    if number % 3 == 2:
        victim.process.send_signal(signal.SIGSTOP)
    else:
        victim.kill()
    cluster.until("writes after the blow", lambda: len(acks_after(writer, when + 0.001, 20)) == 20)
    if victim is leader and number % 3 == 0:
        failovers.append(acks_after(writer, when + 0.001)[0] - when)
    if number % 3 == 2:
        victim.process.send_signal(signal.SIGCONT)
    else:
        victim.start()
    cluster.until("all nodes to be there", lambda: all(m["role"] == "voter" and m["lag"] in range(100) for m in cluster.leader().members().values()))


def same_everywhere(cluster):
    def same():
        states = [n.status() for n in cluster.nodes.values() if n.runs()]
        return None not in states and len({(s["hash"], s["count"]) for s in states}) == 1
    cluster.until("all nodes to be the same", same)


def lost_or_twice(cluster, folder, acked):
    wrong = []
    for node in cluster.nodes.values():
        if not node.runs():
            continue
        path = f"{folder}/seen-{node.ident}"
        node.ask("x " + path)
        seen = pathlib.Path(path).read_bytes()
        wrong += [(node.ident, nr) for nr in acked if seen[nr] != 1] + [(node.ident, nr) for nr, times in enumerate(seen) if times > 1]
    return wrong


def story(tap, cluster, folder):
    rng = random.Random(SEED)
    failovers = []
    cluster.nodes[1].start()
    writer = Writer(cluster)
    writer.start()
    cluster.grow(2)
    cluster.grow(3)
    tap.check("a cluster of processes grows from one to three while somebody writes", len(cluster.leader().members()) == 3 and writer.acked)
    for number in range(ROUNDS):
        one_round(cluster, writer, rng, number, failovers)
    tap.check(f"{ROUNDS} blows, and each time the writes go on and the node comes back", True)
    cluster.until("a voter to lead next", lambda: cluster.member("transfer", 0).split()[1] in ("E_OK", "E_BUSY", "E_UNAVAILABLE") or time.sleep(0.5))
    writer.stop()
    same_everywhere(cluster)
    wrong = lost_or_twice(cluster, folder, writer.acked)
    tap.check("what was acknowledged is on each node, once", not wrong and len(writer.acked) > 100, wrong[:5])
    tap.check("a snapshot went over a link", any(n.status()["restores"] for n in cluster.nodes.values()))
    print(f"# {len(writer.acked)} acknowledged; from the death of a leader to the next acknowledgement: "
          f"median {statistics.median(failovers):.2f} s, most {max(failovers):.2f} s of {len(failovers)}")
    unusable_snapshot(tap, cluster)
    tap.check("and a node that is asked to ends in order", cluster.leader().stop() == 0)


def unusable_snapshot(tap, cluster):
    """As from a newer build: to go on would be to go on with nothing."""
    cluster.nodes[4].options.append("--refuse-snapshots")
    cluster.nodes[4].start()
    said = cluster.member("add", 4)
    ended = cluster.nodes[4].process.wait(timeout=60)
    tap.check("a node that cannot use the leader's snapshot stops and says so", said.split()[1] == "E_OK" and ended == 70 and
              "the leader's snapshot cannot be used" in pathlib.Path(cluster.nodes[4].log).read_text(), (said, ended))
    tap.check("and can be removed", cluster.member("remove", 4).split()[1] == "E_OK")


def main():
    tap, folder = Tap(), tempfile.mkdtemp(prefix="wavetrain-peers-")
    cluster = Cluster(PROGRAM, folder, 4, ["--threshold", "256"])
    try:
        story(tap, cluster, folder)
    except Exception as e:  # pylint: disable=broad-except
        states = "".join(f"node {n.ident}: {n.status()} {n.members()}\n" for n in cluster.nodes.values() if n.runs())
        tap.early(e, states, *[pathlib.Path(n.log).read_text()[-1500:] for n in cluster.nodes.values() if pathlib.Path(n.log).exists()])
    finally:
        cluster.end()
        shutil.rmtree(folder, ignore_errors=True)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

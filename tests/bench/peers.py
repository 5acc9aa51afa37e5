"""peers: writes of a cluster of three over its TLS links, beside the same node alone; and a snapshot over a link, beside a plain copy of the bytes."""
import pathlib
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time

import common

sys.path.insert(0, str(common.ROOT / "tests/lib"))
import peernodes  # noqa: E402

TARGETS = ["tests/cluster/peer-node"]


def options(p):
    p.add_argument("--in-flight", default="1,16,256", help="comma-separated [%(default)s]")
    p.add_argument("--seconds", type=float, default=3, help="of each measurement [%(default)s]")
    p.add_argument("--bytes", type=int, default=256, help="of a command [%(default)s]")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--snapshot-mb", type=int, default=256, help="0: none [%(default)s]")


def cluster(program, folder, nodes, extra=()):
    c = peernodes.Cluster(program, folder, nodes, extra)
    c.nodes[1].start()
    for ident in range(2, nodes + 1):
        c.grow(ident)
    return c


def write(c, window, o):
    words = c.leader().ask(f"b {window} {int(o.seconds * 1000)} {o.bytes}", timeout=o.seconds + 60).split()
    return {"per_second": int(words[1]) / o.seconds, "failed": int(words[2]), "p50_ms": int(words[3]) / 1000, "p99_ms": int(words[4]) / 1000}


def writes(o, program, folder):
    rows = []
    (folder / "one").mkdir()
    (folder / "three").mkdir()
    one, three = cluster(program, str(folder / "one"), 1), cluster(program, str(folder / "three"), 3)
    try:
        for window in [int(w) for w in o.in_flight.split(",")]:
            for _ in range(o.rounds):
                rows.append({"in_flight": window, "one": write(one, window, o), "three": write(three, window, o)})
    finally:
        one.end()
        three.end()
    return rows


def plain_copy(n):
    """As many bytes through one connection on loopback and to nowhere."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            with server.accept()[0] as s:
                for _ in range(n >> 20):
                    s.sendall(bytes(1 << 20))
        threading.Thread(target=serve, daemon=True).start()
        start, got = time.monotonic(), 0
        with socket.create_connection(server.getsockname()) as s:
            while b := s.recv(1 << 20):
                got += len(b)
        return time.monotonic() - start


def install(o, program, folder):
    """From the start of an empty node that is a member to the end of its restore: transfer, write to disk, read back."""
    n = o.snapshot_mb << 20
    times = []
    for number in range(o.rounds):
        where = folder / f"snapshot-{number}"
        where.mkdir()
        c = peernodes.Cluster(program, str(where), 2, ["--threshold", "64", "--ballast", str(n)])
        try:
            c.nodes[1].start()
            c.leader().ask("b 1 1000 64")
            time.sleep(5)  # the last snapshot is on the disk
            times.append({"node": joined(c), "copy": plain_copy(n)})
        finally:
            c.end()
            shutil.rmtree(where)
    return times


def joined(c):
    c.nodes[2].start()
    start = time.monotonic()
    said = c.member("add", 2)
    if said.split()[1] != "E_OK":
        raise RuntimeError(said)
    c.until("the snapshot to be there", lambda: c.nodes[2].status()["restores"] > 0)
    return time.monotonic() - start


def run(o):
    program = str(o.build / "tests/cluster/peer-node")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="wavetrain-bench-", dir=o.dir))
    try:
        return {"writes": writes(o, program, folder), "snapshot": install(o, program, folder) if o.snapshot_mb else [],
                "snapshot_mb": o.snapshot_mb, "bytes": o.bytes}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def middle(values, digits):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def text(r):
    lines = [f"commands of {r['bytes']} bytes", "| in flight | nodes | per second | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    for window in sorted({w["in_flight"] for w in r["writes"]}):
        for name, shown in (("one", 1), ("three", 3)):
            rows = [w[name] for w in r["writes"] if w["in_flight"] == window]
            lines.append(f"| {window} | {shown} | {middle([x['per_second'] for x in rows], 0)} | {middle([x['p50_ms'] for x in rows], 2)} | "
                         f"{middle([x['p99_ms'] for x in rows], 1)} |")
    if r["snapshot"]:
        lines.append(f"snapshot of {r['snapshot_mb']} MiB to a new node: {middle([x['node'] for x in r['snapshot']], 2)} s; "
                     f"the bytes alone over a plain connection: {middle([x['copy'] for x in r['snapshot']], 2)} s")
    return "\n".join(lines)

"""commit: acknowledged admin writes, beside a bare append-and-fdatasync loop of the same bytes and etcd-server as a single node."""
import pathlib
import subprocess
import time

import common

TARGETS = ["coordinator/wavetraind", "coordinator/cli/wavetrain", "tests/bench/bench-admin", "tests/bench/bench-append", "tests/bench/bench-etcd"]


def options(p):
    p.add_argument("--in-flight", default="1,16,256", help="comma-separated [%(default)s]")
    p.add_argument("--seconds", type=float, default=2, help="of each measurement [%(default)s]")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--no-etcd", action="store_true", help="without the peer")


class Etcd:
    def __init__(self, folder):
        self.folder, self.port = folder, common.free_port()
        peer = common.free_port()
        url, peer_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        program = common.need_package("etcd-server", "etcd")
        self.url = url
        self.h2load = common.need_package("nghttp2-client", "h2load")
        self.process = common.Process([program, "--data-dir", folder / "etcd", "--listen-client-urls", url, "--advertise-client-urls", url,
                                       "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                                       "--initial-cluster", f"default={peer_url}", "--logger", "zap", "--log-outputs", folder / "etcd.log",
                                       "--quota-backend-bytes", str(8 << 30)], folder / "etcd.err")
        for _ in range(200):
            self.process.alive()
            if subprocess.run(["curl", "-sf", "--noproxy", "*", f"{url}/health"], stdout=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.05)

    def put_grpc(self, in_flight, seconds, value):
        """h2load sends one gRPC message again and again; each is a put of its own revision."""
        key = b"bench"
        message = b"\x0a" + bytes([len(key)]) + key + b"\x12" + varint(value) + b"v" * value
        body, log = self.folder / "put.grpc", self.folder / "h2load.log"
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        log.unlink(missing_ok=True)
        before, cpu, start = self.revision(), common.children_cpu_s(), time.monotonic()
        subprocess.run([self.h2load, "-p", "h2c", "-D", str(max(1, round(seconds))), "-c", "1", "-m", str(in_flight), "-d", body,
                        "-H", "content-type: application/grpc", "-H", "te: trailers", "--log-file", log,
                        f"{self.url}/etcdserverpb.KV/Put"], check=True, stdout=subprocess.DEVNULL)
        took = time.monotonic() - start
        times = sorted(int(line.split()[2]) / 1000 for line in log.read_text().splitlines())
        done = self.revision() - before - 1  # the put that asks for the revision is not one of them
        cpu = common.children_cpu_s() - cpu
        window = max(1, round(seconds))
        return {"operations": done, "seconds": took, "per_second": len(times) / window, "p50_ms": times[len(times) // 2],
                "p99_ms": times[min(len(times) - 1, round(len(times) * 0.99))], "max_ms": times[-1], "client_cpu_s": cpu,
                "acknowledged": len(times)}

    def revision(self):
        out = common.run_json(["curl", "-s", "--noproxy", "*", "-d", '{"key":"cmV2","value":"cmV2"}', f"{self.url}/v3/kv/put"])
        return int(out["header"]["revision"])


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def log_bytes(data):
    """Of the closed segments of the log: what was written for the commands, without what was only reserved."""
    return sum(f.stat().st_size for f in (data / "raft" / "log").iterdir() if "-" in f.name and not f.name.startswith("open"))


def bytes_per_write(folder, programs):
    """What one write appends to the log: a coordinator of its own makes 2,000 one after another and is stopped in order."""
    count = 2000
    co = common.Coordinator(folder / "calibrate", programs).start()
    try:
        co.ask("app", "list")
        common.run_json([programs / "tests/bench/bench-admin", "--socket", co.socket, "--in-flight", 1, "--count", count, "--prefix", "c"])
    finally:
        co.stop()
    return max(1, round(log_bytes(co.data) / count))


class Sides:
    """Every way to make one durable write, as one function of (in flight, name) each."""

    def __init__(self, o, folder):
        self.o, self.folder, self.bench = o, folder.path, o.build / "tests/bench"
        self.record = bytes_per_write(self.folder, o.build)
        self.co = common.Coordinator(self.folder / "coordinator", o.build).start()
        self.etcd = None if o.no_etcd else Etcd(self.folder)
        self.all = {"wavetrain": self.wavetrain, "append+fdatasync": self.append, "reserved+fdatasync": self.reserved}
        if self.etcd:
            self.all.update({"etcd gRPC": self.grpc, "etcd JSON gateway": self.json})

    def wavetrain(self, n, name):
        return self.costed(self.co.process, lambda: common.run_json(
            [self.bench / "bench-admin", "--socket", self.co.socket, "--in-flight", n, "--seconds", self.o.seconds, "--prefix", name]))

    def append(self, n, name, *more):
        r = common.run_json([self.bench / "bench-append", "--dir", self.folder, "--record", self.record, "--group", n, "--seconds",
                             self.o.seconds, *more])
        return {**r, "server_cpu_s": r["client_cpu_s"], "client_cpu_s": 0.0}

    def reserved(self, n, name):
        return self.append(n, name, "--allocate")

    def grpc(self, n, name):
        return self.costed(self.etcd.process, lambda: self.etcd.put_grpc(n, self.o.seconds, 100))

    def json(self, n, name):
        return self.costed(self.etcd.process, lambda: common.run_json(
            [self.bench / "bench-etcd", "--url", self.etcd.url, "--in-flight", n, "--seconds", self.o.seconds, "--prefix", name,
             "--value", 100]))

    @staticmethod
    def costed(process, measure):
        process.alive()
        before = process.cpu_s()
        r = measure()
        return {**r, "server_cpu_s": process.cpu_s() - before}

    def stop(self):
        self.co.stop()
        if self.etcd:
            self.etcd.process.stop()


def one_level(sides, n, rounds):
    """{side: {figure: [per round]}}"""
    return {side: {key: [r[side][key] for r in rounds] for key in rounds[0][side]} for side in sides.all}


def summary(level):
    ours = level["wavetrain"]["per_second"]
    out = {}
    for side, figures in level.items():
        per_op = [cpu / max(1, ops) * 1e6 for cpu, ops in zip(figures["server_cpu_s"], figures["operations"])]
        out[side] = {"per_second": common.spread(figures["per_second"]), "p50_ms": common.spread(figures["p50_ms"]),
                     "p99_ms": common.spread(figures["p99_ms"]), "server_cpu_us_per_write": common.spread(per_op),
                     "client_cpu_s": common.spread(figures["client_cpu_s"]), "wavetrain_ratio": common.ratios(ours, figures["per_second"])}
    return out


def run(o):
    levels = [int(n) for n in o.in_flight.split(",")]
    with common.Folder(o.dir) as folder:
        sides = Sides(o, folder)
        rounds = {n: [] for n in levels}
        try:
            for i in range(o.rounds):
                for n in levels:
                    common.say(f"commit: round {i + 1} of {o.rounds}, {n} in flight")
                    rounds[n].append({name: side(n, f"r{i}n{n}") for name, side in sides.all.items()})
            memory = {"wavetrain": sides.co.process.memory()}
            if sides.etcd:
                memory["etcd"] = sides.etcd.process.memory()
        finally:
            sides.stop()
        result = {"filesystem": folder.kind, "log_bytes_per_write": sides.record, "memory_kib": memory,
                  "in_flight": {str(n): summary(one_level(sides, n, rounds[n])) for n in levels}}
    return result


def text(result):
    out = [f"one write: {result['log_bytes_per_write']} bytes of log on {result['filesystem']}; memory KiB: {result['memory_kib']}"]
    for n, sides in result["in_flight"].items():
        rows = [[name, s["per_second"], s["p50_ms"], s["p99_ms"], s["server_cpu_us_per_write"], s["wavetrain_ratio"]]
                for name, s in sides.items()]
        out.append(common.table(f"\n{n} in flight: median (min..max of the rounds)",
                                ["side", "writes/s", "p50 ms", "p99 ms", "server CPU us/write", "wavetrain / this"], rows))
    return "\n".join(out)

"""sim: simulated time and seeds per minute of both simulators, beside an event loop whose events do nothing."""
import re
import subprocess
import time

import common

TARGETS = ["tests/sim/wavetrain-sim", "tests/sim/raft/raft_sim", "tests/bench/bench-events"]
RELEASE = "build-release"


def options(p):
    p.add_argument("--seeds", type=int, default=200, help="of each measurement [%(default)s]")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--no-release", action="store_true", help="only --build, not a build with -O3 beside it")


def timed(words):
    cpu, start = common.children_cpu_s(), time.monotonic()
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout, {"seconds": time.monotonic() - start, "cpu_s": common.children_cpu_s() - cpu}


def fleet_sim(folder, seeds, start):
    out, cost = timed([folder / "tests/sim/wavetrain-sim", "--seeds", seeds, "--start", start])
    events, hours = re.search(r"(\d+) events, ([\d.]+) virtual hours", out).groups()
    return figures(cost, seeds, int(events), float(hours) * 3600)


def raft_events(folder, seeds, start):
    out, _ = timed([folder / "tests/sim/raft/raft_sim", "--seeds", seeds, "--start", start, "--verbose"])
    return sum(int(n) for n in re.findall(r"^seed \d+: (\d+) events", out, re.M))


def raft_faults_s():
    text = (common.ROOT / "tests/sim/raft/raft_sim.c").read_text()
    return int(re.search(r"FAULTS_MS = (\d+)", text).group(1)) / 1000


def raft_sim(folder, seeds, start):
    """Its own count of events comes from the same seeds again, with --verbose. Simulated time is that of the faults; the calm
    after it, which ends when the nodes agree, is not counted."""
    _, cost = timed([folder / "tests/sim/raft/raft_sim", "--seeds", seeds, "--start", start])
    return figures(cost, seeds, raft_events(folder, seeds, start), seeds * raft_faults_s())


def figures(cost, seeds, events, simulated_s):
    return {"simulated_s_per_s": simulated_s / cost["seconds"], "seeds_per_minute": seeds / cost["seconds"] * 60, "events": events,
            "events_per_s": events / cost["seconds"], "cpu_us_per_event": cost["cpu_s"] / events * 1e6}


def empty_loop(folder, events):
    r = common.run_json([folder / "tests/bench/bench-events", "--events", events])
    return {"events_per_s": r["per_second"], "cpu_us_per_event": r["cpu_s"] / r["events"] * 1e6}


def builds(o):
    out = {"plain (-O2)": o.build}
    if not o.no_release:
        release = common.ROOT / RELEASE
        if not o.no_build:
            common.build(release, TARGETS, ["--buildtype=release", "-Dwerror=false"])
        out["release (-O3)"] = release
    return out


def one_round(name, folder, o, start):
    fleet, raft = fleet_sim(folder, o.seeds, start), raft_sim(folder, o.seeds, start)
    # As many events as the simulator handled; at least so many that the clock can tell.
    loop = empty_loop(folder, max(fleet["events"], 1000000))
    return {f"wavetrain-sim, {name}": fleet, f"raft_sim, {name}": raft, f"empty event loop, {name}": loop}


def run(o):
    rounds = []
    folders = builds(o)
    for i in range(o.rounds):
        common.say(f"sim: round {i + 1} of {o.rounds}")
        merged = {}
        for name, folder in folders.items():
            merged.update(one_round(name, folder, o, 1 + i * o.seeds))
        rounds.append(merged)
    out = {}
    for side in rounds[0]:
        out[side] = {k: common.spread([r[side][k] for r in rounds]) for k in rounds[0][side] if k != "events"}
        loop = "empty event loop, " + side.split(", ")[1]
        out[side]["loop_ratio"] = common.ratios([r[side]["events_per_s"] for r in rounds], [r[loop]["events_per_s"] for r in rounds])
    return {"seeds": o.seeds, "rounds": o.rounds, "sides": out}


def text(result):
    rows = [[side, v.get("simulated_s_per_s", ""), v.get("seeds_per_minute", ""), v["events_per_s"], v["cpu_us_per_event"], v["loop_ratio"]]
            for side, v in result["sides"].items()]
    return common.table(f"{result['seeds']} seeds a round: median (min..max of {result['rounds']} rounds)",
                        ["", "simulated s/s", "seeds/min", "events/s", "CPU us/event", "events/s over the empty loop's"], rows)

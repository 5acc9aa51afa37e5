#!/usr/bin/env python3
"""Archives on three real coordinators: each gets what one was given, whoever leads; also after kill -9 in the middle, and what a disk has lost.

usage: WAVETRAIN_BUILD=build mirror.py   (prints TAP)
"""
import hashlib
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fleet  # noqa: E402
from fleet import leader_of, wait_for  # noqa: E402
from tap import Tap  # noqa: E402

tap = Tap()
LARGE = 48 << 20  # does not get smaller when it is packed


def folder_of(folder, name, size):
    made = folder / name
    made.mkdir()
    (made / "program").write_bytes(os.urandom(size))
    return made


def held(co):
    return sorted(p.name for p in (co.data / "artifacts" / "sha256").iterdir())


def whole(co):
    return all(hashlib.sha256((co.data / "artifacts" / "sha256" / name).read_bytes()).hexdigest() == name for name in held(co))


def partial(co):
    return max([p.stat().st_size for p in (co.data / "artifacts" / "partial").glob("*.partial")], default=0)


def copies(co, version):
    shown = co.json("release", "show", "shop", version)
    shown = shown[0] if isinstance(shown, list) else shown
    return shown["copies"], shown["coordinators"]


def grow_three(folder):
    one = fleet.Coordinator(folder)
    one.start()
    one.must("app", "add", "shop")
    one.must("release", "push", "shop", "0.1", folder_of(folder, "before", 1000))
    return fleet.grow(one, folder, 3)


def all_hold(nodes, nr):
    return all(len(held(co)) == nr for co in nodes)


def spread(folder, nodes):
    wait_for("what was there before they joined comes to the others", lambda: all_hold(nodes, 1), 60)
    nodes[0].must("release", "push", "shop", "1.0", folder_of(folder, "first", 3 << 20))
    wait_for("a new release comes to the others", lambda: all_hold(nodes, 2), 60)
    tap.check("what they got has the digests it is named by", all(whole(co) for co in nodes) and held(nodes[0]) == held(nodes[2]))
    wait_for("the leader knows of three copies", lambda: copies(nodes[0], "1.0") == (3, 3), 60)
    tap.check("release show says 3 of 3", "The archive lies on 3 of 3 coordinators." in nodes[0].must("release", "show", "shop", "1.0"))


def kills(folder, nodes):
    """The large one, with kill -9 of a follower whenever some of it has come."""
    follower, cut = nodes[2], 0
    nodes[0].must("release", "push", "shop", "2.0", folder_of(folder, "large", LARGE))
    for _ in range(5):
        end = time.monotonic() + 20
        before = partial(follower)
        while len(held(follower)) < 3 and partial(follower) <= before and time.monotonic() < end:
            time.sleep(0.001)
        cut += len(held(follower)) < 3
        follower.process.kill()
        follower.start()
    wait_for("the large one comes to everybody", lambda: all_hold(nodes, 3), 120)
    tap.check("after kills in the middle it is whole", whole(follower), held(follower))
    tap.check("some of the kills were in the middle", cut > 0, cut)


def lead_changes(folder, nodes):
    nodes[0].process.kill()
    new = wait_for("somebody else leads", lambda: leader_of(nodes[1:]), 60)
    tap.check("the new leader has all archives", len(held(new)) == 3 and whole(new))
    wait_for("it takes a release", lambda: new.ask("release", "push", "shop", "3.0", folder / "first")[0] == 0, 60)
    new.must("release", "push", "shop", "3.1", folder_of(folder, "later", 5000))
    nodes[0].start()
    wait_for("who was away gets what came meanwhile", lambda: all_hold(nodes, 4), 60)
    tap.check("and has the same", held(nodes[0]) == held(new) and whole(nodes[0]))
    return new


def loss(new, nodes):
    loser = next(co for co in nodes if co is not new)
    (loser.data / "artifacts" / "sha256" / held(loser)[0]).unlink()
    wait_for("what a disk lost comes back by itself", lambda: len(held(loser)) == 4, 90)
    tap.check("whole", whole(loser))


def main():
    with fleet.folder_of_processes("wavetrain-mirror-") as folder:
        try:
            nodes = grow_three(folder)
            spread(folder, nodes)
            kills(folder, nodes)
            loss(lead_changes(folder, nodes), nodes)
        except Exception as e:  # noqa: BLE001: whatever it was, the test failed
            tap.early(e, *(p.read_text(errors="replace")[-3000:] for p in folder.glob("*.log")))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())

"""The demo's other story: three coordinators. Started by demo.py with --cluster."""
import json
import signal
import time

import demo
import fleet as f

CUT_S = 12  # the longest that the region is cut off


class ClusterDemo(demo.Demo):
    COORDINATORS = "Three coordinators"

    def __init__(self, args):
        super().__init__(args)
        self.all, self.stall_ms, self.status_of_last = [], None, None

    # ---- setting up

    def leader(self):
        return f.wait_for("a coordinator leads", lambda: f.leader_of(self.all), 60, step=0.02)

    def set_up(self):
        self.say("One coordinator starts; two more join it with a token, which counts once.")
        self.fleet.co.start()
        self.all = f.grow(self.fleet.co, self.fleet.folder, 3)
        if not self.args.json:
            print(self.leader().must("cluster", "status"), flush=True)
        super().set_up()

    def push_everywhere(self, version):
        self.push(version)
        f.wait_for(f"{version} lies on all three coordinators", lambda: all(self.copies(co, version) == 3 for co in self.all), 60)

    def copies(self, co, version):
        shown = co.json("release", "show", demo.APP, version)
        return (shown[0] if isinstance(shown, list) else shown)["copies"]

    # ---- what happens

    def wave(self, version, region):
        """The state of a region's wave, as whoever leads says; None in an election."""
        co = f.leader_of(self.all)
        row = self.rollout_at(co, version) if co else None
        if row is None:
            return None
        code, out, _ = co.ask("status", row["id"], "--watch", "false", "-o", "json")
        return next((w["state"] for w in json.loads(out)["waves"] if w["region"] == region), None) if out else None

    def rollout_at(self, co, version):
        code, out, _ = co.ask("list", "--limit", "100", "-o", "json")
        rows = [r for r in json.loads(out) if r["version"] == version] if code == 0 else []
        return rows[0] if rows else None

    def ended(self, version):
        def look():
            co = f.leader_of(self.all)
            row = self.rollout_at(co, version) if co else None
            return row["state"].lower() if row and row["state"] in ("SUCCEEDED", "FAILED", "ROLLED_BACK", "PAUSED") else None

        return f.wait_for(f"{version} ends", look, 180)

    def kill_leader(self):
        """How long nobody led, in milliseconds; and who was killed."""
        victim = self.leader()
        victim.kill()
        at = time.monotonic()
        self.fleet.co = self.leader()
        self.stall_ms = round((time.monotonic() - at) * 1000)
        return victim

    def cut_off(self, region, signo):
        for host in self.fleet.hosts:
            if host.region == region:
                host.agent.p.send_signal(signo)

    def until_waited_for(self, region, since):
        """Its turn has come, or it was away for so long: hosts that say nothing for 25 s would count as lost, and the rollout would be held."""
        while time.monotonic() - since < CUT_S and self.wave("1.1", region) != "ROLLING":
            time.sleep(0.1)
        time.sleep(1)

    def doubled(self, started_each):
        """Programs that were started more often than releases were deployed."""
        return sum(max(0, h.exec.tail(1 << 20).count("started pid") - started_each) for h in self.fleet.hosts)

    def story(self):
        self.set_up()
        self.auditor.start()
        for version in ("1.0", "1.1"):
            self.push_everywhere(version)
        self.say("1.0 goes everywhere.")
        self.run_deploy("1.0")
        f.wait_for("every HAProxy has all its servers", self.all_up)
        self.fleet.load = f.Load(self.fleet.folder, [f"http://127.0.0.1:{b.port}/" for b in self.fleet.balancers])
        self.fleet.load.process.start()
        f.wait_for("the users are served", lambda: self.fleet.load.counts()["requests_ok"] > 0)
        self.say("Users send requests to all regions from here to the end. 1.1 goes out: eu, then us, then ap.")
        self.fleet.co = self.leader()
        self.fleet.co.must(*self.deploy_words("1.1"), "--detach")
        f.wait_for("eu is under way", lambda: self.wave("1.1", "eu") == "ROLLING", 60)
        self.cut_off("us", signal.SIGSTOP)
        since = time.monotonic()
        victim = self.kill_leader()
        self.say(f"The leader was killed (SIGKILL) while eu was under way; {self.stall_ms} ms later another one led. And us is cut off: its agents (stopped by SIGSTOP) "
                 "hear and say nothing. Its programs keep serving.")
        self.until_waited_for("us", since)
        self.say("us is back.")
        self.cut_off("us", signal.SIGCONT)
        self.status_of_last = self.ended("1.1")
        self.say("The one that was killed is started again, and follows.")
        victim.start()
        f.wait_for("all three are level", lambda: len({co.json("cluster", "status")["applied"] for co in self.all}) == 1, 60)
        if not self.args.json:
            print(self.leader().must("cluster", "status"), flush=True)
        self.watched, self.served = self.auditor.is_alive(), self.fleet.load.process.alive()
        counts = self.fleet.load.stop()
        self.stop = True
        return counts

    # ---- how it ended

    def summary(self, counts):
        out = {"coordinators": 3, "status": self.status_of_last, "leader_kills": 1, "requests_ok": counts["requests_ok"],
               "requests_failed": counts["requests_failed"], "tasks_doubled": self.doubled(2), "stall_ms": self.stall_ms}
        if self.args.json:
            print(json.dumps(out))
            return
        self.say("Summary")
        print(f"  1.1 {out['status']}, on all 12 hosts, with the leader killed and a region cut off on the way; nobody led for {out['stall_ms']} ms")
        print(f"  requests: {out['requests_ok']} answered, {out['requests_failed']} failed; {out['tasks_doubled']} tasks were done twice")

    def faults(self, counts):
        lost, failed, doubled = self.lost_transitions(), counts["requests_failed"], self.doubled(2)
        promises = {
            f"1.1 ended as {self.status_of_last}": self.status_of_last == "succeeded",
            f"{failed} requests failed": failed == 0,
            f"{doubled} tasks were done twice": doubled == 0,
            f"the users died on the way, or sent only {counts['requests_ok']} requests": self.served and counts["requests_ok"] > demo.REQUESTS_LEAST,
            f"{lost} acknowledged transitions were lost": lost == 0,
        }
        return [text for text, kept in promises.items() if not kept]

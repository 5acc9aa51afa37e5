"""Results of a test of whole processes, as Meson reads them (Test Anything Protocol)."""


class Tap:
    """Counts results; `done` prints the plan and gives the exit code. `early` is for what ended the story before its end."""

    def __init__(self):
        self.results = []

    def check(self, name, ok, seen=""):
        self.results.append(bool(ok))
        shown = "" if ok else " # " + " / ".join(str(seen).split("\n"))[:400]
        print(f"{'ok' if ok else 'not ok'} {len(self.results)} - {name}{shown}", flush=True)
        return bool(ok)

    def skip(self, name, why):
        self.results.append(True)
        print(f"ok {len(self.results)} - {name}: {why} # SKIP {why}", flush=True)  # Meson's summary keeps names only

    def done(self):
        print(f"1..{len(self.results)}", flush=True)
        return 0 if all(self.results) else 1

    def early(self, why, *logs):
        """Whatever it was, the test failed, and the logs say more."""
        self.check("the story went to its end", False, repr(why))
        for log in logs:
            print("# " + log.replace("\n", "\n# "))

"""Consensus nodes as processes (tests/cluster/peer_node.c): start, kill, ask, and a writer that follows the leader."""
import os
import queue
import signal
import socket
import subprocess
import threading
import time

WAIT_S = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Node:
    def __init__(self, program, folder, ident, options=()):
        self.program, self.folder, self.ident, self.options = program, folder, ident, list(options)
        self.address = f"127.0.0.1:{free_port()}"
        self.data = f"{folder}/node-{ident}"
        self.log = f"{folder}/log-{ident}"
        self.process, self.peers = None, []
        os.makedirs(self.data, exist_ok=True)

    def start(self):
        words = [self.program, "run", self.data, str(self.ident), self.address, self.folder, *self.options]
        words += [] if self.ident == 1 else ["--join"]
        for peer in self.peers:
            words += ["--peer", str(peer.ident), peer.address]
        self.answers, self.writes = queue.Queue(), queue.Queue()
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.log, "a"), text=True, bufsize=1)
        threading.Thread(target=self._read, args=(self.process, self.answers, self.writes), daemon=True).start()
        if self.answers.get(timeout=WAIT_S) != "R":
            raise RuntimeError(f"node {self.ident} did not start: {open(self.log).read()[-500:]}")

    @staticmethod
    def _read(process, answers, writes):
        for line in process.stdout:
            (writes if line[0] in "aru" else answers).put(line.rstrip("\n"))
        answers.put("")  # it has ended
        writes.put("")

    def say(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def ask(self, line, timeout=WAIT_S):
        self.say(line)
        return self.answers.get(timeout=timeout)

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def kill(self, signum=signal.SIGKILL):
        self.process.send_signal(signum)
        self.process.wait()

    def stop(self):
        """As asked: it closes its log and ends."""
        self.process.stdin.close()
        return self.process.wait(timeout=WAIT_S)

    def status(self):
        words = self.ask("s").split()
        return None if not words else {"leader": int(words[1]), "applied": int(words[2]), "count": int(words[3]), "hash": words[4],
                                       "restores": int(words[5]), "leads": words[6] == "1"}

    def members(self):
        self.say("l")
        found = {}
        while (line := self.answers.get(timeout=WAIT_S)) not in ("L.", ""):
            words = line.split()
            found[int(words[1])] = {"role": words[2], "lag": int(words[3]), "silent_ms": int(words[4])}
        return found


class Cluster:
    def __init__(self, program, folder, nodes, options=()):
        subprocess.run([program, "pki", folder, str(nodes)], check=True)
        self.nodes = {i: Node(program, folder, i, options) for i in range(1, nodes + 1)}
        for node in self.nodes.values():
            node.peers = list(self.nodes.values())

    def leader(self, timeout=WAIT_S):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for node in self.nodes.values():
                if node.runs() and (s := node.status()) and s["leads"]:
                    return node
            time.sleep(0.02)
        raise RuntimeError("nobody leads")

    def member(self, op, ident):
        address = self.nodes[ident].address if op == "add" else ""
        return self.leader().ask(f"m {op} {ident} {address}".rstrip())

    def until(self, what, holds):
        end = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > end:
                raise RuntimeError("waited a minute for " + what)
            time.sleep(0.02)

    @staticmethod
    def keeps_up(member):
        return 0 <= member["lag"] <= 100 and 0 <= member["silent_ms"] < 1000

    def grow(self, ident):
        self.nodes[ident].start()
        said = self.member("add", ident)
        if said.split()[1] != "E_OK":
            raise RuntimeError(said)
        self.until(f"node {ident} to catch up", lambda: self.keeps_up(self.leader().members()[ident]))
        said = self.member("promote", ident)
        if said.split()[1] != "E_OK":
            raise RuntimeError(said)

    def end(self):
        for node in self.nodes.values():
            if node.runs():
                node.kill()


class Writer(threading.Thread):
    """Writes one number after the other to whoever leads; `acked` are those that are promised to be there."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.acked, self.times, self.stopping = cluster, [], [], threading.Event()

    def run(self):
        at, ident = 0, 1
        while not self.stopping.is_set():
            node = self.cluster.nodes[ident]
            answer = self._write(node, at) if node.runs() else ""
            if answer.startswith("a "):
                self.acked.append(at)
                self.times.append(time.monotonic())
            else:
                ident = ident % len(self.cluster.nodes) + 1
                time.sleep(0.01)
            at += 1

    @staticmethod
    def _write(node, at):
        writes = node.writes
        node.say(f"p {at}")
        try:
            while (line := writes.get(timeout=3)) and line.split()[1] != str(at):
                pass
            return line
        except queue.Empty:
            return ""

    def stop(self):
        self.stopping.set()
        self.join()

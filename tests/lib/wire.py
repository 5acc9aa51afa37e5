"""The two wires of a coordinator as a hostile peer speaks them: bytes are made by hand here, so that every one of them can be wrong.

Admin socket: u32 length and one message of admin.proto. Agents: TLS 1.3, SP hello, u64 length and one envelope of agent.proto.
"""
import contextlib
import os
import pathlib
import socket
import ssl
import struct

from tap import Tap  # noqa: F401: who speaks the wires counts results, too

SP_REQ_HELLO = b"\0SP\0\0\x30\0\0"

# ---- protobuf

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def message(fields):
    """[(number, int | bytes | str)] in this order; a repeated field stands there more than once."""
    out = b""
    for number, v in fields:
        if isinstance(v, int):
            out += varint(number << 3) + varint(v)
        else:
            raw = v.encode() if isinstance(v, str) else v
            out += varint(number << 3 | 2) + varint(len(raw)) + raw
    return out


def read_varint(p, at):
    n = shift = 0
    while True:
        b = p[at]
        at, n, shift = at + 1, n | (b & 127) << shift, shift + 7
        if b < 128:
            return n, at


def fields_of(p):
    """{number: [values]} of a message."""
    out, at = {}, 0
    while at < len(p):
        tag, at = read_varint(p, at)
        if tag & 7 == 0:
            v, at = read_varint(p, at)
        else:
            n, at = read_varint(p, at)
            v, at = p[at:at + n], at + n
        out.setdefault(tag >> 3, []).append(v)
    return out


def take(sock, n):
    """n bytes, or None when the peer ends before; a peer that only says nothing raises TimeoutError."""
    out = b""
    while len(out) < n:
        try:
            more = sock.recv(n - len(out))
        except TimeoutError:
            raise
        except OSError:
            more = b""
        if not more:
            return None
        out += more
    return out


# ---- the admin socket

VERBS = {"app add": 1, "app list": 2, "env add": 4, "agents add": 9, "release push": 11, "plan": 17, "deploy": 18, "pause": 26, "audit list": 32}
ARGS = {"app": 20, "env": 21, "host": 22, "release": 23, "deploy": 24, "rollout": 25, "list": 26}


def request(verb, args=None, body=b"", reason="", version=1):
    f = [(1, version), (2, b"t" * 16), (3, VERBS.get(verb, verb)), (5, reason), (6, os.urandom(16))]
    if args:
        f.append((ARGS[args], body))
    return message(f)


def frame(body):
    return struct.pack(">I", len(body)) + body


class Admin:
    """One connection to the admin socket."""

    def __init__(self, path, timeout=30):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(str(path))  # blocking: a full backlog is waited for
        self.s.settimeout(timeout)

    def send(self, raw):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.s.sendall(raw)

    def take(self, n):
        return take(self.s, n)

    def reply(self):
        """The next reply as {number of its kind: fields}, or None at the end."""
        head = self.take(4)
        body = head and self.take(struct.unpack(">I", head)[0])
        return body and {k: fields_of(v[0]) for k, v in fields_of(body).items()}

    def last(self):
        """("done" | code of the error, text, hint), or ("closed", "", "") when the peer only hung up."""
        while True:
            r = self.reply()
            if r is None:
                return "closed", "", ""
            text = lambda f, n: f.get(n, [b""])[0].decode(errors="replace")
            if 1 in r:
                return text(r[1], 1), text(r[1], 2), text(r[1], 3)
            if 2 in r:
                return "done", text(r[2], 2), ""

    def close(self):
        self.s.close()


def ask_raw(path, body, timeout=30):
    a = Admin(path, timeout)
    a.send(frame(body))
    got = a.last()
    a.close()
    return got


# ---- the agents' port

class Bundle:
    def __init__(self, folder):
        import json
        self.dir = pathlib.Path(folder)
        self.json = json.loads((self.dir / "bundle.json").read_text())
        self.cluster = bytes.fromhex(self.json["cluster_id"].replace("-", ""))

    def context(self, trust=True):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname = False
        c.verify_mode = ssl.CERT_REQUIRED if trust else ssl.CERT_NONE
        if trust:
            c.load_verify_locations(self.dir / "ca.pem")
        c.load_cert_chain(self.dir / "cert.pem", self.dir / "key.pem")
        return c


def envelope(kind, body, cluster, number=1, version=1):
    return message([(1, version), (2, b"t" * 16), (3, b"b" * 16), (4, number), (6, cluster), (kind, body)])


HELLO, WELCOME, POLL, DESIRED, REPORT, ACK, PROBLEM = 10, 11, 12, 13, 14, 15, 17


class Peer:
    """A connection to the agents' port, as far as it gets. Sends and receives whatever it is told to."""

    def __init__(self, port, context=None, hello=SP_REQ_HELLO, timeout=20):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.number = 0
        if context:
            try:
                self.s = context.wrap_socket(self.s)
            except BaseException:
                self.s.close()
                raise
        if context and hello:
            self.send(hello)

    def send(self, raw):
        with contextlib.suppress(OSError):
            self.s.sendall(raw)

    def take(self, n):
        return take(self.s, n)

    def request(self, body, number=None):
        self.number += 1
        n = self.number if number is None else number
        self.send(struct.pack(">QI", len(body) + 4, 0x80000000 | n) + body)

    def answer(self):
        """(kind, fields) of the next envelope; None when the coordinator hung up."""
        head = self.take(8)
        body = head and self.take(struct.unpack(">Q", head)[0])
        if not body:
            return None
        f = fields_of(body[4:])
        for kind in (WELCOME, DESIRED, ACK, PROBLEM):
            if kind in f:
                return kind, fields_of(f[kind][0])
        return 0, f

    def ended(self):
        """True when the coordinator hangs up; raises TimeoutError when it does not."""
        while True:
            try:
                got = self.s.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                return True
            if not got:
                return True

    def greet(self, cluster, generation=1):
        """After the SP hello of the coordinator, our Hello. The kind of its answer."""
        if self.take(8) is None:
            return None
        self.request(envelope(HELLO, message([(1, "test"), (2, 1), (3, 1), (4, generation), (7, b"s" * 16)]), cluster))
        got = self.answer()
        return got and got[0]

    def close(self):
        self.s.close()


def sockets_of(pid):
    """How many sockets a process has open; files come and go by themselves."""
    n = 0
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            n += str(fd.readlink()).startswith("socket:")
    return n

#!/usr/bin/env python3
"""A release pushed with the real programs is served to hosts of the fleet and to coordinators of the cluster, whole and in ranges, and to nobody else.

usage: artifact_http.py WAVETRAIND WAVETRAIN   (prints TAP)
"""
import hashlib
import http.client
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

WAVETRAIND, WAVETRAIN = sys.argv[1:3]
results = []


def check(what, ok):
    results.append(ok)
    print("ok" if ok else "not ok", len(results), "-", what, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cli(data, *words):
    done = subprocess.run([WAVETRAIN, "--socket", f"{data}/admin.sock", *words], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout


def context(bundle, with_certificate=True):
    c = ssl.create_default_context(cafile=str(bundle / "ca.pem"))
    if with_certificate:
        c.load_cert_chain(bundle / "cert.pem", bundle / "key.pem")
    return c


def ask(port, ctx, method, path, **headers):
    conn = http.client.HTTPSConnection("127.0.0.1", port, context=ctx, timeout=10)
    conn.request(method, path, headers=headers)
    answer = conn.getresponse()
    body = answer.read()
    conn.close()
    return answer, body


def coordinator_context(node, folder, name, cluster=None):
    """A certificate of the cluster's own CA, for a coordinator of this name, of this cluster or of another."""
    uri = re.search(r"URI:(wavetrain://[^/]+)/ca", subprocess.run(["openssl", "x509", "-in", node / "ca.pem", "-noout", "-text"],
                                                                  capture_output=True, text=True, check=True).stdout).group(1)
    key, request, cert, more = (folder / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
    more.write_text(f"subjectAltName=URI:{f'wavetrain://{cluster}' if cluster else uri}/coordinator/{name}?gen=1\nextendedKeyUsage=clientAuth,serverAuth\n")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                    "-keyout", key, "-out", request], capture_output=True, check=True)
    subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA", node / "ca.pem", "-CAkey", node / "ca-key.pem", "-set_serial", "77",
                    "-days", "1", "-extfile", more, "-out", cert], capture_output=True, check=True)
    c = ssl.create_default_context(cafile=str(node / "ca.pem"))
    c.load_cert_chain(cert, key)
    return c


def others(node, data, port, path):
    for name, cluster, status in (("coordinator-1", None, 200), ("coordinator-2", None, 403), ("web-1", None, 403), ("coordinator-1", "0" * 32, 403)):
        answer, body = ask(port, coordinator_context(node, data, name, cluster), "GET", path)
        check(f"{name}{' of another cluster' if cluster else ''}, with a coordinator's certificate of the cluster's CA, is answered {status}",
              answer.status == status)
        check(f"{name} got {'the bytes' if status == 200 else 'no byte of it'}",
              (hashlib.sha256(body).hexdigest() == path.split("/")[-1]) == (status == 200))


def run(data, port):
    folder, bundle = data / "app", data / "bundle"
    folder.mkdir()
    (folder / "program").write_bytes(bytes(range(256)) * 4096)
    for words in (["app", "add", "shop"], ["agents", "add", "eu-1", "--region", "eu", "--out", str(bundle)],
                  ["release", "push", "shop", "1.0", str(folder)]):
        check("wavetrain " + " ".join(words[:2]), cli(data, *words)[0] == 0)
    hex_ = json.loads(cli(data, "release", "list", "-o", "json")[1])[0]["artifact"]
    path, ours = "/v1/artifacts/" + hex_, context(bundle)
    answer, whole = ask(port, ours, "GET", path)
    check("the bytes have the digest they are named by", answer.status == 200 and hashlib.sha256(whole).hexdigest() == hex_)
    answer, part = ask(port, ours, "GET", path, Range="bytes=100-199")
    check("a range is that part", answer.status == 206 and part == whole[100:200])
    answer, part = ask(port, ours, "GET", path, Range=f"bytes={len(whole) - 7}-")
    check("an open range is the rest", answer.status == 206 and part == whole[-7:])
    check("a range past the end is refused", ask(port, ours, "GET", path, Range="bytes=999999999-")[0].status == 416)
    answer, body = ask(port, ours, "HEAD", path)
    check("HEAD tells the size", answer.status == 200 and not body and int(answer.headers["Content-Length"]) == len(whole))
    check("another digest is not found", ask(port, ours, "GET", "/v1/artifacts/" + "0" * 64)[0].status == 404)
    check("a path is not a digest", ask(port, ours, "GET", "/v1/artifacts/../../ca-key.pem")[0].status == 404)
    check("POST is refused", ask(port, ours, "POST", path)[0].status == 405)
    (data / "node" / "artifacts" / "sha256" / hex_).unlink()
    check("an archive that was lost is not found", ask(port, ours, "GET", path)[0].status == 404)
    check("the version is pushed again", cli(data, "release", "push", "shop", "1.0", str(folder))[0] == 0)
    check("and its bytes are there again", ask(port, ours, "GET", path)[1] == whole)
    shown = json.loads(cli(data, "release", "show", "shop", "1.0", "-o", "json")[1])
    shown = shown[0] if isinstance(shown, list) else shown
    check("release show says that they lie on one coordinator of one", (shown.get("copies"), shown.get("coordinators")) == (1, 1))
    others(data / "node", data, port, path)
    check("no certificate, no bytes", ask(port, context(bundle, False), "GET", path)[0].status == 403)
    check("wavetrain agents remove", cli(data, "agents", "remove", "eu-1", "--reason", "it leaves", "--confirm=eu-1")[0] == 0)
    check("a host that was removed gets nothing", ask(port, ours, "GET", path)[0].status == 403)


def main():
    data, port = pathlib.Path(tempfile.mkdtemp(prefix="wavetrain-http-")), free_port()
    node = data / "node"
    subprocess.run([WAVETRAIND, "init", "--data", str(node), "--peer-port", "0", "--agent-port", str(free_port()), "--artifact-port", str(port)],
                   check=True, stdout=subprocess.DEVNULL)
    (data / "admin.sock").symlink_to(node / "admin.sock")
    coordinator = subprocess.Popen([WAVETRAIND, "run", "--data", str(node)], stderr=open(data / "log", "w"))
    try:
        for _ in range(200):
            if cli(data, "app", "list")[0] == 0:
                break
            time.sleep(0.05)
        run(data, port)
        coordinator.terminate()
        check("it stops in order", coordinator.wait(timeout=20) == 0)
    finally:
        coordinator.kill()
        shutil.rmtree(data)
    print(f"1..{len(results)}")


main()

"""What a TLS listener takes: versions, suites, groups, signatures, compression, renegotiation, tickets, ALPN, bad records.

    python3 tests/conformance/tls_scan.py --port 8443 --name localhost [--json]

Nothing weak may be taken (RFC 9325, RFC 9113 9.2, RFC 8996). Needs nothing but Python; the checks of renegotiation and of
early data need the `openssl` program and are skipped without it. Verdicts as in run.py; exit code 1 when a check fails.
"""
import argparse
import json
import shutil
import socket
import ssl
import subprocess
import sys

from tls_hello import (
    ALL_TLS12, FALLBACK_SCSV, GOOD_TLS12, GROUPS, RENEGOTIATION_SCSV, SSL3, TLS10, TLS11, TLS12, TLS13, TLS13_SUITES,
    VERSION_NAMES, WEAK_GROUPS, WEAK_SIGNATURES, client_hello, extension, key_exchange_signature, record, talk)

CHECKS = []


class Weak(Exception):
    """Allowed, but not what is asked for."""


class Fail(Exception):
    """Something weak, or something broken."""


class Skip(Exception):
    """Cannot be judged here."""


def check(about):
    def register(run):
        CHECKS.append((about, run))
        return run
    return register


class Scan:
    """The target, and what the checks share."""

    def __init__(self, host, port, name):
        self.address, self.name = (host, port), name

    def hello(self, version=TLS12, suites=tuple(GOOD_TLS12), **how):
        return talk(self.address, record(client_hello(version, suites, name=self.name, **how)))

    def hello13(self, suites=tuple(TLS13_SUITES), **how):
        return self.hello(TLS13, suites, **how)

    def accepted(self, version, suites):
        """Every suite of `suites` that the server takes, in its order of preference."""
        left, found = list(suites), []
        while left:
            reply = self.hello(version, left)
            if reply.refused or reply.suite not in left:
                break
            found.append(reply.suite)
            left.remove(reply.suite)
        return found

    def session(self, version=None, alpn=("h2", "http/1.1")):
        """A real handshake, with Python's TLS."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(list(alpn))
        plain = socket.create_connection(self.address, timeout=3)
        return context.wrap_socket(plain, server_hostname=self.name)

    def lives(self):
        """An ordinary handshake still works."""
        with self.session() as s:
            return s.version()

    def takes12(self):
        return not self.hello().refused


def must_refuse(reply, what):
    if not reply.refused:
        raise Fail(f"{what}: {reply}")
    if reply.nothing == "silence":
        raise Fail(f"{what}: neither alert nor end")


@check("TLS 1.3 is taken")
def tls13(scan):
    reply = scan.hello13()
    if reply.version != TLS13:
        raise Fail(str(reply))


@check("SSL 2.0 is refused")
def ssl2(scan):
    body = b"\x01\x00\x02\x00\x09\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x06\x00\x40" + bytes(range(16))
    must_refuse(talk(scan.address, (0x8000 | len(body)).to_bytes(2, "big") + body), "SSL 2.0")


def _old(version):
    @check(f"{VERSION_NAMES[version]} is refused")
    def old(scan):
        reply = scan.hello(version, ALL_TLS12)
        must_refuse(reply, VERSION_NAMES[version])
        if reply.alert not in ("protocol_version", "handshake_failure"):
            raise Weak(f"{reply}")


for _version in (SSL3, TLS10, TLS11):
    _old(_version)


@check("TLS 1.0 and 1.1 are refused in supported_versions, too")
def old_in_extension(scan):
    reply = scan.hello(TLS12, ALL_TLS12 + list(TLS13_SUITES), versions=[TLS11, TLS10, SSL3])
    must_refuse(reply, "supported_versions without TLS 1.2 and 1.3")


@check("an unknown higher version is answered with TLS 1.3, not with an error")
def future(scan):
    reply = scan.hello(TLS12, list(TLS13_SUITES), versions=[0x0305, 0x7a7a, TLS13, TLS12])
    if reply.version != TLS13:
        raise Fail(str(reply))


@check("TLS 1.2: only suites with forward secrecy and AEAD")
def suites12(scan):
    if not (found := scan.accepted(TLS12, ALL_TLS12)):
        raise Skip("no TLS 1.2")
    if weak := [f"{s:#06x}" for s in found if s not in GOOD_TLS12]:
        raise Fail("weak suites: " + " ".join(weak))
    return " ".join(GOOD_TLS12[s] for s in found)


def _weak(name, fits):
    @check(f"TLS 1.2: {name} alone are refused")
    def weak(scan):
        must_refuse(scan.hello(TLS12, fits), name)


_weak("suites without encryption", [0x0001, 0x0002, 0x003b, 0xc001, 0xc006, 0xc00b, 0xc010])
_weak("export suites", [0x0003, 0x0006, 0x0008, 0x000b, 0x000e, 0x0011, 0x0014, 0x0017, 0x0019])
_weak("anonymous suites", [0x0018, 0x001b, 0x0034, 0x003a, 0x006c, 0x00a6, 0x00a7, 0xc016, 0xc018, 0xc019])
_weak("RC4 suites", [0x0004, 0x0005, 0x0018, 0xc002, 0xc007, 0xc00c, 0xc011])
_weak("3DES suites", [0x000a, 0x0013, 0x0016, 0xc003, 0xc008, 0xc00d, 0xc012])
_weak("CBC suites", [0x002f, 0x0033, 0x0035, 0x0039, 0x003c, 0x003d, 0x0067, 0xc009, 0xc00a, 0xc013, 0xc014, 0xc023,
                     0xc024, 0xc027, 0xc028])
_weak("suites with RSA key exchange", [0x002f, 0x0035, 0x003c, 0x003d, 0x009c, 0x009d])
_weak("suites with finite-field DHE", [0x0033, 0x0039, 0x0067, 0x006b, 0x009e, 0x009f, 0xccaa])
_weak("CCM_8 suites", [0xc0a0, 0xc0a1, 0xc0a2, 0xc0a3, 0xc0ae, 0xc0af])


@check("TLS 1.3: only its AEAD suites, none with a short tag")
def suites13(scan):
    found = scan.accepted(TLS13, TLS13_SUITES)
    if 0x1305 in found:
        raise Fail("TLS_AES_128_CCM_8_SHA256")
    return " ".join(TLS13_SUITES[s] for s in found)


@check("groups: x25519 is taken; X25519MLKEM768 ought to be")
def groups(scan):
    found = [name for group, name in GROUPS.items() if not scan.hello13(groups=[group]).refused]
    if "x25519" not in found:
        raise Fail(" ".join(found))
    if "X25519MLKEM768" not in found:
        raise Weak("no X25519MLKEM768; " + " ".join(found))
    return " ".join(found)


@check("groups below 128 bits of strength are refused")
def weak_groups(scan):
    must_refuse(scan.hello13(groups=WEAK_GROUPS), "TLS 1.3 with weak groups")
    must_refuse(scan.hello(TLS12, list(GOOD_TLS12), groups=WEAK_GROUPS), "TLS 1.2 with weak groups")


@check("signatures: a client that takes only SHA-1 and MD5 is refused")
def weak_signatures(scan):
    reply = scan.hello(signatures=WEAK_SIGNATURES)
    if reply.refused:
        return
    if key_exchange_signature(reply) in WEAK_SIGNATURES:
        raise Fail(f"it signed with {key_exchange_signature(reply):#06x}")
    raise Weak("it signed with what was not offered")


@check("the key exchange of TLS 1.2 is signed with SHA-256 or better")
def signature(scan):
    reply = scan.hello(signatures=WEAK_SIGNATURES + [0x0403, 0x0804, 0x0401])
    if reply.refused:
        raise Skip("no TLS 1.2")
    if key_exchange_signature(reply) in WEAK_SIGNATURES:
        raise Fail(f"{key_exchange_signature(reply):#06x}")


@check("compression is not taken")
def compression(scan):
    for offered in ((1, 0), (64, 1, 0)):
        reply = scan.hello(compression=offered)
        if not reply.refused and reply.compression != 0:
            raise Fail(f"method {reply.compression}")
    must_refuse(scan.hello(compression=(1,)), "DEFLATE alone")
    reply = scan.hello13(compression=(1, 0))
    if not reply.refused:
        raise Weak("TLS 1.3 with a compression method is not an error (8446 4.1.2 asks for illegal_parameter)")


@check("TLS 1.2: secure renegotiation is signalled (RFC 5746)")
def renegotiation_info(scan):
    if not scan.takes12():
        raise Skip("no TLS 1.2")
    for how in (dict(suites=[*GOOD_TLS12, RENEGOTIATION_SCSV]), dict(extra=extension(0xff01, b"\0"))):
        if 0xff01 not in scan.hello(**how).extensions:
            raise Fail(f"no renegotiation_info for {list(how)[0]}")


@check("TLS 1.2: a client cannot renegotiate")
def renegotiation(scan):
    if not scan.takes12():
        raise Skip("no TLS 1.2")
    out = openssl(scan, ["-tls1_2"], "R\n")
    if "RENEGOTIATING" not in out:
        raise Skip("openssl s_client did not try")
    if "verify return" in out.split("RENEGOTIATING", 1)[1]:
        raise Fail("it renegotiated")


def openssl(scan, arguments, stdin, patience=1.5):
    """What `openssl s_client` prints in this time, or until the server ends the connection."""
    if not (program := shutil.which("openssl")):
        raise Skip("no openssl program")
    command = [program, "s_client", "-connect", "%s:%d" % scan.address, "-servername", scan.name, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace") as client:
        client.stdin.write(stdin)
        client.stdin.flush()
        # Standard input stays open at first: its end ends s_client, which then prints what it has kept back.
        for end in (client.stdin.close, client.kill):
            try:
                client.wait(patience)
                break
            except subprocess.TimeoutExpired:
                end()
        return client.stdout.read()


@check("TLS 1.2: extended master secret (RFC 7627)")
def extended_master_secret(scan):
    reply = scan.hello(extra=extension(23, b""))
    if reply.refused:
        raise Skip("no TLS 1.2")
    if 23 not in reply.extensions:
        raise Fail("not taken")


@check("TLS 1.2 is marked as a downgrade for clients that know TLS 1.3 (RFC 8446 4.1.3)")
def downgrade(scan):
    reply = scan.hello()
    if reply.refused:
        raise Skip("no TLS 1.2")
    if reply.random[24:] != b"DOWNGRD\x01":
        raise Fail("no mark in the server's random")


@check("TLS_FALLBACK_SCSV from a client that stopped at TLS 1.2 is answered with inappropriate_fallback (RFC 7507)")
def fallback(scan):
    reply = scan.hello(suites=[*GOOD_TLS12, FALLBACK_SCSV])
    if not reply.refused:
        raise Weak("ignored; the downgrade mark protects clients of TLS 1.3")
    if reply.alert != "inappropriate_fallback" and scan.takes12():
        raise Fail(str(reply))


@check("heartbeat and encrypt-then-mac are not taken")
def heartbeat(scan):
    reply = scan.hello(extra=extension(15, b"\x01") + extension(22, b""))
    if 15 in reply.extensions or 22 in reply.extensions:
        raise Fail(f"extensions {sorted(reply.extensions)}")


@check("the server's TLS 1.2 hello has no extension that was not offered")
def unasked(scan):
    reply = scan.hello(alpn=(), signatures=(0x0403, 0x0804, 0x0401))
    if odd := set(reply.extensions) - {0, 10, 11, 13, 0xff01}:
        raise Fail(f"extensions {sorted(odd)}")


@check("ALPN: h2 is chosen before http/1.1; an unknown protocol alone is refused")
def alpn(scan):
    with scan.session(alpn=["http/1.1", "h2"]) as s:
        chosen = s.selected_alpn_protocol()
    if chosen not in ("h2", "http/1.1"):
        raise Fail(f"{chosen}")
    reply = scan.hello(alpn=(b"no-such",))
    if not reply.refused:
        raise Weak("no-such alone is no error (RFC 7301 3.2 asks for no_application_protocol)")
    if reply.alert not in ("no_application_protocol", "protocol_version"):
        raise Weak(f"no-such alone: {reply}")
    if chosen != "h2":
        raise Weak(f"{chosen} before h2")


@check("ALPN: a client without it is served")
def no_alpn(scan):
    with scan.session(alpn=()) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        if not s.recv(100).startswith(b"HTTP/1.1 "):
            raise Fail("no HTTP/1.1 answer")


@check("session tickets live a week at most, and 0-RTT is not offered")
def tickets(scan):
    out = openssl(scan, ["-tls1_3"], "")
    with scan.session() as s:
        s.settimeout(1)
        try:
            s.recv(1)
        except (TimeoutError, ssl.SSLError):
            pass
        if s.session and s.session.ticket_lifetime_hint > 604800:
            raise Fail(f"{s.session.ticket_lifetime_hint} s")
    for line in out.splitlines():
        if "Max Early Data:" in line and line.split(":")[1].strip() != "0":
            raise Fail(line.strip())


@check("a ClientHello in many small records is taken")
def small_records(scan):
    hello = client_hello(TLS13, TLS13_SUITES, name=scan.name)
    reply = talk(scan.address, b"".join(record(hello[i:i + 16]) for i in range(0, len(hello), 16)))
    if reply.refused:
        raise Fail(str(reply))


BROKEN = [
    ("plain HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("a record of 65,535 bytes", b"\x16\x03\x01\xff\xff" + bytes(65535)),
    ("an empty handshake record", record(b"") + record(b"\x01\x00")),
    ("application data before the handshake", record(b"hello", 23, TLS12)),
    ("an alert first", record(b"\x02\x28", 21)),
    ("ChangeCipherSpec first", record(b"\x01", 20, TLS12) * 40),
    ("a ClientHello that promises 16 MiB", record(b"\x01\xff\xff\xff" + bytes(16000)) * 8),
    ("a ClientHello with a bad length inside", record(client_hello(TLS13, TLS13_SUITES)[:-7])  # cut
     + record(b"\xff" * 20)),
    ("no suites", record(client_hello(TLS12, ()))),
    ("a session id of 64 bytes", record(client_hello(TLS12, list(GOOD_TLS12), session=bytes(64)))),
    ("a server name with a NUL", record(client_hello(TLS13, TLS13_SUITES, name="local\0host"))),
    ("a heartbeat record", record(b"\x01\x40\x00", 24, TLS12)),
    ("random bytes", bytes(range(256)) * 8),
]


def _broken(name, sent):
    @check(f"{name}: refused, and the next client is served")
    def broken(scan):
        reply = talk(scan.address, sent)
        scan.lives()
        if not reply.refused and "server name" not in name:
            raise Fail(str(reply))
        if reply.nothing == "silence" and "promises" not in name and "empty" not in name:
            raise Weak("neither alert nor end within 3 s")


for _name, _sent in BROKEN:
    _broken(_name, _sent)


def judge(about, run, scan):
    try:
        return {"about": about, "verdict": "pass", "seen": run(scan) or ""}
    except (Weak, Fail, Skip) as e:
        return {"about": about, "verdict": type(e).__name__.lower(), "seen": str(e)}
    except OSError as e:
        return {"about": about, "verdict": "fail", "seen": f"the connection broke: {e!r}"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--name", default="localhost", help="server name; default %(default)s")
    p.add_argument("--strict", action="store_true", help="weak counts as failed")
    p.add_argument("--json", action="store_true")
    options = p.parse_args()
    scan = Scan(options.host, options.port, options.name)
    try:
        socket.create_connection(scan.address, timeout=3).close()
    except OSError as e:
        sys.exit(f"{options.host}:{options.port}: {e}")
    results = [judge(about, run, scan) for about, run in CHECKS]
    bad = [r for r in results if r["verdict"] == "fail" or (options.strict and r["verdict"] == "weak")]
    if options.json:
        print(json.dumps({"failed": len(bad), "checks": results}, indent=1))
    else:
        for r in results:
            print(f"{r['verdict']:5} {r['about']}" + (f": {r['seen']}" if r["seen"] else ""))
        print(f"{len(results)} checks, {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

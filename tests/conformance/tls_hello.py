"""TLS ClientHello records by hand, and what a server says to them: enough to offer what no library offers any more."""
import os
import socket
import struct

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304
VERSION_NAMES = {0x0002: "SSL 2.0", SSL3: "SSL 3.0", TLS10: "TLS 1.0", TLS11: "TLS 1.1", TLS12: "TLS 1.2", TLS13: "TLS 1.3"}

TLS13_SUITES = {0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384", 0x1303: "TLS_CHACHA20_POLY1305_SHA256",
                0x1304: "TLS_AES_128_CCM_SHA256", 0x1305: "TLS_AES_128_CCM_8_SHA256"}
# TLS 1.2 suites with forward secrecy and an AEAD cipher: what is not here is weak (RFC 9325 4.2, RFC 9113 appendix A).
GOOD_TLS12 = {0xc02b: "ECDHE_ECDSA_AES_128_GCM", 0xc02c: "ECDHE_ECDSA_AES_256_GCM", 0xc02f: "ECDHE_RSA_AES_128_GCM",
              0xc030: "ECDHE_RSA_AES_256_GCM", 0xcca8: "ECDHE_RSA_CHACHA20_POLY1305", 0xcca9: "ECDHE_ECDSA_CHACHA20_POLY1305"}
# Every number that was ever given to a suite up to TLS 1.2, except the signalling values.
ALL_TLS12 = [n for block in (range(0x0000, 0x00c6), range(0xc001, 0xc0b0), range(0xcca8, 0xccaf), range(0xd001, 0xd006))
             for n in block if n != 0x00ff]
FALLBACK_SCSV, RENEGOTIATION_SCSV = 0x5600, 0x00ff

GROUPS = {0x0017: "secp256r1", 0x0018: "secp384r1", 0x0019: "secp521r1", 0x001d: "x25519", 0x001e: "x448",
          0x11ec: "X25519MLKEM768", 0x11eb: "SecP256r1MLKEM768", 0x0100: "ffdhe2048", 0x0101: "ffdhe3072"}
WEAK_GROUPS = list(range(1, 0x17)) + [0xff01, 0xff02]

SIGNATURES = [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807]
WEAK_SIGNATURES = [0x0101, 0x0103, 0x0201, 0x0202, 0x0203]

ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
          47: "illegal_parameter", 50: "decode_error", 70: "protocol_version", 71: "insufficient_security",
          80: "internal_error", 86: "inappropriate_fallback", 100: "no_renegotiation", 109: "missing_extension",
          112: "unrecognized_name", 120: "no_application_protocol"}
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def _vector(size, body):
    return len(body).to_bytes(size, "big") + body


def extension(number, body):
    return struct.pack(">H", number) + _vector(2, body)


def numbers(values):
    return b"".join(struct.pack(">H", v) for v in values)


def client_hello(version=TLS12, suites=(), groups=tuple(GROUPS), signatures=tuple(SIGNATURES), compression=(0,), name=None,
                 alpn=(b"h2", b"http/1.1"), versions=None, extra=b"", session=b""):
    """A ClientHello message. With TLS13 (or `versions`) it carries supported_versions and an empty key share, which makes
    the server answer with HelloRetryRequest where it knows a group."""
    extensions = b""
    if name:
        extensions += extension(0, _vector(2, b"\0" + _vector(2, name.encode())))
    if groups:
        extensions += extension(10, _vector(2, numbers(groups))) + extension(11, b"\x01\x00")
    if signatures:
        extensions += extension(13, _vector(2, numbers(signatures)))
    if alpn:
        extensions += extension(16, _vector(2, b"".join(_vector(1, p) for p in alpn)))
    if version == TLS13 or versions:
        extensions += extension(43, _vector(1, numbers(versions or [TLS13]))) + extension(51, _vector(2, b""))
        extensions += extension(45, b"\x01\x01")
    extensions += extra
    body = struct.pack(">H", min(version, TLS12)) + os.urandom(32) + _vector(1, session) + _vector(2, numbers(suites))
    body += _vector(1, bytes(compression))
    if version > SSL3:
        body += _vector(2, extensions)
    return b"\x01" + _vector(3, body)


def record(payload, kind=22, version=TLS10):
    return struct.pack(">BHH", kind, version, len(payload)) + payload


class Reply:
    """What came back: `alert` (a name), or the ServerHello's `version`, `suite`, `compression`, `extensions`, `random`,
    `retry`, and all handshake messages as `messages`; `nothing` says why there is neither."""

    def __init__(self):
        self.alert = self.version = self.suite = self.compression = self.nothing = None
        self.extensions, self.messages, self.random, self.retry = {}, [], b"", False

    @property
    def refused(self):
        return self.version is None

    def __str__(self):
        if self.version is None:
            return f"alert {self.alert}" if self.alert else f"{self.nothing}"
        return f"{VERSION_NAMES.get(self.version, hex(self.version))} with suite {self.suite:#06x}"


def talk(target, sent, until=14):
    """Sends bytes and reads the server's flight, up to ServerHelloDone (or ServerHello for TLS 1.3)."""
    reply, buffer, handshake = Reply(), b"", b""
    with socket.create_connection(target, timeout=3) as s:
        try:
            s.sendall(sent)
            while True:
                while len(buffer) >= 5 and len(buffer) >= 5 + int.from_bytes(buffer[3:5], "big"):
                    kind, payload = buffer[0], buffer[5:5 + int.from_bytes(buffer[3:5], "big")]
                    buffer = buffer[5 + len(payload):]
                    if kind == 21 and len(payload) == 2:
                        reply.alert = ALERTS.get(payload[1], str(payload[1]))
                        return reply
                    if kind != 22:
                        return reply
                    handshake = take_messages(reply, handshake + payload)
                    done = {m[0] for m in reply.messages}
                    if until in done or (reply.version == TLS13 and 2 in done):
                        return reply
                more = s.recv(65536)
                if not more:
                    reply.nothing = "closed"
                    return reply
                buffer += more
        except TimeoutError:
            reply.nothing = "silence"
        except OSError as e:
            reply.nothing = e.__class__.__name__
    return reply


def take_messages(reply, data):
    """Splits handshake messages off; returns the incomplete rest."""
    while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[1:4], "big"):
        body = data[4:4 + int.from_bytes(data[1:4], "big")]
        reply.messages.append((data[0], body))
        if data[0] == 2:
            server_hello(reply, body)
        data = data[4 + len(body):]
    return data


def server_hello(reply, body):
    reply.version = int.from_bytes(body[:2], "big")
    reply.random = body[2:34]
    at = 35 + body[34]
    reply.suite, reply.compression = int.from_bytes(body[at:at + 2], "big"), body[at + 2]
    at += 5
    while at + 4 <= len(body):
        number, size = struct.unpack(">HH", body[at:at + 4])
        reply.extensions[number] = body[at + 4:at + 4 + size]
        at += 4 + size
    if 43 in reply.extensions:
        reply.version = int.from_bytes(reply.extensions[43], "big")
    reply.retry = reply.random == RETRY_RANDOM


def key_exchange_signature(reply):
    """The signature scheme of an ECDHE ServerKeyExchange, or None."""
    for kind, body in reply.messages:
        if kind == 12 and body[0] == 3:
            at = 4 + body[3]
            return int.from_bytes(body[at:at + 2], "big")
    return None

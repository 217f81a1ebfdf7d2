"""RFC 9113 section 10.5: what a peer may not do without end. Floods under load are another matter (bench/show)."""
import time

from .case import Fail, case, each
from .hpack_blocks import literal, raw_request
from .wire import CANCEL, ENHANCE_YOUR_CALM, continuation, data, headers, ping, priority, rst_stream, settings, window_update


def pour(c, make, count, patience=10):
    """Sends up to `count` pieces, reading in between; returns how many it took until the server ended the connection."""
    deadline = time.monotonic() + patience
    for n in range(count):
        c.send(make(n))
        if n % 16 == 0:
            c.read(time.monotonic() + 0.001)
        if c.closed or (c.goaway and c.goaway[1]) or time.monotonic() > deadline:
            break
    return n + 1


def ended(c):
    while c.closed is None and not (c.goaway and c.goaway[1]):
        if not c.read(time.monotonic() + 0.5):
            break
    return bool(c.closed or (c.goaway and c.goaway[1]))


@each("9113/10.5", "a field block that never ends, of {}, is stopped before a MiB", [
    ("empty CONTINUATION frames", lambda n: continuation(1, b"", False) * 50),
    ("small CONTINUATION frames", lambda n: continuation(1, literal("without", "x", "y"), False) * 20),
    ("full CONTINUATION frames", lambda n: continuation(1, literal("without", "x", "y" * 16000), False)),
])
def endless_block(t, make):
    c = t.connect()
    c.send(headers(1, c.block(c.fields()), complete=False))
    pour(c, make, 64 if len(make(0)) > 10000 else 2000)
    if not ended(c):
        raise Fail(f"still waiting for more; seen: {c.seen()}")


@case("9113/10.5.1", "a field section above SETTINGS_MAX_HEADER_LIST_SIZE (or 256 KiB) is refused, the server goes on")
def large_section(t):
    c = t.connect()
    for _ in range(40):
        c.send(headers(1, c.block(c.fields()), complete=False)) if not c.log or _ == 0 else None
        c.send(continuation(1, literal("without", "x-big", "v" * 8000), _ == 39))
        if c.closed:
            break
    kind, what = c.settled(1)
    if kind == "answer" and what < 300:
        raise Fail("320 KiB of fields were taken")


@case("9113/10.5.1", "10,000 references to one large entry are not 40 MB of fields")
def amplified(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, literal("incremental", "x-a", "v" * 3900))))
    c.settled(s)
    s = c.stream()
    c.send(headers(s, raw_request(t, b"\xbe" * 10000)))
    kind, what = c.settled(s)
    if kind == "answer" and what < 300:
        raise Fail("40 MB of fields were taken")


@case("9113/10.5.1", "5,000 fields of a few bytes are refused")
def many_fields(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, literal("without", "a", "") * 3500)))
    kind, what = c.settled(s)
    if kind == "answer" and what < 300:
        raise Fail("3,500 fields were taken")


@case("9113/10.5.1", "3,000 cookie crumbs are refused")
def many_crumbs(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, literal("without", 32, "a=b") * 3000)))
    kind, what = c.settled(s)
    if kind == "answer" and what < 300:
        raise Fail("3,000 crumbs were taken")


FLOODS = [
    ("PING", lambda c, n: ping(n.to_bytes(8, "big")) * 100),
    ("SETTINGS", lambda c, n: settings((3, 100)) * 100),
    ("PRIORITY", lambda c, n: priority(2 * n + 1001) * 100),
    ("WINDOW_UPDATE", lambda c, n: window_update(0, 1) * 100),
    ("empty SETTINGS acknowledgement", lambda c, n: bytes.fromhex("000000040100000000") * 100),
    ("unknown", lambda c, n: bytes.fromhex("000000ee0000000000") * 100),
]


@each("9113/10.5", "5,000 {} frames: ENHANCE_YOUR_CALM, or all of it is borne", FLOODS)
def control(t, make):
    c = t.connect()
    pour(c, lambda n: make(c, n), 50)
    survived_or_calm(t, c)


def survived_or_calm(t, c):
    if not (c.goaway or c.closed):
        try:
            c.barrier()
        except Fail:
            if not (c.goaway or c.closed):
                raise
    if c.goaway and c.goaway[1] not in (0, ENHANCE_YOUR_CALM):
        t.should(f"ended with {c.seen()}")
    elif not c.goaway and c.closed:
        t.should(f"{c.closed} without GOAWAY")
    t.connect().works("a request on another connection")


@case("9113/10.5", "3,000 requests reset at once: ENHANCE_YOUR_CALM, or all of it is borne")
def rapid_reset(t):
    c = t.connect()
    block = raw_request(t, b"")

    def burst(n):
        return b"".join(headers(s, block) + rst_stream(s, CANCEL) for s in (c.stream() for _ in range(30)))
    pour(c, burst, 100)
    survived_or_calm(t, c)


@case("9113/10.5", "3,000 requests that make the server reset them: ENHANCE_YOUR_CALM, or all of it is borne")
def made_resets(t):
    c = t.connect()
    block = raw_request(t, b"")

    def burst(n):
        return b"".join(headers(s, block, end=False) + window_update(s, 0) for s in (c.stream() for _ in range(30)))
    pour(c, burst, 100)
    if c.goaway and c.goaway[1] == 1:
        return      # a connection error from the first one on is allowed
    survived_or_calm(t, c)


@case("9113/10.5", "5,000 empty DATA frames: an error, or all of it is borne")
def empty_data(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    pour(c, lambda n: data(s) * 100, 50)
    survived_or_calm(t, c)

"""RFC 9114 section 7.2 and RFC 9218 section 7: what may come on the control stream, and what on a request's only."""
from .case import case, each
from .wire import (
    CANCEL_PUSH, DATA, GOAWAY, HEADERS, MAX_PUSH_ID, PRIORITY_UPDATE, PRIORITY_UPDATE_PUSH, PUSH_PROMISE, frame, section,
    varint)

OF_HTTP2 = [("0x02 (PRIORITY)", 2), ("0x06 (PING)", 6), ("0x08 (WINDOW_UPDATE)", 8), ("0x09 (CONTINUATION)", 9)]


def says(t, *pieces):
    """A connection whose control stream goes on with this."""
    c = t.connect()
    c.send(c.control, b"".join(pieces))
    return c


@each("9114/7.2.8", "the reserved frame type {} of HTTP/2 on the control stream is H3_FRAME_UNEXPECTED", OF_HTTP2)
def of_http2(t, kind):
    says(t, frame(kind, b"12345678")).connection_error("H3_FRAME_UNEXPECTED")


@each("9114/7.2.8", "the reserved frame type {} of HTTP/2 on a request stream is H3_FRAME_UNEXPECTED", OF_HTTP2)
def of_http2_on_request(t, kind):
    c = t.connect()
    c.send(c.stream(), frame(kind, b"12345678") + c.head())
    c.connection_error("H3_FRAME_UNEXPECTED")


@each("9114/7.2", "{} on the control stream is H3_FRAME_UNEXPECTED", [
    ("DATA", frame(DATA, b"x")), ("an empty DATA", frame(DATA)), ("HEADERS", frame(HEADERS, section([(":status", "200")]))),
    ("PUSH_PROMISE", frame(PUSH_PROMISE, varint(0)))])
def of_requests(t, piece):
    says(t, piece).connection_error("H3_FRAME_UNEXPECTED")


@each("9114/7.2", "{} on a request stream is H3_FRAME_UNEXPECTED", [
    ("CANCEL_PUSH", frame(CANCEL_PUSH, varint(0))), ("GOAWAY", frame(GOAWAY, varint(0))),
    ("MAX_PUSH_ID", frame(MAX_PUSH_ID, varint(9))), ("PUSH_PROMISE", frame(PUSH_PROMISE, varint(0) + section([]))),
    ("PRIORITY_UPDATE", frame(PRIORITY_UPDATE, varint(0) + b"u=1"))])
def of_control(t, piece):
    c = t.connect()
    c.send(c.stream(), piece)
    c.connection_error("H3_FRAME_UNEXPECTED")


@each("9114/7.2", "{} behind a request's head is H3_FRAME_UNEXPECTED", [
    ("PUSH_PROMISE", frame(PUSH_PROMISE, varint(0) + section([]))), ("GOAWAY", frame(GOAWAY, varint(0))),
    ("CANCEL_PUSH", frame(CANCEL_PUSH, varint(0)))])
def behind_head(t, piece):
    c = t.connect()
    c.request(method="POST", path=t.path("echo"), end=False, more=frame(DATA, b"abc") + piece)
    c.connection_error("H3_FRAME_UNEXPECTED")


@case("9114/7.2.7", "MAX_PUSH_ID may grow and stay")
def growing(t):
    c = says(t, *[frame(MAX_PUSH_ID, varint(n)) for n in (0, 0, 7, 1 << 40, (1 << 62) - 1)])
    c.works()


@case("9114/7.2.7", "MAX_PUSH_ID that shrinks is H3_ID_ERROR")
def shrinking(t):
    says(t, frame(MAX_PUSH_ID, varint(8)), frame(MAX_PUSH_ID, varint(7))).connection_error("H3_ID_ERROR")


@each("9114/7.2.3", "CANCEL_PUSH {} is H3_ID_ERROR", [
    ("of a push that was never promised", [frame(MAX_PUSH_ID, varint(9)), frame(CANCEL_PUSH, varint(3))]),
    ("above MAX_PUSH_ID", [frame(MAX_PUSH_ID, varint(1)), frame(CANCEL_PUSH, varint(2))]),
    ("without MAX_PUSH_ID", [frame(CANCEL_PUSH, varint(0))])])
def cancel(t, pieces):
    says(t, *pieces).connection_error("H3_ID_ERROR")


@case("9114/5.2", "GOAWAY of a client, any push id, may shrink; requests go on")
def goaway(t):
    c = says(t, frame(GOAWAY, varint(12)), frame(GOAWAY, varint(12)), frame(GOAWAY, varint(1)), frame(GOAWAY, varint(0)))
    c.works()


@case("9114/5.2", "GOAWAY that grows is H3_ID_ERROR")
def goaway_growing(t):
    says(t, frame(GOAWAY, varint(3)), frame(GOAWAY, varint(4))).connection_error("H3_ID_ERROR")


@each("9114/7.1", "{} is H3_FRAME_ERROR", [
    ("GOAWAY of no length", frame(GOAWAY)), ("MAX_PUSH_ID of no length", frame(MAX_PUSH_ID)),
    ("GOAWAY with a byte too many", frame(GOAWAY, varint(4) + b"\0")),
    ("MAX_PUSH_ID with a byte too many", frame(MAX_PUSH_ID, varint(4) + b"\0")),
    ("CANCEL_PUSH with a byte too many", frame(CANCEL_PUSH, varint(4) + b"\0")),
    ("MAX_PUSH_ID cut within its integer", frame(MAX_PUSH_ID, b"\x80\0")),
    ("GOAWAY of 9 bytes", frame(GOAWAY, varint(4, 8) + b"\0")),
    ("PRIORITY_UPDATE of no length", frame(PRIORITY_UPDATE)),
    ("PRIORITY_UPDATE cut within its integer", frame(PRIORITY_UPDATE, b"\xc0\0"))])
def wrong_size(t, piece):
    says(t, piece).connection_error("H3_FRAME_ERROR")


@case("9114/9", "frames of reserved and unknown types are ignored on every stream")
def grease(t):
    grease = b"".join(frame(0x21 + 0x1f * n, b"g" * n) for n in range(8)) + frame((1 << 62) - 1, b"") + frame(0xbeef, b"x" * 999)
    c = says(t, grease)
    stream = c.stream()
    c.send(stream, grease + c.head(method="POST", path=t.path("echo")) + grease + frame(DATA, b"abc") + grease
           + frame(DATA, b"def") + grease, fin=True)
    answer = c.answered(stream)
    if answer.status != 200 or (t.origin and answer.body != b"abcdef"):
        t.should(f"{answer.status} {answer.body!r}")
    c.works()


@each("9218/7.2", "PRIORITY_UPDATE of {} is H3_ID_ERROR", [
    ("a stream that is no request's", frame(PRIORITY_UPDATE, varint(2) + b"u=1")),
    ("a stream of the server", frame(PRIORITY_UPDATE, varint(1) + b"u=1")),
    ("a push that was never promised", frame(PRIORITY_UPDATE_PUSH, varint(0) + b"u=1"))])
def priority_ids(t, piece):
    says(t, piece).connection_error("H3_ID_ERROR")


@case("9218/7.2", "PRIORITY_UPDATE of a stream beyond the limit of streams may be H3_ID_ERROR, and is never kept for all of them")
def priority_beyond(t):
    c = says(t, *[frame(PRIORITY_UPDATE, varint(4 * (100_000 + n)) + b"u=1") for n in range(500)])
    c.wait(0.2)
    if c.closed:
        c.connection_error("H3_ID_ERROR", "H3_EXCESSIVE_LOAD")
    else:
        c.works()


@case("9218/7.2", "PRIORITY_UPDATE before, during and after a request, and with values that cannot be parsed, does no harm")
def priority(t):
    c = says(t, frame(PRIORITY_UPDATE, varint(0) + b"u=0, i"))
    c.works()
    for value in (b"u=7", b"", b"u=9", b"u=-1", b"u=1.5", b"i=?2", b"\0\xff\"", b"u=" + b"1" * 300, b"x" * 5000):
        c.send(c.control, frame(PRIORITY_UPDATE, varint(0) + value) + frame(PRIORITY_UPDATE, varint(c.stream()) + value))
        c.works()


@case("9218/7.2", "2,000 PRIORITY_UPDATE frames a second are borne or H3_EXCESSIVE_LOAD")
def priority_flood(t):
    c = t.connect()
    for _ in range(20):
        c.send(c.control, frame(PRIORITY_UPDATE, varint(0) + b"u=1") * 100)
    c.wait(0.3)
    if c.closed:
        c.connection_error("H3_EXCESSIVE_LOAD")
    else:
        c.works()

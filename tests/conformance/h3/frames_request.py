"""RFC 9114 sections 4.1 and 7.1: the order of frames on a request's stream, their lengths, and where streams end."""
import time

from .case import Fail, case, each
from .wire import DATA, HEADERS, data, frame, headers, section, varint


def post(t, *pieces, extra=(), end=True):
    """A POST with these frames behind its head: (connection, stream)."""
    c = t.connect()
    stream = c.stream()
    c.send(stream, c.head(method="POST", path=t.path("echo"), extra=extra) + b"".join(pieces), fin=end)
    return c, stream


TRAILERS = headers(section([("x-sum", "1")]))


@case("9114/4.1", "DATA before HEADERS is H3_FRAME_UNEXPECTED")
def data_first(t):
    c = t.connect()
    c.send(c.stream(), data(b"x") + c.head(), fin=True)
    c.connection_error("H3_FRAME_UNEXPECTED")


@case("9114/4.1", "an empty DATA before HEADERS is H3_FRAME_UNEXPECTED")
def empty_first(t):
    c = t.connect()
    c.send(c.stream(), data() + c.head(), fin=True)
    c.connection_error("H3_FRAME_UNEXPECTED")


@case("9114/4.1", "DATA behind trailers is H3_FRAME_UNEXPECTED")
def data_after_trailers(t):
    c, _ = post(t, data(b"abc"), TRAILERS, data(b"d"))
    c.connection_error("H3_FRAME_UNEXPECTED")


@case("9114/4.1", "HEADERS behind trailers are H3_FRAME_UNEXPECTED")
def headers_after_trailers(t):
    c, _ = post(t, TRAILERS, TRAILERS)
    c.connection_error("H3_FRAME_UNEXPECTED")


@case("9114/4.1", "a body in many DATA frames, empty ones among them, arrives whole")
def pieces(t):
    c, stream = post(t, *[data(b"%d," % n) + (data() if n % 3 == 0 else b"") for n in range(200)])
    answer = c.answered(stream)
    if t.origin and answer.body != b"".join(b"%d," % n for n in range(200)):
        raise Fail(f"{answer.status} {answer.body[:60]!r}")


@case("9114/4.1", "a stream without a single byte is H3_REQUEST_INCOMPLETE")
def nothing(t):
    c = t.connect()
    stream = c.stream()
    c.send(stream, b"", fin=True)
    c.stream_error(stream, "H3_REQUEST_INCOMPLETE")


@case("9114/4.1.1", "a stream with nothing but an unknown frame is H3_REQUEST_INCOMPLETE")
def grease_only(t):
    c = t.connect()
    stream = c.stream()
    c.send(stream, frame(0x21, b"grease"), fin=True)
    c.stream_error(stream, "H3_REQUEST_INCOMPLETE")


@each("9114/7.1", "a stream that ends {} is H3_FRAME_ERROR", [
    ("within a frame's type", (b"\x40", False)), ("between type and length", (b"\x01", False)),
    ("within a frame's length", (b"\x01\x80\0", False)), ("within HEADERS", (frame(HEADERS, b"\0\0\xd1", length=200), False)),
    ("behind the header of HEADERS", (b"\x01\x20", False)), ("within an unknown frame", (b"\x21\x04abc", False)),
    ("within DATA", (frame(DATA, b"abc", length=4), True)), ("behind the header of DATA", (b"\0\4", True)),
    ("within a frame's type behind the head", (b"\x80\0\0", True)),
    ("within an unknown frame behind the head", (b"\x21\x05a", True)),
    ("within trailers", (frame(HEADERS, b"\0\0", length=9), True))])
def truncated(t, what):
    piece, behind = what
    c = t.connect()
    stream = c.stream()
    c.send(stream, (c.head(method="POST", path=t.path("echo")) if behind else b"") + piece, fin=True)
    c.connection_error("H3_FRAME_ERROR")


@each("9114/7.1", "types and lengths of frames in {} bytes each are read", [1, 2, 4, 8])
def sizes(t, n):
    c = t.connect()
    stream = c.stream()
    s = section(c.fields(method="POST", path=t.path("echo")))
    if len(s) > 63 and n == 1:
        s = b"\0\0\xd4\xd7\xc1\x50\x09localhost"    # :method POST, :scheme https, :path /, :authority
    c.send(stream, frame(HEADERS, s, (n, n)) + frame(DATA, b"abc", (n, n)) + frame(0x21, b"", (n, n)), fin=True)
    if c.answered(stream).status != 200:
        raise Fail(c.seen())


@case("9114/7.1", "a request cut at each of its bytes is the same request")
def cut_everywhere(t):
    c = t.connect()
    whole = frame(0x21, b"g", (4, 2)) + frame(HEADERS, section(c.fields(method="POST", path=t.path("echo"))), (8, 8)) \
        + frame(DATA, b"abc", (4, 4)) + frame(DATA, b"de", (2, 8)) + TRAILERS
    streams = []
    for at in range(1, len(whole)):
        streams.append(c.stream())
        c.send(streams[-1], whole[:at])
        if len(streams) == 40 or at == len(whole) - 1:
            c.wait(0.01)
            first = at - len(streams) + 1
            for n, stream in enumerate(streams):
                c.send(stream, whole[first + n:], fin=True)
            for n, stream in enumerate(streams):
                answer = c.answered(stream)
                if answer.status != 200 or (t.origin and answer.body != b"abcde"):
                    raise Fail(f"cut at {first + n}: {answer.status} {answer.body!r}")
            streams = []


@case("9114/7.1", "a request whose bytes come one by one is answered")
def one_by_one(t):
    c = t.connect()
    stream = c.stream()
    whole = c.head(method="POST", path=t.path("echo")) + data(b"abc") + TRAILERS
    for at in range(len(whole)):
        c.send(stream, whole[at:at + 1], fin=at == len(whole) - 1)
    if c.answered(stream).status != 200:
        raise Fail(c.seen())


@case("9114/4.1", "the stream's end comes by itself, long behind the head")
def late_end(t):
    c = t.connect()
    stream = c.request(end=False)
    c.wait(0.1)
    c.send(stream, b"", fin=True)
    if c.answered(stream).status != 200:
        raise Fail(c.seen())


@each("9114/4.1.2", "content-length {} is malformed", [
    ("5 with 3 bytes", ("5", [data(b"abc")])), ("3 with 5 bytes", ("3", [data(b"abcde")])),
    ("3 with 3 bytes and 1", ("3", [data(b"abc"), data(b"d")])), ("0 with 1 byte", ("0", [data(b"x")])),
    ("1 without DATA", ("1", [])), ("4 with trailers behind 3 bytes", ("4", [data(b"abc"), TRAILERS])),
    ("-1", ("-1", [])), ("of letters", ("abc", [data(b"abc")])), ("of 2^64", ("18446744073709551616", [])),
    ("+3", ("+3", [data(b"abc")])), ("3, 4", ("3, 4", [data(b"abc")]))])
def content_length(t, what):
    value, pieces = what
    c, stream = post(t, *pieces, extra=[("content-length", value)])
    kind, answer = c.settled(stream)
    if kind == "answer" and answer.status == 200:
        raise Fail(f"answered with 200; {c.seen()}")
    c.stream_error(stream, "H3_MESSAGE_ERROR") if kind != "answer" else t.should(f"answered with {answer.status}")
    complete = [r for r in t.requests() if r.method == b"POST" and r.body.endswith(b"abc") and r.all(b"content-length") != [b"3"]]
    if complete and value not in ("4", "5"):
        raise Fail(f"forwarded: {complete[0].head!r}")


@case("9114/4.1.2", "two content-length fields that differ are malformed")
def two_lengths(t):
    c, stream = post(t, data(b"abc"), extra=[("content-length", "3"), ("content-length", "4")])
    c.malformed(stream)


@case("9114/4.1.2", "content-length that fits its DATA frames, however they are cut, is accepted")
def fits(t):
    c, stream = post(t, data(b"ab"), data(), data(b"c"), data(), TRAILERS, extra=[("content-length", "3")])
    if c.answered(stream).status != 200:
        raise Fail(c.seen())


@case("9114/10.5.1", "HEADERS that announce 1 GiB are not waited for: 431, or an error")
def gigabyte(t):
    c = t.connect()
    stream = c.stream()
    c.send(stream, frame(HEADERS, b"\0\0", length=1 << 30))
    c.refused(stream, "H3_EXCESSIVE_LOAD", "H3_REQUEST_REJECTED", "H3_MESSAGE_ERROR")


@case("9114/10.5.1", "an unknown frame that announces 2^62-1 bytes is passed over for as long as it comes, and holds nobody up")
def endless_unknown(t):
    c = t.connect()
    stream = c.stream()
    c.send(stream, varint(0x21) + varint((1 << 62) - 1) + b"x" * 20000)
    c.works()
    c.reset(stream)
    c.works()


@case("9114/7.2.1", "a DATA frame that announces 2^62-1 bytes is forwarded as it comes")
def endless_data(t):
    c, stream = post(t, frame(DATA, b"abc", length=(1 << 62) - 1), end=False)
    c.works()
    c.reset(stream)
    c.works()


@case("9114/4.1", "a head that does not come to an end is given up: 408 or a reset, soon behind its deadline")
def slow_head(t):
    c = t.connect("tight")
    stream = c.stream()
    whole = c.head()
    begun = time.time()
    for at in range(len(whole) - 1):
        c.send(stream, whole[at:at + 1])
        c.wait(0.1)
        if stream in c.resets or stream in c.finished or c.closed:
            break
    if time.time() - begun > 3:
        raise Fail(f"still waiting after {time.time() - begun:.1f} s")
    kind, what = c.settled(stream)
    if kind == "answer" and what.status != 408:
        raise Fail(f"status {what.status}")
    if kind == "reset" and what != 0x10d:
        t.should(f"reset with {what:#x}")
    if kind == "closed":
        t.should(c.seen())


@case("9114/4.1.1", "a request that is reset half way is forgotten; the others go on")
def cancelled(t):
    c = t.connect()
    for n in range(30):
        stream = c.request(method="POST", path=t.path("hold"), end=False, more=data(b"x" * n * 100))
        c.reset(stream)
    c.works()


@case("9114/4.1.1", "STOP_SENDING of an answer ends it; the others go on")
def stopped(t):
    c = t.connect()
    for _ in range(10):
        stream = c.request(path=t.path("bytes/3000000"))
        c.until(lambda: c.received.get(stream), "first bytes")
        c.machine.stop_stream(stream, 0x10c)
        c.flush()
    c.works()

"""RFC 9113 section 8.1: what a message is made of; content-length; interim answers; Expect."""
from .case import Fail, case, each
from .wire import data, headers


def body_lie(t, length, *pieces, end_on_headers=False):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), extra=[("content-length", length)], end=end_on_headers)
    if not end_on_headers:
        c.send(*(data(s, p, end=i == len(pieces) - 1) for i, p in enumerate(pieces)))
    return c, s


@case("9113/8.1", "a second HEADERS without END_STREAM is a stream error PROTOCOL_ERROR", "http2/8.1/1")
def second_headers(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(headers(s, c.block([("x-test", "ok")]), end=False), data(s, b"test", end=True))
    c.rejected(s)


@case("9113/8.1", "DATA behind trailers is an error STREAM_CLOSED or PROTOCOL_ERROR")
def data_behind_trailers(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(data(s, b"a"), headers(s, c.block([("x-sum", "1")])), data(s, b"b", end=True))
    c.either_error(s, [1, 5], [1, 5])


@case("9113/8.1", "a complete answer before the request's end may come with RST_STREAM(NO_ERROR); DATA then harms nothing")
def early_answer(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("early"), end=False)
    c.send(data(s, b"a" * 100))
    c.send(data(s, b"b" * 100, end=True))
    c.works()


@each("9113/8.1.1", "content-length {} is a stream error PROTOCOL_ERROR", [
    ("1 with 4 bytes in one frame", ("1", b"test")), ("1 with 8 bytes in two frames", ("1", b"test", b"test")),
    ("8 with 4 bytes", ("8", b"test")), ("0 with 4 bytes", ("0", b"test")),
    ("4 with no byte, in empty DATA", ("4", b"")),
], ["http2/8.1.2.6/1", "http2/8.1.2.6/2", None, None, None])
def length_lies(t, what):
    c, s = body_lie(t, *what)
    c.rejected(s)


@case("9113/8.1.1", "content-length 4 with END_STREAM on HEADERS is a stream error PROTOCOL_ERROR")
def length_without_body(t):
    c, s = body_lie(t, "4", end_on_headers=True)
    c.rejected(s)


@each("9113/8.1.1", "content-length \"{}\" is a stream error PROTOCOL_ERROR", [
    "-4", "+4", "4x", "", "0x4", "4,4", "4, 5", "99999999999999999999999", "4.0", "4 4"])
def length_syntax(t, value):
    c, s = body_lie(t, value, b"test")
    if value == "4,4":
        kind, what = c.settled(s)
        if kind == "answer" and what < 300:
            t.should("the repeated value was taken as one (9110 8.6 allows it)")
        return
    c.rejected(s)


@case("9113/8.1.1", "two different content-length fields are a stream error PROTOCOL_ERROR")
def two_lengths(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), extra=[("content-length", "4"), ("content-length", "5")], end=False)
    c.send(data(s, b"test", end=True))
    c.rejected(s)


@case("9113/8.1.1", "an exact content-length in several frames is accepted")
def exact_length(t):
    c, s = body_lie(t, "8", b"test", b"", b"test")
    answer = c.answer(s, ok=bool(t.origin))
    if t.origin and answer.body != b"testtest":
        raise Fail(f"body {answer.body!r}")


@case("9113/8.1.1", "the connection goes on after a malformed request, and the next block decodes")
def table_in_step(t):
    c = t.connect()
    s = c.request(extra=[("x-indexed", "value-in-the-table"), ("connection", "close")])
    c.settled(s)
    if c.goaway:
        t.should("the whole connection was ended")
        return
    s = c.request(extra=[("x-indexed", "value-in-the-table")])
    c.answer(s)
    if t.origin:
        good = [r for r in t.requests() if r.all(b"x-indexed") == [b"value-in-the-table"]]
        if not good:
            raise Fail("the indexed field did not arrive")


@case("9113/8.1", "Expect: 100-continue gets an interim 100 or the final answer", origin=True)
def expect(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), extra=[("expect", "100-continue"), ("content-length", "4")],
                  end=False)
    c.barrier()
    c.send(data(s, b"test", end=True))
    if c.answer(s).body != b"test":
        raise Fail("the body did not come back")


@case("9113/8.1", "a request without a body is forwarded without one", origin=True)
def no_body(t):
    c = t.connect()
    c.answer(c.request(method="POST", path=t.path("echo")))
    got = t.requests()
    if len(got) != 1 or got[0].body or got[0].all(b"transfer-encoding"):
        raise Fail(f"{[r.head for r in got]}")



"""RFC 9113 section 6.10: CONTINUATION."""
from .case import case
from .streams import closed_error
from .wire import PROTOCOL_ERROR, STREAM_CLOSED, continuation, data, headers, ping


@case("9113/6.10", "several CONTINUATION frames behind HEADERS are one field block", "http2/6.10/1")
def several(t):
    c = t.connect()
    s = c.stream()
    block = c.block(c.fields(extra=[("x-one", "1"), ("x-two", "2")]))
    third = len(block) // 3
    c.send(headers(s, block[:third], complete=False), continuation(s, block[third:2 * third], False),
           continuation(s, block[2 * third:]))
    c.answer(s)


@case("9113/6.10", "CONTINUATION on stream 0 is a connection error PROTOCOL_ERROR", "http2/6.10/3")
def on_zero(t):
    c = t.connect()
    block = c.block(c.fields())
    c.send(headers(1, block[:5], complete=False), continuation(0, block[5:]))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.10", "CONTINUATION behind HEADERS with END_HEADERS is a connection error PROTOCOL_ERROR", "http2/6.10/4")
def behind_complete(t):
    c = t.connect()
    c.send(headers(1, c.block(c.fields()), end=False), continuation(1, c.block([("x-late", "1")])))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.10", "CONTINUATION behind CONTINUATION with END_HEADERS is a connection error PROTOCOL_ERROR",
      "http2/6.10/5")
def behind_last(t):
    c = t.connect()
    block = c.block(c.fields())
    c.send(headers(1, block[:5], end=False, complete=False), continuation(1, block[5:]),
           continuation(1, c.block([("x-late", "1")])))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.10", "CONTINUATION behind DATA is a connection error PROTOCOL_ERROR", "http2/6.10/6")
def behind_data(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(data(s, b"test"), continuation(s, c.block([("x-late", "1")])))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.10", "CONTINUATION of a trailer section works like that of a head")
def trailers(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    block = c.block([("x-sum", "12345"), ("x-other", "6789")])
    c.send(data(s, b"body"), headers(s, block[:4], complete=False), continuation(s, block[4:]))
    c.answer(s, ok=bool(t.origin))


@case("9113/6.10", "END_STREAM belongs to HEADERS: the same bit on CONTINUATION means nothing")
def end_stream_bit(t):
    c = t.connect()
    s = c.stream()
    block = c.block(c.fields(method="POST", path=t.path("echo")))
    whole = bytearray(continuation(s, block[5:]))
    whole[4] |= 1
    c.send(headers(s, block[:5], end=False, complete=False), bytes(whole), data(s, b"body", end=True))
    answer = c.answer(s, ok=bool(t.origin))
    if t.origin and answer.body != b"body":
        t.should(f"body {answer.body!r}")


@case("9113/6.10", "PING behind a complete block that came in two frames is answered")
def goes_on(t):
    c = t.connect()
    s = c.stream()
    block = c.block(c.fields())
    c.send(headers(s, block[:5], complete=False), continuation(s, block[5:]), ping(b"barrier!"))
    c.until(lambda: b"barrier!" in c.pongs, "answer to PING")
    c.answer(s)


@case("9113/6.10", "HEADERS without END_HEADERS on a closed stream, completed later, is an error of the connection or stream")
def late_block(t):
    c = t.connect()
    s = c.request()
    c.answer(s)
    block = c.block([("x-late", "1")])
    c.send(headers(s, block[:3], complete=False), continuation(s, block[3:]))
    closed_error(t, c, s, STREAM_CLOSED, PROTOCOL_ERROR)

"""RFC 9113 section 4: frame layout, frame size, field blocks on the wire."""
from .case import Skip, case, each
from .wire import (
    COMPRESSION_ERROR, CONTINUATION, DATA, FRAME_SIZE_ERROR, HEADERS, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
    SETTINGS, WINDOW_UPDATE, continuation, data, frame, headers, ping, priority)


@each("9113/4.1", "an unknown frame type {} is ignored", [
    ("on stream 0", (0,)), ("on an idle stream", (7,)), ("with every flag", (0, 0xff)),
    ("of 16,384 bytes", (0, 0, bytes(16384))),
], ["http2/4.1/1", None, None, None])
def unknown_type(t, shape):
    c = t.connect()
    stream, flags, payload = (*shape, *(0, 0, b"12345678")[len(shape):])
    c.send(frame(0xfe, flags, stream, payload), ping(b"afterall"))
    c.until(lambda: b"afterall" in c.pongs or c.goaway, "reaction")
    if c.goaway and stream:
        t.should("an error, as for a known frame on an idle stream (5.1)")
        return
    c.works()


@each("9113/4.1", "undefined flags of {} are ignored", [
    ("PING", frame(PING, 0xfe, 0, b"flagged!")), ("SETTINGS", frame(SETTINGS, 0xfe)),
    ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0xff, 0, b"\0\0\0\1")), ("PRIORITY", frame(PRIORITY, 0xff, 9, bytes(5))),
], ["http2/4.1/2", None, None, None])
def undefined_flags(t, sent):
    c = t.connect()
    c.send(sent)
    c.works()


@case("9113/4.1", "undefined flags of HEADERS are ignored")
def headers_flags(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, c.block(c.fields()), flags=0x02 | 0x10 | 0x40 | 0x80))
    c.answer(s)


@case("9113/4.1", "the reserved bit of the stream identifier is ignored", "http2/4.1/3")
def reserved_bit(t):
    c = t.connect()
    c.send(frame(PING, 0, 1 << 31, b"reserved"))
    c.until(lambda: b"reserved" in c.pongs, "answer to PING")
    s = c.stream()
    c.send(headers(s | 1 << 31, c.block(c.fields())))
    c.answer(s)


@case("9113/4.2", "a DATA frame of 16,384 bytes is accepted", "http2/4.2/1")
def largest_data(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(data(s, bytes(16384), end=True))
    c.answer(s, ok=bool(t.origin))


@case("9113/4.2", "a HEADERS frame of 16,384 bytes of fields is handled; the connection goes on")
def large_headers(t):
    c = t.connect()
    s = c.stream()
    block = c.block(c.fields(extra=[("x-pad", "p" * 7000), ("x-pae", "p" * 7000)]))
    c.send(headers(s, block))
    kind, what = c.settled(s)
    if kind == "gone":
        t.should(f"the connection ended: {what}")


def oversize(c):
    """One byte above SETTINGS_MAX_FRAME_SIZE, which is 16,384 unless the peer says more."""
    size = c.peer.get(5, 16384) + 1
    if size > 1 << 20:
        raise Skip(f"it takes frames of {size - 1} bytes")
    return size


@case("9113/4.2", "DATA above SETTINGS_MAX_FRAME_SIZE is an error FRAME_SIZE_ERROR", "http2/4.2/2")
def large_data(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(data(s, bytes(oversize(c)), end=True))
    c.either_error(s, [FRAME_SIZE_ERROR], [FRAME_SIZE_ERROR])


@each("9113/4.2", "{} above SETTINGS_MAX_FRAME_SIZE is a connection error FRAME_SIZE_ERROR", [
    ("HEADERS", HEADERS), ("CONTINUATION", CONTINUATION), ("SETTINGS", SETTINGS), ("PING", PING),
    ("a frame of unknown type on stream 0", 0xfe)], ["http2/4.2/3", None, None, None, None])
def large_frame(t, kind):
    c = t.connect()
    size = oversize(c)
    if kind == HEADERS:
        block = c.block(c.fields())
        c.send(headers(1, block + b"\x10\x01x\x7f" + bytes(size - len(block) - 4)))
    elif kind == CONTINUATION:
        c.send(headers(1, c.block(c.fields()), complete=False), frame(CONTINUATION, 4, 1, bytes(size)))
    else:
        c.send(frame(kind, 0, 0, bytes(size - size % 6 + 6)))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/4.2", "a length of 2^24-1 alone, without the payload, is answered with FRAME_SIZE_ERROR at once")
def huge_length(t):
    c = t.connect()
    oversize(c)
    c.send(frame(DATA, 0, 1, b"", length=2**24 - 1), headers(1, b""))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/4.3", "a field block that does not decode is a connection error COMPRESSION_ERROR", "http2/4.3/1")
def undecodable(t):
    c = t.connect()
    c.send(headers(1, b"\x40\x7f\xff\xff"))
    c.connection_error(COMPRESSION_ERROR)


BETWEEN = [
    ("PRIORITY", lambda c, s: priority(s)), ("PING", lambda c, s: ping()), ("SETTINGS", lambda c, s: frame(SETTINGS)),
    ("WINDOW_UPDATE", lambda c, s: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")), ("DATA", lambda c, s: data(s, b"x")),
    ("HEADERS of the same stream", lambda c, s: headers(s, b"")),
    ("HEADERS of another stream", lambda c, s: headers(s + 2, c.block(c.fields()))),
    ("CONTINUATION of another stream", lambda c, s: continuation(s + 2, b"")),
    ("a frame of unknown type", lambda c, s: frame(0xfe, 0, s, b"x")),
    ("RST_STREAM", lambda c, s: frame(3, 0, s, bytes(4))),
    ("GOAWAY", lambda c, s: frame(7, 0, 0, bytes(8))),
    ("PUSH_PROMISE", lambda c, s: frame(PUSH_PROMISE, 4, s, b"\0\0\0\2\x82")),
    ("PRIORITY_UPDATE", lambda c, s: frame(16, 0, 0, b"\0\0\0\1u=1")),
]
PUBLIC = {"PRIORITY": "http2/4.3/2 http2/6.2/1", "HEADERS of another stream": "http2/4.3/3 http2/6.2/2",
          "DATA": "http2/6.10/2", "a frame of unknown type": "http2/5.5/2"}


@each("9113/4.3", "{} inside a field block is a connection error PROTOCOL_ERROR", BETWEEN,
      [PUBLIC.get(name) for name, _ in BETWEEN])
def interrupted(t, make):
    c = t.connect()
    s = c.stream()
    block = c.block(c.fields())
    c.send(headers(s, block[:4], complete=False), make(c, s), continuation(s, block[4:]))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/4.3", "a field block cut in the middle of an instruction at END_HEADERS is COMPRESSION_ERROR")
def cut(t):
    c = t.connect()
    c.send(headers(1, c.block(c.fields())[:-3]))
    c.connection_error(COMPRESSION_ERROR)


@case("9113/4.3", "a field block of every possible cut in two parts is one request")
def every_cut(t):
    c = t.connect()
    for at in range(0, 24):
        s = c.stream()
        block = c.block(c.fields())
        c.send(headers(s, block[:at], complete=False), continuation(s, block[at:]))
        c.answer(s)



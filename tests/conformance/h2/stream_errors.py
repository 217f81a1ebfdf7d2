"""RFC 9113 sections 5.2 to 5.5: priorities of RFC 7540, errors, extensions."""
from .case import Fail, case, each
from .generic import half_closed
from .wire import (
    ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, PRIORITY_FLAG, PROTOCOL_ERROR, frame, headers, ping, priority,
    priority_fields, rst_stream, settings)


def self_dependency(t, c, s):
    """RFC 7540 5.3.1 made it a stream error; RFC 9113 no longer speaks of it."""
    c.send(ping(b"afterall"))
    c.until(lambda: (c.goaway and c.goaway[1]) or s in c.resets or b"afterall" in c.pongs or c.closed, "reaction")
    if c.resets.get(s) == PROTOCOL_ERROR or (c.goaway and c.goaway[1] == PROTOCOL_ERROR):
        return
    t.should(f"RFC 7540 wanted PROTOCOL_ERROR, RFC 9113 is silent; seen: {c.seen()}")


@case("7540/5.3.1", "HEADERS of a stream that depends on itself is a stream error PROTOCOL_ERROR", "http2/5.3.1/1")
def headers_on_itself(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, priority_fields(depends=s) + c.block(c.fields()), flags=PRIORITY_FLAG))
    self_dependency(t, c, s)


@case("7540/5.3.1", "PRIORITY of a stream that depends on itself is a stream error PROTOCOL_ERROR", "http2/5.3.1/2")
def priority_on_itself(t):
    c = t.connect()
    c.send(priority(1, depends=1))
    self_dependency(t, c, 1)


@case("9113/5.4.1", "after a connection error the TCP connection is closed", "http2/5.4.1/1")
def closes(t):
    c = t.connect()
    c.send(frame(6, 0, 0, b"short"))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/5.4.1", "GOAWAY of a connection error says the last stream that was worked on", "http2/5.4.1/2")
def last_stream(t):
    c = t.connect()
    s = c.request()
    c.answer(s)
    c.send(frame(6, 0, 3, bytes(8)))
    c.connection_error(PROTOCOL_ERROR)
    if c.goaway and c.goaway[0] != s:
        raise Fail(f"GOAWAY says {c.goaway[0]}, the last stream was {s}")


@case("9113/5.4.1", "requests behind the frame that broke the connection are not answered", origin=True)
def nothing_after(t):
    c = t.connect()
    c.send(frame(6, 0, 3, bytes(8)), headers(1, c.block(c.fields())))
    c.connection_error(PROTOCOL_ERROR)
    if t.requests():
        raise Fail("the origin got it")


@case("9113/5.4.2", "RST_STREAM is not answered with RST_STREAM")
def no_reset_for_reset(t):
    c, s = half_closed(t)
    c.send(rst_stream(s))
    c.barrier()
    if s in c.resets:
        raise Fail(c.seen())


@case("9113/5.4.2", "a stream error leaves other streams alone")
def others_go_on(t):
    c, s = half_closed(t)
    bad = c.request(extra=[("connection", "close")])
    c.until(lambda: bad in c.resets or bad in c.ended or c.goaway or (bad in c.answers and c.answers[bad].status),
            "end of the bad stream")
    if c.goaway:
        t.should("the whole connection was ended")
        return
    c.send(frame(8, 0, s, b"\0\0\xff\xff"))
    c.answer(s)


@case("9113/5.5", "frames of unknown types between the frames of a request are ignored", "http2/5.5/1")
def extensions(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(frame(0x16, 0, 0, b"12345678"), frame(0xee, 0xff, s, b"x"), frame(0, 0, s, b"bo"), frame(0xee, 0, s, b""),
           frame(0, 1, s, b"dy"))
    c.answer(s, ok=bool(t.origin))


@each("9113/5.5", "a frame of the extension type {} is ignored", [
    ("ALTSVC (client to server)", frame(10, 0, 0, b"\0\1ah2=\":1\"")), ("ORIGIN (client to server)", frame(12, 0, 0, b"")),
    ("0xff on stream 0", frame(0xff, 0, 0, b"zz"))])
def extension_types(t, sent):
    c = t.connect()
    c.send(sent)
    c.works()


@case("9113/5.5", "unknown settings are ignored and acknowledged", "http2/6.5.2/5")
def unknown_settings(t):
    c = t.connect()
    c.until(lambda: c.acks == 1, "SETTINGS acknowledgement")
    c.send(settings((0xff, 1), (0x7fff, 2**32 - 1), (0, 5)))
    c.until(lambda: c.acks == 2, "SETTINGS acknowledgement")
    c.works()


@case("9113/7", "GOAWAY with an unknown error code is like any other", "http2/7/1")
def unknown_goaway(t):
    c = t.connect()
    s = c.request()
    c.send(frame(7, 0, 0, bytes(4) + b"\0\0\0\xff"))
    try:
        c.answer(s)
        c.barrier()
    except Fail:
        if c.goaway and c.goaway[1] not in (0, ENHANCE_YOUR_CALM):
            raise
        if c.closed is None:
            raise
        t.should("the connection was closed")


@case("9113/7", "RST_STREAM with an unknown error code is like any other", "http2/7/2")
def unknown_reset(t):
    c, s = half_closed(t)
    c.send(rst_stream(s, 0xff))
    c.barrier()



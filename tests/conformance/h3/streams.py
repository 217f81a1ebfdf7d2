"""RFC 9114 section 6: the unidirectional streams, which may come, how often, and that some may not end."""
from .case import Fail, case, each
from .wire import CONTROL, DECODER, ENCODER, PUSH, SETTINGS, settings, varint

CRITICAL = [("control", CONTROL), ("encoder", ENCODER), ("decoder", DECODER)]


@case("9114/6.2.1", "the server's control stream begins with SETTINGS, and no setting is twice or of HTTP/2")
def own_control(t):
    c = t.connect()
    pairs = c.peer_settings()
    keys = [k for k, _ in pairs]
    if len(set(keys)) != len(keys) or any(k in (0, 2, 3, 4, 5) for k in keys):
        raise Fail(f"{pairs}")
    if any(k == SETTINGS for k, _ in c.control_frames()[1:]):
        raise Fail("a second SETTINGS frame")


@case("9114/6.2.1", "requests that come before the client's control stream are answered")
def late_control(t):
    c = t.connect(control=False)
    c.works()
    c.uni(varint(CONTROL) + settings())
    c.works()


@each("9114/6.2.1", "a second {} stream is H3_STREAM_CREATION_ERROR", CRITICAL)
def twice(t, kind):
    c = t.connect()
    c.uni(varint(kind) + (settings() if kind == CONTROL else b""))
    if kind != CONTROL:
        c.uni(varint(kind))
    c.connection_error("H3_STREAM_CREATION_ERROR")


@each("9114/6.2.1", "the {} stream ends: H3_CLOSED_CRITICAL_STREAM", CRITICAL)
def finished(t, kind):
    c = t.connect(control=False)
    c.uni(varint(kind) + (settings() if kind == CONTROL else b""), fin=True)
    c.connection_error("H3_CLOSED_CRITICAL_STREAM")


@each("9114/6.2.1", "the {} stream ends later: H3_CLOSED_CRITICAL_STREAM", CRITICAL)
def finished_later(t, kind):
    c = t.connect(control=False)
    stream = c.uni(varint(kind) + (settings() if kind == CONTROL else b""))
    c.works()
    c.send(stream, fin=True)
    c.connection_error("H3_CLOSED_CRITICAL_STREAM")


@each("9114/6.2.1", "the {} stream is reset: H3_CLOSED_CRITICAL_STREAM", CRITICAL)
def was_reset(t, kind):
    c = t.connect(control=False)
    stream = c.uni(varint(kind) + (settings() if kind == CONTROL else b""))
    c.works()
    c.reset(stream)
    c.connection_error("H3_CLOSED_CRITICAL_STREAM")


@case("9114/6.2.1", "STOP_SENDING of the server's control stream is H3_CLOSED_CRITICAL_STREAM")
def stopped_control(t):
    c = t.connect()
    c.peer_settings()
    c.machine.stop_stream(c.server_stream_id(CONTROL), 0x100)
    c.flush()
    c.connection_error("H3_CLOSED_CRITICAL_STREAM")


@case("9114/6.2.2", "a push stream of a client is H3_STREAM_CREATION_ERROR")
def push_stream(t):
    c = t.connect()
    c.uni(varint(PUSH) + varint(0))
    c.connection_error("H3_STREAM_CREATION_ERROR")


@each("9114/6.2.3", "a unidirectional stream of type {} is stopped or read, and nothing else happens", [
    ("0x21 (reserved)", 0x21), ("0x40 (reserved)", 0x40), ("0x54", 0x54), ("0x4 (unknown)", 4),
    ("2^62-1", (1 << 62) - 1)])
def unknown_type(t, kind):
    c = t.connect()
    stream = c.uni(varint(kind) + b"whatever it may be" * 20)
    c.works()
    c.until(lambda: stream in c.stops, "STOP_SENDING")
    if c.stops[stream] not in (0x103, 0x100):
        t.should(f"stopped with {c.stops[stream]:#x}, not H3_STREAM_CREATION_ERROR")


@case("9114/6.2", "a stream that ends or is reset before its type came is no error")
def no_type(t):
    c = t.connect()
    c.uni(b"", fin=True)
    stream = c.uni(b"\x40")
    c.send(stream, fin=True)
    stream = c.uni(b"\x80\0")
    c.reset(stream)
    c.works()
    if c.closed:
        raise Fail(c.seen())


@case("9114/6.2", "the type of a stream comes byte by byte")
def type_in_pieces(t):
    c = t.connect(control=False)
    stream = c.uni(b"")
    for piece in [*varint(CONTROL, 8), *settings((0x21, 1 << 40), (6, 70))]:
        c.send(stream, bytes([piece]))
        c.wait(0.002)
    c.works()
    c.send(stream, settings())
    c.connection_error("H3_FRAME_UNEXPECTED")


@case("9114/6.1", "a bidirectional stream opened by the server would be an error; it opens none")
def none_of_servers(t):
    c = t.connect()
    c.works()
    if any(s % 4 == 1 for s in c.received):
        raise Fail(c.seen())


@case("9114/6.2.3", "200 streams of unknown types are borne or H3_EXCESSIVE_LOAD")
def many_unknown(t):
    c = t.connect()
    for n in range(200):
        c.uni(varint(0x21 + 0x1f * n) + b"x", fin=True)
        c.wait(0.002)
    if c.closed:
        c.connection_error("H3_EXCESSIVE_LOAD")
    else:
        c.works()


@case("9204/4.2", "an encoder and a decoder stream with nothing on them are no error")
def silent_qpack(t):
    c = t.connect()
    c.uni(varint(ENCODER))
    c.uni(varint(DECODER))
    c.works()

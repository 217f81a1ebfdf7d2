"""RFC 9113 sections 6.5, 6.7, 6.8: SETTINGS, PING, GOAWAY."""
from .case import Fail, case, each
from .wire import (
    ACK, ENABLE_PUSH, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE, PING, PROTOCOL_ERROR, SETTINGS, frame, ping, settings, window_update)


@each("9113/6.5", "a SETTINGS acknowledgement with {} bytes is a connection error FRAME_SIZE_ERROR", [("6", 6), ("1", 1)],
      ["http2/6.5/1", None])
def ack_payload(t, size):
    c = t.connect()
    c.send(frame(SETTINGS, ACK, 0, bytes(size)))
    c.connection_error(FRAME_SIZE_ERROR)


@each("9113/6.5", "SETTINGS on {} is a connection error PROTOCOL_ERROR", [("stream 1", 1), ("stream 2", 2)],
      ["http2/6.5/2", None])
def on_stream(t, stream):
    c = t.connect()
    c.send(frame(SETTINGS, 0, stream, b"\0\3\0\0\0\x64"))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.5", "SETTINGS of {} bytes is a connection error FRAME_SIZE_ERROR", [("3", 3), ("7", 7)],
      ["http2/6.5/3", None])
def size(t, length):
    c = t.connect()
    c.send(frame(SETTINGS, 0, 0, bytes(length)))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/6.5", "an acknowledgement nobody asked for does no harm")
def spare_ack(t):
    c = t.connect()
    c.send(frame(SETTINGS, ACK))
    c.send(ping(b"afterall"))
    c.until(lambda: b"afterall" in c.pongs or c.goaway, "reaction")
    if c.goaway:
        t.should("the connection was ended")


BAD = [
    ("ENABLE_PUSH 2", (ENABLE_PUSH, 2), PROTOCOL_ERROR, "http2/6.5.2/1"),
    ("INITIAL_WINDOW_SIZE 2^31", (INITIAL_WINDOW_SIZE, 2**31), FLOW_CONTROL_ERROR, "http2/6.5.2/2"),
    ("INITIAL_WINDOW_SIZE 2^32-1", (INITIAL_WINDOW_SIZE, 2**32 - 1), FLOW_CONTROL_ERROR, "http2/6.9.2/3"),
    ("MAX_FRAME_SIZE 16,383", (MAX_FRAME_SIZE, 16383), PROTOCOL_ERROR, "http2/6.5.2/3"),
    ("MAX_FRAME_SIZE 0", (MAX_FRAME_SIZE, 0), PROTOCOL_ERROR, None),
    ("MAX_FRAME_SIZE 2^24", (MAX_FRAME_SIZE, 2**24), PROTOCOL_ERROR, "http2/6.5.2/4"),
]


@each("9113/6.5.2", "{} is a connection error", [(n, (p, code)) for n, p, code, _ in BAD], [b[3] for b in BAD])
def bad_value(t, what):
    pair, code = what
    c = t.connect()
    c.send(settings(pair))
    c.connection_error(code)


@case("9113/6.5.2", "a bad value behind good ones in one frame is still an error")
def bad_behind_good(t):
    c = t.connect()
    c.send(settings((3, 100), (4, 65535), (2, 7)))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.5.2", "{} is accepted", [
    ("HEADER_TABLE_SIZE 0", (HEADER_TABLE_SIZE, 0)), ("HEADER_TABLE_SIZE 2^32-1", (HEADER_TABLE_SIZE, 2**32 - 1)),
    ("ENABLE_PUSH 1", (ENABLE_PUSH, 1)), ("INITIAL_WINDOW_SIZE 2^31-1", (INITIAL_WINDOW_SIZE, 2**31 - 1)),
    ("MAX_FRAME_SIZE 2^24-1", (MAX_FRAME_SIZE, 2**24 - 1)), ("MAX_HEADER_LIST_SIZE 2^32-1", (MAX_HEADER_LIST_SIZE, 2**32 - 1)),
])
def good_value(t, pair):
    c = t.connect()
    if pair[0] == HEADER_TABLE_SIZE:
        c.decoder.max_allowed_table_size = max(pair[1], 4096)
    c.send(settings(pair))
    # A frame above 16,384 bytes would be a finding of the client: it never said it takes one before this.
    c.until(lambda: c.acks == 2, "SETTINGS acknowledgement")
    s = c.request()
    c.answer(s)
    c.works()


@case("9113/6.5.2", "HEADER_TABLE_SIZE 0: the server's blocks no longer use a dynamic table")
def table_zero(t):
    c = t.connect(open_settings=[(HEADER_TABLE_SIZE, 0)])
    c.until(lambda: c.acks, "SETTINGS acknowledgement")
    c.decoder.max_allowed_table_size = 0
    for _ in range(4):
        c.works()


@case("9113/6.5.3", "of repeated values of INITIAL_WINDOW_SIZE in one frame the last one counts", "http2/6.5.3/1")
def repeated(t):
    c = t.connect()
    c.until(lambda: c.acks == 1, "SETTINGS acknowledgement")
    c.grow = False
    c.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)))
    c.until(lambda: c.acks == 2, "SETTINGS acknowledgement")
    s = c.request()
    c.until(lambda: s in c.answers and c.answers[s].body, "DATA")
    c.barrier()
    if len(c.answers[s].body) != 1:
        raise Fail(f"{len(c.answers[s].body)} bytes came through a window of 1")


@case("9113/6.5.3", "each SETTINGS is acknowledged, in order", "http2/6.5.3/2")
def each_acknowledged(t):
    c = t.connect()
    for i in range(5):
        c.send(settings((3, 100 + i)))
    c.until(lambda: c.acks == 6, "6 acknowledgements")
    c.works()


@case("9113/6.5.3", "the server waits for no acknowledgement before it answers")
def no_ack(t):
    c = t.connect(ack=False)
    c.answer(c.request())


@case("9113/6.7", "PING comes back with its 8 bytes", "http2/6.7/1")
def ping_payload(t):
    c = t.connect()
    c.send(ping(b"\x00\xffpayload"[:8]))
    c.until(lambda: b"\x00\xffpayload"[:8] in c.pongs, "answer to PING")


@case("9113/6.7", "an acknowledged PING is not answered", "http2/6.7/2")
def ping_ack(t):
    c = t.connect()
    c.send(ping(b"unasked!", ack=True), ping(b"question"))
    c.until(lambda: b"question" in c.pongs, "answer to PING")
    if b"unasked!" in c.pongs:
        raise Fail("it answered an acknowledgement")


@each("9113/6.7", "PING on stream {} is a connection error PROTOCOL_ERROR", [("1", 1), ("2", 2)], ["http2/6.7/3", None])
def ping_stream(t, stream):
    c = t.connect()
    c.send(frame(PING, 0, stream, bytes(8)))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.7", "PING of {} bytes is a connection error FRAME_SIZE_ERROR", [("6", 6), ("9", 9), ("0", 0)],
      ["http2/6.7/4", None, None])
def ping_size(t, length):
    c = t.connect()
    c.send(frame(PING, 0, 0, bytes(length)))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/6.7", "a PING acknowledgement of 7 bytes is a connection error FRAME_SIZE_ERROR")
def ping_ack_size(t):
    c = t.connect()
    c.send(frame(PING, ACK, 0, bytes(7)))
    c.connection_error(FRAME_SIZE_ERROR)


@each("9113/6.8", "GOAWAY on stream {} is a connection error PROTOCOL_ERROR", [("1", 1), ("2", 2)], ["http2/6.8/1", None])
def goaway_stream(t, stream):
    c = t.connect()
    c.send(frame(7, 0, stream, bytes(8)))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.8", "GOAWAY of 7 bytes is a connection error FRAME_SIZE_ERROR")
def goaway_size(t):
    c = t.connect()
    c.send(frame(7, 0, 0, bytes(7)))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/6.8", "PING and WINDOW_UPDATE still work after the client's GOAWAY while a request is in flight")
def after_goaway(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 0)], grow=False)
    c.until(lambda: c.acks, "SETTINGS acknowledgement")
    s = c.request()
    c.send(frame(7, 0, 0, bytes(8)))
    c.barrier()
    c.send(window_update(s, 65535))
    c.answer(s)

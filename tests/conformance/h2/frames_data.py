"""RFC 9113 sections 6.1 to 6.4: DATA, HEADERS, PRIORITY, RST_STREAM."""
from .case import case, each
from .wire import (
    FRAME_SIZE_ERROR, PADDED, PRIORITY_FLAG, PROTOCOL_ERROR, STREAM_CLOSED, data, frame, headers, padded, rst_stream)


@case("9113/6.1", "DATA on stream 0 is a connection error PROTOCOL_ERROR", "http2/6.1/1")
def data_zero(t):
    c = t.connect()
    c.send(data(0, b"test"))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.1", "DATA with {} is a connection error PROTOCOL_ERROR", [
    ("a pad length of the whole payload", bytes([6]) + b"test" + b"\0"),
    ("a pad length far above the payload", bytes([255]) + b"test"),
    ("a pad length of 1 and nothing behind it", bytes([1])),
], ["http2/6.1/3", None, None])
def data_padding(t, payload):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(data(s, payload, flags=PADDED))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.1", "padded DATA without even the pad length is a connection error (FRAME_SIZE_ERROR or PROTOCOL_ERROR)")
def data_no_pad_length(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(data(s, b"", flags=PADDED))
    c.connection_error(FRAME_SIZE_ERROR, PROTOCOL_ERROR)


@case("9113/6.1", "DATA after END_STREAM in the same segment is an error STREAM_CLOSED")
def data_after_end(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(data(s, b"a", end=True), data(s, b"b", end=True))
    c.either_error(s, [STREAM_CLOSED], [STREAM_CLOSED])


@case("9113/6.1", "padding that is not zero is ignored or PROTOCOL_ERROR")
def data_odd_padding(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(data(s, bytes([3]) + b"test" + b"abc", end=True, flags=PADDED))
    kind, what = c.settled(s)
    if kind == "gone":
        c.connection_error(PROTOCOL_ERROR)


@case("9113/6.2", "HEADERS on stream 0 is a connection error PROTOCOL_ERROR", "http2/6.2/3")
def headers_zero(t):
    c = t.connect()
    c.send(headers(0, c.block(c.fields())))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.2", "HEADERS with a pad length {} is a connection error PROTOCOL_ERROR", [
    ("above the payload", lambda b: bytes([len(b) + 1]) + b), ("of 255 for 20 bytes", lambda b: b"\xff" + b[:20]),
], ["http2/6.2/4", None])
def headers_padding(t, wrap):
    c = t.connect()
    c.send(headers(1, wrap(c.block(c.fields())[:200]), flags=PADDED))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.2", "HEADERS with a pad length that leaves no room for the priority fields is a connection error")
def headers_padding_priority(t):
    c = t.connect()
    c.send(headers(1, padded(b"abcd", 4), flags=PADDED | PRIORITY_FLAG))
    c.connection_error(PROTOCOL_ERROR, FRAME_SIZE_ERROR)


@case("9113/6.2", "HEADERS with the PRIORITY flag and fewer than 5 bytes is a connection error")
def headers_short_priority(t):
    c = t.connect()
    c.send(headers(1, b"\0\0", flags=PRIORITY_FLAG))
    c.connection_error(FRAME_SIZE_ERROR, PROTOCOL_ERROR)


@case("9113/6.3", "PRIORITY on stream 0 is a connection error PROTOCOL_ERROR", "http2/6.3/1")
def priority_zero(t):
    c = t.connect()
    c.send(frame(2, 0, 0, bytes(5)))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.3", "PRIORITY of {} bytes is a stream error FRAME_SIZE_ERROR", [("4", 4), ("6", 6), ("0", 0)],
      ["http2/6.3/2", None, None])
def priority_size(t, size):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(frame(2, 0, s, bytes(size)))
    c.either_error(s, [FRAME_SIZE_ERROR], [FRAME_SIZE_ERROR])


@case("9113/6.4", "RST_STREAM on stream 0 is a connection error PROTOCOL_ERROR", "http2/6.4/1")
def reset_zero(t):
    c = t.connect()
    c.send(rst_stream(0))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.4", "RST_STREAM of {} bytes is a connection error FRAME_SIZE_ERROR", [("3", 3), ("5", 5), ("0", 0)],
      ["http2/6.4/3", None, None])
def reset_size(t, size):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(frame(3, 0, s, bytes(size)))
    c.connection_error(FRAME_SIZE_ERROR)

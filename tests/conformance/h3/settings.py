"""RFC 9114 section 7.2.4: SETTINGS, and what it may not say."""
from .case import case, each
from .wire import (
    BLOCKED_STREAMS, CONNECT_PROTOCOL, CONTROL, DATA, FIELD_SECTION_SIZE, GOAWAY, MAX_PUSH_ID, SETTINGS, TABLE_CAPACITY,
    frame, settings, varint)


def control_stream(t, *pieces):
    """A connection whose control stream is exactly this, in one piece."""
    c = t.connect(control=False)
    c.control = c.uni(varint(CONTROL) + b"".join(pieces))
    return c


@each("9114/7.2.4.1", "the reserved setting {} of HTTP/2 is H3_SETTINGS_ERROR", [
    ("0x00", 0), ("0x02 (ENABLE_PUSH)", 2), ("0x03 (MAX_CONCURRENT_STREAMS)", 3), ("0x04 (INITIAL_WINDOW_SIZE)", 4),
    ("0x05 (MAX_FRAME_SIZE)", 5)])
def of_http2(t, key):
    control_stream(t, settings((key, 1))).connection_error("H3_SETTINGS_ERROR")


@each("9114/7.2.4", "the setting {} twice is H3_SETTINGS_ERROR", [
    ("QPACK_MAX_TABLE_CAPACITY", TABLE_CAPACITY), ("MAX_FIELD_SECTION_SIZE", FIELD_SECTION_SIZE),
    ("QPACK_BLOCKED_STREAMS", BLOCKED_STREAMS), ("0x21 (reserved)", 0x21)])
def twice(t, key):
    control_stream(t, settings((key, 1), (0x40, 3), (key, 1))).connection_error("H3_SETTINGS_ERROR")


@each("9220/3", "SETTINGS_ENABLE_CONNECT_PROTOCOL {} is H3_SETTINGS_ERROR", [2, 1 << 40])
def connect_protocol(t, value):
    control_stream(t, settings((CONNECT_PROTOCOL, value))).connection_error("H3_SETTINGS_ERROR")


@case("9297/2.1.1", "SETTINGS_H3_DATAGRAM 2 is H3_SETTINGS_ERROR")
def datagram(t):
    control_stream(t, settings((0x33, 2))).connection_error("H3_SETTINGS_ERROR")


@each("9114/6.2.1", "{} before SETTINGS is H3_MISSING_SETTINGS", [
    ("GOAWAY", frame(GOAWAY, varint(0))), ("MAX_PUSH_ID", frame(MAX_PUSH_ID, varint(0))),
    ("a frame of a reserved type", frame(0x21, b"grease")), ("an unknown frame of no length", frame(0x40))])
def missing(t, first):
    control_stream(t, first, settings()).connection_error("H3_MISSING_SETTINGS")


@case("9114/6.2.1", "DATA before SETTINGS is H3_MISSING_SETTINGS or H3_FRAME_UNEXPECTED")
def data_first(t):
    control_stream(t, frame(DATA, b"x")).connection_error("H3_MISSING_SETTINGS", "H3_FRAME_UNEXPECTED")


@case("9114/7.2.4", "a second SETTINGS frame is H3_FRAME_UNEXPECTED")
def second(t):
    control_stream(t, settings((6, 1000)), settings()).connection_error("H3_FRAME_UNEXPECTED")


@case("9114/7.2.4", "SETTINGS on a request stream is H3_FRAME_UNEXPECTED")
def on_request(t):
    c = t.connect()
    c.send(c.stream(), settings())
    c.connection_error("H3_FRAME_UNEXPECTED")


@each("9114/7.1", "SETTINGS that end within {} are H3_FRAME_ERROR", [
    ("an identifier", b"\x40"), ("a value", b"\x06\x80\0"), ("an entry, its value missing", b"\x06")])
def cut(t, payload):
    control_stream(t, frame(SETTINGS, payload)).connection_error("H3_FRAME_ERROR")


@case("9114/7.2.4.1", "reserved and unknown settings are ignored")
def grease(t):
    control_stream(t, settings(*[(0x21 + 0x1f * n, n) for n in range(20)], (0x3fffffff, 1 << 61))).works()


@case("9114/7.2.4", "empty SETTINGS, and every setting at its largest, are accepted")
def largest(t):
    control_stream(t, settings()).works()
    most = (1 << 62) - 1
    control_stream(t, settings((TABLE_CAPACITY, most), (FIELD_SECTION_SIZE, most), (BLOCKED_STREAMS, most))).works()


@case("9114/10.5", "SETTINGS that announce 1 GiB are not waited for")
def gigabyte(t):
    control_stream(t, frame(SETTINGS, b"", length=1 << 30)).connection_error("H3_EXCESSIVE_LOAD", "H3_FRAME_ERROR")


@case("9114/10.5", "a thousand settings are borne or H3_EXCESSIVE_LOAD")
def thousand(t):
    c = control_stream(t, settings(*[(0x21 + 0x1f * n, n) for n in range(1000)]))
    c.wait(0.3)
    if c.closed:
        c.connection_error("H3_EXCESSIVE_LOAD")
    else:
        c.works()

"""Numbers and bytes of RFC 9113: frame types, flags, settings, error codes, and frames of any shape, valid or not."""
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY_FLAG = 0x1, 0x1, 0x4, 0x8, 0x20

TYPES = {DATA: "DATA", HEADERS: "HEADERS", PRIORITY: "PRIORITY", RST_STREAM: "RST_STREAM", SETTINGS: "SETTINGS",
         PUSH_PROMISE: "PUSH_PROMISE", PING: "PING", GOAWAY: "GOAWAY", WINDOW_UPDATE: "WINDOW_UPDATE",
         CONTINUATION: "CONTINUATION", PRIORITY_UPDATE: "PRIORITY_UPDATE"}

(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY,
 HTTP_1_1_REQUIRED) = range(14)
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
         "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
         "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = \
    range(1, 7)
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9

MAX_WINDOW = 2**31 - 1


def code_name(code):
    return CODES[code] if code < len(CODES) else f"code {code:#x}"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """Any frame; `length` overrides the length field, bit 31 of `stream` is the reserved bit."""
    size = len(payload) if length is None else length
    return struct.pack(">BHBBL", size >> 16, size & 0xffff, kind, flags, stream) + payload


def settings(*pairs):
    """SETTINGS with these (identifier, value) pairs, in this order, repeats included."""
    return frame(SETTINGS, payload=b"".join(struct.pack(">HL", i, v) for i, v in pairs))


def data(stream, payload=b"", end=False, flags=0):
    return frame(DATA, flags | (END_STREAM if end else 0), stream, payload)


def headers(stream, block, end=True, complete=True, flags=0):
    """HEADERS with a block (or the first part of it when not `complete`)."""
    return frame(HEADERS, flags | (END_STREAM if end else 0) | (END_HEADERS if complete else 0), stream, block)


def continuation(stream, block, complete=True):
    return frame(CONTINUATION, END_HEADERS if complete else 0, stream, block)


def priority(stream, depends=0, weight=16, exclusive=False):
    """PRIORITY; `weight` is 1 to 256."""
    return frame(PRIORITY, 0, stream, priority_fields(depends, weight, exclusive))


def priority_fields(depends=0, weight=16, exclusive=False):
    return struct.pack(">LB", depends | (exclusive << 31), weight - 1)


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def ping(payload=b"\0" * 8, ack=False):
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last=0, code=NO_ERROR, debug=b""):
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last, code) + debug)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


def padded(payload, pad):
    """The payload of a padded frame: pad length, payload, so many zeros."""
    return bytes([pad]) + payload + b"\0" * pad


def priority_update(stream, value, on=0):
    """PRIORITY_UPDATE (RFC 9218 7.1) for `stream`."""
    return frame(PRIORITY_UPDATE, 0, on, struct.pack(">L", stream) + value)

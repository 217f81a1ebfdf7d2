"""RFC 9218: PRIORITY_UPDATE, the priority field, SETTINGS_NO_RFC7540_PRIORITIES."""
from .case import Fail, Skip, case, each
from .wire import (
    FRAME_SIZE_ERROR, INITIAL_WINDOW_SIZE, NO_RFC7540_PRIORITIES, PROTOCOL_ERROR, PRIORITY_UPDATE, frame, priority_update,
    settings, window_update)


def error_or_unknown(t, c, *codes):
    """A connection error; servers without RFC 9218 ignore the frame like any unknown one."""
    c.send(frame(6, 0, 0, b"afterall"))
    c.until(lambda: b"afterall" in c.pongs or (c.goaway and c.goaway[1]) or c.closed, "reaction")
    if b"afterall" in c.pongs:
        t.should("ignored, as by a server without RFC 9218")
        return
    c.connection_error(*codes)


@each("9218/7.1", "PRIORITY_UPDATE for {} is accepted", [
    ("an idle stream", (1, b"u=1")), ("a far idle stream", (2**31 - 1, b"u=1,i")), ("a stream, with an empty value", (3, b"")),
    ("a stream, with unknown parameters", (3, b"u=0, i, x=1;a=b, zz")), ("a stream, with an urgency out of range", (3, b"u=9")),
])
def accepted(t, what):
    c = t.connect()
    c.send(priority_update(*what))
    c.works()


@case("9218/7.1", "PRIORITY_UPDATE for an open and for a closed stream is accepted")
def open_and_closed(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(priority_update(s, b"u=7"), frame(0, 1, s, b"x"))
    c.answer(s, ok=bool(t.origin))
    c.send(priority_update(s, b"u=0"))
    c.works()


@case("9218/7.1", "PRIORITY_UPDATE on a stream other than 0 is a connection error PROTOCOL_ERROR")
def on_stream(t):
    c = t.connect()
    c.send(priority_update(1, b"u=1", on=1))
    error_or_unknown(t, c, PROTOCOL_ERROR)


@case("9218/7.1", "PRIORITY_UPDATE for stream 0 is a connection error PROTOCOL_ERROR")
def for_zero(t):
    c = t.connect()
    c.send(priority_update(0, b"u=1"))
    error_or_unknown(t, c, PROTOCOL_ERROR)


@each("9218/7.1", "PRIORITY_UPDATE of {} bytes is a connection error FRAME_SIZE_ERROR", [("0", 0), ("3", 3)])
def short(t, length):
    c = t.connect()
    c.send(frame(PRIORITY_UPDATE, 0, 0, bytes(length)))
    error_or_unknown(t, c, FRAME_SIZE_ERROR)


@case("9218/7.1", "PRIORITY_UPDATE for a push stream that was not promised is a connection error PROTOCOL_ERROR")
def for_push(t):
    c = t.connect()
    c.send(priority_update(2, b"u=1"))
    error_or_unknown(t, c, PROTOCOL_ERROR)


@case("9218/7.1", "a value that does not parse is ignored or a connection error PROTOCOL_ERROR")
def unparsable(t):
    c = t.connect()
    c.send(priority_update(1, b"\xff\0=,,"), frame(6, 0, 0, b"afterall"))
    c.until(lambda: b"afterall" in c.pongs or c.goaway, "reaction")
    if c.goaway:
        c.connection_error(PROTOCOL_ERROR)


@each("9218/5", "the priority field \"{}\" does no harm", ["u=0, i", "u=9", "???", "u", "i=?0", "", "u=1" + ", x=y" * 200])
def field(t, value):
    c = t.connect()
    c.answer(c.request(extra=[("priority", value)]))


@case("9218/2.1", "SETTINGS_NO_RFC7540_PRIORITIES 2 is a connection error PROTOCOL_ERROR")
def setting_value(t):
    c = t.connect()
    c.send(settings((NO_RFC7540_PRIORITIES, 2)))
    error_or_unknown(t, c, PROTOCOL_ERROR)


@case("9218/2.1", "SETTINGS_NO_RFC7540_PRIORITIES that changes is a connection error PROTOCOL_ERROR")
def setting_changes(t):
    c = t.connect(open_settings=[(NO_RFC7540_PRIORITIES, 1)])
    c.send(settings((NO_RFC7540_PRIORITIES, 0)))
    error_or_unknown(t, c, PROTOCOL_ERROR)


@case("9218/2.1", "the server's own SETTINGS_NO_RFC7540_PRIORITIES is 0 or 1")
def server_value(t):
    c = t.connect()
    if c.peer.get(NO_RFC7540_PRIORITIES, 0) not in (0, 1):
        raise Fail(f"{c.peer}")


def contest(t, first, second, reprioritize=False):
    """Two blocked downloads of 60,000 bytes; the windows open, the connection's lets only one of them finish."""
    if not t.origin:
        raise Skip("needs large resources")
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 0)], grow=False)
    c.until(lambda: c.acks, "SETTINGS acknowledgement")
    a, b = (c.request(path=t.path("bytes/60000"), extra=[("priority", p)] if p else []) for p in (first, second))
    c.until(lambda: all(s in c.answers and c.answers[s].status for s in (a, b)), "both heads")
    if reprioritize:
        c.send(priority_update(a, b"u=6"), priority_update(b, b"u=1"))
    # Both bodies have had the time to arrive: the origin sends them with the head, and a round trip has passed.
    c.barrier()
    c.send(settings((INITIAL_WINDOW_SIZE, 65535)))
    c.until(lambda: len(c.answers[a].body) + len(c.answers[b].body) == 65535, "65,535 bytes")
    return c, a, b


def served(t, c, favoured):
    if len(c.answers[favoured].body) < 60000:
        t.should(f"only {len(c.answers[favoured].body)} of its 60,000 bytes came first")
    c.send(window_update(0, 100000))


@case("9218/10", "of two blocked answers the one of higher urgency comes first", origin=True)
def urgency(t):
    c, _, b = contest(t, "u=5", "u=1")
    served(t, c, b)


@case("9218/10", "of two of the same urgency that are not incremental the older comes first, whole", origin=True)
def older_first(t):
    c, a, _ = contest(t, None, None)
    served(t, c, a)


@case("9218/10", "two incremental ones share the connection", origin=True)
def shared(t):
    c, a, b = contest(t, "u=3, i", "u=3, i")
    sizes = [len(c.answers[s].body) for s in (a, b)]
    if min(sizes) < 16000:
        t.should(f"shares of {sizes} bytes")
    c.send(window_update(0, 100000))


@case("9218/7", "PRIORITY_UPDATE changes what comes first", origin=True)
def reprioritized(t):
    c, _, b = contest(t, "u=1", "u=6", reprioritize=True)
    served(t, c, b)

"""RFC 9113 section 5.1: stream states, identifiers, concurrency."""
from .case import Fail, case, each
from .generic import finish, half_closed
from .wire import (
    CANCEL, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, continuation, data,
    goaway, headers, ping, priority, rst_stream, window_update)


@each("9113/5.1", "idle: {} is a connection error PROTOCOL_ERROR", [
    ("DATA", data(1, b"test", end=True)), ("RST_STREAM", rst_stream(1)), ("WINDOW_UPDATE", window_update(1, 100)),
    ("CONTINUATION", continuation(1, b"\x82")), ("an empty DATA frame", data(1)),
    ("RST_STREAM of a far stream", rst_stream(1001)),
], ["http2/5.1/1 http2/6.1/2", "http2/5.1/2 http2/6.4/2", "http2/5.1/3", "http2/5.1/4", None, None])
def idle(t, sent):
    c = t.connect()
    c.send(sent)
    c.connection_error(PROTOCOL_ERROR)


@case("9113/5.1", "idle: DATA on a stream the server would open (even) is a connection error PROTOCOL_ERROR")
def idle_even(t):
    c = t.connect()
    c.send(data(2, b"test"))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/5.1", "half-closed (remote): DATA is a stream error STREAM_CLOSED", "http2/5.1/5")
def half_closed_data(t):
    c, s = half_closed(t)
    c.send(data(s, b"test", end=True))
    c.either_error(s, [STREAM_CLOSED], [STREAM_CLOSED])


@case("9113/5.1", "half-closed (remote): HEADERS is a stream error STREAM_CLOSED", "http2/5.1/6")
def half_closed_headers(t):
    c, s = half_closed(t)
    c.send(headers(s, c.block([("x-late", "1")])))
    c.either_error(s, [STREAM_CLOSED], [STREAM_CLOSED])


@case("9113/5.1", "half-closed (remote): CONTINUATION is a connection error", "http2/5.1/7")
def half_closed_continuation(t):
    c, s = half_closed(t)
    c.send(continuation(s, c.block([("x-late", "1")])))
    c.connection_error(PROTOCOL_ERROR, STREAM_CLOSED)


def closed_error(t, c, s, *connection):
    """9113 5.1 `closed`: STREAM_CLOSED, for the stream or the connection; to ignore it is not forbidden."""
    c.send(ping(b"afterall"))
    try:
        c.until(lambda: (c.goaway and c.goaway[1]) or s in c.resets or b"afterall" in c.pongs or c.closed, "reaction")
    except Fail as e:
        raise Fail(f"{e}") from e
    if s in c.resets and c.resets[s] != STREAM_CLOSED:
        raise Fail(f"RST_STREAM with another code: {c.seen()}")
    if s in c.resets:
        return
    if c.goaway and c.goaway[1] or c.closed:
        c.connection_error(STREAM_CLOSED, *connection)
        return
    t.should("ignored")


CLOSED = {
    "DATA": (lambda c, s: data(s, b"test", end=True), (STREAM_CLOSED,)),
    "HEADERS": (lambda c, s: headers(s, c.block(c.fields())), (STREAM_CLOSED, PROTOCOL_ERROR)),
    "CONTINUATION": (lambda c, s: continuation(s, c.block([("x-late", "1")])), (STREAM_CLOSED, PROTOCOL_ERROR)),
}


@each("9113/5.1", "closed by the client's RST_STREAM: {} is an error STREAM_CLOSED", list(CLOSED.items()),
      ["http2/5.1/8", "http2/5.1/9", "http2/5.1/10"])
def closed_by_reset(t, what):
    make, codes = what
    c, s = half_closed(t)
    c.send(rst_stream(s))
    c.barrier()
    c.send(make(c, s))
    closed_error(t, c, s, *codes)


@each("9113/5.1", "closed by END_STREAM both ways: {} is a connection error STREAM_CLOSED", list(CLOSED.items()),
      ["http2/5.1/11", "http2/5.1/12", "http2/5.1/13"])
def closed_by_end(t, what):
    make, codes = what
    c = t.connect()
    s = c.request()
    c.answer(s)
    c.send(make(c, s))
    closed_error(t, c, s, *codes)


@each("9113/5.1", "closed by END_STREAM both ways: {} is ignored", [
    ("WINDOW_UPDATE", lambda s: window_update(s, 1)), ("RST_STREAM", lambda s: rst_stream(s)),
    ("PRIORITY", lambda s: priority(s))])
def closed_ignored(t, make):
    c = t.connect()
    s = c.request()
    c.answer(s)
    c.send(make(s))
    c.works()


@case("9113/5.1", "a stream the client skipped is closed: DATA on it is an error, the connection's or the stream's")
def skipped(t):
    c = t.connect()
    c.answer(c.request(stream=5))
    c.send(data(3, b"test"))
    closed_error(t, c, 3, STREAM_CLOSED, PROTOCOL_ERROR)


@case("9113/5.1", "DATA for a stream the server has reset counts for the connection's window and harms nothing")
def after_server_reset(t):
    c = t.connect()
    s = c.request(c.fields(method="POST", extra=[("X-Upper", "x")]), end=False)
    c.send(*(data(s, bytes(5000)) for _ in range(10)))
    c.until(lambda: s in c.resets or s in c.ended or c.goaway, "end of the bad stream")
    if c.goaway:
        t.should("the whole connection was ended")
        return
    if s not in c.resets:
        t.should("answered instead of RST_STREAM")
    for _ in range(10):
        c.works()


@case("9113/5.1.1", "a request on an even stream is a connection error PROTOCOL_ERROR", "http2/5.1.1/1")
def even(t):
    c = t.connect()
    c.request(stream=2)
    c.connection_error(PROTOCOL_ERROR)


@case("9113/5.1.1", "a request on a lower stream than the last is a connection error PROTOCOL_ERROR", "http2/5.1.1/2")
def lower(t):
    c = t.connect()
    c.answer(c.request(stream=5))
    c.request(stream=3)
    c.connection_error(PROTOCOL_ERROR, STREAM_CLOSED)


@case("9113/5.1.1", "the highest identifier, 2^31-1, is accepted")
def highest(t):
    c = t.connect()
    c.answer(c.request(stream=2**31 - 1))


@case("9113/5.1.1", "gaps between identifiers are accepted")
def gaps(t):
    c = t.connect()
    for s in (1, 3, 101, 103, 100001):
        c.answer(c.request(stream=s))


@case("9113/5.1.2", "streams above SETTINGS_MAX_CONCURRENT_STREAMS get REFUSED_STREAM (or PROTOCOL_ERROR)", "http2/5.1.2/1")
def concurrency(t):
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 0)], grow=False)
    c.until(lambda: c.acks, "SETTINGS acknowledgement")
    allowed = c.peer.get(MAX_CONCURRENT_STREAMS)
    if allowed is None:
        raise Fail("it sets no SETTINGS_MAX_CONCURRENT_STREAMS: no bound at all")
    open_streams = [c.request(path=t.path("bytes/20000") if t.origin else None) for _ in range(min(allowed, 2000))]
    over = c.request()
    c.until(lambda: over in c.resets or c.goaway or over in c.ended, "refusal")
    if c.resets.get(over) not in (REFUSED_STREAM, PROTOCOL_ERROR) and not c.goaway:
        raise Fail(f"stream {allowed + 1} of {allowed} was taken: {c.seen()}")
    if c.goaway:
        t.should("the whole connection was ended")
        return
    if c.resets[over] != REFUSED_STREAM:
        t.should("PROTOCOL_ERROR, which the client cannot retry")
    # The block of the refused stream went through the decoder, and a free place can be used again.
    c.send(rst_stream(open_streams[0], CANCEL))
    c.send(*(window_update(s, 65535) for s in open_streams[1:3]))
    c.barrier()
    s = c.request()
    c.send(window_update(s, 65535))
    c.answer(s)


@case("9113/5.1.2", "streams that are reset by the client free their places")
def freed(t):
    c, s = half_closed(t)
    for _ in range(5):
        other = c.request()
        c.send(rst_stream(other))
    finish(c, s)


@case("9113/5.1.2", "SETTINGS_MAX_CONCURRENT_STREAMS of the client (even 0) does not limit its own requests")
def client_value(t):
    c = t.connect(open_settings=[(MAX_CONCURRENT_STREAMS, 0)])
    c.works()


@case("9113/6.8", "after the client's GOAWAY the server may end; requests sent before are answered")
def client_goaway(t):
    c = t.connect()
    s = c.request()
    c.send(goaway(0, 0, b"bye"))
    c.answer(s)

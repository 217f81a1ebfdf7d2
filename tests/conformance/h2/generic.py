"""What every HTTP/2 server must simply do: each frame type in an ordinary place, ordinary exchanges, ordinary HPACK."""


from .case import Fail, case, each
from .wire import (
    INITIAL_WINDOW_SIZE, PADDED, PRIORITY_FLAG, continuation, data, goaway, headers, padded, priority, priority_fields,
    rst_stream, settings, window_update)


def half_closed(t):
    """A connection with a stream that the client has ended and the server cannot end: no window for its answer."""
    c = t.connect(open_settings=[(INITIAL_WINDOW_SIZE, 0)], grow=False)
    c.until(lambda: c.acks, "SETTINGS acknowledgement")
    stream = c.request(path=t.path("bytes/20000") if t.origin else t.target.path)
    return c, stream


def finish(c, stream):
    """Opens the window of a stream from `half_closed` and takes its answer."""
    c.send(window_update(stream, 65535))
    c.answer(stream)


@case("generic/1", "the connection preface is answered with SETTINGS", "generic/1/1")
def preface(t):
    t.connect().works("the first request")


@case("generic/2", "PRIORITY on an idle stream is accepted", "generic/2/1")
def priority_idle(t):
    c = t.connect()
    c.send(priority(1))
    c.works()


@case("generic/2", "WINDOW_UPDATE on a half-closed (remote) stream is accepted and used", "generic/2/2")
def update_half_closed(t):
    c, stream = half_closed(t)
    finish(c, stream)
    c.barrier()


@case("generic/2", "PRIORITY on a half-closed (remote) stream is accepted", "generic/2/3")
def priority_half_closed(t):
    c, stream = half_closed(t)
    c.send(priority(stream, weight=200))
    finish(c, stream)


@case("generic/2", "RST_STREAM on a half-closed (remote) stream is accepted", "generic/2/4")
def reset_half_closed(t):
    c, stream = half_closed(t)
    c.send(rst_stream(stream))
    c.barrier()
    if c.goaway:
        raise Fail(c.seen())


@case("generic/2", "PRIORITY on a closed stream is accepted", "generic/2/5")
def priority_closed(t):
    c = t.connect()
    stream = c.request()
    c.answer(stream)
    c.send(priority(stream, weight=1))
    c.works()


def post(t, *frames_of):
    """POST with these frames behind HEADERS: each a function of the stream."""
    c = t.connect()
    stream = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(*(f(stream) for f in frames_of))
    # A server without the origin may well have no resource for POST.
    return c, c.answer(stream, ok=bool(t.origin))


def same_body(t, answer, body):
    if t.origin and answer.body != body:
        raise Fail(f"the body came back as {answer.body!r}")


@case("generic/3.1", "one DATA frame is a request's body", "generic/3.1/1")
def one_data(t):
    same_body(t, post(t, lambda s: data(s, b"test", end=True))[1], b"test")


@case("generic/3.1", "several DATA frames, an empty one among them, are a request's body", "generic/3.1/2")
def several_data(t):
    _, answer = post(t, lambda s: data(s, b"te"), lambda s: data(s), lambda s: data(s, b"st", end=True))
    same_body(t, answer, b"test")


@case("generic/3.1", "padding of DATA is no part of the body", "generic/3.1/3")
def padded_data(t):
    _, answer = post(t, lambda s: data(s, padded(b"test", 200), end=True, flags=PADDED))
    same_body(t, answer, b"test")


@case("generic/3.1", "DATA of nothing but padding, and a pad length of 0, are accepted")
def only_padding(t):
    _, answer = post(t, lambda s: data(s, padded(b"", 255), flags=PADDED),
                     lambda s: data(s, padded(b"x", 0), end=True, flags=PADDED))
    same_body(t, answer, b"x")


@case("generic/3.2", "HEADERS is a request", "generic/3.2/1")
def plain_headers(t):
    c = t.connect()
    c.answer(c.request())


@each("generic/3.2", "HEADERS with {} is a request", [
    ("padding", (PADDED, lambda b: padded(b, 30))),
    ("priority fields", (PRIORITY_FLAG, lambda b: priority_fields(0, 255) + b)),
    ("padding and priority fields", (PADDED | PRIORITY_FLAG, lambda b: padded(priority_fields(0, 1, True) + b, 7))),
], ["generic/3.2/2", "generic/3.2/3", None])
def shaped_headers(t, shape):
    flags, wrap = shape
    c = t.connect()
    s = c.stream()
    c.send(headers(s, wrap(c.block(c.fields())), flags=flags))
    c.answer(s)


@each("generic/3.3", "PRIORITY {} is accepted", [
    ("of weight 1", dict(weight=1)),
    ("of weight 256", dict(weight=256)),
    ("that depends on another stream", dict(depends=7)),
    ("that is exclusive", dict(depends=7, exclusive=True)),
], [f"generic/3.3/{i}" for i in (1, 2, 3, 4)])
def priorities(t, how):
    c = t.connect()
    c.send(priority(9, **how))
    s = c.request()
    c.send(priority(s, **how))
    c.answer(s)


@case("generic/3.3", "PRIORITY on an idle stream does not close the streams below it", "generic/3.3/5")
def priority_leaves_lower(t):
    c = t.connect()
    c.send(priority(41))
    c.answer(c.request(stream=1))


@case("generic/3.4", "RST_STREAM cancels a request, and the connection goes on", "generic/3.4/1")
def cancel(t):
    c = t.connect()
    s = c.request(method="POST", end=False)
    c.send(rst_stream(s))
    c.works()


@case("generic/3.5", "SETTINGS is acknowledged", "generic/3.5/1")
def acknowledged(t):
    c = t.connect()
    c.until(lambda: c.acks == 1, "SETTINGS acknowledgement")
    c.send(settings((INITIAL_WINDOW_SIZE, 70000)))
    c.until(lambda: c.acks == 2, "second SETTINGS acknowledgement")
    c.works()


@case("generic/3.7", "PING is answered", "generic/3.7/1")
def ping_answered(t):
    t.connect().barrier()


@case("generic/3.8", "GOAWAY from the client is accepted; streams it opened before are answered", "generic/3.8/1")
def goaway_accepted(t):
    c, stream = half_closed(t)
    c.send(goaway())
    finish(c, stream)


@case("generic/3.9", "WINDOW_UPDATE on stream 0 is accepted", "generic/3.9/1")
def update_connection(t):
    c = t.connect()
    c.send(window_update(0, 1))
    c.works()


@case("generic/3.9", "WINDOW_UPDATE on an open stream is accepted", "generic/3.9/2")
def update_stream(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(window_update(s, 1), data(s, b"x", end=True))
    c.answer(s, ok=bool(t.origin))


@each("generic/3.10", "a header block in HEADERS and {} CONTINUATION is a request", [("one", 1), ("three", 3)],
      ["generic/3.10/1", "generic/3.10/2"])
def continued(t, parts):
    c = t.connect()
    s = c.stream()
    block = c.block(c.fields(extra=[("x-long", "y" * 60)]))
    c.send(headers(s, block[:5], complete=False),
           *(continuation(s, block[5 + 9 * i:14 + 9 * i] if i < parts - 1 else block[5 + 9 * i:], i == parts - 1)
             for i in range(parts)))
    c.answer(s)


@case("generic/3.10", "empty fragments in HEADERS and CONTINUATION are accepted")
def empty_fragments(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, b"", complete=False), continuation(s, c.block(c.fields()), False), continuation(s, b""))
    c.answer(s)


@case("generic/4", "GET is answered", "generic/4/1")
def get(t):
    c = t.connect()
    answer = c.answer(c.request())
    lengths = answer.field(b"content-length")
    if lengths and lengths != [str(len(answer.body)).encode()]:
        raise Fail(f"content-length {lengths} with {len(answer.body)} bytes")


@case("generic/4", "HEAD is answered without a body", "generic/4/2")
def head(t):
    c = t.connect()
    if c.answer(c.request(method="HEAD")).body:
        raise Fail("a body")


@case("generic/4", "POST with a body is answered", "generic/4/3")
def post_body(t):
    same_body(t, post(t, lambda s: data(s, b"a" * 3000, end=True))[1], b"a" * 3000)


@case("generic/4", "POST with trailers is answered", "generic/4/4")
def post_trailers(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), extra=[("trailer", "x-sum")], end=False)
    c.send(data(s, b"test"), headers(s, c.block([("x-sum", "1")])))
    same_body(t, c.answer(s, ok=bool(t.origin)), b"test")


@case("generic/4", "an upload larger than the windows goes through, and comes back", origin=True)
def large_echo(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    body = bytes(range(256)) * 1200
    upload(c, s, body)
    same_body(t, c.answer(s), body)


def upload(c, s, body):
    """Sends a body as the peer's windows allow."""
    sent = 0
    first = c.peer.get(INITIAL_WINDOW_SIZE, 65535)
    while sent < len(body):
        def room():
            return min(65535 + c.updates.get(0, 0), first + c.updates.get(s, 0)) - sent
        c.until(lambda: room() > 0 or s in c.ended or s in c.resets, "WINDOW_UPDATE")
        if s in c.ended or s in c.resets:
            return
        piece = body[sent:sent + min(room(), 16384)]
        sent += len(piece)
        c.send(data(s, piece, end=sent == len(body)))


@case("generic/4", "a download of 500,000 bytes arrives whole", origin=True)
def large_download(t):
    c = t.connect()
    answer = c.answer(c.request(path=t.path("bytes/500000")))
    if answer.body != (b"0123456789abcdef" * 31251)[:500000]:
        raise Fail(f"{len(answer.body)} bytes, or others")


@case("generic/4", "twenty requests at once on one connection are all answered")
def many(t):
    c = t.connect()
    for s in [c.request() for _ in range(20)]:
        c.answer(s)


@case("generic/4", "a response's trailers arrive as trailers", origin=True)
def response_trailers(t):
    c = t.connect()
    answer = c.answer(c.request(path=t.path("trailers"), extra=[("te", "trailers")]))
    if answer.body != b"ok\n":
        raise Fail(f"body {answer.body!r}")
    if not answer.trailers or (b"x-sum", b"1") not in [tuple(f) for f in answer.trailers]:
        t.should(f"trailers {answer.trailers}")


@case("generic/4", "an HTTP/1.1 origin's answer loses its connection fields and keeps the others", origin=True)
def clean_answer(t):
    c = t.connect()
    answer = c.answer(c.request())
    if answer.field(b"content-type") != [b"text/plain"]:
        raise Fail(f"fields {answer.fields}")



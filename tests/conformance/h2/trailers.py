"""RFC 9113 section 8.1: trailer sections."""
from .case import Fail, case, each
from .wire import END_HEADERS, HEADERS, data, frame, headers


def trailing(t, fields, body=b"body", path="echo"):
    c = t.connect()
    s = c.request(method="POST", path=t.path(path), end=False)
    c.send(*([data(s, body)] if body else []), headers(s, c.block(fields)))
    return c, s


@each("9113/8.1", "{} in trailers is malformed", [
    (":method", (":method", "POST")), (":path", (":path", "/")), (":status", (":status", "200")),
    ("an upper-case name", ("X-Sum", "1")), ("connection: close", ("connection", "close")),
    ("transfer-encoding: chunked", ("transfer-encoding", "chunked")), ("a value with CRLF", ("x-sum", "1\r\nx-evil: 1")),
    ("a value with NUL", ("x-sum", "\0")), ("an empty name", ("", "1")), ("a name with a space", ("x sum", "1")),
], ["http2/8.1.2.1/3"] + [None] * 9)
def bad(t, field):
    c, s = trailing(t, [("x-sum", "1"), field])
    c.stream_error(s, 1, answer=True)
    if any(b"x-evil" in r.head + r.body for r in t.requests()):
        raise Fail("the origin got it")


@case("9113/8.1", "trailers without DATA are accepted")
def without_data(t):
    c, s = trailing(t, [("x-sum", "1")], body=b"")
    c.answer(s, ok=bool(t.origin))


@case("9113/8.1", "an empty trailer section ends the request")
def empty(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(data(s, b"body"), headers(s, b""))
    c.answer(s, ok=bool(t.origin))


@case("9113/8.1.1", "trailers that end a body shorter than its content-length are malformed")
def short_body(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), extra=[("content-length", "10")], end=False)
    c.send(data(s, b"body"), headers(s, c.block([("x-sum", "1")])))
    c.rejected(s)


@each("9113/8.1", "{} in trailers does not reach the origin as a field that counts", [
    ("content-length", ("content-length", "4")), ("host", ("host", "evil.test")),
    ("authorization", ("authorization", "Basic eA==")), ("cookie", ("cookie", "a=1"))], origin=True)
def unfit(t, field):
    c, s = trailing(t, [field, ("x-sum", "1")])
    kind, what = c.settled(s)
    for r in t.requests():
        if len(r.all(field[0].encode())) > (field[0] in ("host", "content-length")) or field[1].encode() in r.all(b"host"):
            raise Fail(f"{r.head!r}")


@case("9113/8.1", "HEADERS behind trailers is an error")
def after_trailers(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(headers(s, c.block([("x-sum", "1")])), frame(HEADERS, END_HEADERS | 1, s, c.block([("x-sum", "2")])))
    c.either_error(s, [1, 5], [1, 5])

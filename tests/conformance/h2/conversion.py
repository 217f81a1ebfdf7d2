"""HTTP/2 requests that become HTTP/1.1 (9113 10.3): whatever is sent, the origin sees no smuggled field and no second
request. Everything else about these requests may end as it likes: refused is best, cleaned is good enough."""
from .case import Fail, case, each
from .wire import data, headers

EVIL = "GET /evil-{} HTTP/1.1\r\nhost: evil.test\r\n\r\n"


def clean(t, c):
    """Nothing that the origin saw came from an injected field or an injected request."""
    token = t.token
    for r in t.origin.requests(token):
        if r.target.startswith(f"/evil-{token}".encode()) or r.line.count(b" ") != 2:
            raise Fail(f"a second request: {r.head!r}")
        if r.all(b"x-evil") or b"evil.test" in b",".join(r.all(b"host")) or len(r.all(b"host")) != 1:
            raise Fail(f"a smuggled field: {r.head!r}")
        te = r.all(b"transfer-encoding")
        if te not in ([], [b"chunked"]) or (te and r.all(b"content-length")) or len(r.all(b"content-length")) > 1:
            raise Fail(f"ambiguous framing: {r.head!r}")
        if b"evil" in b",".join(r.all(b"connection")).lower() or b"\0" in r.head or b"#" in r.target:
            raise Fail(f"bad bytes: {r.head!r}")
        if not r.target.startswith(b"/") and not (r.method == b"OPTIONS" and r.target == b"*"):
            raise Fail(f"a target in another form: {r.head!r}")
    if odd := t.origin.anomalies(token):
        raise Fail(f"bytes that are no request: {odd[0]!r}")
    if odd := t.origin.anomalies("evil-" + token):
        raise Fail(f"bytes that are no request: {odd[0]!r}")


def attempt(t, fields, body=b"", strict=True):
    """Sends a request; with `strict` it must not succeed. Then a plain one on the same connection (and so, mostly, on the
    same connection behind the server) must get its own answer."""
    c = t.connect()
    s = c.request(fields(c), end=not body)
    if body:
        c.send(data(s, body, end=True))
    kind, what = c.settled(s)
    follow_up(t, c)
    clean(t, c)
    if strict and kind == "answer" and what < 300:
        raise Fail(f"answered {what}: it is malformed")


def follow_up(t, c):
    """Other connections' requests get their own answers."""
    try:
        c.barrier()
    except Fail:
        c = t.connect()
    for n in (7, 11):
        s = c.request(path=t.path(f"bytes/{n}"))
        if len(c.answer(s).body) != n:
            raise Fail(f"the answer to another request: {c.answers[s].body!r}")


@each("9113/10.3", "{} smuggles nothing", [
    ("transfer-encoding: chunked with a body of chunks", [("transfer-encoding", "chunked")]),
    ("transfer-encoding: chunked and content-length", [("content-length", "5"), ("transfer-encoding", "chunked")]),
    ("transfer-encoding with odd spacing", [("transfer-encoding", "\x0bchunked")]),
    ("Transfer-Encoding in upper case", [("Transfer-Encoding", "chunked")]),
    ("transfer_encoding", [("transfer-encoding ", "chunked")]),
    ("transfer-encoding in a value behind CRLF", [("x-a", "b\r\ntransfer-encoding: chunked")]),
    ("transfer-encoding in a name behind CRLF", [("x-a: b\r\ntransfer-encoding", "chunked")]),
    ("content-length: 0 with a body", [("content-length", "0")]),
    ("two content-lengths", [("content-length", "0"), ("content-length", "60")]),
    ("content-length in a value behind LF", [("x-a", "b\ncontent-length: 0")]),
], origin=True)
def framing(t, extra):
    evil = EVIL.format(t.token).encode()
    attempt(t, lambda c: c.fields(method="POST", path=t.path("echo"), extra=extra), b"0\r\n\r\n" + evil)


@each("9113/10.3", "a second request in {} smuggles nothing", [
    ("a value", lambda c, e: dict(extra=[("x-a", f"b\r\n\r\n{e}")])),
    ("a name", lambda c, e: dict(extra=[(f"x-a: b\r\n\r\n{e}x", "1")])),
    ("a value, with bare LF", lambda c, e: dict(extra=[("x-a", "b\n\n" + e.replace("\r", ""))])),
    (":path", lambda c, e: dict(path=f"{c.trial.path()} HTTP/1.1\r\nhost: a\r\n\r\n{e}")),
    (":path, with bare LF", lambda c, e: dict(path=f"{c.trial.path()} HTTP/1.1\nhost: a\n\n{e}")),
    (":method", lambda c, e: dict(method=f"GET {c.trial.path()} HTTP/1.1\r\nhost: a\r\n\r\n{e}GET")),
    (":authority", lambda c, e: dict(authority=f"localhost\r\n\r\n{e}")),
    (":scheme", lambda c, e: dict(scheme=f"http\r\n\r\n{e}")),
    ("host", lambda c, e: dict(authority=None, extra=[("host", f"localhost\r\n\r\n{e}")])),
    ("cookie", lambda c, e: dict(extra=[("cookie", "a=1"), ("cookie", f"b\r\n\r\n{e}")])),
    ("content-length", lambda c, e: dict(method="POST", extra=[("content-length", f"0\r\n\r\n{e}")])),
    ("content-type", lambda c, e: dict(extra=[("content-type", f"a\r\n\r\n{e}")])),
    ("te", lambda c, e: dict(extra=[("te", f"trailers\r\n\r\n{e}")])),
    ("user-agent", lambda c, e: dict(extra=[("user-agent", f"a\r\n\r\n{e}")])),
    ("x-forwarded-for", lambda c, e: dict(extra=[("x-forwarded-for", f"a\r\n\r\n{e}")])),
], origin=True)
def second_request(t, make):
    attempt(t, lambda c: c.fields(**make(c, EVIL.format(t.token))))


@each("9113/10.3", "a field in {} smuggles nothing", [
    ("a value", lambda c: dict(extra=[("x-a", "b\r\nx-evil: 1")])),
    ("a value, with bare CR", lambda c: dict(extra=[("x-a", "b\rx-evil: 1")])),
    ("a value, with bare LF", lambda c: dict(extra=[("x-a", "b\nx-evil: 1")])),
    ("a value, with NUL", lambda c: dict(extra=[("x-a", "b\0\r\nx-evil: 1")])),
    ("a value, folded", lambda c: dict(extra=[("x-a", "b\r\n x-evil: 1\r\nx-evil: 2")])),
    ("a name", lambda c: dict(extra=[("x-evil: 1\r\nx-a", "b")])),
    ("a name, with colon", lambda c: dict(extra=[("x-evil: 1", "b")])),
    ("a name, with colon and tab", lambda c: dict(extra=[("x-evil:\t", "b")])),
    (":method", lambda c: dict(method="GET / HTTP/1.1\r\nx-evil: 1\r\nx-a: ")),
    (":path", lambda c: dict(path=f"{c.trial.path()} HTTP/1.1\r\nx-evil: 1\r\nx-a: ")),
    (":authority", lambda c: dict(authority="localhost\r\nx-evil: 1")),
    (":scheme", lambda c: dict(scheme="http\r\nx-evil: 1")),
    ("host", lambda c: dict(authority=None, extra=[("host", "localhost\r\nx-evil: 1")])),
], origin=True)
def field(t, make):
    attempt(t, lambda c: c.fields(**make(c)))


@case("9113/10.3", "a host field that differs from :authority does not become the origin's Host", origin=True)
def other_host(t):
    attempt(t, lambda c: c.fields(extra=[("host", "evil.test")]), strict=False)


@each("9113/10.3", "{} does not become the origin's Host", [
    ("a host field behind an equal one", lambda c: dict(extra=[("host", "localhost"), ("host", "evil.test")])),
    ("an absolute :path", lambda c: dict(path=f"http://evil.test{c.trial.path()}")),
    ("an absolute https :path", lambda c: dict(path=f"https://evil.test{c.trial.path()}")),
    (":scheme with a host", lambda c: dict(scheme="http://evil.test/?")),
    (":authority with user information", lambda c: dict(authority="evil.test@localhost")),
    (":authority behind user information", lambda c: dict(authority="localhost@evil.test")),
    (":authority with a path", lambda c: dict(authority="localhost/evil")),
    (":path that begins with an at sign", lambda c: dict(path="@evil.test" + c.trial.path())),
], origin=True)
def host(t, make):
    attempt(t, lambda c: c.fields(**make(c)))


@each("9113/10.3", "connection: {} strips and reuses nothing behind the server", [
    "close", "keep-alive, x-evil", "host", "content-length", "upgrade", "transfer-encoding"], origin=True)
def connection(t, value):
    attempt(t, lambda c: c.fields(extra=[("connection", value), ("upgrade", "evil")]))


@each("9113/10.3", "the :path {} arrives as it is, escaped, or not at all", [
    ("with a space", "/a b"), ("with a fragment", "/a#b"), ("\"*\"", "*"), ("with a byte above 0x7f", "/\xe4"),
    ("with \\", "/a\\b"), ("with dot segments", "/a/../../b"), ("with // at its beginning", "//evil.test/"),
    ("with ;", "/a;b"), ("with %0d%0a", "/a%0d%0ax-evil:%201"), ("with %00", "/a%00b"), ("with %2f..%2f", "/a%2f..%2fb"),
    ("without a slash", "evil")], origin=True)
def paths(t, path):
    c = t.connect()
    s = c.request(path=f"{path}?{t.token}" if "#" not in path else f"/a?{t.token}#b")
    c.settled(s)
    follow_up(t, c)
    clean(t, c)


@case("9113/10.3", "a trailer section with CRLF or transfer-encoding smuggles nothing", origin=True)
def trailers(t):
    for extra in (("x-a", "b\r\nx-evil: 1"), ("transfer-encoding", "chunked"), ("x-a: b\r\n\r\n" + EVIL.format(t.token), "1"),
                  ("content-length", "0"), ("host", "evil.test")):
        c = t.connect()
        s = c.request(method="POST", path=t.path("echo"), end=False)
        c.send(data(s, b"body"), headers(s, c.block([extra])))
        c.settled(s)
        follow_up(t, c)
        clean(t, c)


@case("9113/10.3", "a body that looks like chunks and requests is only a body", origin=True)
def body(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    text = b"0\r\n\r\n" + EVIL.format(t.token).encode() + b"5\r\nabcde\r\n0\r\n\r\n"
    c.send(data(s, text[:9]), data(s, text[9:], end=True))
    if c.answer(s).body != text:
        raise Fail(f"the body came back as {c.answers[s].body!r}")
    follow_up(t, c)
    clean(t, c)


@case("9113/10.3", "a body cut by RST_STREAM leaves no half request for the next one", origin=True)
def cut_body(t):
    for extra in ([("content-length", "1000")], []):
        c = t.connect()
        s = c.request(method="POST", path=t.path("echo"), extra=extra, end=False)
        c.send(data(s, b"half"))
        t.origin.wait(t.token, c.target.timeout)
        c.send(bytes.fromhex("000004" "03" "00") + s.to_bytes(4, "big") + b"\0\0\0\x08")
        c.barrier()
        follow_up(t, c)
        clean(t, c)


@case("9113/10.3", "GET and HEAD with a body keep the framing behind the server right", origin=True)
def body_on_get(t):
    for method in ("GET", "DELETE", "OPTIONS"):
        c = t.connect()
        s = c.request(method=method, path=t.path("echo"), end=False)
        c.send(data(s, EVIL.format(t.token).encode(), end=True))
        c.settled(s)
        follow_up(t, c)
        clean(t, c)


@case("9113/10.3", "expect: 100-continue with a body of a request smuggles nothing", origin=True)
def expect(t):
    attempt(t, lambda c: c.fields(method="POST", path=t.path("echo"), extra=[("expect", "100-continue")]),
            EVIL.format(t.token).encode(), strict=False)


@case("9113/10.3", "max-forwards, via and forwarded fields with hostile values smuggle nothing", origin=True)
def hostile_values(t):
    attempt(t, lambda c: c.fields(extra=[
        ("x-forwarded-for", "1.2.3.4, evil"), ("x-forwarded-host", "evil.test"), ("forwarded", "for=evil;host=evil.test"),
        ("via", "1.1 evil"), ("max-forwards", "0")]), strict=False)

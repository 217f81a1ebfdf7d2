"""RFC 9114 sections 4.2 to 4.4: field names and values, pseudo-header fields, CONNECT. What is malformed must not get on."""
from .case import Fail, case, each
from .wire import H3, data, headers, section


def malformed(t, fields):
    """A request of exactly these fields is malformed: a stream error, and nothing of it reaches the origin."""
    c = t.connect()
    c.malformed(c.request(fields))


def base(t, **replace):
    pseudo = {"method": "GET", "scheme": "https", "authority": t.target.authority, "path": t.path(), **replace}
    return [(":" + k, v) for k, v in pseudo.items() if v is not None]


@each("9114/4.2", "the field name {} is malformed", [
    ("with an upper-case letter", "X-Bad"), ("with one upper-case letter at its end", "x-baD"), ("that is empty", ""),
    ("with a space", "x bad"), ("with a colon at its end", "x-bad:"), ("with CR", "x-bad\r"), ("with LF", "x-bad\nx-evil"),
    ("with NUL", "x-bad\0"), ("with 0xff", "\xff")])
def name(t, text):
    malformed(t, base(t) + [(text, "1")])


@each("9114/4.2", "a field value with {} is malformed", [
    ("CR", "a\rb"), ("LF", "a\nb"), ("CRLF and a field", "a\r\nx-evil: 1"), ("NUL", "a\0b"), ("CRLF CRLF and a request",
     "a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")])
def value(t, text):
    malformed(t, base(t) + [("x-bad", text)])


@each("9114/4.2", "{} is malformed", [
    ("connection: close", ("connection", "close")), ("keep-alive: timeout=5", ("keep-alive", "timeout=5")),
    ("proxy-connection: keep-alive", ("proxy-connection", "keep-alive")), ("upgrade: websocket", ("upgrade", "websocket")),
    ("transfer-encoding: chunked", ("transfer-encoding", "chunked")), ("transfer-encoding, empty", ("transfer-encoding", "")),
    ("te: gzip", ("te", "gzip")), ("te: trailers, deflate", ("te", "trailers, deflate;q=0.5"))])
def connection_specific(t, field):
    malformed(t, base(t) + [field])


@case("9114/4.2", "te: trailers is accepted")
def te_trailers(t):
    c = t.connect()
    c.works(extra=[("te", "trailers")])


@each("9114/4.3.1", "a request without :{} is malformed", ["method", "scheme", "path"])
def missing(t, pseudo):
    malformed(t, base(t, **{pseudo: None}))


@case("9114/4.3.1", "a request with neither :authority nor host is malformed")
def no_authority(t):
    malformed(t, base(t, authority=None))


@case("9114/4.3.1", "an empty :authority is malformed")
def empty_authority(t):
    malformed(t, base(t, authority=""))


@case("9114/4.3.1", "host instead of :authority is accepted")
def host_alone(t):
    c = t.connect()
    c.works(authority=None, extra=[("host", t.target.authority)])


@case("9114/4.3.1", "host that differs from :authority is malformed")
def host_differs(t):
    malformed(t, base(t) + [("host", "elsewhere.example")])


@case("9114/4.3.1", "two host fields that differ are malformed")
def two_hosts(t):
    malformed(t, base(t) + [("host", t.target.authority), ("host", "elsewhere.example")])


@each("9114/4.3.1", "a second :{} is malformed", ["method", "scheme", "path", "authority"])
def twice(t, pseudo):
    fields = base(t)
    malformed(t, fields + [f for f in fields if f[0] == ":" + pseudo])


@each("9114/4.3", "the pseudo-header field {} is malformed in a request", [":status", ":test", ":", ":Path", ":protocol"])
def unknown(t, name_):
    malformed(t, [(name_, "200" if name_ == ":status" else "x")] + base(t))


@each("9114/4.3", "a pseudo-header field behind a regular one is malformed: {}", [":method", ":path", ":authority"])
def late(t, name_):
    fields = base(t)
    moved = [f for f in fields if f[0] == name_]
    malformed(t, [f for f in fields if f[0] != name_] + [("x-bad", "1")] + moved)


@each("9114/4.3.1", "the :path {} is malformed", [
    ("that is empty", ""), ("without a slash", "bad"), ("\"*\" with GET", "*"), ("with a space", "/bad bad"),
    ("with CRLF", "/bad\r\nx-evil: 1"), ("with LF", "/bad\nbad"), ("with NUL", "/bad\0bad"), ("with an HTTP version", "/bad HTTP/1.1")])
def path(t, text):
    malformed(t, base(t, path=text))


@each("9114/4.3.1", "the :authority {} is malformed", [
    ("with user information", "user@localhost"), ("with a space", "local host"), ("with CRLF", "localhost\r\nx-evil: 1"),
    ("with a slash", "localhost/bad"), ("with NUL", "localhost\0"), ("with a port that is no number", "localhost:port")])
def authority(t, text):
    malformed(t, base(t, authority=text))


@each("9114/4.3.1", "the :method {} is malformed", [("with a space", "GE T"), ("that is empty", ""), ("with CRLF", "GET\r\nx: y")])
def method(t, text):
    malformed(t, base(t, method=text))


@each("9114/4.3.1", "the :scheme {} is malformed", [("that is empty", ""), ("with a space", "ht tps"), ("with a digit first", "1https")])
def scheme(t, text):
    malformed(t, base(t, scheme=text))


@case("9114/4.3", "a section without a single field is malformed")
def nothing(t):
    malformed(t, [])


@each("9114/4.3", "trailers with {} are malformed", [
    (":path", (":path", "/x")), (":status", (":status", "200")), ("an upper-case name", ("X-Sum", "1")),
    ("connection", ("connection", "close")), ("CR in a value", ("x-sum", "a\rb"))])
def trailers(t, field):
    c = t.connect()
    stream = c.request(method="POST", path=t.path("hold"), end=True, more=data(b"abc") + headers(section([field])))
    kind, what = c.settled(stream)
    if kind == "reset" and what == H3["H3_MESSAGE_ERROR"]:
        c.works()
    elif kind == "answer" and 400 <= what.status < 500:
        t.should(f"answered with {what.status}")
    else:
        raise Fail(f"{kind} {what}; {c.seen()}")


@each("9114/4.4", "CONNECT with {} is malformed", [
    (":path", {"path": "/x", "scheme": None}), (":scheme", {"path": None, "scheme": "https"}),
    (":scheme and :path", {}), ("no :authority", {"path": None, "scheme": None, "authority": None})])
def connect(t, replace):
    malformed(t, base(t, method="CONNECT", **replace))


@case("9114/4.4", "a plain CONNECT to a server that is no proxy is refused, not forwarded")
def connect_refused(t):
    c = t.connect()
    stream = c.request(base(t, method="CONNECT", scheme=None, path=None), end=False)
    c.refused(stream, "H3_REQUEST_REJECTED", "H3_CONNECT_ERROR", "H3_REQUEST_CANCELLED")
    if t.requests():
        raise Fail("it was forwarded")
    c.works()


def websocket(t, c, **replace):
    pseudo = {"method": "CONNECT", "protocol": "websocket", "path": t.path("ws"), **replace}
    return c.request(extra=[("sec-websocket-version", "13"), ("origin", "https://localhost")], end=False, **pseudo)


@case("9220/3", "the server offers SETTINGS_ENABLE_CONNECT_PROTOCOL", origin=True)
def offered(t):
    if (8, 1) not in t.connect().peer_settings():
        raise Fail("not offered")


@case("9220/3", "a WebSocket by extended CONNECT carries bytes both ways", origin=True)
def extended(t):
    c = t.connect()
    stream = websocket(t, c)
    c.until(lambda: c.parsed(stream).status, "answer")
    if c.parsed(stream).status != 200:
        raise Fail(f"status {c.parsed(stream).status}")
    c.send(stream, data(b"\x81\x85\0\0\0\0hello"))
    c.until(lambda: b"hello" in c.parsed(stream).body, "echo")


@case("9220/3", "HEADERS behind an accepted CONNECT are H3_FRAME_UNEXPECTED", origin=True)
def trailers_of_tunnel(t):
    c = t.connect()
    stream = websocket(t, c)
    c.until(lambda: c.parsed(stream).status, "answer")
    c.send(stream, headers(section([("x-sum", "1")])))
    c.connection_error("H3_FRAME_UNEXPECTED")


@each("9220/3", "extended CONNECT without :{} is malformed", ["path", "scheme", "authority"])
def extended_without(t, pseudo):
    c = t.connect()
    c.malformed(websocket(t, c, **{pseudo: None}))


@case("9220/3", ":protocol with another method than CONNECT is malformed")
def extended_get(t):
    malformed(t, base(t, protocol="websocket"))


@each("9220/3", "extended CONNECT for {} is refused with a 4xx or 501 answer", ["connect-udp", "unknown-thing"])
def extended_unknown(t, protocol):
    c = t.connect()
    stream = websocket(t, c, protocol=protocol)
    c.refused(stream, "H3_MESSAGE_ERROR", "H3_REQUEST_REJECTED")
    if t.requests():
        raise Fail("it was forwarded")


@case("9114/4.2.1", "cookie crumbs are joined for the origin", origin=True)
def crumbs(t):
    c = t.connect()
    stream = c.request(extra=[("cookie", "a=1"), ("x-y", "z"), ("cookie", "b=2")])
    c.answered(stream)
    if t.requests()[0].all(b"cookie") != [b"a=1; b=2"]:
        raise Fail(f"{t.requests()[0].head!r}")


@each("9114/4.2.2", "a field section of {} is refused with 431, or an error", [
    ("40 KiB in one field", [("x-big", "v" * 40_000)]), ("200 KiB in one field", [("x-big", "v" * 200_000)]),
    ("3,500 empty fields", [("a", "")] * 3500), ("33,000 fields", [("a", "b")] * 33_000),
    ("3,000 cookie crumbs", [("cookie", "a=b")] * 3000), ("a name of 40 KiB", [("n" * 40_000, "1")])])
def oversized(t, extra):
    c = t.connect()
    stream = c.request(extra=extra)
    status = c.refused(stream, "H3_EXCESSIVE_LOAD", "H3_REQUEST_REJECTED", "H3_MESSAGE_ERROR")
    if status not in (None, 431):
        raise Fail(f"status {status}")
    if t.requests():
        raise Fail("it was forwarded")
    if not c.closed:
        c.works()


@case("9114/4.2.2", "the server tells the largest section that it takes, and takes one of nearly that size")
def nearly(t):
    c = t.connect()
    most = dict(c.peer_settings()).get(6)
    if most is None:
        t.should("SETTINGS_MAX_FIELD_SECTION_SIZE is not told")
        return
    if c.answered(c.request(extra=[("x-big", "v" * (most - 600))])).status != 200:
        raise Fail("refused")

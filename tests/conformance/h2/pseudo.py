"""RFC 9113 section 8.3 and 8.5: pseudo-fields and CONNECT."""
from .case import Fail, case, each
from .wire import headers


def block_malformed(t, fields):
    """A request of exactly these fields is malformed."""
    c = t.connect()
    s = c.request(fields)
    c.rejected(s)
    if any(r.all(b"x-bad") for r in t.requests()):
        raise Fail(f"the origin got it: {t.requests()[0].head!r}")
    return c


def base(t, **replace):
    pseudo = {"method": "GET", "scheme": t.target.scheme, "authority": t.target.authority, "path": t.path(), **replace}
    return [(":" + k, v) for k, v in pseudo.items() if v is not None] + [("x-bad", "1")]


@case("9113/8.3", "an unknown pseudo-field is malformed", "http2/8.1.2.1/1")
def unknown(t):
    block_malformed(t, [(":test", "ok")] + base(t))


@case("9113/8.3", "a response's pseudo-field, :status, is malformed", "http2/8.1.2.1/2")
def status(t):
    block_malformed(t, [(":status", "200")] + base(t))


@case("9113/8.3", "a pseudo-field behind a regular field is malformed", "http2/8.1.2.1/4")
def late(t):
    fields = base(t)
    block_malformed(t, fields[:3] + fields[4:] + fields[3:4])


@case("9113/8.3", ":authority behind a regular field is malformed")
def late_authority(t):
    block_malformed(t, base(t, authority=None) + [(":authority", t.target.authority)])


@each("9113/8.3", "the pseudo-field name \"{}\" is malformed", [":", ":Path", ":path ", "::path", ":host"])
def odd_names(t, text):
    block_malformed(t, [(text, "/")] + base(t))


@case("9113/8.3", "pseudo-fields in any order are accepted")
def any_order(t):
    c = t.connect()
    c.answer(c.request(c.fields()[::-1]))


@each("9113/8.3.1", "a request without :{} is malformed", ["method", "scheme", "path"],
      ["http2/8.1.2.3/2", "http2/8.1.2.3/3", "http2/8.1.2.3/4"])
def missing(t, pseudo):
    block_malformed(t, base(t, **{pseudo: None}))


@case("9113/8.3.1", "a request with no pseudo-field at all is malformed")
def none_at_all(t):
    block_malformed(t, [("host", t.target.authority), ("x-bad", "1")])


@case("9113/8.3.1", "an empty field block is malformed")
def empty_block(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, b""))
    c.rejected(s)


@each("9113/8.3.1", "a second :{} is malformed", ["method", "scheme", "path", "authority"],
      ["http2/8.1.2.3/5", "http2/8.1.2.3/6", "http2/8.1.2.3/7", None])
def twice(t, pseudo):
    fields = base(t)
    again = [f for f in fields if f[0] == ":" + pseudo]
    block_malformed(t, again + fields)


@case("9113/8.3.1", "an empty :path is malformed", "http2/8.1.2.3/1")
def empty_path(t):
    block_malformed(t, base(t, path=""))


@each("9113/8.3.1", "the :path {} is malformed", [
    ("without a slash", "bad"), ("in absolute form", "http://localhost/bad"), ("\"*\" with GET", "*"),
    ("with a fragment", "/bad#fragment"), ("that is a query alone", "?bad"), ("with a space", "/bad bad"),
    ("with a space at its end", "/bad "), ("with TAB", "/bad\tbad"), ("with CR", "/bad\rbad"), ("with LF", "/bad\nbad"),
    ("with NUL", "/bad\0bad"), ("with DEL", "/bad\x7f"), ("with an HTTP version", "/bad HTTP/1.1"),
    ("with a byte above 0x7f", "/b\xe4d"), ("\"*\" and more", "*bad"), ("with a leading space", " /bad"),
])
def path(t, text):
    block_malformed(t, base(t, path=text))


@case("9113/8.3.1", "OPTIONS with :path \"*\" is no protocol error")
def options_star(t):
    c = t.connect()
    kind, what = c.settled(c.request(method="OPTIONS", path="*"))
    if kind != "answer":
        t.should(f"{kind} {what}")
    c.works()


@each("9113/8.3.1", "the :path {} is accepted", [
    ("with percent escapes", "/a%20b"), ("with a query of odd characters", "/?a={b}&c=|"), ("with two slashes", "//a"),
    ("with dot segments", "/a/./../b"), ("of 2,000 bytes", "/" + "p" * 2000)])
def good_path(t, text):
    c = t.connect()
    kind, what = c.settled(c.request(path=text))
    if kind != "answer":
        t.should(f"{kind} {what}")
    c.works()


@each("9113/8.3.1", "the :authority {} is malformed", [
    ("with user information", "user@localhost"), ("with user and password", "user:pass@localhost"),
    ("with a space", "local host"), ("with CRLF", "localhost\r\nx-evil: 1"), ("with a slash", "localhost/bad"),
    ("with NUL", "localhost\0"), ("with a query", "localhost?bad"), ("with a fragment", "localhost#bad"),
    ("with a port that is no number", "localhost:port"), ("with a leading space", " localhost"),
    ("with an open bracket", "[::1"), ("with a comma", "localhost,evil"), ("with a backslash", "localhost\\@evil"),
])
def authority(t, text):
    block_malformed(t, base(t, authority=text))


@case("9113/8.3.1", "host that differs from :authority is malformed (a SHOULD), and never forwarded")
def host_differs(t):
    c = t.connect()
    s = c.request(base(t) + [("host", "evil.test")])
    kind, what = c.settled(s)
    if kind == "answer" and what < 300:
        if any(r.all(b"host") != [t.target.authority.encode()] for r in t.requests()):
            raise Fail(f"{[r.head for r in t.requests()]}")
        t.should("host was dropped, the request went on")
    elif kind == "answer":
        t.should(f"answered {what} instead of RST_STREAM(PROTOCOL_ERROR)")


@case("9113/8.3.1", "host equal to :authority is accepted, and arrives once")
def host_equal(t):
    c = t.connect()
    c.answer(c.request(extra=[("host", t.target.authority)]))
    if t.origin and [len(r.all(b"host")) for r in t.requests()] != [1]:
        raise Fail(f"{[r.head for r in t.requests()]}")


@case("9113/8.3.1", "two host fields are malformed")
def two_hosts(t):
    block_malformed(t, base(t, authority=None) + [("host", t.target.authority), ("host", "evil.test")])


@case("9113/8.3.1", "host instead of :authority is accepted and becomes Host", origin=True)
def host_alone(t):
    c = t.connect()
    c.answer(c.request(authority=None, extra=[("host", t.target.authority)]))
    if [r.all(b"host") for r in t.requests()] != [[t.target.authority.encode()]]:
        raise Fail(f"{[r.head for r in t.requests()]}")


@case("9113/8.3.1", ":authority becomes the origin's one Host field", origin=True)
def becomes_host(t):
    c = t.connect()
    c.answer(c.request())
    if [r.all(b"host") for r in t.requests()] != [[t.target.authority.encode()]]:
        t.should(f"{[r.head for r in t.requests()]}")


@each("9113/8.3.1", "a request with {} is refused", [
    ("neither :authority nor host", dict(authority=None)), ("an empty :authority", dict(authority=""))])
def no_authority(t, how):
    c = t.connect()
    kind, what = c.settled(c.request(base(t, **how)))
    if kind == "answer" and what < 300:
        if any(len(r.all(b"host")) != 1 for r in t.requests()):
            raise Fail(f"forwarded without Host: {t.requests()[0].head!r}")
        t.should("taken")
    elif kind == "answer":
        t.should(f"answered {what} instead of RST_STREAM(PROTOCOL_ERROR)")


@each("9113/8.3.1", "the :method {} is malformed", [
    ("that is empty", ""), ("with a space", "GET /bad"), ("with CRLF", "GET\r\nx-evil: 1"), ("with a colon", "G:T"),
    ("with NUL", "GET\0"), ("with TAB", "GET\t"), ("with a slash", "GE/T"), ("with a byte above 0x7f", "G\xc9T"),
    ("that is a request line", "GET / HTTP/1.1\r\nhost: evil\r\n\r\nGET")])
def method(t, text):
    block_malformed(t, base(t, method=text))


@case("9113/8.3.1", "an unknown method that is a token is no protocol error")
def unknown_method(t):
    c = t.connect()
    kind, what = c.settled(c.request(method="FROB"))
    if kind != "answer":
        raise Fail(f"{kind} {what}")
    c.works()


@case("9113/8.3.1", "methods are case-sensitive: get is not GET", origin=True)
def lower_method(t):
    c = t.connect()
    kind, what = c.settled(c.request(method="get"))
    if kind == "answer" and what < 300 and [r.method for r in t.requests()] != [b"get"]:
        raise Fail(f"it became {[r.method for r in t.requests()]}")


@each("9113/8.3.1", "the :scheme {} is malformed", [
    ("that is empty", ""), ("with a host in it", "http://evil/?"), ("with a space", "ht tp"), ("with CRLF", "http\r\nx-evil: 1"),
    ("with a colon", "http:")])
def scheme(t, text):
    block_malformed(t, base(t, scheme=text))


@case("9113/8.5", "CONNECT with :path and :scheme, and no :protocol, is malformed")
def connect_with_path(t):
    block_malformed(t, base(t, method="CONNECT"))


@case("9113/8.5", "CONNECT without :authority is malformed")
def connect_bare(t):
    block_malformed(t, base(t, method="CONNECT", path=None, scheme=None, authority=None))


@case("9113/8.5", "CONNECT to anywhere is not granted by a gateway")
def connect_proxy(t):
    c = t.connect()
    s = c.request(method="CONNECT", path=None, scheme=None, authority="192.0.2.1:25", end=False)
    c.until(lambda: s in c.resets or (s in c.answers and c.answers[s].status) or c.goaway, "refusal")
    if s in c.answers and c.answers[s].status and c.answers[s].status < 300:
        raise Fail(f"answered {c.answers[s].status}")
    c.works()



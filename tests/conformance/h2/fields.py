"""RFC 9113 section 8.2: which field names and values make a message malformed."""
from .case import Fail, case, each


def malformed(t, *extra, **pseudo):
    """A GET with these fields is malformed: a stream error, and nothing of it reaches the origin."""
    c = t.connect()
    s = c.request(extra=list(extra), **pseudo)
    c.rejected(s)
    not_forwarded(t)


def not_forwarded(t):
    """The origin got nothing of a refused request. The request that proves the connection alive has no odd fields."""
    odd = [r for r in t.requests() if r.all(b"x-bad") or r.method != b"GET"]
    if odd:
        raise Fail(f"the origin got it: {odd[0].head!r}")


@each("9113/8.2.1", "the field name {} is malformed", [
    ("with an upper-case letter", "X-Bad"), ("with one upper-case letter at its end", "x-baD"),
    ("that is empty", ""), ("with a space", "x bad"), ("with a space at its end", "x-bad "),
    ("with a colon at its end", "x-bad:"), ("with a colon inside", "x:bad"), ("with CR", "x-bad\r"),
    ("with LF", "x-bad\nx-evil"), ("with NUL", "x-bad\0"), ("with TAB", "x\tbad"), ("with DEL", "x-bad\x7f"),
    ("with 0x80", "x-bad\x80"), ("with 0xff", "\xff"), ("with 0x01", "x-bad\x01"),
], ["http2/8.1.2/1"] + [None] * 14)
def name(t, value):
    malformed(t, (value, "1"), ("x-bad", "1"))


@each("9113/8.2.1", "a field value with {} is malformed", [
    ("CR", "a\rb"), ("LF", "a\nb"), ("CRLF and a field", "a\r\nx-evil: 1"), ("NUL", "a\0b"), ("CR at its end", "a\r"),
    ("LF at its beginning", "\na"), ("a space at its beginning", " a"), ("a space at its end", "a "),
    ("TAB at its beginning", "\ta"), ("TAB at its end", "a\t"), ("nothing but a space", " "),
])
def value(t, text):
    malformed(t, ("x-bad", text))


@each("9113/8.2.1", "a field value with {} is accepted", [
    ("obs-text", "caf\xe9"), ("inner spaces and TAB", "a \t b"), ("nothing in it", ""), ("every visible character",
     "".join(map(chr, range(0x21, 0x7f))))])
def good_value(t, text):
    c = t.connect()
    c.answer(c.request(extra=[("x-good", text)]))
    if t.origin and [r.all(b"x-good") for r in t.requests()] != [[text.encode("latin-1")]]:
        t.should(f"it arrived as {[r.all(b'x-good') for r in t.requests()]}")


@each("9113/8.2.1", "the control character {} in a value is not forwarded (9110 5.5: recipients ought to refuse it)",
      [("0x01", "\x01"), ("0x08", "\x08"), ("0x1f", "\x1f"), ("DEL", "\x7f")], origin=True)
def control(t, char):
    c = t.connect()
    s = c.request(extra=[("x-bad", f"a{char}b")])
    kind, what = c.settled(s)
    if kind == "answer" and what < 300 and any(char.encode() in r.head for r in t.requests()):
        t.should("forwarded")


@each("9113/8.2.1", "the name {} is no token; it is not forwarded (9110 5.1)", ["x(bad", "x{bad", "x,bad", "x;bad", "x=bad",
      "x\"bad", "x/bad", "x@bad", "x[bad", "x<bad", "x\\bad"], origin=True)
def no_token(t, text):
    c = t.connect()
    s = c.request(extra=[(text, "1")])
    kind, what = c.settled(s)
    if kind == "answer" and what < 300 and any(text.encode() in r.head for r in t.requests()):
        t.should("forwarded")


CONNECTION = [
    ("connection: keep-alive", ("connection", "keep-alive")), ("connection: close", ("connection", "close")),
    ("connection: x-bad", ("connection", "x-bad")), ("keep-alive: timeout=5", ("keep-alive", "timeout=5")),
    ("proxy-connection: keep-alive", ("proxy-connection", "keep-alive")),
    ("transfer-encoding: chunked", ("transfer-encoding", "chunked")),
    ("transfer-encoding: identity", ("transfer-encoding", "identity")), ("transfer-encoding, empty", ("transfer-encoding", "")),
    ("upgrade: websocket", ("upgrade", "websocket")), ("upgrade: h2c", ("upgrade", "h2c")),
    ("te: gzip", ("te", "gzip")), ("te: trailers, deflate", ("te", "trailers, deflate;q=0.5")), ("te: chunked", ("te", "chunked")),
]
PUBLIC = {"connection: keep-alive": "http2/8.1.2.2/1", "te: trailers, deflate": "http2/8.1.2.2/2"}


@each("9113/8.2.2", "{} is malformed", CONNECTION, [PUBLIC.get(n) for n, _ in CONNECTION])
def connection_specific(t, field):
    malformed(t, field, ("x-bad", "1"))


@case("9113/8.2.2", "two te fields, trailers and gzip, are malformed")
def te_twice(t):
    malformed(t, ("te", "trailers"), ("te", "gzip"), ("x-bad", "1"))


@case("9113/8.2.2", "te: trailers is accepted")
def te(t):
    c = t.connect()
    c.answer(c.request(extra=[("te", "trailers")]))


@case("9113/8.2.2", "http2-settings does not become an offer to upgrade behind the server", origin=True)
def http2_settings(t):
    c = t.connect()
    c.settled(c.request(extra=[("http2-settings", "AAMAAABkAAQAAP__")]))
    for r in t.requests():
        if r.all(b"upgrade") or b"http2-settings" in b",".join(r.all(b"connection")).lower():
            raise Fail(f"{r.head!r}")


@case("9113/8.2.3", "cookie crumbs become one cookie field, joined with \"; \"", origin=True)
def crumbs(t):
    c = t.connect()
    c.answer(c.request(extra=[("cookie", "a=1"), ("x-between", "x"), ("cookie", "b=2"), ("cookie", "c=3; d=4")]))
    got = [r.all(b"cookie") for r in t.requests()]
    if got != [[b"a=1; b=2; c=3; d=4"]]:
        raise Fail(f"the origin got {got}")


@case("9113/8.2.3", "an empty cookie crumb does no harm")
def empty_crumb(t):
    c = t.connect()
    c.settled(c.request(extra=[("cookie", "a=1"), ("cookie", "")]))
    c.works()


@case("9113/8.2", "repeated fields arrive in their order", origin=True)
def order(t):
    c = t.connect()
    c.answer(c.request(extra=[("x-a", "1"), ("x-b", "2"), ("x-a", "3")]))
    got = [v for r in t.requests() for v in r.all(b"x-a")]
    if got not in ([b"1", b"3"], [b"1, 3"], [b"1,3"]):
        raise Fail(f"{got}")


@case("9113/8.2", "a field of 4,000 bytes arrives whole", origin=True)
def long_value(t):
    c = t.connect()
    c.answer(c.request(extra=[("x-long", "v" * 4000)]))
    if [r.all(b"x-long") for r in t.requests()] != [[b"v" * 4000]]:
        raise Fail("it did not")

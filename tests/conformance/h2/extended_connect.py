"""RFC 8441: extended CONNECT and WebSocket over HTTP/2."""
from .case import Fail, Skip, case, each
from .pseudo import base, block_malformed
from .wire import ENABLE_CONNECT_PROTOCOL, PROTOCOL_ERROR, data, frame, ping, rst_stream, settings


def offered(t):
    """A connection to a server that offers the extension."""
    c = t.connect()
    if c.peer.get(ENABLE_CONNECT_PROTOCOL) != 1:
        raise Skip("the server does not offer SETTINGS_ENABLE_CONNECT_PROTOCOL")
    return c


def websocket(t, c, kind="ws", **replace):
    return c.request(c.fields(method="CONNECT", path=t.path(kind), **{"protocol": "websocket", **replace},
                              extra=[("sec-websocket-version", "13"), ("origin", "http://localhost")]), end=False)


@case("8441/3", "the server's SETTINGS_ENABLE_CONNECT_PROTOCOL is 0 or 1")
def value(t):
    c = t.connect()
    if c.peer.get(ENABLE_CONNECT_PROTOCOL, 0) not in (0, 1):
        raise Fail(f"{c.peer}")


@case("8441/3", "SETTINGS_ENABLE_CONNECT_PROTOCOL from the client is accepted, whether it is of use or not")
def from_client(t):
    c = t.connect()
    c.send(settings((ENABLE_CONNECT_PROTOCOL, 1)))
    c.works()


@case("8441/3", "SETTINGS_ENABLE_CONNECT_PROTOCOL 2 is ignored or a connection error PROTOCOL_ERROR")
def bad_value(t):
    c = t.connect()
    c.send(settings((ENABLE_CONNECT_PROTOCOL, 2)), ping(b"afterall"))
    c.until(lambda: b"afterall" in c.pongs or c.goaway, "reaction")
    if c.goaway:
        c.connection_error(PROTOCOL_ERROR)


@case("8441/4", ":protocol is malformed where the server does not offer the extension")
def not_offered(t):
    c = t.connect()
    if c.peer.get(ENABLE_CONNECT_PROTOCOL) == 1:
        raise Skip("offered")
    c.rejected(websocket(t, c))


@case("8441/4", ":protocol with a method other than CONNECT is malformed")
def other_method(t):
    block_malformed(t, base(t, protocol="websocket"))


@each("8441/4", "extended CONNECT without :{} is malformed", ["path", "scheme", "authority"])
def missing(t, pseudo):
    offered(t)
    block_malformed(t, base(t, method="CONNECT", protocol="websocket", **{pseudo: None}))


@case("8441/4", "an unknown :protocol is refused without harm to the connection")
def unknown(t):
    c = offered(t)
    kind, what = c.settled(websocket(t, c, protocol="frob"))
    if kind == "answer" and what < 300:
        raise Fail(f"answered {what}")
    c.works()


@case("8441/5", "a WebSocket opens with 200, and bytes go both ways", origin=True)
def opens(t):
    c = offered(t)
    s = websocket(t, c)
    c.until(lambda: s in c.answers and c.answers[s].status or s in c.resets, "response")
    if s in c.resets or c.answers[s].status != 200:
        raise Fail(f"{c.seen()}")
    if c.answers[s].field(b"sec-websocket-accept"):
        t.should("the answer has Sec-WebSocket-Accept, which is not used here")
    for n, piece in enumerate([b"\x81\x85\0\0\0\0hello", b"\x89\x80\0\0\0\0"], 1):
        have = len(c.answers[s].body)
        c.send(data(s, piece))
        c.until(lambda: len(c.answers[s].body) >= have + len(piece) or s in c.resets, "echo")
    c.send(data(s, b"", end=True))
    try:
        c.until(lambda: s in c.ended or s in c.resets, "end of the stream")
    except Fail:
        t.should("END_STREAM was not passed on to the origin as the end of the bytes")


@case("8441/5.1", "the HTTP/1.1 origin gets GET, Upgrade, Connection and a Sec-WebSocket-Key", origin=True)
def handshake(t):
    c = offered(t)
    s = websocket(t, c)
    c.until(lambda: s in c.answers and c.answers[s].status or s in c.resets, "response")
    got = t.requests()
    if not got or got[0].method != b"GET" or not got[0].all(b"upgrade") or not got[0].all(b"sec-websocket-key"):
        raise Fail(f"{[r.head for r in got]}")
    c.send(rst_stream(s))


@case("8441/5", "a refusal of the origin is the answer", origin=True)
def refused(t):
    c = offered(t)
    s = websocket(t, c, kind="echo")
    c.send(data(s, b"", end=True))
    kind, what = c.settled(s)
    if kind == "gone":
        raise Fail(f"{what}")
    c.works()


@case("8441/4", "END_STREAM of a tunnel that is not open yet, and RST_STREAM of an open one, do no harm", origin=True)
def ends(t):
    c = offered(t)
    early = websocket(t, c)
    c.send(frame(0, 1, early, b""))
    s = websocket(t, c)
    c.until(lambda: s in c.answers and c.answers[s].status or s in c.resets, "response")
    c.send(rst_stream(s))
    c.works()

"""RFC 9113 sections 6.6 and 8.4: server push, which a client cannot send and this suite forbids the server."""
from .case import Fail, case
from .wire import ENABLE_PUSH, PROTOCOL_ERROR, PUSH_PROMISE, frame


@case("9113/8.4", "PUSH_PROMISE from a client is a connection error PROTOCOL_ERROR", "http2/8.2/1")
def from_client(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("hold"), end=False)
    c.send(frame(PUSH_PROMISE, 4, s, b"\0\0\0\2" + c.block(c.fields())))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/8.4", "PUSH_PROMISE from a client on an idle stream is a connection error PROTOCOL_ERROR")
def on_idle(t):
    c = t.connect()
    c.send(frame(PUSH_PROMISE, 4, 1, b"\0\0\0\2" + c.block(c.fields())))
    c.connection_error(PROTOCOL_ERROR)


@case("9113/6.5.2", "the server does not announce ENABLE_PUSH 1, which only a client may")
def server_setting(t):
    c = t.connect()
    if c.peer.get(ENABLE_PUSH, 0) != 0:
        raise Fail(f"ENABLE_PUSH {c.peer[ENABLE_PUSH]}")


@case("9113/6.6", "the server pushes nothing to a client with ENABLE_PUSH 0")
def none_pushed(t):
    c = t.connect(open_settings=[(ENABLE_PUSH, 0)])
    c.works()

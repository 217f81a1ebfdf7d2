"""RFC 9000 section 8.1: Retry, and the tokens that show where a client is. The listener `retry` asks everybody."""
import random
import time

from .case import Fail, case, each
from .quic_packets import SEED, bare, silent


@case("9000/8.1.2", "a client is asked to show its address by Retry, and is served with the token")
def retry(t):
    c = t.connect("retry")
    if c.machine._retry_count != 1:
        raise Fail("no Retry came")
    c.works()


@case("9000/8.1.2", "a Retry packet is no larger than the packet it answers, and nothing follows it")
def retry_size(t):
    c = bare(t, "retry")
    for datagram in c.first_flight():
        c.throw(datagram)
    got = c.answer(c.target.timeout)
    if got is None or got[0] & 0xf0 != 0xf0 or len(got) > 1200:
        raise Fail(f"{got and got.hex()}")
    silent(c, "more than a Retry packet", 1.0)


def asked(t):
    """A client that has got its Retry packet, and not answered it."""
    c = bare(t, "retry", strict=False)
    for datagram in c.first_flight():
        c.throw(datagram)
    got = c.answer(c.target.timeout)
    if got is None:
        raise Fail("no Retry came")
    c.machine.receive_datagram(got, (c.target.host, c.target.port), time.time())
    if c.machine._retry_count != 1:
        raise Fail(f"no Retry packet: {got[:40].hex()}")
    return c


def not_taken(c):
    """The token is no good: Retry again, INVALID_TOKEN, or nothing; no handshake."""
    c.flush()
    deadline = time.time() + 1
    while time.time() < deadline and not c.closed and not c.confirmed:
        c.read(deadline)
    if c.confirmed:
        raise Fail("the token was taken")
    if c.closed and c.closed[0] not in (0xb, 2):
        raise Fail(c.seen())


@each("9000/8.1.2", "a token of a Retry packet with {} is not taken", [
    ("its first byte changed", lambda b: bytes([b[0] ^ 1]) + b[1:]), ("its last byte changed", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    ("one byte in the middle changed", lambda b: b[:9] + bytes([b[9] ^ 0x80]) + b[10:]), ("its last byte missing", lambda b: b[:-1]),
    ("a byte more", lambda b: b + b"\0"), ("random bytes", lambda b: random.Random(SEED).randbytes(len(b))), ("one byte", lambda b: b"x")])
def tampered(t, change):
    c = asked(t)
    c.machine._peer_token = change(c.machine._peer_token)
    not_taken(c)


@case("9000/8.1.2", "a token of a Retry packet from another port is not taken")
def other_port(t):
    c = asked(t)
    c.socket.close()
    c.socket = c.plug()
    not_taken(c)


@case("9000/8.1.3", "a token of a Retry packet is not taken 16 seconds later")
def expired(t):
    c = asked(t)
    time.sleep(16)
    not_taken(c)


@case("9000/8.1.4", "a NEW_TOKEN token saves one connection its Retry, and only one")
def new_token(t):
    c = t.connect("retry")
    c.until(lambda: c.tokens, "NEW_TOKEN")
    second = t.connect("retry", token=c.tokens[0])
    if second.machine._retry_count:
        raise Fail("a Retry in spite of the token")
    second.works()
    third = t.connect("retry", token=c.tokens[0])
    if not third.machine._retry_count:
        raise Fail("the token was taken twice")
    third.works()


@case("9000/8.1.3", "a NEW_TOKEN token that was changed is worth nothing, and no error")
def new_token_changed(t):
    c = t.connect("retry")
    c.until(lambda: c.tokens, "NEW_TOKEN")
    token = bytearray(c.tokens[0])
    token[len(token) // 2] ^= 4
    second = t.connect("retry", token=bytes(token))
    if not second.machine._retry_count:
        raise Fail("the token was taken")


@case("9000/8.1.3", "a token of 1,000 bytes of noise on a listener that asks nobody is no error")
def noise_token(t):
    c = t.connect(token=b"\xa5" * 300)
    c.works()

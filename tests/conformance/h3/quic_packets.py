"""RFC 9000 sections 5, 6, 8, 10, 12 and 14, RFC 9001 section 6: packets before and beside any connection."""
import os
import random
import time

from aioquic.quic.crypto import CryptoPair
from aioquic.tls import Epoch

from .case import Fail, case, each
from .wire import PING, crypto, stream_frame, varint

SEED = 9000


def long_header(version, dcid=b"dcid1234", scid=b"scid1234", first=0xc3):
    return bytes([first]) + version.to_bytes(4, "big") + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid


def initial(hello, dcid, scid, size=1200, token=b""):
    """A client's first Initial packet, padded to `size`, with a ClientHello that may be anyone's."""
    pair = CryptoPair()
    pair.setup_initial(cid=dcid, is_client=True, version=1)
    header = long_header(1, dcid, scid, 0xc1) + varint(len(token)) + token
    frames = crypto(hello)
    frames += bytes(max(0, size - len(header) - 2 - 2 - 16 - len(frames)))
    header += (len(frames) + 2 + 16 | 0x4000).to_bytes(2, "big") + b"\0\0"
    return pair.encrypt_packet(header, frames, 0)


def bare(t, listener="web", **how):
    """A client that has sent nothing yet."""
    return t.client(listener, **how)


def silent(c, why, patience=0.4):
    """Nothing comes."""
    if got := c.answer(patience):
        raise Fail(f"{why}: {len(got)} bytes came: {got[:32].hex()}")


# --- version negotiation

@each("9000/6.1", "a packet of {} gets a Version Negotiation packet: its ids swapped, version 1, not the one that was asked for", [
    ("a reserved version", 0x1a2a3a4a), ("version 0xfaceb002", 0xfaceb002), ("draft 29", 0xff00001d), ("version 2^32-1", 0xffffffff)])
def negotiated(t, version):
    c = bare(t)
    c.throw(long_header(version).ljust(1200, b"\0"))
    got = c.answer(c.target.timeout)
    if got is None:
        raise Fail("nothing came")
    if not got[0] & 0x80 or got[1:5] != bytes(4) or got[5:23] != b"\x08scid1234\x08dcid1234":
        raise Fail(got.hex())
    versions = {got[n:n + 4] for n in range(23, len(got), 4)}
    if b"\0\0\0\1" not in versions or version.to_bytes(4, "big") in versions or len(got) > 3 * 1200:
        raise Fail(got.hex())


@each("9000/6.1", "{} gets no Version Negotiation packet", [
    ("a packet of 1199 bytes", long_header(0x1a2a3a4a).ljust(1199, b"\0")), ("a packet of 30 bytes", long_header(0x1a2a3a4a).ljust(30, b"\0")),
    ("a Version Negotiation packet", long_header(0).ljust(1200, b"\x1a"))])
def not_negotiated(t, packet):
    c = bare(t)
    c.throw(packet)
    silent(c, "an answer")


@case("9000/6.1", "connection ids longer than 20 bytes of other versions come back in Version Negotiation (17.2: SHOULD)")
def long_ids(t):
    c = bare(t)
    c.throw(long_header(0x1a2a3a4a, b"d" * 40, b"s" * 60).ljust(1200, b"\0"))
    got = c.answer(1)
    if got is None:
        t.should("nothing came")
    elif b"\x3c" + b"s" * 60 + b"\x28" + b"d" * 40 not in got:
        raise Fail(got.hex())


# --- first packets

@each("9000/14.1", "an Initial packet in a datagram of {} bytes is dropped", [1199, 600, 300])
def small_initial(t, size):
    c = bare(t)
    hello = c.hello()
    if size < len(hello) + 100:
        hello = hello[:size - 100]
    c.throw(initial(hello, os.urandom(8), c.machine.host_cid, size))
    silent(c, "an answer")


@each("9000/7.2", "a first Initial packet with a Destination Connection ID of {} bytes is dropped or PROTOCOL_VIOLATION", [0, 4, 7])
def short_cid(t, size):
    c = bare(t)
    c.throw(initial(c.hello(), os.urandom(size), c.machine.host_cid))
    got = c.answer(0.4)
    if got and b"\x0a" not in got and len(got) > 200:
        raise Fail(f"{len(got)} bytes came")


@case("9000/17.2", "a long header with a Destination Connection ID of 21 bytes in version 1 is dropped")
def long_cid(t):
    c = bare(t)
    c.throw(long_header(1, b"d" * 21, b"s" * 8).ljust(1200, b"\0"))
    silent(c, "an answer")


@case("9000/17.2.2", "a first Initial packet without CRYPTO is dropped or PROTOCOL_VIOLATION, and half-open nothing is left")
def no_crypto(t):
    c = bare(t)
    c.hello()
    c.machine._packet_number = 0
    c.inject(PING + bytes(1150), epoch=Epoch.INITIAL)
    c.wait(0.3)
    if c.closed and c.closed[0] != 0xa:
        raise Fail(c.seen())


@case("9000/8.1", "before the client's address is validated at most three times its bytes are sent, retransmissions included")
def amplification(t):
    c = bare(t)
    for datagram in c.first_flight():
        c.throw(datagram)
    got, deadline = 0, time.monotonic() + 3
    while time.monotonic() < deadline:
        got += len(c.answer(0.2) or b"")
    if got == 0:
        raise Fail("nothing came")
    if got > 3 * c.sent:
        raise Fail(f"{got} bytes for {c.sent}")


@case("9000/8.1", "a hundred first flights, never answered, get at most three times their bytes")
def amplification_many(t):
    c = bare(t)
    hello = c.hello()
    for _ in range(100):
        c.throw(initial(hello, os.urandom(8), c.machine.host_cid))
    got, deadline = 0, time.monotonic() + 3
    while time.monotonic() < deadline:
        got += len(c.answer(0.2) or b"")
    if not 0 < got <= 3 * c.sent:
        raise Fail(f"{got} bytes for {c.sent}")


# --- datagrams that are not as they should be

def samples(t):
    """Real datagrams of every type, of connections that are there: (client, datagrams)."""
    c = t.connect(strict=False)
    half = bare(t)
    found = half.first_flight()
    half.throw(found[0])
    half.until(lambda: half.machine._cryptos[Epoch.HANDSHAKE].send.is_valid() or half.confirmed, "handshake keys")
    if half.machine._cryptos[Epoch.HANDSHAKE].send.is_valid():
        found.append(half.packet(PING, epoch=Epoch.HANDSHAKE))
    found += [c.packet(PING + bytes(n)) for n in (0, 40, 1000)]
    found.append(long_header(1, first=0xd3).ljust(1200, b"\x11"))       # 0-RTT
    found.append(long_header(1, first=0xf3).ljust(200, b"\x22"))        # Retry
    found.append(long_header(0x1a2a3a4a).ljust(1200, b"\x33"))
    return c, found


def mutated(rng, packet):
    """The packet after one to four changes."""
    packet = bytearray(packet)
    for _ in range(rng.randint(1, 4)):
        kind, at = rng.randrange(6), rng.randrange(len(packet)) if packet else 0
        if not packet or kind == 0:
            packet[at:at] = rng.randbytes(rng.randint(1, 40))
        elif kind == 1:
            packet[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            packet[at] = rng.choice((0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff))
        elif kind == 3:
            del packet[at:at + rng.randint(1, 30)]
        elif kind == 4:
            packet[at:at] = packet[at:at + rng.randint(1, 200)]
        else:
            del packet[at:]
    return bytes(packet[:1472]) or b"\0"


def unharmed(c):
    """The connection whose packets were changed goes on."""
    c.wait(0.05)
    c.works("a request of the connection whose packets were changed")


@each("9000/5.2", "1,500 mutations of real packets of all types, seed {}, harm nobody", [SEED, SEED + 1, SEED + 2, SEED + 3])
def mutations(t, seed):
    rng = random.Random(seed)
    c, real = samples(t)
    for n in range(1500):
        c.throw(mutated(rng, rng.choice(real)))
        if n % 100 == 0:
            c.wait(0.002)
    unharmed(c)


@case("9000/5.2", "real packets of all types cut at each of their first bytes, and at their last, harm nobody")
def truncations(t):
    c, real = samples(t)
    for packet in real:
        for size in [*range(1, min(120, len(packet))), *range(max(1, len(packet) - 20), len(packet))]:
            c.throw(packet[:size])
    unharmed(c)


@case("9000/5.2", "2,000 datagrams of random bytes and lengths harm nobody")
def noise(t):
    rng = random.Random(SEED)
    c = t.connect(strict=False)
    for n in range(2000):
        c.throw(rng.randbytes(rng.choice((1, 2, 5, 20, 21, 22, 60, 600, 1199, 1200, 1472))))
        if n % 100 == 0:
            c.wait(0.002)
    unharmed(c)


@case("9000/5.2", "empty datagrams, and datagrams of the largest size, harm nobody")
def extremes(t):
    c = t.connect(strict=False)
    for _ in range(20):
        c.throw(b"")
        c.throw(b"\x40" + c.machine._peer_cid.cid + bytes(60_000))
        c.throw(long_header(1, first=0xc0).ljust(65_000, b"\0"))
    unharmed(c)


@case("9000/12.2", "garbage behind a packet in its datagram is passed over, and the handshake goes on")
def coalesced(t):
    c = bare(t)
    hello = c.hello()
    rng = random.Random(SEED)
    dcid = c.machine._peer_cid.cid
    packet = initial(hello, dcid, c.machine.host_cid, 1000)
    c.throw(packet + rng.randbytes(240))
    c.until(lambda: c.confirmed, "end of the handshake")
    c.throw(c.packet(PING) + rng.randbytes(100))
    c.works()


@case("9000/12.3", "the same packet a hundred times is taken once")
def duplicates(t):
    c = t.connect()
    stream = c.stream()
    c.adopt(stream)
    packet = c.packet(stream_frame(stream, c.head(), fin=True))
    for _ in range(100):
        c.throw(packet)
    if c.answered(stream).status != 200:
        raise Fail(c.seen())
    if t.origin and len(t.requests()) != 1:
        raise Fail(f"{len(t.requests())} requests")


# --- stateless reset

def forgotten(t):
    """A connection that is over, and that the server has forgotten: (a new client, the old id, its reset token)."""
    c = t.connect()
    c.works()
    cid = c.machine._peer_cid
    c.machine.say_goodbye()
    c.flush()
    return bare(t), cid.cid, cid.stateless_reset_token


def short(cid, size):
    return (b"\x40" + cid).ljust(size, b"\x5a")


def until_reset(c, cid, token, size=100):
    deadline = time.monotonic() + c.target.timeout
    while time.monotonic() < deadline:
        c.throw(short(cid, size))
        if got := c.answer(0.1):
            if got[-16:] != token or got[0] & 0xc0 != 0x40:
                raise Fail(f"no stateless reset: {got.hex()}")
            return got
    raise Fail("no stateless reset")


@case("9000/10.3", "a packet of a connection that is forgotten gets a stateless reset with the token that was told, and smaller")
def stateless_reset(t):
    c, cid, token = forgotten(t)
    if len(until_reset(c, cid, token)) >= 100:
        raise Fail("not smaller")


@case("9000/10.3.3", "a stateless reset is always smaller than its trigger; one of 21 bytes or less gets none")
def reset_sizes(t):
    c, cid, token = forgotten(t)
    until_reset(c, cid, token)
    for size in (10, 17, 20, 21, 22, 30, 43, 60, 500, 1200):
        time.sleep(0.1)
        c.throw(short(cid, size))
        got = c.answer(0.15)
        if got and len(got) >= size:
            raise Fail(f"{len(got)} bytes for {size}")


@case("9000/10.3.3", "stateless resets are sent at a bounded rate")
def reset_rate(t):
    c, cid, token = forgotten(t)
    until_reset(c, cid, token)
    begun, got = time.monotonic(), 0
    for _ in range(2000):
        c.throw(short(cid, 60))
        while c.answer(0):
            got += 1
    c_deadline = time.monotonic() + 0.3
    while time.monotonic() < c_deadline:
        got += c.answer(0.05) is not None
    most = 100 * (time.monotonic() - begun) + 5
    if got > most:
        raise Fail(f"{got} resets for 2000 packets in {time.monotonic() - begun:.2f} s")


@case("9000/10.3", "ids that were never given out get nothing larger than what asks, and no flood")
def unknown_ids(t):
    rng = random.Random(SEED)
    c = bare(t)
    got = 0
    for _ in range(1000):
        c.throw(short(rng.randbytes(8), 50))
        while reply := c.answer(0):
            got += 1
            if len(reply) >= 50:
                raise Fail(f"{len(reply)} bytes")
    if got > 100:
        raise Fail(f"{got} replies for 1000 packets")


# --- keys

@case("9001/6", "a client updates its keys five times, and is answered each time")
def key_update(t):
    c = t.connect()
    for _ in range(5):
        c.works()
        c.machine.request_key_update()
        c.works("a request behind a key update")


@case("9001/6.3", "packets of a key phase whose keys do not fit are dropped, and change nothing")
def wrong_phase(t):
    c = t.connect()
    c.works()
    for _ in range(50):
        c.inject(PING, phase=1)
    c.works()
    c.machine.request_key_update()
    c.works()


@case("9001/5.5", "a thousand packets that cannot be decrypted are dropped")
def undecipherable(t):
    c = t.connect()
    rng = random.Random(SEED)
    for _ in range(1000):
        packet = bytearray(c.packet(PING + bytes(30)))
        packet[-rng.randint(1, 40)] ^= 0x55
        c.throw(bytes(packet))
    c.works()

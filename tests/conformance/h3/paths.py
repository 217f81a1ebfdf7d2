"""RFC 9000 sections 8 to 10, RFC 9114 section 6.2: clients that move, that give no room, and that do not go away."""
import time

from .case import Fail, case, each
from .exhaustion import alone
from .wire import DATA, ENCODER, PING, capacity, frame, headers, insert, prefixed, stream_frame, varint


def moved(c):
    """A new port for the same connection; the old socket."""
    old, c.socket = c.socket, c.plug()
    return old


@case("9000/9", "a client whose port changes twenty times is answered each time, and keeps its connection", origin=True)
def rebinding(t):
    c = t.connect()
    for n in range(20):
        c.works()
        moved(c).close()
        c.inject(PING)
    answer = c.answered(c.request(path=t.path("bytes/200000")))
    if len(answer.body) != 200_000:
        raise Fail(f"{len(answer.body)} bytes")


@case("9000/8.2", "to a port that was not validated goes what asks for its validation (three times what came, and three packets), not the"
      " answer of 3 MB that is under way", origin=True)
def unvalidated(t):
    c = t.connect(strict=False, window=1 << 23)
    stream = c.request(path=t.path("bytes/3000000"))
    c.until(lambda: c.received.get(stream), "first bytes")
    old = moved(c)
    sent = 0
    for _ in range(5):
        packet = c.packet(PING)
        c.throw(packet)
        sent += len(packet)
    got, deadline = 0, time.monotonic() + 1.5
    while time.monotonic() < deadline:
        got += len(c.answer(0.1) or b"")
    old.close()
    if got > 3 * (sent + 1452):
        raise Fail(f"{got} bytes for {sent}")


@case("9000/9.3", "packets of one connection from 300 ports harm neither it nor others")
def many_ports(t):
    c = t.connect(strict=False)
    c.works()
    home = c.socket
    for _ in range(300):
        c.socket = c.plug()
        c.inject(PING)
        c.socket.close()
    c.socket = home
    for _ in range(3):
        c.inject(PING)
        c.wait(0.05)
    c.works("a request from the first port")


@each("9114/6.2", "a client that gives the server's unidirectional streams {} is answered, or ended in good order", ["no room", "no place"])
def no_room(t, what):
    c = t.client(strict=False)
    if what == "no room":
        c.machine._local_max_stream_data_uni = 0
    else:
        c.machine._local_max_streams_uni.value = 0
    c.open()
    c.works()
    # What the server would say of these on its decoder stream must not pile up without end.
    encoder = c.uni(varint(ENCODER) + capacity(4096))
    for n in range(200):
        c.send(encoder, insert("x-a", "v" * 20) * 10)
        c.send(c.stream(), headers(prefixed(10 * (n + 1) % 256 + 1, 8) + b"\0\xd1\xd7\xc1\x50\x09localhost\x80"), fin=True)
        c.wait(0.002)
        if c.closed:
            break
    if c.closed and c.closed[0] not in (0x107, 0x200, 0x201):
        raise Fail(c.seen())


@case("9114/5.1", "PING frames keep a connection without requests no longer than its deadline")
def pings(t):
    c = t.connect("tight")
    c.works()
    begun = time.time()
    while time.time() - begun < 8 and not c.closed:
        c.inject(PING)
        c.wait(0.1)
    if not c.closed:
        raise Fail("still there after 8 s")
    if c.closed[:2] != (0x100, True):
        raise Fail(c.seen())


@case("9000/10.2.1", "a connection that was ended answers a flood of packets with fewer bytes than come")
def closing(t):
    c = t.connect(strict=False)
    c.inject(stream_frame(0, frame(DATA, b"x")))
    if not c.until_closed():
        raise Fail(c.seen())
    sent, got = c.sent, 0
    for _ in range(1000):
        c.throw(c.packet(PING + bytes(100)))
        while reply := c.answer(0):
            got += len(reply)
    got += sum(len(c.answer(0.05) or b"") for _ in range(5))
    if got > c.sent - sent:
        raise Fail(f"{got} bytes for {c.sent - sent}")


@case("9000/10.1", "a client that falls silent with requests under way is forgotten behind its idle timeout", origin=True)
@alone
def silence(t):
    def there():
        return t.edge.sum("edge_connections", 'listener="tight"', 'protocol="h3"')
    deadline = time.time() + 10
    while there() and time.time() < deadline:
        time.sleep(0.1)
    for _ in range(10):
        c = t.connect("tight", strict=False)
        c.request(path=t.path("hold"))
        c.request(method="POST", path=t.path("echo"), end=False)
        c.wait(0.02)
        t.clients.remove(c)
        c.socket.close()
    if there() != 10:
        raise Fail(f"{there()} connections")
    deadline = time.time() + 10     # idle_timeout is 3 s
    while there():
        if time.time() > deadline:
            raise Fail(f"{there()} connections are left")
        time.sleep(0.1)


@case("9114/4.1.1", "three thousand requests one after the other on one connection leave nothing behind")
@alone
def long_lived(t):
    c, sizes = t.connect(), []
    for n in range(60):
        streams = [c.request(path="/works") for _ in range(50)]
        c.until(lambda: all(s in c.finished for s in streams), "answers")
        if t.edge and n % 10 == 9:
            sizes.append(t.edge.rss_mib())
    if sizes and sizes[-1] - sizes[0] > 4:
        raise Fail(f"memory grew from {sizes[0]:.1f} to {sizes[-1]:.1f} MiB")

"""RFC 9001 section 4.6, RFC 8470: requests in a returning client's first packets, which whoever recorded them can send again."""
import time

from .case import Fail, case
from .wire import DATA, frame, headers, section


def returning(t):
    """A client that has been there, and has a ticket that allows early data; not started."""
    c = t.connect("early")
    c.works()
    c.until(lambda: c.tickets, "ticket")
    if not c.tickets[0].max_early_data_size:
        raise Fail("the ticket allows no early data")
    return t.client("early", ticket=c.tickets[0])


def early(c, head, more=b"", end=True):
    """The first flight with a request in it, not sent: (datagrams, stream)."""
    c.machine.connect((c.target.host, c.target.port), time.time())
    stream = c.stream()
    c.machine.send_stream_data(stream, head + more, end_stream=end)
    return [d for d, _ in c.machine.datagrams_to_send(time.time())], stream


def thrown(c, datagrams):
    for datagram in datagrams:
        c.throw(datagram)


@case("9001/4.6", "a GET in the first packets of a returning client is answered, and the origin is told", origin=True)
def get(t):
    c = returning(t)
    datagrams, stream = early(c, c.head())
    thrown(c, datagrams)
    if c.answered(stream).status != 200:
        raise Fail(c.seen())
    told = t.requests()[0].all(b"early-data")
    if not c.machine.tls.early_data_accepted:
        raise Fail("the early data were not taken")
    if told != [b"1"]:
        raise Fail(f"early-data: {told}")


@case("8470/5.2", "a POST in the first packets gets 425, or waits for the end of the handshake; it is forwarded once at most", origin=True)
def post(t):
    c = returning(t)
    datagrams, stream = early(c, c.head(method="POST", path=t.path("echo")), frame(DATA, b"abc"))
    thrown(c, datagrams)
    answer = c.answered(stream)
    if answer.status not in (200, 425) or len(t.requests()) > 1 or answer.status == 425 and t.requests():
        raise Fail(f"{answer.status}, forwarded {len(t.requests())} times")


@case("8470/3", "first packets that are recorded and sent again five times, from another port, make no second request", origin=True)
def replay(t):
    c = returning(t)
    datagrams, stream = early(c, c.head())
    thrown(c, datagrams)
    c.answered(stream)
    for _ in range(5):
        thief = t.client("early")
        thrown(thief, datagrams)
        time.sleep(0.05)
    c.works()
    if len(t.requests()) != 1:
        raise Fail(f"{len(t.requests())} requests")


@case("8470/3", "first packets that are sent again when their connection is gone make no second request", origin=True)
def replay_later(t):
    c = returning(t)
    datagrams, stream = early(c, c.head())
    thrown(c, datagrams)
    c.answered(stream)
    c.close()
    t.clients.remove(c)
    time.sleep(0.5)
    for _ in range(5):
        thrown(t.client("early"), datagrams)
        time.sleep(0.05)
    if len(t.requests()) != 1:
        raise Fail(f"{len(t.requests())} requests")


@case("8470/3", "a ticket that was used once allows no early data again: the request is made once, behind the handshake", origin=True)
def ticket_twice(t):
    c = returning(t)
    ticket = c.machine.configuration.session_ticket
    datagrams, stream = early(c, c.head())
    thrown(c, datagrams)
    c.answered(stream)
    second = t.client("early", ticket=ticket)
    datagrams, stream = early(second, second.head())
    thrown(second, datagrams)
    second.answered(stream)
    if second.machine.tls.early_data_accepted:
        raise Fail("the ticket was taken twice")
    if len(t.requests()) != 2:
        raise Fail(f"{len(t.requests())} requests")


@case("9001/5.6", "early data that break the protocol end the connection like any other", origin=True)
def broken(t):
    c = returning(t)
    c.strict = False
    datagrams, _ = early(c, frame(DATA, b"x"))
    thrown(c, datagrams)
    c.connection_error("H3_FRAME_UNEXPECTED", "APPLICATION_ERROR")    # RFC 9000 10.2.3: the latter before the handshake's end


@case("8470/5.2", "a malformed request in the first packets is no request", origin=True)
def malformed(t):
    c = returning(t)
    datagrams, stream = early(c, headers(section(c.fields(extra=[("X-Bad", "1")]))))
    thrown(c, datagrams)
    c.malformed(stream)

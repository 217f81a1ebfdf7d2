"""An origin that misbehaves when it is told to. It writes down each request that it saw, before it does anything with it.

    python3 bench/chaos/flaky.py --port 8080 --control /run/flaky.sock --log seen.log

HTTP/1.1 without TLS. A datagram to the control socket is a JSON object, `{"do": "status", "status": 500}`; what there is to do
is in `Origin`, one method each. `"gray": true` leaves `/healthz` well, as of a server whose checks know nothing of its trouble.
"""
import argparse
import asyncio
import json
import os
import random
import re
import socket
import struct
import sys
import time

#: A well one answers after so long, ms: long enough that a kill meets requests.
WELL_MS = (2, 8)
BODY = b"x" * 256
HEAD_MAX, BODY_MAX, ORDER_MAX = 64 * 1024, 1 << 20, 4096
BACKLOG = 4096
#: Connections that are hung up on stay idle up to so long, s.
HANG_UP_S = 0.02
#: How long a flapping one stays well, and how long ill, s.
FLAP_S = 0.5
ID = re.compile(rb"[?&]id=([A-Za-z0-9.-]+)")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.I)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.I)


class Origin:
    """What all connections share: what is to be done, the record, and chance."""

    def __init__(self, log, seed, loop):
        self.log, self.random, self.loop = log, random.Random(seed), loop
        self.connections, self.held = set(), []
        self.order = {"do": "well"}

    def obey(self, order):
        """Does from now on what the order says. What was held back is answered, as by a server that wakes up."""
        getattr(self, "do_" + order["do"])
        self.order = order
        held, self.held = self.held, []
        for connection in held:
            connection.answer(200)
        for connection in list(self.connections):
            connection.listen(order["do"] != "deaf")

    def saw(self, method, target):
        """One line for one request, in the kernel's hands before anything else happens to it."""
        found = ID.search(target)
        name = found[1].decode() if found else "check" if target.startswith(b"/healthz") else "-"
        line = f"{time.time():.3f} {method.decode()} {name} {self.order['do']}\n"
        os.write(self.log, line.encode())

    def act(self, connection, target):
        order = self.order
        if order.get("gray") and target.startswith(b"/healthz"):
            order = {"do": "well"}
        getattr(self, "do_" + order["do"])(connection, order)

    def later(self, low_ms, high_ms, do, *args):
        self.loop.call_later(self.random.uniform(low_ms, high_ms) / 1e3, do, *args)

    def do_well(self, connection, _order):
        self.later(*WELL_MS, connection.answer, 200)

    def do_slow(self, connection, order):
        """Answers between `from` and `to` ms."""
        self.later(order["from"], order["to"], connection.answer, 200)

    def do_status(self, connection, order):
        """Answers `status`."""
        self.later(*WELL_MS, connection.answer, order["status"])

    def do_flap(self, connection, _order):
        """By turns well and 503."""
        ill = int(self.loop.time() / FLAP_S) % 2
        self.later(*WELL_MS, connection.answer, 503 if ill else 200)

    def do_mute(self, connection, _order):
        """Reads, and says nothing."""
        self.held.append(connection)

    def do_deaf(self, connection, order):
        """Reads nothing any more. What was read already is answered."""
        self.do_well(connection, order)

    def do_garbage(self, connection, _order):
        """Bytes that are no HTTP."""
        self.later(*WELL_MS, connection.rubbish, self.random.randbytes(self.random.randint(1, 400)))

    def do_reset(self, connection, _order):
        """Reads the request, then RST."""
        self.later(*WELL_MS, connection.reset)

    def do_hangup(self, connection, _order):
        """Answers well, and closes the idle connection without having announced it, as a short keep-alive limit does."""
        self.later(*WELL_MS, connection.answer_and_hang_up, self.random.uniform(0, HANG_UP_S))


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1: one request after the other."""

    def __init__(self, origin):
        self.origin, self.buffer, self.busy, self.transport = origin, b"", False, None

    def connection_made(self, transport):
        self.transport = transport
        self.origin.connections.add(self)
        self.listen(self.origin.order["do"] != "deaf")

    def connection_lost(self, _why):
        self.origin.connections.discard(self)

    def listen(self, yes):
        if self.transport.is_closing():
            return
        (self.transport.resume_reading if yes else self.transport.pause_reading)()

    def data_received(self, data):
        self.buffer += data
        self._next()

    def _next(self):
        """Takes the next whole request. Its head is written down when it is there, whatever becomes of the body."""
        if self.busy or (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > HEAD_MAX:
                self.reset()
            return
        head = self.buffer[:end]
        length = LENGTH.search(head)
        need = end + 4 + (int(length[1]) if length else 0)
        if CHUNKED.search(head) or need > BODY_MAX:
            # The clients of these runs say how long their small bodies are.
            self.answer(411)
            self.transport.close()
            return
        if len(self.buffer) < need:
            return
        self.buffer, self.busy = self.buffer[need:], True
        method, target, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
        self.origin.saw(method, target)
        self.origin.act(self, target)

    def answer(self, status):
        if self.transport.is_closing():
            return
        head = f"HTTP/1.1 {status} Scripted\r\nContent-Type: text/plain\r\nContent-Length: {len(BODY)}\r\n\r\n"
        self.transport.write(head.encode() + BODY)
        self.busy = False
        self._next()

    def answer_and_hang_up(self, after_s):
        self.answer(200)
        self.origin.loop.call_later(after_s, self._hang_up)

    def _hang_up(self):
        # Not in the middle of the next request: that would be a reset.
        if not self.busy:
            self.transport.close()

    def rubbish(self, data):
        if not self.transport.is_closing():
            self.transport.write(b"\x00" + data)
            self.transport.close()

    def reset(self):
        if not self.transport.is_closing():
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()


async def serve(options):
    loop = asyncio.get_running_loop()
    log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    origin = Origin(log, options.seed, loop)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if os.path.exists(options.control):
        os.unlink(options.control)
    control.bind(options.control)
    control.setblocking(False)
    loop.add_reader(control, _orders, origin, control)
    server = await loop.create_server(lambda: Connection(origin), "127.0.0.1", options.port, backlog=BACKLOG)
    await server.serve_forever()


def _orders(origin, control):
    """All that have come, before any request is looked at."""
    while True:
        try:
            order = control.recv(ORDER_MAX)
        except BlockingIOError:
            return
        try:
            origin.obey(json.loads(order))
        except (ValueError, KeyError, AttributeError) as e:
            print(f"not understood: {order!r}: {e!r}", file=sys.stderr, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--control", required=True, help="path of the unix socket that takes orders")
    p.add_argument("--log", required=True, help="file of the requests that were seen; appended to")
    p.add_argument("--seed", type=int, default=1)
    asyncio.run(serve(p.parse_args()))


if __name__ == "__main__":
    main()

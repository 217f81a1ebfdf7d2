"""One attacking process: as many connections as the script says, driven by epoll, for so many seconds.

    python3 bench/show/attack/attacker.py NAME --port 8080 --tls-port 8443 --seconds 20

Prints one JSON line: connections made, connections that ended, bytes sent and read, items (requests, frames) sent.
"""
import argparse
import json
import select
import socket
import time

from scripts import ATTACKS

SLICE = 1 << 18
FINISH_S = 2.0
CONNECTIONS_MAX = 200_000      # of one process in all, so that ports and time are bounded


class Connection:
    """One socket and how far it has come in its script."""

    def __init__(self, attacker):
        self.attacker, script = attacker, attacker.script
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if script.read != "drain":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Little is under way unread: what has been sent is, mostly, what the server has worked on.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.view, self.at, self.opened = memoryview(script.first()), 0, False
        self.holding, self.finish_by = False, None
        self.socket.connect_ex(attacker.address)
        self.events = select.EPOLLOUT | (select.EPOLLIN if script.read == "drain" else 0)
        attacker.epoll.register(self.socket, self.events)

    def write(self):
        """Sends until the socket takes no more or everything has been sent."""
        attacker = self.attacker
        while self.at < len(self.view) or self._next():
            sent = self.socket.send(self.view[self.at:self.at + SLICE])
            self.at += sent
            attacker.sent += sent
            if self.opened:
                attacker.body_sent += sent
        if not self.holding:
            self._sent_all()

    def _next(self):
        """The next piece; False when there is none."""
        script = self.attacker.script
        first = not self.opened
        self.opened = True
        if not script.body or not (first or script.after == "repeat"):
            return False
        self.view, self.at = memoryview(script.body), 0
        return True

    def _sent_all(self):
        """Holds the connection; or, before the next one is made, waits until the server has worked everything off."""
        self.holding = True
        if self.attacker.script.half_close or self.attacker.script.after == "reconnect":
            self.socket.shutdown(socket.SHUT_WR)
        if self.attacker.script.after == "reconnect":
            self.finish_by = time.monotonic() + FINISH_S
        self.events &= ~select.EPOLLOUT
        self.attacker.epoll.modify(self.socket, self.events)

    def read(self):
        """Takes what is there; False when the server has ended the connection."""
        got = self.socket.recv(1 << 20)
        self.attacker.got += len(got)
        return bool(got) and self.attacker.script.after != "reconnect on data"

    def drip(self):
        """While holding: a little in, a little out."""
        script = self.attacker.script
        if script.read == "trickle":
            self.attacker.got += len(self.socket.recv(16))
        if script.drip and self.holding:
            self.socket.send(script.drip)


class Attacker:
    def __init__(self, script, address, connections):
        self.script, self.address = script, address
        self.epoll = select.epoll()
        self.made = self.ended = self.sent = self.got = self.body_sent = self.refused = 0
        self.open = {}
        self.want = connections or script.connections

    def run(self, seconds):
        end = time.monotonic() + seconds
        next_drip = time.monotonic() + 0.5
        pause_until = 0.0
        while (now := time.monotonic()) < end:
            while len(self.open) < self.want and self.made < CONNECTIONS_MAX and now >= pause_until:
                if not self._connect():
                    pause_until = now + 0.01
                    break
            for number, events in self.epoll.poll(0.05):
                self._serve(number, events)
            if time.monotonic() >= next_drip:
                next_drip += 0.5
                self._drip()
        for c in list(self.open.values()):
            c.socket.close()

    def _connect(self):
        try:
            c = Connection(self)
        except OSError:
            self.refused += 1
            return False
        self.made += 1
        self.open[c.socket.fileno()] = c
        return True

    def _serve(self, number, events):
        c = self.open.get(number)
        if c is None:
            return
        goes_on = True
        try:
            if events & select.EPOLLIN:
                goes_on = c.read()
            if goes_on and events & select.EPOLLOUT:
                c.write()
            if events & select.EPOLLHUP:
                goes_on = False
        except BlockingIOError:
            pass
        except OSError:
            goes_on = False
        if not goes_on:
            self._close(number)

    def _close(self, number):
        self.ended += 1
        self.open.pop(number).socket.close()

    def _drip(self):
        for number, c in list(self.open.items()):
            try:
                if c.finish_by and time.monotonic() > c.finish_by:
                    self._close(number)
                    continue
                c.drip()
            except BlockingIOError:
                pass
            except OSError:
                self._close(number)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=[*ATTACKS, "list"])
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int)
    p.add_argument("--tls-port", type=int)
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--connections", type=int, default=0, help="at once; 0 is what the script says")
    p.add_argument("--path", default="/", help="what is asked for where the script leaves that open")
    options = p.parse_args()
    if options.name == "list":
        for name, (about, _) in ATTACKS.items():
            print(f"{name:28} {about}")
        return
    script = ATTACKS[options.name][1](options.path)
    port = options.tls_port if script.port == "tls" else options.port
    if not port:
        raise SystemExit(f"{options.name} needs --{'tls-' if script.port == 'tls' else ''}port")
    attacker = Attacker(script, (options.host, port), options.connections)
    attacker.run(options.seconds)
    share = attacker.body_sent / len(script.body) if script.body else attacker.made
    print(json.dumps({"made": attacker.made, "ended": attacker.ended, "refused": attacker.refused, "sent": attacker.sent,
                      "read": attacker.got, "items": int(share * script.items)}))


if __name__ == "__main__":
    main()

"""One process that attacks HTTP/3: as many connections as the script says, one after the other and side by side, for so many
seconds.

    python3 bench/show/attack/attacker_h3.py NAME --port 8443 --seconds 20

Prints one JSON line, as attacker.py does. Needs PyPI's aioquic.
"""
import argparse
import json
import socket
import time

from scripts_h3 import ATTACKS_H3
from h3.case import Fail
from h3.client import Client, Target


class Path:
    """Stands for a case of the suite."""

    def __init__(self, path):
        self.text = path

    def path(self, kind=""):
        return self.text

    def requests(self):
        return []


def hello():
    """A ClientHello, and the connection id that it names."""
    c = Client(Path("/"), Target("127.0.0.1", 9))
    said = c.hello(), c.machine.host_cid
    c.socket.close()
    return said


class Attacker:
    """Drives the connections in turn."""

    def __init__(self, script, target, path, connections):
        self.script, self.target, self.path = script, target, Path(path)
        self.want = connections or script.connections
        self.open = []
        self.made = self.ended = self.sent = self.got = self.refused = self.items = 0

    def run(self, seconds):
        end = time.monotonic() + seconds
        if self.script.datagrams:
            return self._throw(end)
        while time.monotonic() < end:
            while len(self.open) < self.want and time.monotonic() < end:
                self._connect()
            for entry in list(self.open):
                self._turn(entry)
            if self.script.pause:
                time.sleep(0.01)
        for c, _, _ in self.open:
            self._gone(c)

    def _throw(self, end):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((self.target.host, self.target.port))
        n = 0
        while time.monotonic() < end:
            try:
                self.items += self.script.datagrams(sock, n)
            except OSError:
                self.refused += 1
            n += 1
            sock.setblocking(False)
            try:
                while True:
                    self.got += len(sock.recv(65536))
            except OSError:
                sock.setblocking(True)
        self.made = 1

    def _connect(self):
        c = Client(self.path, self.target, strict=False, **self.script.client)
        try:
            c.open()
            self.made += 1
            self.script.opened(c)
            self.open.append([c, 0, 0.0])
        except (Fail, OSError, AssertionError):
            self.refused += 1
            self._gone(c)
            time.sleep(0.01)

    def _turn(self, entry):
        c, n, due = entry
        now = time.monotonic()
        if now < due:
            return
        entry[2] = now + self.script.pause
        try:
            sent = self.script.turn(c, n)
            if sent >= 0:
                self.items += sent
                entry[1] += 1
            if self.script.read:
                c.read(time.time())
        except (OSError, ValueError, AssertionError, RuntimeError):
            sent = -1       # its stream was reset or stopped: the server wants no more of it
        over = c.closed is not None
        if over or sent < 0 and n == 0 or self.script.leave:
            self.ended += over
            self.open.remove(entry)
            self._gone(c)

    def _gone(self, c):
        self.sent += c.sent
        self.got += c.got
        c.socket.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name", choices=[*ATTACKS_H3, "list"])
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int)
    p.add_argument("--tls-port", type=int, help="the same")
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--connections", type=int, default=0, help="at once; 0 is what the script says")
    p.add_argument("--path", default="/", help="what is asked for where the script leaves that open")
    options = p.parse_args()
    if options.name == "list":
        for name, (about, _) in ATTACKS_H3.items():
            print(f"{name:28} {about}")
        return
    target = Target(options.host, options.tls_port or options.port, 3)
    attacker = Attacker(ATTACKS_H3[options.name][1](options.path), target, options.path, options.connections)
    attacker.run(options.seconds)
    print(json.dumps({"made": attacker.made, "ended": attacker.ended, "refused": attacker.refused, "sent": attacker.sent,
                      "read": attacker.got, "items": attacker.items}))


if __name__ == "__main__":
    main()

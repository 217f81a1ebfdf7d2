"""The servers under test: their settings for this run, a start, and reading those settings again."""
import os
import signal
import socket

import peers
import process
import template

SETTINGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings")
FILES = {"edge": "edge.toml", "nginx": "nginx.conf", "haproxy": "haproxy.cfg"}


class Server:
    """One of them, running."""

    def __init__(self, peer, place, ports, nice, settings):
        self.kind = peer.name.split("-")[0]
        self.peer, self.settings = peer, settings or SETTINGS
        self.h1, self.tls = process.free_port(), process.free_port()
        self.directory = place.fresh(peer.name)
        self.config = os.path.join(self.directory, FILES[self.kind])
        self.values = {**dict.fromkeys(peer.can | peer.marks, True), **place.values(), "h1": self.h1, "tls": self.tls,
                       "endpoint": ports, "dir": self.directory, "quic_bpf": "h3" in peer.can and os.geteuid() == 0}
        self.version = 1
        self._write()
        if self.kind == "haproxy":
            open(self._state(), "w").close()
        command = [peers.plain(w, {"program": peer.program, "config": self.config, **self.values}) for w in peer.settings["start"]]
        self.tree = process.Tree(command, None, self.directory, None, nice, peer.name)
        try:
            self.tree.wait_for(lambda: process.listens(self.h1) and process.listens(self.tls), "answer on its ports")
        except BaseException:
            self.tree.stop()
            raise

    def protocols(self):
        return ["h1", "h2", "h3"] if "h3" in self.peer.can else ["h1", "h2"]

    def url(self, protocol):
        return f"http://127.0.0.1:{self.h1}" if protocol == "h1" else f"https://127.0.0.1:{self.tls}"

    def admin(self):
        """The unix socket of its admin API, of the edge alone."""
        return os.path.join(self.directory, "admin.sock") if self.kind == "edge" else None

    def reload(self):
        """As its own documents say it is done."""
        self.version += 1
        self._write()
        if self.kind == "haproxy":
            self._save_state()
        os.kill(self.tree.pid, signal.SIGUSR2 if self.kind == "haproxy" else signal.SIGHUP)

    def stop(self):
        self.tree.stop()

    def _write(self):
        with open(os.path.join(self.settings, FILES[self.kind])) as f:
            text = template.render(f.read(), {**self.values, "version": self.version})
        with open(self.config + ".new", "w") as f:
            f.write(text)
        os.rename(self.config + ".new", self.config)

    def _state(self):
        return os.path.join(self.directory, "state")

    def _save_state(self):
        """What it knows of the origins goes to its successor by a file."""
        try:
            with socket.socket(socket.AF_UNIX) as s, open(self._state(), "wb") as f:
                s.settimeout(1)
                s.connect(os.path.join(self.directory, "stats.sock"))
                s.sendall(b"show servers state\n")
                while data := s.recv(65536):
                    f.write(data)
        except OSError:
            pass

"""What the edge says of its endpoints while it runs: its admin API, asked a few times a second."""
import json
import os
import re
import socket
import threading
import time

#: Between two looks at the status; metrics are looked at every fourth time.
EVERY_S = 0.25
METRICS_EVERY = 4
#: Families that tell what became of requests and endpoints.
FAMILIES = re.compile(r"edge_(pool|endpoint|outlier|health|retr|hedge|breaker|circuit|errors|upstream|limit|overload|panics)")
PATIENCE_S = 2


class Watch:
    """Looks from another thread until the block ends; without an address of an API at nothing.
    `looks`: [(second of the run, {endpoint's port: what is said of it})]."""

    def __init__(self, admin, folder, begun):
        self.admin, self.folder, self.begun = admin, folder, begun
        self.looks, self.failures, self.last_status, self.last_metrics = [], [], {}, ""
        self.done = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        if self.admin:
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        if self.admin:
            self.thread.join()

    def _run(self):
        status_path, metrics_path = (os.path.join(self.folder, name) for name in ("status.jsonl", "metrics.txt"))
        with open(status_path, "w") as status, open(metrics_path, "w") as metrics:
            number = 0
            while not self.done.wait(EVERY_S):
                at = round(time.monotonic() - self.begun, 3)
                try:
                    self._look(at, status)
                    if number % METRICS_EVERY == 0:
                        self._look_at_metrics(at, metrics)
                except (OSError, ValueError, KeyError) as e:
                    self.failures.append((at, repr(e)))
                number += 1

    def _look(self, at, out):
        self.last_status = json.loads(ask(self.admin, "/api/v2/status"))
        seen = endpoints(self.last_status)
        self.looks.append((at, seen))
        out.write(json.dumps({"at": at, "version": self.last_status.get("version"), "endpoints": seen}) + "\n")

    def _look_at_metrics(self, at, out):
        text = ask(self.admin, "/metrics")
        self.last_metrics = "\n".join(line for line in text.splitlines() if FAMILIES.match(line))
        out.write(f"# at {at} s\n{self.last_metrics}\n")
        out.flush()


def ask(admin, path):
    """The body of an answer of the admin API."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE_S)
        s.connect(admin)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := s.recv(1 << 16):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0] + b" ":
        raise ValueError(f"{path}: {head[:100]!r}")
    return body.decode()


def endpoints(status):
    """{port: what `edge status --json` says of the endpoint there}."""
    return {e["name"].rpartition(":")[2]: e for pool in status.get("pools", []) for e in pool["endpoints"]}


def is_out(said):
    """Whether this endpoint gets no requests: by its checks or by its answers."""
    return bool(said) and said["state"] != "usable"

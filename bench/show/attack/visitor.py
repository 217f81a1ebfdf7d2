"""A well-behaved HTTP/2 client: a few kept connections and one that is new for every request, one request at a time on each,
with a pause between. Prints one JSON line with latencies and errors.

    python3 bench/show/attack/visitor.py --port 8080 --seconds 20
"""
import argparse
import json
import socket
import struct
import threading
import time

from scripts import block, headers, PREFACE, frame, settings, window_update

PATIENCE_S = 5
STREAMS_MAX = 1 << 30


class Visitor:
    """One connection at a time; `fresh` makes a new one for each request."""

    def __init__(self, address, path, fresh):
        self.address, self.fresh = address, fresh
        self.block = block(path)
        self.latencies_ms, self.errors = [], {}
        self.socket = None

    def run(self, end, pause):
        while time.monotonic() < end:
            begun = time.perf_counter()
            try:
                if self.socket is None:
                    self._connect()
                self._ask()
                self.latencies_ms.append((time.perf_counter() - begun) * 1e3)
            except (OSError, EOFError, ValueError) as e:
                self._drop()
                name = f"{e.__class__.__name__}: {e}"[:60]
                self.errors[name] = self.errors.get(name, 0) + 1
                time.sleep(0.01)
            if self.fresh:
                self._drop()
            time.sleep(pause)
        self._drop()

    def _connect(self):
        self.socket = socket.create_connection(self.address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE + settings() + window_update(0, 1 << 20))
        self.buffer, self.stream = b"", 1

    def _drop(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def _ask(self):
        stream, self.stream = self.stream, self.stream + 2
        self.socket.sendall(headers(stream, self.block))
        while True:
            kind, flags, at, payload = self._frame()
            if kind == 4 and not flags & 1:
                self.socket.sendall(frame(4, 1))
            elif kind == 6 and not flags & 1:
                self.socket.sendall(frame(6, 1, 0, payload))
            elif kind == 7:
                # A new connection, and the request again, as any client would; only an error code counts as one.
                code = struct.unpack(">L", payload[4:8])[0]
                if code or struct.unpack(">L", payload[:4])[0] < stream:
                    raise ValueError(f"GOAWAY {code}")
            elif kind == 3 and at == stream:
                raise ValueError(f"RST_STREAM {struct.unpack('>L', payload)[0]}")
            elif kind == 1 and at == stream and payload[:1] not in (b"\x88", b"\x20", b"\x3f"):
                raise ValueError("not 200")
            if kind == 0 and payload:
                self.socket.sendall(window_update(0, len(payload)))
            if kind in (0, 1) and at == stream and flags & 1:
                return

    def _frame(self):
        head = self._exactly(9)
        length = int.from_bytes(head[:3], "big")
        return head[3], head[4], int.from_bytes(head[5:9], "big"), self._exactly(length)

    def _exactly(self, n):
        while len(self.buffer) < n:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError("closed")
            self.buffer += more
        got, self.buffer = self.buffer[:n], self.buffer[n:]
        return got


def percentile(values, share):
    return round(values[min(len(values) - 1, int(len(values) * share))], 3) if values else None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--path", default="/")
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--connections", type=int, default=4)
    p.add_argument("--pause", type=float, default=0.005, help="seconds between two requests of a connection")
    options = p.parse_args()
    end = time.monotonic() + options.seconds
    visitors = [Visitor((options.host, options.port), options.path, fresh=i == 0) for i in range(options.connections + 1)]
    threads = [threading.Thread(target=v.run, args=(end, options.pause)) for v in visitors]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    kept = sorted(l for v in visitors if not v.fresh for l in v.latencies_ms)
    fresh = sorted(l for v in visitors if v.fresh for l in v.latencies_ms)
    errors = {}
    for v in visitors:
        for name, n in v.errors.items():
            errors[name] = errors.get(name, 0) + n
    print(json.dumps({"requests": len(kept) + len(fresh), "errors": errors, "p50_ms": percentile(kept, 0.5),
                      "p99_ms": percentile(kept, 0.99), "new_p99_ms": percentile(fresh, 0.99)}))


if __name__ == "__main__":
    main()

"""The well-behaved client of visitor.py, by HTTP/3: two kept connections and one that is new for every request.

    python3 bench/show/attack/visitor_h3.py --port 8443 --seconds 20
"""
import argparse
import json
import threading
import time

from attacker_h3 import Path
from h3.case import Fail
from h3.client import Client, Target
from visitor import percentile


class Visitor3:
    """One connection at a time; `fresh` makes a new one for each request."""

    def __init__(self, target, path, fresh):
        self.target, self.path, self.fresh = target, path, fresh
        self.latencies_ms, self.errors, self.client = [], {}, None

    def run(self, end, pause):
        while time.monotonic() < end:
            begun = time.perf_counter()
            try:
                if self.client is None:
                    self.client = Client(Path(self.path), self.target)
                    self.client.open()
                self.client.works(path=self.path)
                self.latencies_ms.append((time.perf_counter() - begun) * 1e3)
            except (OSError, Fail) as e:
                self._drop()
                name = f"{e.__class__.__name__}: {e}"[:120]
                self.errors[name] = self.errors.get(name, 0) + 1
            if self.fresh:
                self._drop()
            time.sleep(pause)
        self._drop()

    def _drop(self):
        if self.client:
            self.client.close()
        self.client = None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--path", default="/")
    p.add_argument("--seconds", type=float, default=20)
    p.add_argument("--connections", type=int, default=2)
    p.add_argument("--pause", type=float, default=0.02, help="seconds between two requests of a connection")
    options = p.parse_args()
    end = time.monotonic() + options.seconds
    target = Target(options.host, options.port, 5)
    visitors = [Visitor3(target, options.path, fresh=i == 0) for i in range(options.connections + 1)]
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

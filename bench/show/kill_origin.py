"""Kills an origin under load: only what was in flight to it may fail, each failure with its category.

    python3 bench/show/kill_origin.py --edge target/release/edge
"""
import collections
import time

from common import KILL, ORIGIN, Edge, Load, arguments, eventually, proxy, verdict


def main():
    options = arguments(__doc__.splitlines()[0], seconds=10, connections=32)
    origins = [Edge(options.edge, ORIGIN, server="shards = 1\n") for _ in range(2)]
    edge = Edge(options.edge, proxy([o.port() for o in origins]))
    try:
        load = Load(edge.port(), options.connections, fresh=False)
        time.sleep(options.seconds / 3)
        before = load.failed()
        killed = time.time()
        origins[0].process.send_signal(KILL)
        time.sleep(options.seconds / 3)
        at_once = load.failed()
        time.sleep(options.seconds / 3)
        load.stop()
        requests = len(load.latencies_ms) + len(load.errors)
        eventually("the log to be written", lambda: len(edge.lines()) >= requests - len(load.errors))
        bad = [l for l in edge.lines() if l["status"] >= 500]
        categories = collections.Counter(l.get("category") for l in bad)
        print(f"{requests} requests, statuses {load.statuses}, {len(load.errors)} broken connections {load.errors[:2]}")
        print(f"failed: {before} before the kill, {at_once - before} just after, {load.failed() - at_once} later")
        print(f"categories in the log: {dict(categories)}; the origin was killed at {killed:.3f}")
        print(f"edge_errors_total: {int(edge.sum('edge_errors_total'))}")
        verdict([
            ("no failure before the kill", before == 0),
            (f"at most the {options.connections} requests in flight failed", at_once - before <= options.connections),
            ("none failed later", load.failed() == at_once),
            ("every failure has its category", all(l.get("category") for l in bad)),
            ("log and metric agree", len(bad) == edge.sum("edge_errors_total")),
            ("no client connection was cut", not load.errors),
        ])
    finally:
        edge.stop()
        for o in origins:
            o.stop()


if __name__ == "__main__":
    main()

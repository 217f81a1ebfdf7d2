"""HTTP/3 conformance and abuse: RFC 9114, 9204, 9218, 9220, 9000, 9001, section by section, frame by frame and packet by
packet.

    python3 tests/conformance/run_h3.py --edge target/debug/edge
    python3 tests/conformance/run_h3.py --port 443 --host example.net --section 9114/7 --section 9204

With --edge it starts that binary with a recording HTTP/1.1 origin behind it; every case runs, and behind the last one the
server must live, must have counted no panic, and its memory must not have grown beyond --growth. With --port it judges any
server; cases that look behind it or need its figures are skipped. Needs PyPI's aioquic.
A case passes only if a connection that was there before it still gets its answers behind it. Verdicts: pass; weak
(allowed, but not what the section asks for first; counts as failed with --strict); fail; skip.
"""
import argparse
import concurrent.futures
import json
import logging
import os
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from edge import Edge  # noqa: E402
from h3 import every  # noqa: E402,F401  (registers the cases)
from h3.case import CASES, judge, within  # noqa: E402
from h3.client import Bystander, Target  # noqa: E402
from origin import Origin  # noqa: E402


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--edge", help="the binary to start")
    p.add_argument("--shards", type=int, default=2, help="of that edge; default %(default)s")
    p.add_argument("--steering", default="auto", choices=["auto", "kernel", "forward"], help="of that edge; default %(default)s")
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, help="of a running server, instead of --edge")
    p.add_argument("--section", action="append", default=[], help="only ids that begin so; may be repeated")
    p.add_argument("--skip", action="append", default=[], help="leave this id out; may be repeated")
    p.add_argument("--strict", action="store_true", help="weak counts as failed")
    p.add_argument("--timeout", type=float, default=5.0, help="seconds for anything that ought to come at once")
    p.add_argument("--threads", type=int, default=4)
    p.add_argument("--growth", type=float, default=64, help="MiB that all cases together may leave behind; default %(default)s")
    p.add_argument("--list", action="store_true", help="only list the cases")
    p.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    p.add_argument("--verbose", action="store_true", help="also print the cases that pass or are skipped")
    options = p.parse_args()
    if not (options.list or options.port or options.edge):
        p.error("--edge or --port is needed")
    return options


def wanted(options):
    fits = [c for c in CASES if not options.section or any(within(c.id, s) for s in options.section)]
    return [c for c in fits if c.id not in options.skip]


class Run:
    """All cases, on threads that each have a connection of their own that does nothing wrong."""

    def __init__(self, targets, origin, edge):
        self.targets, self.origin, self.edge = targets, origin, edge
        self.local, self.bystanders = threading.local(), []
        self.peak = 0

    def one(self, c):
        begun = time.monotonic()
        try:
            verdict, seen = judge(c, self.targets, self.origin, self.edge, self.bystander())
        except Exception:
            verdict, seen = "fail", "the case itself broke: " + traceback.format_exc(limit=-3)
        if self.edge and self.edge.alive():
            self.peak = max(self.peak, self.edge.rss_mib())
        return {"id": c.id, "about": c.about, "verdict": verdict, "seen": seen, "seconds": round(time.monotonic() - begun, 3)}

    def bystander(self):
        if not hasattr(self.local, "bystander"):
            self.local.bystander = Bystander(self.targets)
            self.bystanders.append(self.local.bystander)
        return self.local.bystander

    def all(self, cases, threads):
        """Those that look at the server's figures, or fill its tables, have it for themselves, behind the others."""
        alone = [c for c in cases if getattr(c.run, "alone", False)]
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(self.one, [c for c in cases if c not in alone]))
        results += [self.one(c) for c in alone]
        for bystander in self.bystanders:
            bystander.close()
        return results


def after(run, before, growth):
    """What must hold when all cases are through; as cases."""
    edge = run.edge

    def row(number, about, good, seen):
        return {"id": f"edge/{number}", "about": about, "verdict": "pass" if good else "fail", "seen": seen, "seconds": 0}
    if not edge.alive():
        return [row(1, "the server lives", False, edge.said())]
    panics, rss = edge.sum("edge_panics_total"), edge.rss_mib()
    return [
        row(1, "the server lives", True, ""),
        row(2, "no panic was counted, and none was printed", not panics and "panicked" not in edge.said(), f"{panics:.0f} panics"),
        row(3, f"memory grew by less than {growth:.0f} MiB, at its peak too", run.peak - before < growth,
            f"{before:.1f} MiB before, {run.peak:.1f} at the peak, {rss:.1f} afterwards"),
    ]


def main():
    options = arguments()
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    cases = wanted(options)
    if options.list:
        for c in cases:
            print(f"{c.id:16} {c.about}")
        print(f"{len(cases)} cases")
        return 0
    edge = Edge(os.path.abspath(options.edge), options.shards, options.steering) if options.edge else None
    begun = time.monotonic()
    try:
        origin = Origin(path=edge.origin) if edge else None
        ports = edge.ports() if edge else {"web": options.port}
        run = Run({n: Target(options.host, p, options.timeout) for n, p in ports.items()}, origin, edge)
        before = edge.rss_mib() if edge else 0
        results = run.all(cases, options.threads)
        if edge:
            results += after(run, before, options.growth)
            origin.close()
    finally:
        if edge:
            edge.stop()
    return report(results, options, time.monotonic() - begun)


def report(results, options, seconds):
    count = {v: sum(r["verdict"] == v for r in results) for v in ("pass", "weak", "fail", "skip")}
    failed = count["fail"] + (count["weak"] if options.strict else 0)
    if options.json:
        print(json.dumps({"count": count, "failed": failed, "cases": results}, indent=1))
        return 1 if failed else 0
    for r in results:
        if r["verdict"] in ("weak", "fail") or options.verbose:
            print(f"{r['verdict']:5} {r['id']:16} {r['about']} ({r['seconds']} s)" + (f"\n      {r['seen']}" if r["seen"] else ""))
    print(f"{len(results)} cases in {seconds:.1f} s: " + ", ".join(f"{n} {v}" for v, n in count.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

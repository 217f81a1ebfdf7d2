"""HTTP/2 conformance: RFC 9113, 7541, 9218, 8441 and the conversion to HTTP/1.1, section by section.

    python3 tests/conformance/run.py --host 127.0.0.1 --port 8080 --origin-port 9000
    python3 tests/conformance/run.py --port 8443 --tls --insecure --section 9113/6.5 --section 7541

With --origin-port (or --origin-socket) it starts a recording HTTP/1.1 origin there, which the server under test must
forward everything to; without, the cases that look behind the server are skipped. Needs PyPI's hyperframe and hpack.
Verdicts: pass; weak (allowed, but not what the section asks for first; counts as failed with --strict); fail; skip.
"""
import argparse
import concurrent.futures
import json
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from h2 import every  # noqa: E402,F401  (registers the cases)
from h2.case import CASES, judge, within  # noqa: E402
from h2.client import Target  # noqa: E402
from origin import Origin  # noqa: E402


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int)
    p.add_argument("--tls", action="store_true", help="TLS with ALPN h2; otherwise prior knowledge")
    p.add_argument("--insecure", action="store_true", help="any certificate will do")
    p.add_argument("--authority", default="localhost", help="default %(default)s; also the TLS server name")
    p.add_argument("--path", default="/", help="path prefix of all requests, with a final slash; default %(default)s")
    p.add_argument("--origin-port", type=int, help="start the recording origin on this port of 127.0.0.1")
    p.add_argument("--origin-socket", help="start the recording origin on this unix socket")
    p.add_argument("--section", action="append", default=[], help="only ids that begin so; may be repeated")
    p.add_argument("--skip", action="append", default=[], help="leave this id out; may be repeated")
    p.add_argument("--strict", action="store_true", help="weak counts as failed")
    p.add_argument("--timeout", type=float, default=3.0, help="seconds for anything that ought to come at once")
    p.add_argument("--threads", type=int, default=16)
    p.add_argument("--list", action="store_true", help="only list the cases")
    p.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    p.add_argument("--verbose", action="store_true", help="also print the cases that pass or are skipped")
    options = p.parse_args()
    if not options.list and not options.port:
        p.error("--port is needed")
    return options


def wanted(options):
    fits = [c for c in CASES if not options.section or any(within(c.id, s) for s in options.section)]
    return [c for c in fits if c.id not in options.skip]


def run(cases, target, origin, threads):
    def one(c):
        begun = time.monotonic()
        try:
            verdict, seen = judge(c, target, origin)
        except Exception:
            verdict, seen = "fail", "the case itself broke: " + traceback.format_exc(limit=-2)
        return {"id": c.id, "about": c.about, "h2spec": c.public, "verdict": verdict, "seen": seen,
                "seconds": round(time.monotonic() - begun, 3)}
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, cases))


def main():
    options = arguments()
    cases = wanted(options)
    if options.list:
        for c in cases:
            print(f"{c.id:16} {c.about}" + (f"  [{c.public}]" if c.public else ""))
        print(f"{len(cases)} cases")
        return 0
    origin = None
    if options.origin_port is not None or options.origin_socket:
        origin = Origin(options.origin_port, options.origin_socket)
    target = Target(options.host, options.port, options.tls, options.insecure, options.authority, options.path,
                    options.timeout)
    begun = time.monotonic()
    results = run(cases, target, origin, options.threads)
    if origin:
        origin.close()
    count = {v: sum(r["verdict"] == v for r in results) for v in ("pass", "weak", "fail", "skip")}
    failed = count["fail"] + (count["weak"] if options.strict else 0)
    if options.json:
        print(json.dumps({"count": count, "failed": failed, "cases": results}, indent=1))
        return 1 if failed else 0
    for r in results:
        if r["verdict"] in ("weak", "fail") or options.verbose:
            print(f"{r['verdict']:5} {r['id']:16} {r['about']}" + (f"\n      {r['seen']}" if r["seen"] else ""))
    print(f"{len(results)} cases in {time.monotonic() - begun:.1f} s: " + ", ".join(f"{n} {v}" for v, n in count.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

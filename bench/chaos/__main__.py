"""Servers before four origins that die, stall, slow down, answer errors and garbage, and recover: `python3 bench/chaos --help`.

Every server gets the same script and the same clients, one server after the other.
"""
import argparse
import dataclasses
import http.client
import json
import os
import signal
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compare"))

import clients
import cluster
import machine
import measure
import peers
import report
import script
import servers
import tallies
import watch
from place import Place
from process import StartError

#: Between two reloads, unless their number is given, s.
RELOAD_EVERY_S = 15


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    rows = script.generate(options.seed, options.seconds)
    if options.script:
        print("\n".join(script.table(rows)))
        return 0
    machine.raise_open_files()
    here, absent = peers.choose(options.peers, options.peer_binary, options.edge)
    for sentence in absent:
        print(sentence, file=sys.stderr)
    place = Place(options.out or f"chaos-{time.strftime('%Y%m%d-%H%M%S')}").prepare()
    about = {"seconds": options.seconds, "rate": options.rate, "post_rate": options.post_rate, "reloads": options.reloads, "seed": options.seed,
             "timeout": clients.TIMEOUT_S, "rows": rows, "machine": _machine(), "absent": absent}
    runs = []
    for peer in here:
        print(f"{peer.title()} {peer.version()}: {options.seconds} s", file=sys.stderr, flush=True)
        runs.append(one(peer, place, options, rows))
        _store(place, runs, about)
        for what, good in tallies.checks(runs[-1], options.floor):
            print(("ok    " if good else "FAILED") + f"  {peer.name}: {what}", file=sys.stderr, flush=True)
    print(report.markdown(runs, about))
    ours = [r for r in runs if r["peer"] == "edge"]
    return 0 if all(good for r in ours for _, good in tallies.checks(r, options.floor)) else 1


def _machine():
    cpu = machine.about(machine.Cores())
    return f"{cpu['cpu']}, {cpu['processors']} processors, Linux {cpu['kernel']}; servers, clients and origins share them."


def one(peer, place, options, rows):
    """A server through the whole script."""
    origins = cluster.Cluster(place, options.nice, options.seed)
    server, loads = None, []
    try:
        origins.start()
        server = servers.Server(peer, place, origins.ports(), options.nice, options.settings)
        _look(server)
        loads = clients.start(options.edge, place, options.nice, server, options.rate, options.post_rate, options.seconds)
        begun = time.monotonic() + clients.WARMUP_S
        before = machine.busy_us()
        looker, reloaded = _play(server, origins, rows, options, begun)
        took = (time.monotonic() - begun + clients.WARMUP_S) * 1e6
        busy = [100 * (now - then) / took for then, now in zip(before, machine.busy_us())]
        results = [(load, *load.wait()) for load in loads]
        return _run(peer, server, origins, options, rows, results, looker, reloaded, busy)
    finally:
        clients.stop(loads)
        if server:
            server.stop()
        origins.stop()


def _play(server, origins, rows, options, begun):
    """Does everything when it is due; who looked on, and when it was reloaded."""
    due = [(r.at, 1, lambda r=r: origins.begin(r)) for r in rows] + [(r.until, 0, lambda r=r: origins.end(r)) for r in rows]
    due += [(at, 2, server.reload) for at in script.reloads(options.seconds, options.reloads)] + [(options.seconds, 3, lambda: None)]
    reloaded = []
    with watch.Watch(server.admin(), server.directory, begun) as looker:
        for at, kind, do in sorted(due, key=lambda d: d[:2]):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            do()
            if kind == 2:
                reloaded.append(round(time.monotonic() - begun, 1))
    return looker, reloaded


def _run(peer, server, origins, options, rows, results, looker, reloaded, busy):
    """The figures of one server."""
    parts = {"GET": {}, "POST": {}}
    for load, result, _ in results:
        parts[load.method][load.protocol] = tallies.requests(result, load.rate, options.seconds)
    gets, posts = ({**p, "all": tallies.together(list(p.values()))} for p in (parts["GET"], parts["POST"]))
    seen = list(origins.seen())
    twice, once = tallies.sent_twice(seen)
    problems = [f"{load.method} {load.protocol}: {why}" for load, result, why in results if result is None]
    if looker.failures:
        problems.append(f"the status could not be had {len(looker.failures)} times, first at {looker.failures[0]}")
    ports, admin = origins.ports(), server.admin()
    return {
        "peer": peer.name, "title": f"{peer.title()} {peer.version()}", "timeout": clients.TIMEOUT_S,
        "gets": gets, "posts": {**posts, "twice": len(twice), "twice_ids": twice, "seen": once},
        "seen": tallies.seen_by_kind(seen), "problems": problems,
        "by_second": tallies.by_second([r for load, r, _ in results if load.method == "GET"], options.seconds),
        "worst": tallies.worst([r for load, r, _ in results if load.method == "GET"], rows),
        "named": tallies.named(rows, looker.looks, watch.is_out, ports) if admin else None,
        "out": tallies.spans(looker.looks, watch.is_out, ports),
        "version": looker.last_status.get("version"), "reloads": options.reloads, "reloaded_at": reloaded, "busy_percent": busy,
    }


def _look(server):
    """One request by HTTP/1.1 with and without TLS, before anything else is begun."""
    for connect, port in ((http.client.HTTPConnection, server.h1), (_https, server.tls)):
        client = connect("127.0.0.1", port, timeout=clients.TIMEOUT_S)
        try:
            client.request("GET", "/")
            status = client.getresponse().status
        except (OSError, http.client.HTTPException) as e:
            raise StartError(f"one request before the load: {e!r}; {server.tree.said()}") from None
        finally:
            client.close()
        if status != 200:
            raise StartError(f"one request before the load: status {status}")


def _https(host, port, timeout):
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=measure.any_certificate())


def _store(place, runs, about):
    """After each server, so that what was measured is there whatever comes."""
    report.write(place.root, runs, about)
    plain = {**about, "rows": [dataclasses.asdict(r) for r in about["rows"]], "runs": runs}
    with open(os.path.join(place.root, "result.json"), "w") as f:
        json.dump(plain, f, indent=1)


def arguments():
    p = argparse.ArgumentParser(prog="python3 bench/chaos", description=__doc__)
    p.add_argument("--edge", default="target/release/edge", help="the binary; its `bench` is every client too")
    p.add_argument("--peers", type=lambda text: text.split(","), default=["edge", "nginx", "haproxy"], help="default edge,nginx,haproxy")
    p.add_argument("--peer-binary", action="append", default=[], metavar="NAME=PATH", help="another program, as in nginx=/opt/nginx/sbin/nginx")
    p.add_argument("--seconds", type=int, default=300, help="default 300; 30 is a short look")
    p.add_argument("--rate", type=int, default=300, help="GETs a second by each protocol; default 300")
    p.add_argument("--post-rate", type=int, default=50, help="POSTs a second by each protocol; default 50")
    p.add_argument("--reloads", type=int, help="evenly; default one each 15 s, 20 in 300")
    p.add_argument("--seed", type=int, default=1, help="of the script; default 1")
    p.add_argument("--floor", type=float, default=99.9, help="%% of the GETs that have to be answered 2xx; default 99.9")
    p.add_argument("--out", help="folder of the results")
    p.add_argument("--nice", type=int, default=0, help="priority of everything; below 0 as root on a machine that others use")
    p.add_argument("--settings", help="a folder with other settings than bench/chaos/settings")
    p.add_argument("--script", action="store_true", help="only print the script")
    options = p.parse_args()
    options.edge = os.path.abspath(options.edge)
    if options.reloads is None:
        options.reloads = options.seconds // RELOAD_EVERY_S
    options.peer_binary = dict(pair.split("=", 1) for pair in options.peer_binary)
    if options.seconds < script.SECONDS_MIN:
        p.error(f"--seconds {options.seconds}: at least {script.SECONDS_MIN}")
    if clients.ids_needed(options.post_rate, options.seconds) > clients.IDS_MAX:
        p.error(f"--post-rate {options.post_rate} for {options.seconds} s needs more than {clients.IDS_MAX:,} ids, which edge bench does not take")
    return options


if __name__ == "__main__":
    sys.exit(main())

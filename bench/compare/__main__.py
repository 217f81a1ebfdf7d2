"""The edge beside other servers, under the same load: `python3 bench/compare --help`."""
import argparse
import json
import os
import signal
import sys
import time

import check
import curves
import generators
import machine
import peers
import run
import scenarios
import write
from measure import Bench
from origin import Origins
from place import Place

#: Curves are about a form, not about a per cent.
CURVE_ROUNDS = 3
QUICK = {"rounds": 2, "secs": 1.0}


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    machine.raise_open_files()
    if options.command == "write":
        return write.write(Place(options.directory), options.to)
    if options.command == "list":
        return show_list(options)
    cores = machine.Cores(options.server_core, options.client_core)
    here, absent = peers.choose(options.peers, options.peer_binary, options.edge)
    for sentence in absent:
        print(sentence, file=sys.stderr)
    place = Place(options.out or f"bench-{time.strftime('%Y%m%d-%H%M%S')}").prepare()
    os.sched_setaffinity(0, {cores.client})
    all_ = generators.every(place, cores.client, options.nice, options.edge, options.oha)
    used = {name: g for name, g in all_.items() if name.replace(" ", "-") in (options.generators or [name.replace(" ", "-")])}
    origins = Origins(options.origin, options.edge, "edge bench" in all_, place, cores.client, options.nice)
    try:
        bench = Bench(place, cores, used, origins, options.nice)
        if options.command == "check":
            chosen, drawn = wanted(options)
            return min(check.check(here, [*chosen, *(c.points[-1][1] for c in drawn)], bench), 1)
        return measured(options, cores, here, absent, bench)
    except KeyboardInterrupt:
        print(f"ended early; `run --out {place.root}` goes on with it", file=sys.stderr)
        return 130
    finally:
        origins.stop()


def measured(options, cores, here, absent, bench):
    """The command `run`."""
    place = bench.place
    chosen, drawn = wanted(options)
    cases = [run.Case(s, options.rounds) for s in chosen]
    cases += [run.Case(s, min(options.rounds, CURVE_ROUNDS)) for c in drawn for _, s in c.points]
    limit = machine.raise_open_files()
    for case in [c for c in cases if c.scenario.descriptors() > limit]:
        absent.append(f"{case.key}: {case.scenario.descriptors():,} open files are needed, {limit:,} are allowed")
        print(absent[-1], file=sys.stderr)
        cases.remove(case)
    describe(place, options, cores, here, absent, bench)
    log = run.Log(place.samples)
    plan = list(run.turns(cases, here, bench, options.rounds))
    run.run(plan, bench, log, options.secs, options.lock)
    print(f"samples are in {place.root}; `write {place.root}` makes docs/BENCHMARKS.md of them", file=sys.stderr)
    return 0


def wanted(options):
    """Scenarios and curves, without names all of them."""
    chosen = [] if options.scenarios == ["none"] else scenarios.by_name(options.scenarios)
    return chosen, [] if options.curves == ["none"] else curves.by_names(options.curves)


def describe(place, options, cores, here, absent, bench):
    """run.json: what the figures depend on. A run that is continued keeps what it knew of peers that are not in it now."""
    try:
        with open(place.about) as f:
            known = json.load(f)
    except FileNotFoundError:
        known = {"peers": {}, "commands": [], "generators": {}, "absent": []}
    known["machine"] = machine.about(cores)
    known["date"] = time.strftime("%Y-%m-%d")
    known["seconds"], known["rounds"], known["nice"] = options.secs, options.rounds, options.nice
    known["origin"] = bench.origins.kind
    known["absent"] = absent
    known["commands"].append(" ".join(["python3", "bench/compare", *map(short, sys.argv[1:])]))
    known["peers"].update({p.name: {"title": p.title(), "version": p.version(), "notes": p.notes} for p in here})
    known["generators"].update({g.name: g.version() for g in bench.generators.values()})
    with open(place.about, "w") as f:
        json.dump(known, f, indent=1)


def short(word):
    """A command line's word without folders of this machine."""
    name, equal, path = word.rpartition("=")
    if os.path.isabs(path):
        path = "target/release/edge" if os.path.basename(path) == "edge" else os.path.basename(path)
    return name + equal + path


def show_list(options):
    """What there is, and what of it is here."""
    here, absent = peers.choose(options.peers, options.peer_binary, options.edge)
    for peer in here:
        print(f"{peer.name:12} {peer.version():12} {' '.join(sorted(peer.can))}")
    for sentence in absent:
        print(sentence)
    for scenario in scenarios.ALL:
        print(f"  {scenario.name:14} {scenario.title}: edge bench {scenario.command()}")
    for curve in curves.ALL:
        print(f"  {curve.name:14} {curve.title}: {', '.join(str(x) for x, _ in curve.points)}")
    return 0


def arguments():
    p = argparse.ArgumentParser(prog="python3 bench/compare", description=__doc__)
    commands = p.add_subparsers(dest="command", required=True)
    for name, about in (("run", "measure, and append to a folder"), ("check", "does every server do what the scenarios need"),
                        ("list", "servers, scenarios and curves")):
        _common(commands.add_parser(name, help=about, description=about))
    w = commands.add_parser("write", help="make the document from a folder of samples")
    w.add_argument("directory")
    w.add_argument("--to", default="docs/BENCHMARKS.md")
    options = p.parse_args()
    if options.command != "write":
        options.edge = os.path.abspath(options.edge)
        options.peer_binary = dict(pair.split("=", 1) for pair in options.peer_binary)
        if options.quick:
            options.rounds, options.secs = QUICK["rounds"], QUICK["secs"]
    return options


def _common(p):
    def names(text):
        return [name for name in text.split(",") if name]
    p.add_argument("--edge", default="target/release/edge", help="the binary")
    p.add_argument("--peers", type=names, help="edge,nginx,…; all that are here unless given")
    p.add_argument("--peer-binary", action="append", default=[], metavar="NAME=PATH",
                   help="another program of a kind, as in nginx-1.26=/opt/nginx/sbin/nginx")
    p.add_argument("--oha", help="the program oha, a second generator for HTTP/3")
    p.add_argument("--generators", type=names, help="edge-bench,wrk,h2load,oha; without the last three nothing is checked by others")
    p.add_argument("--scenarios", type=names, help="all unless given; none for curves alone")
    p.add_argument("--curves", type=names, help="all unless given; none for scenarios alone")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--secs", type=float, default=3.0, help="measured time of a sample")
    p.add_argument("--quick", action="store_true", help="2 rounds of 1 s: whether it works, not how fast it is")
    p.add_argument("--out", help="folder of this run; an earlier one is continued")
    p.add_argument("--origin", choices=["edge", "nginx"], default="edge", help="what servers forward to; default edge")
    p.add_argument("--server-core", type=int)
    p.add_argument("--client-core", type=int)
    p.add_argument("--nice", type=int, default=0, help="priority of all that is measured; below 0 as root on a machine that others use")
    p.add_argument("--lock", help="a file that everybody who measures on this machine locks, sample by sample")


if __name__ == "__main__":
    sys.exit(main())

"""Every attack on HTTP/2, HTTP/3 and TLS against a running edge, and on HTTP/2 and TLS against nginx and HAProxy beside it:
memory before, at the peak and afterwards, processor time, and what a well-behaved client sees meanwhile.

    python3 bench/show/attacks.py --edge target/release/edge
    python3 bench/show/attacks.py --servers nginx,haproxy --attacks rapid_reset,ping_flood --seconds 5 --json out.json

For each attack a fresh process of the server: a quiet stretch with the client alone, then the attack. The edge passes an attack when it lives, its memory grows by less than
--growth MiB (or by what its configuration allows, where an attack says so), the client's p99 stays below --ratio times its quiet value, and the client sees no error. Where there are cores
enough, give server, attackers and client their own (--server-cpus, --attack-cpus, --client-cpus): on shared ones the attackers'
own hunger for the processor is part of what the client feels, unless they are --nice.
Needs nginx as the origin; openssl for a certificate; for the attacks on HTTP/3, whose names begin with h3, PyPI's aioquic.
"""
import argparse
import json
import os
import subprocess
import sys
import time

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "attack")
sys.path.insert(0, FOLDER)

from scripts import ATTACKS  # noqa: E402
from victims import Victim, installed, pinned  # noqa: E402


try:
    from scripts_h3 import ATTACKS_H3
except ImportError as missing:
    print(f"without the attacks on HTTP/3: {missing}", file=sys.stderr)
    ATTACKS_H3 = {}
ALL = {**ATTACKS, **ATTACKS_H3}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--edge", help="the binary; without it edge is left out")
    p.add_argument("--servers", default="edge,nginx,haproxy", help="default %(default)s")
    p.add_argument("--attacks", default="all", help="names, or beginnings of names, with commas; default all")
    p.add_argument("--seconds", type=float, default=20, help="of each attack; default %(default)s")
    p.add_argument("--quiet-seconds", type=float, default=5, help="before each attack, the client alone; default %(default)s")
    p.add_argument("--processes", type=int, default=1, help="attacking processes; default %(default)s")
    p.add_argument("--connections", type=int, default=0, help="at once of each process; 0 is what each attack says")
    p.add_argument("--nice", type=int, default=10, help="niceness of the attackers; default %(default)s")
    p.add_argument("--threads", type=int, default=2, help="shards or threads of a server; default %(default)s (nginx: 1)")
    p.add_argument("--server-cpus", help="such as 0,1")
    p.add_argument("--attack-cpus")
    p.add_argument("--client-cpus")
    p.add_argument("--target", default="/up", help="what the attackers ask for (/ is answered by the server itself)")
    p.add_argument("--visit", default="/", help="what the client asks for; default %(default)s")
    p.add_argument("--growth", type=float, default=20, help="MiB; default %(default)s")
    p.add_argument("--ratio", type=float, default=2, help="default %(default)s")
    p.add_argument("--json", help="also write every figure to this file")
    p.add_argument("--list", action="store_true")
    return p.parse_args()


def chosen(wanted, server):
    names = [n for n in ALL if wanted == "all" or any(n.startswith(w) for w in wanted.split(","))]
    if not names:
        sys.exit(f"no attack is called {wanted}")
    return [n for n in names if server == "edge" or n not in ATTACKS_H3]


def python(script, *words, cpus=None, nice=0):
    command = [sys.executable, os.path.join(FOLDER, script), *map(str, words)]
    if nice:
        command = ["nice", "-n", str(nice), *command]
    return subprocess.Popen(pinned(cpus, command), stdout=subprocess.PIPE, text=True)


def visit(victim, options, name, seconds):
    """The client: by HTTP/3, if that is what is attacked."""
    script, port = ("visitor_h3.py", victim.tls) if name in ATTACKS_H3 else ("visitor.py", victim.plain)
    return python(script, "--port", port, "--seconds", seconds, "--path", options.visit,
                  cpus=options.client_cpus)


def result(process):
    out, _ = process.communicate()
    return json.loads(out) if process.returncode == 0 and out else {}


def attack(victim, name, options):
    """One attack with the client beside it; the figures."""
    before, cpu, peak = victim.rss_kib(), victim.cpu_s(), 0
    client = visit(victim, options, name, options.seconds)
    attacker = "attacker_h3.py" if name in ATTACKS_H3 else "attacker.py"
    attackers = [python(attacker, name, "--port", victim.plain, "--tls-port", victim.tls, "--seconds", options.seconds,
                        "--path", options.target, "--connections", options.connections, cpus=options.attack_cpus, nice=options.nice)
                 for _ in range(options.processes)]
    while client.poll() is None and victim.alive():
        peak = max(peak, victim.rss_kib())
        time.sleep(0.1)
    figures = {"attack": name, "before_mib": before / 1024, "peak_mib": peak / 1024, **result(client)}
    sums = [result(a) for a in attackers]
    figures["attackers"] = {k: sum(s.get(k, 0) for s in sums) for k in ("made", "ended", "refused", "sent", "read", "items")}
    figures["alive"] = victim.alive()
    if figures["alive"]:
        figures["cpu_cores"] = (victim.cpu_s() - cpu) / options.seconds
        time.sleep(1)
        figures["after_mib"] = victim.rss_kib() / 1024
    return figures


def judge(figures, quiet, options):
    """Why it did not pass; empty when it did."""
    if not figures["alive"]:
        return ["it died"]
    why = []
    name = figures["attack"]
    most = (ATTACKS_H3[name][1]("/").growth if name in ATTACKS_H3 else 0) or options.growth
    if (growth := figures["peak_mib"] - figures["before_mib"]) >= most:
        why.append(f"memory +{growth:.0f} MiB")
    p99 = figures.get("p99_ms")
    if p99 is None or p99 > options.ratio * quiet["p99_ms"]:
        why.append(f"p99 {p99} ms")
    if figures.get("errors"):
        why.append(f"{sum(figures['errors'].values())} errors")
    return why


def run(name, origin, options):
    """All attacks on one server, each on a fresh process of it."""
    print(f"\n{name}\n{'attack':26} {'MiB before':>10} {'peak':>7} {'after':>7} {'quiet p99':>10} {'p99 ms':>8} {'×':>6} "
          f"{'new p99':>8} {'errors':>7} {'cores':>6} {'items/s':>10} {'ended':>7}  verdict")
    rows = []
    for attack_name in chosen(options.attacks, name):
        victim = Victim(name, origin.plain, options.edge, options.server_cpus, options.threads)
        try:
            quiet = result(visit(victim, options, attack_name, options.quiet_seconds))
            if quiet.get("p99_ms") is None:
                sys.exit(f"{name} does not answer the client: {quiet}")
            figures = {**attack(victim, attack_name, options), "quiet": quiet}
        finally:
            victim.stop()
        figures["why"] = judge(figures, quiet, options)
        print(line(figures, quiet, options.seconds), flush=True)
        rows.append(figures)
    return {"server": name, "attacks": rows}


def line(f, quiet, seconds):
    p99 = f.get("p99_ms") or float("nan")
    return (f"{f['attack']:26} {f['before_mib']:10.1f} {f['peak_mib']:7.1f} {f.get('after_mib', 0):7.1f} "
            f"{quiet['p99_ms']:10.2f} {p99:8.2f} {p99 / quiet['p99_ms']:6.1f} {f.get('new_p99_ms') or float('nan'):8.2f} {sum(f.get('errors', {}).values()):7} "
            f"{f.get('cpu_cores', 0):6.2f} {f['attackers']['items'] / seconds:10.0f} {f['attackers']['ended']:7}  "
            f"{'ok' if not f['why'] else ', '.join(f['why'])}")


def main():
    options = arguments()
    if options.list:
        for name, (about, _) in ALL.items():
            print(f"{name:26} {about}")
        return 0
    servers = [s for s in options.servers.split(",") if (options.edge if s == "edge" else installed(s))]
    if options.edge:
        options.edge = os.path.abspath(options.edge)
    origin = Victim("origin", cpus=options.client_cpus)
    try:
        results = [run(s, origin, options) for s in servers]
    finally:
        origin.stop()
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results, f, indent=1)
    failed = [a["attack"] for r in results if r["server"] == "edge" for a in r["attacks"] if a["why"]]
    if "edge" in servers:
        print(f"\nedge: {len(failed)} of {len(chosen(options.attacks, 'edge'))} attacks not borne" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

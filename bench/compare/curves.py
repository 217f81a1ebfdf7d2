"""How cost grows with work: one load, with one thing varied."""
import dataclasses

from scenarios import MIB, Scenario, by_name


@dataclasses.dataclass(frozen=True)
class Curve:
    """Points are (x, the load there)."""
    name: str
    title: str
    axis: str                       # what x is
    points: tuple
    memory: bool = False            # draw memory too


def _curve(name, title, axis, base: Scenario, values, change, memory=False):
    points = tuple((x, dataclasses.replace(base, name=f"{name}={x}", check_with="", **change(x))) for x in values)
    return Curve(name, title, axis, points, memory)


_h1 = by_name(["h1"])[0]
_own = by_name(["h1-own"])[0]

ALL = [
    _curve("connections", "Connections, all of them busy; own answer of 1 KiB", "connections", _own, [100, 1000, 5000, 15000],
           lambda n: {"connections": n}, memory=True),
    _curve("routes", "Rules to choose from, by path prefix; proxied, 1 KiB", "routes", _h1, [10, 100, 1000, 10000, 100000],
           lambda n: {"routes": n}, memory=True),
    _curve("workers", "Shards or workers that share one core; proxied, 1 KiB", "workers", _h1, [1, 2, 8], lambda n: {"workers": n},
           memory=True),
    _curve("size", "Bytes of an answer's body; proxied", "bytes", _h1, [0, 1024, 16384, 131072, MIB],
           lambda n: {"path": f"/bytes/{n}", "size": n}),
    # With those that every request has it stays below 100, which is as many as some servers take.
    _curve("fields", "Further fields of a request; proxied, 1 KiB", "fields", _h1, [0, 10, 30, 90], lambda n: {"fields": n}),
]


def by_names(names):
    known = {c.name: c for c in ALL}
    if unknown := [name for name in names or () if name not in known]:
        raise SystemExit(f"no curve {', '.join(unknown)}; there are {', '.join(known)}")
    return [c for c in ALL if not names or c.name in names]

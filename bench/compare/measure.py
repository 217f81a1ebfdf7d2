"""One sample: a server is started, asked once, loaded, looked at, ended."""
import contextlib
import http.client
import resource
import ssl
import threading
import time
import typing

import machine
import process
from load import LoadError, complaint

#: An open loop asks for this share of what the closed loop before it reached.
HALF = 0.5
#: How long that closed loop is measured, s.
CAPACITY_S = 1.0
#: With more connections than this, servers must not count on a second descriptor for each.
MANY = 5000


class Running(typing.NamedTuple):
    """A server and where it listens."""
    tree: process.Tree
    h1: int
    tls: int

    def port(self, scenario):
        return self.tls if scenario.tls or scenario.protocol != "h1" else self.h1


class Bench:
    """What samples have in common."""

    def __init__(self, place, cores, generators, origins, nice):
        self.place, self.cores, self.generators, self.origins, self.nice = place, cores, generators, origins, nice

    def generator(self, scenario, name=""):
        """The named one, or the first that can do it; None where there is none."""
        ask = scenario.ask(0, self.place, 1, rate=1.0 if scenario.half_load else 0.0)
        able = [g for g in self.generators.values() if g.can(ask) and name in ("", g.name)]
        return able[0] if able else None

    @contextlib.contextmanager
    def server(self, peer, scenario, origin_port=None):
        """The server, ready and asked once. It ends with the block."""
        h1, tls = process.free_port(), process.free_port()
        values = {**self.place.values(), "h1": h1, "tls": tls, "origin": origin_port or self.origins.of(scenario).port, "workers": scenario.workers,
                  "route": range(scenario.routes), "many": scenario.connections > MANY}
        # `routes` in a template asks whether there are rules, not whether the server could have some.
        tree = peer.start(self.place, values, self.cores.server, self.nice, {"routes": bool(scenario.routes)})
        try:
            tree.wait_for(lambda: process.listens(h1) and process.listens(tls), "answer on its ports", scenario.start_patience_s())
            look(h1, tls, scenario)
            yield Running(tree, h1, tls)
        finally:
            tree.stop()

    def sample(self, peer, scenario, generator, seconds):
        """A sample as it is written down. What goes wrong is in it, as `failed`."""
        begun = time.time()
        try:
            with self.server(peer, scenario) as running:
                found = self._measured(running.tree, running.port(scenario), scenario, generator, seconds)
        except (LoadError, process.StartError, OSError) as e:
            found = {"failed": str(e).replace(self.place.root, "RUN")[:500]}
        return {"peer": peer.name, "generator": generator.name, "at": round(begun), "took": round(time.time() - begun, 1), **found}

    def _measured(self, tree, port, scenario, generator, seconds):
        idle_kib = tree.memory_kib()
        rate = self._half_rate(tree, port, scenario, generator) if scenario.half_load else 0.0
        ask = scenario.ask(port, self.place, seconds, rate=rate)
        if not generator.warms_up:
            generator.run(scenario.ask(port, self.place, scenario.warmup_s()))
        with Watch([tree, *(origin.tree for origin in self.origins.running)]) as watch, MemoryWatch(tree) as memory:
            found = generator.run(ask, tree.pid)
        if wrong := complaint(found, ask):
            raise LoadError(f"{generator.name}: {wrong}")
        server_us = watch.used(tree) if found.server_us is None else found.server_us
        return {
            "cost_us": server_us / found.answered / scenario.amount(),
            "rate": found.answered / found.seconds, "utilisation_percent": 100 * server_us / (found.seconds * 1e6),
            "p50_us": found.p50_us, "p99_us": found.p99_us, "asked_rate": rate or None,
            "memory_kib": memory.most, "memory_idle_kib": idle_kib,
            "answered": found.answered, "faults": found.failed,
            # A closed loop beside the origin fills their core by intention; its latencies are not used.
            "invalid": found.invalid if scenario.half_load else "",
            "generator_us": found.generator_us / found.answered,
            "others_percent": watch.others_percent(), "steal_percent": watch.steal_percent(),
        }

    def _half_rate(self, tree, port, scenario, generator):
        """Half of what a closed loop of a second reaches."""
        full = generator.run(scenario.ask(port, self.place, CAPACITY_S, CAPACITY_S / 2), tree.pid)
        return HALF * full.answered / full.seconds


class Watch:
    """Who used the processors between entering and leaving: these trees, ourselves and our children, or others."""

    def __init__(self, trees):
        self.trees = trees

    def __enter__(self):
        self.begun = time.monotonic()
        self.own = _own_us()
        self.before = [tree.cpu_us() for tree in self.trees]
        self.busy, self.stolen = machine.busy_us()
        return self

    def __exit__(self, *_):
        busy, stolen = machine.busy_us()
        self.spent = [process.spent(before, tree.cpu_us()) for before, tree in zip(self.before, self.trees)]
        self.own = _own_us() - self.own
        self.busy, self.stolen = busy - self.busy, stolen - self.stolen
        self.wall_us = (time.monotonic() - self.begun) * 1e6

    def used(self, tree):
        return self.spent[self.trees.index(tree)]

    def others_percent(self):
        """% of one processor. Counted in ticks, so that a small error is left."""
        return max(0.0, 100 * (self.busy - sum(self.spent) - self.own) / self.wall_us)

    def steal_percent(self):
        return 100 * self.stolen / self.wall_us


class MemoryWatch:
    """The most memory that a tree had, looked at twice a second: a look costs the server nothing but page table walks."""
    EVERY_S = 0.5

    def __init__(self, tree):
        self.tree, self.most = tree, 0

    def __enter__(self):
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self):
        while not self.done.wait(self.EVERY_S):
            self.most = max(self.most, self.tree.memory_kib())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def look(h1, tls, scenario):
    """Asks once by HTTP/1.1, with or without TLS as the scenario does: status and size must be right."""
    if scenario.websocket:
        return
    secure = scenario.tls or scenario.protocol != "h1"
    if secure:
        client = http.client.HTTPSConnection("127.0.0.1", tls, timeout=process.PATIENCE_S, context=any_certificate())
    else:
        client = http.client.HTTPConnection("127.0.0.1", h1, timeout=process.PATIENCE_S)
    fields = {f"x-field-{i}": f"value of field {i}" for i in range(scenario.fields)}
    try:
        method, body = ("POST", b"u" * scenario.upload) if scenario.upload else ("GET", None)
        client.request(method, scenario.asked_paths()[-1], body, fields)
        answer = client.getresponse()
        size = len(answer.read())
    except (OSError, http.client.HTTPException) as e:
        raise LoadError(f"one request before the load: {e!r}") from None
    finally:
        client.close()
    if answer.status != 200 or size != scenario.size:
        raise LoadError(f"one request before the load: status {answer.status} and {size} bytes instead of 200 and {scenario.size}")


def any_certificate():
    """TLS for a client that does not ask who the server is."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _own_us():
    """Of this process and of its children that have ended: generators."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used) * 1e6

"""A case of HTTP/3, and its verdict: a connection that was there before the case must get its answers behind it."""
import itertools

from h2.case import CASES, Fail, Skip, case, each, within  # noqa: F401  (imported from here)

_TOKENS = itertools.count(1)


class Trial:
    """What a case gets: connections to the targets, the origin, the edge's figures, and a place for what is only a SHOULD."""

    def __init__(self, targets, origin, edge):
        self.targets, self.origin, self.edge = targets, origin, edge
        self.token = f"q{next(_TOKENS):05d}x"
        self.weak, self.clients = [], []

    @property
    def target(self):
        return self.targets["web"]

    def listener(self, name):
        """Another listener of the server under test."""
        if name not in self.targets:
            raise Skip(f"needs the listener {name}: run with --edge")
        return self.targets[name]

    def connect(self, listener="web", **options):
        """A new HTTP/3 connection; closed when the case ends."""
        client = self.client(listener, **options)
        client.open()
        return client

    def client(self, listener="web", **options):
        """The same, not opened yet."""
        from .client import Client
        client = Client(self, self.listener(listener), **options)
        self.clients.append(client)
        return client

    def metrics(self):
        """The edge's metrics: name{labels} → value."""
        if not self.edge:
            raise Skip("needs --edge")
        return self.edge.metrics()

    def should(self, seen):
        """Notes a behaviour that is allowed, but not the one the section asks for first."""
        self.weak.append(seen)

    def path(self, kind=""):
        """A path that only this case uses; with an origin, `kind` chooses the answer (`bytes/N`, `hold`, `echo`)."""
        return f"/{kind}?{self.token}"

    def requests(self):
        """What the origin got from this case."""
        return self.origin.requests(self.token) if self.origin else []

    def close(self):
        for client in self.clients:
            client.close()


def judge(the_case, targets, origin, edge, bystander):
    """Runs one case: (verdict, what was seen)."""
    trial = Trial(targets, origin, edge)
    if the_case.needs_origin and not origin:
        return "skip", "needs an origin"
    bystander.ask()
    verdict, seen = "pass", ""
    try:
        the_case.run(trial)
        complaints = [c for client in trial.clients for c in client.complaints]
        if complaints:
            raise Fail("the server broke the protocol: " + "; ".join(complaints))
    except Fail as e:
        verdict, seen = "fail", str(e)
    except Skip as e:
        verdict, seen = "skip", str(e)
    except OSError as e:
        verdict, seen = "fail", f"the socket broke: {e!r}"
    finally:
        if origin:
            origin.release(trial.token)
        trial.close()
    if trial.weak and verdict == "pass":
        verdict, seen = "weak", "; ".join(trial.weak)
    try:
        bystander.ask()
    except Fail as e:
        verdict, seen = "fail", f"another connection was harmed: {e}; {seen}"
    return verdict, seen

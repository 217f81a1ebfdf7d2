"""What a case is: a function with a section and one line that says what it checks; verdicts are made here."""
import itertools

CASES = []
_TOKENS = itertools.count(1)


class Fail(Exception):
    """The peer does not do what the section demands; the text says what was seen instead."""


class Skip(Exception):
    """The case cannot be judged on this target; the text says why."""


class Case:
    """One check: `id` is RFC/section/number, `public` the number of the same case in h2spec's list, if it is there."""

    def __init__(self, section, about, run, public, needs_origin):
        number = 1 + sum(c.section == section for c in CASES)
        self.id, self.section, self.about, self.run = f"{section}/{number}", section, about, run
        self.public, self.needs_origin = public, needs_origin


def case(section, about, public=None, origin=False):
    """Registers the function below as a case of `section` ("9113/6.5.2"); with `origin` it needs the recording origin."""
    def register(run):
        CASES.append(Case(section, about, run, public, origin))
        return run
    return register


def each(section, about, values, public=None, origin=False):
    """Registers one case per value (or (label, value) pair); the label replaces {} in `about`."""
    def register(run):
        for i, value in enumerate(values):
            label, value = value if isinstance(value, tuple) else (value, value)
            name = public[i] if isinstance(public, (list, tuple)) else public
            case(section, about.format(label), name, origin)(lambda t, v=value: run(t, v))
        return run
    return register


def within(case_id, section):
    """9113/6.5 is in 9113, 9113/6 and 9113/6.5, not in 9113/6.50."""
    return case_id == section or case_id.startswith((section.rstrip("/") + "/", section + "."))


class Trial:
    """What a case gets: connections to the target, the origin, and a place for what is only a SHOULD."""

    def __init__(self, target, origin):
        self.target, self.origin = target, origin
        self.token = f"t{next(_TOKENS):05d}x"
        self.weak, self.clients = [], []

    def connect(self, **options):
        """A new HTTP/2 connection; closed when the case ends."""
        from .client import Client
        client = Client(self, **options)
        self.clients.append(client)
        client.open()
        return client

    def should(self, seen):
        """Notes a behaviour that is allowed, but not the one the section asks for first."""
        self.weak.append(seen)

    def path(self, kind=""):
        """A path that only this case uses; with an origin, `kind` chooses the answer (`bytes/N`, `hold`, `echo`)."""
        return f"{self.target.path}{kind}?{self.token}" if self.origin else self.target.path

    def requests(self):
        """What the origin got from this case."""
        return self.origin.requests(self.token) if self.origin else []

    def close(self):
        for client in self.clients:
            client.close()


def judge(the_case, target, origin):
    """Runs one case: (verdict, what was seen). Verdicts: pass, weak (allowed, but a SHOULD is not met), fail, skip."""
    trial = Trial(target, origin)
    if the_case.needs_origin and not origin:
        return "skip", "needs --origin-port or --origin-socket"
    try:
        the_case.run(trial)
    except Fail as e:
        return "fail", str(e)
    except Skip as e:
        return "skip", str(e)
    except OSError as e:
        return "fail", f"the connection broke: {e!r}"
    finally:
        if origin:
            origin.release(trial.token)
        trial.close()
    return ("weak", "; ".join(trial.weak)) if trial.weak else ("pass", "")

"""What happens to which origin, and when: a table that a seed makes, second by second."""
import dataclasses
import random

ORIGINS = 4
#: So many may be ill at once; the last of them only for a moment.
ILL_MAX = 3
#: Everybody is well for so long at the beginning and at the end, s.
LEAD_S, TAIL_S = 3, 3
#: Shorter ones would have nothing in them.
SECONDS_MIN = 15
#: From this length on a server under test has to say that the origin is out, s.
TOLD_FROM_S = 4
#: Scripts under this length have shorter faults, so that they have most kinds, s.
SHORT_S = 120


@dataclasses.dataclass(frozen=True)
class Fault:
    """A way to be ill. `how`: by an order to the origin, by SIGKILL and a new start, or by SIGSTOP and SIGCONT."""
    name: str
    about: str
    order: dict = None
    how: str = "order"
    #: Nobody can be served by it: it is to be taken out and named.
    out: bool = True

    @property
    def gray(self):
        return bool(self.order and self.order.get("gray"))


#: All of them, each as often as the others.
FAULTS = [
    Fault("kill", "kill -9, started again at the end", how="kill"),
    Fault("frozen", "SIGSTOP: the kernel accepts, nobody reads", how="freeze"),
    Fault("mute", "reads and never answers; at the end answers what it held", {"do": "mute"}),
    Fault("gray mute", "the same, while /healthz is well", {"do": "mute", "gray": True}),
    Fault("deaf", "reads nothing; at the end reads what has come meanwhile", {"do": "deaf"}),
    Fault("slow", "answers after 100 to 200 ms", {"do": "slow", "from": 100, "to": 200}, out=False),
    Fault("crawl", "answers after 1.5 to 2.5 s", {"do": "slow", "from": 1500, "to": 2500}),
    Fault("500", "answers 500, while /healthz is well", {"do": "status", "status": 500, "gray": True}),
    Fault("503", "answers 503, /healthz too", {"do": "status", "status": 503}),
    Fault("flap", "by turns well and 503, each for half a second", {"do": "flap"}, out=False),
    Fault("garbage", "bytes that are no HTTP, then closed", {"do": "garbage"}),
    Fault("reset", "reads the request, then RST", {"do": "reset"}),
    Fault("hang up", "answers, and closes the idle connection within 20 ms", {"do": "hangup"}, out=False),
]
WELL = {"do": "well"}


@dataclasses.dataclass(frozen=True)
class Row:
    """From `at` until `until`, seconds of the run, the origin of this number has this fault."""
    at: int
    until: int
    origin: int
    fault: Fault

    @property
    def seconds(self):
        return self.until - self.at

    def is_to_be_told(self):
        return self.fault.out and self.seconds >= TOLD_FROM_S


@dataclasses.dataclass
class _Lane:
    """Faults one after the other, with pauses. All lanes together are the script."""
    at: int
    lengths: tuple
    pauses: tuple
    deck: list = dataclasses.field(default_factory=list)

    def draw(self, rng):
        """Each kind once before any comes again."""
        if not self.deck:
            self.deck.extend(rng.sample(FAULTS, len(FAULTS)))
        return self.deck.pop()


def generate(seed, seconds):
    """The rows, in order of their beginning."""
    rng = random.Random(seed)
    lengths, pauses = ((5, 12), (1, 4)) if seconds >= SHORT_S else ((4, 5), (1, 1))
    deck = []
    lanes = [_Lane(LEAD_S, lengths, pauses, deck), _Lane(LEAD_S + 2, lengths, pauses, deck),
             _Lane(LEAD_S + 9, (1, 2), (6, 12), [])]
    rows = []
    while lanes:
        lane = min(lanes, key=lambda l: l.at)
        at, until = lane.at, lane.at + rng.randint(*lane.lengths)
        if until > seconds - TAIL_S:
            lanes.remove(lane)
            continue
        # Whoever was ill last has had its time to be well.
        last = {n: max((r.until for r in rows if r.origin == n), default=0) for n in range(ORIGINS)}
        well = [n for n in range(ORIGINS) if last[n] < at]
        if well:
            rows.append(Row(at, until, rng.choice(well), lane.draw(rng)))
        lane.at = until + rng.randint(*lane.pauses)
    return sorted(rows, key=lambda r: (r.at, r.origin))


def ill_at(rows, second):
    """Numbers of the origins that are ill in this second."""
    return {r.origin for r in rows if r.at <= second < r.until}


def reloads(seconds, count):
    """When the server under test reads its configuration again: evenly, s."""
    return [(i + 0.5) * seconds / count for i in range(count)]


def table(rows):
    """The script for people."""
    lines = ["| from, s | until, s | origin | fault | what it does |", "|---|---|---|---|---|"]
    return lines + [f"| {r.at} | {r.until} | {r.origin} | {r.fault.name} | {r.fault.about} |" for r in rows]

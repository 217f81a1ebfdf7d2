"""A run: rounds in which everything takes turns, samples written as they come, and disturbed ones taken again."""
import contextlib
import fcntl
import json
import sys
import time

import machine
import stats

#: A dirty sample is taken again so often, and once more when the run is continued.
RETAKES = 2
#: How long a sample waits for others to leave, s.
QUIET_PATIENCE_S = 10
#: Others may use so much before a sample begins, % of one processor: their last moments are over then.
QUIET_PERCENT = 15
#: A sample beside its measured seconds: start, warm-up, end. Only for the first guess of the time left.
AROUND_S = 4.0


class Case:
    """A load that is compared: `key` is "h1" or, for a point of a curve, "connections=100"."""

    def __init__(self, scenario, rounds):
        self.key, self.scenario, self.rounds = scenario.name, scenario, rounds


def turns(cases, peers, bench, rounds):
    """What is to be measured, in order: (round, case, peer, generator). Each round begins with another peer."""
    for number in range(rounds):
        for case in cases:
            able = [p for p in peers if case.scenario.abilities() <= p.can]
            if number >= case.rounds or not able:
                continue
            first = number % len(able)
            for peer in able[first:] + able[:first]:
                for generator in _generators(case.scenario, bench):
                    yield number, case, peer, generator


def _generators(scenario, bench):
    if not bench.origins.of(scenario):
        return []
    main = bench.generator(scenario)
    check = scenario.check_with and bench.generator(scenario, scenario.check_with)
    return [main] + ([check] if check and check is not main else []) if main else []


class Log:
    """samples.jsonl: a line for each attempt, never changed. A run that is begun again goes on behind them."""

    def __init__(self, path):
        self.path = path
        self.samples = read(path)
        self.file = open(path, "a+")
        if self._was_cut_off():
            self.file.write("\n")

    def _was_cut_off(self):
        """Whether the last line has no end: that run was killed as it wrote."""
        end = self.file.tell()
        self.file.seek(max(0, end - 1))
        return end > 0 and self.file.read() != "\n"

    def attempts(self, key):
        return [s for s in self.samples if identity(s) == key]

    def add(self, sample):
        self.samples.append(sample)
        self.file.write(json.dumps(sample) + "\n")
        self.file.flush()

    def needs(self, key):
        """Whether there is no sample yet that counts."""
        return not any(stats.is_clean(s) for s in self.attempts(key))


def rounded(sample):
    """Figures with five digits: more say nothing."""
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in sample.items()}


def identity(sample):
    return sample["case"], sample["peer"], sample["generator"], sample["round"]


def read(path):
    """Samples of earlier. A line that was cut off is left out."""
    samples = []
    with contextlib.suppress(FileNotFoundError), open(path) as f:
        for line in f:
            with contextlib.suppress(ValueError):
                samples.append(json.loads(line))
    return samples


def run(plan, bench, log, seconds, lock_path=None):
    """Takes every sample of the plan that is not there yet."""
    todo = [(n, c, p, g) for n, c, p, g in plan if log.needs((c.key, p.name, g.name, n))]
    progress = Progress(len(todo), seconds)
    for number, case, peer, generator in todo:
        key = (case.key, peer.name, generator.name, number)
        for _ in range(1 + RETAKES):
            with _alone(lock_path):
                before = machine.wait_for_quiet(QUIET_PERCENT, QUIET_PATIENCE_S)
                sample = bench.sample(peer, case.scenario, generator, seconds)
            log.add({"case": case.key, "round": number, "attempt": len(log.attempts(key)), "before_percent": before, **rounded(sample)})
            progress.attempt(key, sample)
            # Somebody who was there before and stayed will not go for another attempt either.
            if not log.needs(key) or sample.get("failed") or before > QUIET_PERCENT:
                break
        progress.done()


@contextlib.contextmanager
def _alone(path):
    """Holds the lock that others who measure here take too."""
    if not path:
        yield
        return
    with open(path, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


class Progress:
    """A line on stderr for each attempt, with the time that is left."""

    def __init__(self, total, seconds):
        self.total, self.finished, self.begun = total, 0, time.monotonic()
        self.guess_s = seconds + AROUND_S
        print(f"{total} samples to take, about {_duration(total * self.guess_s)}", file=sys.stderr, flush=True)

    def attempt(self, key, sample):
        what = sample.get("failed") or f"{sample['cost_us']:.2f} µs, {sample['rate']:,.0f}/s, core {sample['utilisation_percent']:.0f} %"
        why = stats.why_not(sample)
        judged = "" if not why or sample.get("failed") else f" — dirty: {why}"
        case, peer, generator, number = key
        print(f"[{self.finished + 1}/{self.total}, {_duration(self._left())} left] round {number + 1} {case:16} {peer:12} {generator:10} "
              f"{what}{judged}", file=sys.stderr, flush=True)

    def done(self):
        self.finished += 1

    def _left(self):
        each = (time.monotonic() - self.begun) / self.finished if self.finished else self.guess_s
        return each * (self.total - self.finished)


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"

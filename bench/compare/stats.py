"""Judgement on samples: which count, ratios with their spread, and when no ratio is given."""
import dataclasses
import statistics

#: Others may use so much of one processor during a sample, %; above it the sample is dirty.
DIRTY_PERCENT = 8.0
#: Clean rounds of both sides that a ratio needs.
ROUNDS_MIN = 2


@dataclasses.dataclass(frozen=True)
class Range:
    """Median, smallest and largest of some values."""
    median: float
    low: float
    high: float
    count: int


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One side by the other, or why not."""
    range: Range = None
    refused: str = ""


def is_clean(sample):
    """Nothing failed, nobody else worked, and the generator stands by its figures."""
    return not why_not(sample)


def why_not(sample):
    """Why a sample does not count."""
    if sample.get("failed"):
        return sample["failed"]
    if sample["others_percent"] + sample["steal_percent"] > DIRTY_PERCENT:
        return f"others used {sample['others_percent']:.0f} % of a core, {sample['steal_percent']:.0f} % were stolen"
    return sample.get("invalid", "")


def range_of(values):
    values = [v for v in values if v is not None]
    return Range(statistics.median(values), min(values), max(values), len(values)) if values else None


def best_of_round(samples):
    """{round: sample}: of each round the last attempt that is clean."""
    return {s["round"]: s for s in sorted(samples, key=lambda s: (s["round"], s["attempt"])) if is_clean(s)}


def ratio(ours, theirs, figure):
    """Of each round in which both sides were clean, ours by theirs. Samples are all attempts of either side."""
    a, b = best_of_round(ours), best_of_round(theirs)
    if failed := _failure(ours) or _failure(theirs):
        if not a or not b:
            return Ratio(refused=failed)
    both = sorted(a.keys() & b.keys())
    if len(a) < ROUNDS_MIN or len(b) < ROUNDS_MIN or len(both) < ROUNDS_MIN:
        return Ratio(refused="disturbed")
    values = [a[r][figure] / b[r][figure] for r in both if a[r].get(figure) and b[r].get(figure)]
    return Ratio(range_of(values)) if len(values) >= ROUNDS_MIN else Ratio(refused="no figure")


def _failure(samples):
    """Every attempt failed: that is no disturbance."""
    return "failed" if samples and all(s.get("failed") for s in samples) else ""

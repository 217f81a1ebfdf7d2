"""Samples as tables: what the document shows, as text in cells, without a word around it."""
import curves
import scenarios
import stats

#: Whose samples are the figures; the others check them.
GENERATORS = ["edge bench", "wrk", "h2load", "oha"]
US = "edge"


class Samples:
    """All of a run, found by case, server and generator."""

    def __init__(self, samples, about):
        self.samples, self.about = samples, about
        order = list(about["peers"])
        self.peers = [US] * (US in order) + [p for p in order if p != US]

    def of(self, case, peer, generator):
        return [s for s in self.samples if (s["case"], s["peer"], s["generator"]) == (case, peer, generator)]

    def generators(self, case):
        """Those that measured this, the one that counts first."""
        used = {s["generator"] for s in self.samples if s["case"] == case}
        return [g for g in GENERATORS if g in used]

    def peers_in(self, case):
        used = {s["peer"] for s in self.samples if s["case"] == case}
        return [p for p in self.peers if p in used]

    def title(self, peer):
        known = self.about["peers"][peer]
        return f"{known['title'].split()[0]} {known['version']}"

    def clean(self, case, peer, generator):
        return list(stats.best_of_round(self.of(case, peer, generator)).values())

    def range(self, case, peer, generator, figure):
        return stats.range_of([s.get(figure) for s in self.clean(case, peer, generator)])

    def ratio(self, case, peer, generator, figure="cost_us"):
        return stats.ratio(self.of(case, US, generator), self.of(case, peer, generator), figure)


def measured_scenarios(samples):
    return [s for s in scenarios.ALL if samples.generators(s.name)]


def measured_curves(samples):
    return [c for c in curves.ALL if any(samples.generators(s.name) for _, s in c.points)]


def overview(samples):
    """A row for each scenario: the edge's cost, and its ratio to each server's."""
    others = [p for p in samples.peers if p != US]
    rows = [["CPU per request, edge by the other", "edge, µs", *(samples.title(p) for p in others)]]
    for s in measured_scenarios(samples):
        main = samples.generators(s.name)[0]
        figure = "p99_us" if s.half_load else "cost_us"
        own = samples.range(s.name, US, main, figure)
        title = s.title + (", p99" if s.half_load else ", per MiB" if s.per_mib else "")
        present = samples.peers_in(s.name)
        cells = [bold_if_best(samples.ratio(s.name, p, main, figure)) if p in present else "" for p in others]
        rows.append([title, spread(own), *cells])
    return rows


def scenario(samples, s):
    """A row for each server."""
    names = samples.generators(s.name)
    main, checks = names[0], names[1:]
    if s.half_load:
        return _latency(samples, s, main)
    rows = [["", s.unit(), "ratio", "requests/s", "core", "memory, MiB", *(f"ratio by {g}" for g in checks)]]
    for p in samples.peers_in(s.name):
        rows.append([
            samples.title(p), _figure(samples, s.name, p, main, "cost_us"), _ratio(samples, s.name, p, main),
            thousands(samples.range(s.name, p, main, "rate")), percent(samples.range(s.name, p, main, "utilisation_percent")),
            mebibytes(samples.range(s.name, p, main, "memory_kib")), *(_ratio(samples, s.name, p, g) for g in checks)])
    return rows


def _latency(samples, s, main):
    rows = [["", "p50, µs", "ratio", "p99, µs", "ratio", "requests/s"]]
    for p in samples.peers_in(s.name):
        rows.append([samples.title(p), _figure(samples, s.name, p, main, "p50_us"), _ratio(samples, s.name, p, main, "p50_us"),
                     _figure(samples, s.name, p, main, "p99_us"), _ratio(samples, s.name, p, main, "p99_us"),
                     thousands(samples.range(s.name, p, main, "rate"))])
    return rows


def curve(samples, c):
    """A row for each server, a column for each point; with memory beside the cost where it is of interest."""
    rows = [["µs per request", *(_x(c, x) for x, _ in c.points), "last by first"]]
    peers = [p for p in samples.peers if any(p in samples.peers_in(s.name) for _, s in c.points)]
    for p in peers:
        rows.append([samples.title(p), *(_figure(samples, s.name, p, None, "cost_us") for _, s in c.points), growth(samples, c, p)])
    if c.memory:
        rows.append(["**memory, MiB**", *[""] * (len(c.points) + 1)])
        for p in peers:
            rows.append([samples.title(p), *(mebibytes(_range(samples, s.name, p, "memory_kib")) for _, s in c.points), ""])
    return rows


def curve_lines(samples, c, figure):
    """The same as lines of a chart."""
    lines = []
    for p in samples.peers:
        points = [(x, _range(samples, s.name, p, figure)) for x, s in c.points]
        points = [(x, r.median, r.low, r.high) for x, r in points if r]
        if len(points) > 1:
            lines.append((samples.title(p), points))
    return lines


def growth(samples, c, peer):
    """The cost at the last point by that at the first, in each round."""
    (_, first), (_, last) = c.points[0], c.points[-1]
    main = (samples.generators(last.name) or [""])[0]
    r = stats.ratio(samples.of(last.name, peer, main), samples.of(first.name, peer, main), "cost_us")
    return ratio_text(r)


def losses(samples):
    """Sentences: everything in which another is better, worst first; and how many comparisons there were."""
    found, compared = [], 0
    for s in measured_scenarios(samples):
        main = samples.generators(s.name)[0]
        figures = [("p50_us", "p50"), ("p99_us", "p99")] if s.half_load else [("cost_us", "CPU"), ("memory_kib", "memory")]
        for figure, word in figures:
            for p in samples.peers_in(s.name):
                r = samples.ratio(s.name, p, main, figure).range if p != US else None
                compared += r is not None
                if r and r.median > 1.0:
                    sure = "in every round" if r.low > 1 else "not in every round"
                    found.append((r.median, f"{s.title}: {word} {ratio_text(stats.Ratio(r))} of {samples.title(p)}'s, {sure}"))
    return [text for _, text in sorted(found, reverse=True)], compared


def generators(samples):
    """What a request costs the generator, where more than one did the same; and by how much the first one's is less."""
    rows = [["", "edge bench, µs", "by", "µs", "times edge bench's"]]
    for s in measured_scenarios(samples):
        main, *others = samples.generators(s.name)
        for g in others if main == GENERATORS[0] else []:
            r = stats.ratio(samples.of(s.name, US, g), samples.of(s.name, US, main), "generator_us")
            ranges = [samples.range(s.name, US, name, "generator_us") for name in (main, g)]
            rows.append([s.title, spread(ranges[0]), g, spread(ranges[1]), ratio_text(r)])
    return rows


def disturbance(samples):
    """(attempts, clean, failed, median of what others used)."""
    done = [s for s in samples.samples if not s.get("failed")]
    others = stats.range_of([s["others_percent"] for s in done])
    return len(samples.samples), sum(stats.is_clean(s) for s in done), len(samples.samples) - len(done), others.median if others else 0.0


def _range(samples, case, peer, figure):
    names = samples.generators(case)
    return samples.range(case, peer, names[0], figure) if names else None


def _figure(samples, case, peer, generator, figure):
    generator = generator or (samples.generators(case) or [""])[0]
    attempts = samples.of(case, peer, generator)
    if not attempts:
        return ""
    if all(s.get("failed") for s in attempts):
        return "failed"
    return spread(samples.range(case, peer, generator, figure))


def _ratio(samples, case, peer, generator, figure="cost_us"):
    if peer == US:
        return "1"
    return ratio_text(samples.ratio(case, peer, generator, figure)) if samples.of(case, peer, generator) else ""


def ratio_text(ratio):
    if ratio.range is None:
        return f"—, {ratio.refused}"
    r = ratio.range
    return f"{r.median:.2f} ({r.low:.2f}–{r.high:.2f})"


def bold_if_best(ratio):
    """Ratios above 1 stand out: there the edge costs more."""
    text = ratio_text(ratio)
    return f"**{text}**" if ratio.range and ratio.range.median > 1 else text


def spread(r):
    """Median, and from the smallest to the largest."""
    if r is None:
        return "—, disturbed"
    return f"{number(r.median)} ({number(r.low)}–{number(r.high)})" if r.count > 1 else number(r.median)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def thousands(r):
    return "" if r is None else f"{r.median / 1000:,.1f}k" if r.median >= 1000 else f"{r.median:.0f}"


def percent(r):
    return "" if r is None else f"{r.median:.0f} %"


def mebibytes(r):
    return "" if r is None else number(r.median / 1024)


def _x(c, x):
    return f"{x:,}"


def markdown(rows):
    """A table; the first row is its head."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])

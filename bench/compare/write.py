"""The document: every figure in it comes from the samples of one folder."""
import json
import os
import shutil

import plot
import run
import stats
import tables

HOW = """The server is pinned to one core with one worker (`curves` say where it has more); generator and origin share another; everything goes
over loopback. Servers take turns: in each round every one is started, asked, loaded and ended for every load, and each round begins
with another one. The figure is **CPU time of the server's processes per request**, user and system, by `/proc/PID/task/*/schedstat`: it
does not depend on what the client can do. Requests a second do, unless the server's core is full (column *core*).

All have the same certificate (ECDSA P-256), TLS 1.3 with AES-128-GCM and X25519, no access log, 1,024 kept connections to
the origin, timeouts of 300 s; they stream bodies both ways, and add X-Forwarded-For. Their settings are in `bench/peers`. Each server is
asked once before each load; status and size of what it answers must be right, and under load the number and the size of
answers.

Ratios are the edge's figure by the other's in the same round: the median of the rounds, and the smallest and largest. **Below 1 the edge is
better.** A sample during which anybody else used more than {dirty:.0f} % of a core, or the hypervisor took it, is taken again,
{retakes} times at most. A ratio that does not have {rounds} clean rounds of both sides is not given: "—, disturbed"."""


def write(place, to):
    """Writes the document, its charts and a copy of the samples; 0 when done."""
    with open(place.about) as f:
        about = json.load(f)
    samples = tables.Samples(run.read(place.samples), about)
    if not samples.samples:
        raise SystemExit(f"no samples in {place.samples}")
    folder = os.path.join(os.path.dirname(os.path.abspath(to)), "benchmarks")
    os.makedirs(folder, exist_ok=True)
    charts = draw(samples, folder)
    with open(to, "w") as f:
        f.write(document(samples, charts))
    for path in (place.samples, place.about):
        kept = os.path.join(folder, os.path.basename(path))
        if os.path.abspath(path) != kept:
            shutil.copyfile(path, kept)
    return 0


def draw(samples, folder):
    """A chart for each curve, and one more for memory: {(curve, what): file name}."""
    charts = {}
    for c in tables.measured_curves(samples):
        wanted = [("cost", "cost_us", "µs of CPU per request", 1)]
        if c.memory:
            wanted.append(("memory", "memory_kib", "MiB", 1024))
        for what, figure, axis, divisor in wanted:
            lines = [(name, [(x, *(v / divisor for v in rest)) for x, *rest in ps]) for name, ps in tables.curve_lines(samples, c, figure)]
            text = plot.chart(c.title, c.axis, axis, lines, c.axis == "bytes")
            if text:
                charts[c.name, what] = f"{c.name}-{what}.svg"
                with open(os.path.join(folder, charts[c.name, what]), "w") as f:
                    f.write(text)
    return charts


def document(samples, charts):
    parts = [
        "# Benchmarks", "Written by `python3 bench/compare write DIR`; not by hand. The samples are in [benchmarks/](benchmarks/), older figures and "
        "those of other kinds in [MEASUREMENTS.md](MEASUREMENTS.md).", _machine(samples), _disturbance(samples), "## At a glance",
        tables.markdown(tables.overview(samples)), "## Where others are better", _losses(samples), "## How it is measured",
        HOW.format(dirty=stats.DIRTY_PERCENT, retakes=run.RETAKES, rounds=stats.ROUNDS_MIN), _notes(samples), "## Load by load"]
    for s in tables.measured_scenarios(samples):
        main = samples.generators(s.name)[0]
        parts += [f"### {s.title}", f"`{main}`: `{s.command()}`", tables.markdown(tables.scenario(samples, s))]
    parts += _curves(samples, charts)
    parts += _generators(samples)
    parts += ["## Run it again", _again(samples)]
    return "\n\n".join(p for p in parts if p) + "\n"


def _machine(samples):
    m = samples.about["machine"]
    rows = [["", ""], ["date", samples.about["date"]],
            ["processor", f"{m['cpu']}, {m['processors']} cores" + (", virtual machine" if m["virtual"] else "")],
            ["memory", f"{m['memory_mib']:,} MiB"], ["system", f"{m['system']}, Linux {m['kernel']}, governor {m['governor']}"],
            ["open files", f"{m['open_files']:,}"],
            ["servers", ", ".join(samples.title(p) for p in samples.peers)],
            ["generators", ", ".join(f"{g} {v}" for g, v in samples.about["generators"].items())],
            ["origin", {"edge": "an edge that answers from memory", "nginx": "nginx"}[samples.about["origin"]] + "; `edge bench serve` for uploads and WebSockets"]]
    return tables.markdown(rows)


def _disturbance(samples):
    attempts, clean, failed, others = tables.disturbance(samples)
    text = f"{attempts} samples of {samples.about['seconds']:g} s: {clean} clean, {attempts - clean - failed} disturbed, {failed} failed. "
    text += f"What others used during a sample: {others:.1f} % of a core in the median."
    if samples.about["nice"]:
        text += f" Server, origin and generator ran with priority {samples.about['nice']}."
    return text


def _losses(samples):
    found, compared = tables.losses(samples)
    if not compared:
        return "Unknown: no ratio could be given."
    lines = [f"- {text}" for text in found] or ["Nowhere."]
    return "\n".join([*lines, "", f"Of {compared} comparisons of CPU time, memory and latency that could be made."])


def _notes(samples):
    notes = [f"{samples.title(p)}: {samples.about['peers'][p]['notes']}." for p in samples.peers if samples.about["peers"][p]["notes"]]
    notes += [f"Not in this run: {sentence}." for sentence in samples.about["absent"]]
    return "\n".join(f"- {note}" for note in notes)


def _curves(samples, charts):
    parts = []
    for c in tables.measured_curves(samples):
        parts.append(f"### {c.title}")
        parts += [f"![{c.title}: {what}](benchmarks/{charts[c.name, what]})" for what in ("cost", "memory") if (c.name, what) in charts]
        parts.append(tables.markdown(tables.curve(samples, c)))
    return ["## How cost grows with work", *parts] if parts else []


def _generators(samples):
    rows = tables.generators(samples)
    if len(rows) < 2:
        return []
    return ["## The generators", "CPU time of the generator for one request to the edge, µs. It shares its core with the origin where the request goes on "
            "to it. wrk and oha send from the first moment to the last, and so pay for their connections here.", tables.markdown(rows)]


def _again(samples):
    commands = "\n".join(["cargo build --release", *dict.fromkeys(samples.about["commands"]), "python3 bench/compare write DIR"])
    return f"```sh\n{commands}\n```\n\n[bench/README.md](../bench/README.md) says what is needed for it."

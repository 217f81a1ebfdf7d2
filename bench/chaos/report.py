"""The report: markdown, and a page with a plot of each second."""
import html
import os

import script
import tallies

TITLES = {"h1": "HTTP/1.1", "h2": "HTTP/2", "h3": "HTTP/3"}
WIDTH, HEIGHT, LEFT, RIGHT, TOP = 960, 150, 60, 10, 26
LANE = 16
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1f2937;background:#fff}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #d1d5db;text-align:left}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#1f2937}
.frame{fill:none;stroke:#9ca3af}.load{stroke:#6b7280;stroke-dasharray:2 3}
.good{fill:#15803d}.bad{fill:#dc2626}.ill{fill:#c2410c;opacity:.75}.out{fill:#1d4ed8}
@media (prefers-color-scheme:dark){body{color:#e5e7eb;background:#111827}svg text{fill:#e5e7eb}
.good{fill:#4ade80}.bad{fill:#f87171}.out{fill:#93c5fd}.ill{fill:#fb923c}}"""


def markdown(runs, about):
    """All of it as text."""
    parts = [f"# {about['seconds']} s of kill, stall, slow, error, garbage, recover", _conditions(about), *_summary(runs)]
    for run in runs:
        parts += ["", f"## {run['title']}", "", *_protocols(run), *_posts(run), *_named(run), *_worst(run)]
    return "\n".join([*parts, "", "## The script", "", *script.table(about["rows"]), ""])


def _conditions(about):
    return (f"\n{script.ORIGINS} origins; {about['rate']} GETs and {about['post_rate']} POSTs a second by each protocol, open loop; "
            f"{about['reloads']} reloads; seed {about['seed']}; a client waits {about['timeout']} s. {about['machine']}\n")


def _summary(runs):
    lines = ["| server | GETs answered 2xx | of | failed | POSTs seen twice | POSTs answered 2xx | CPU of the machine |",
             "|---|---|---|---|---|---|---|"]
    for r in runs:
        g, p = r["gets"]["all"], r["posts"]["all"]
        lines.append(f"| {r['title']} | {percent(g['share'])} | {g['intended']:,} | {g['intended'] - g['good']:,} "
                     f"| {r['posts']['twice']} of {r['posts']['seen']:,} | {percent(p['share'])} | {sum(r['busy_percent']):.0f} % of a core |")
    return lines


def _protocols(run):
    lines = ["| | 2xx | of | p50 | p99 | p99.9 | failures |", "|---|---|---|---|---|---|---|"]
    for method in ("gets", "posts"):
        for protocol, part in run[method].items():
            if protocol in TITLES:
                times = " | ".join(_ms(part.get(p)) for p in ("p50_ms", "p99_ms", "p999_ms"))
                lines.append(f"| {method[:-1].upper()} {TITLES[protocol]} | {percent(part['share'])} | {part['intended']:,} | {times} "
                             f"| {_kinds(tallies.kinds(part))} |")
    return lines


def _posts(run):
    lines = ["", f"Requests that origins saw: {run['seen'].get('GET', 0):,} GETs for {run['gets']['all']['intended']:,} asked, "
             f"{run['seen'].get('check', 0):,} health checks. Reloads: {run['reloads']}."]
    lines += [f"- POST {name} was seen {len(at)} times: {at}" for name, at in list(run["posts"]["twice_ids"].items())[:20]]
    return lines + [f"- {problem}" for problem in run["problems"]]


def _named(run):
    if run["named"] is None:
        return []
    lines = ["", "Who was out, as `edge status --json` named it:", "",
             "| fault | origin | from, s | named after | as | why | back after |", "|---|---|---|---|---|---|---|"]
    for n in run["named"]:
        said = n["said"] or {}
        after = "never" + (" (half were out already)" if n["excused"] else "") if n["after"] is None else f"{n['after']:.2f} s"
        back = f"{n['back_after']:.1f} s" if "back_after" in n else ""
        lines.append(f"| {n['fault']} | {n['origin']} | {n['at']} | {after} | {said.get('state', '')} | {said.get('reason') or ''} | {back} |")
    return lines


def _worst(run):
    if not run["worst"]:
        return []
    lines = ["", "GETs that failed, the worst seconds:", "", "| second | failed | how | who was ill |", "|---|---|---|---|"]
    return lines + [f"| {w['second']} | {w['failed']} | {_kinds(w['kinds'])} | {', '.join(w['ill'])} |" for w in run["worst"]]


def percent(share):
    """Three digits behind the point, never rounded up."""
    return f"{int(share * 1e5 + 1e-9) / 1e3:.3f}".rstrip("0").rstrip(".") + " %"


def _ms(value):
    return "" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _kinds(faults):
    return ", ".join(f"{name} {n:,}" for name, n in sorted(faults.items(), key=lambda kv: -kv[1])) or "none"


def page(runs, about):
    """A page in one file: a plot for each server, then the figures."""
    plots = "".join(f"<h2>{html.escape(r['title'])}</h2>{plot(r, about['rows'], about['seconds'])}" for r in runs)
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Chaos</title>"
            f"<style>{STYLE}</style><h1>{about['seconds']} s of kill, stall, slow, error, garbage, recover</h1>"
            "<p>Green: GETs answered 2xx, red: those that were not, of each second. Dotted: reloads. Below: which origin was ill (orange), "
            f"and when it was out of use as the edge tells it (blue).</p>{plots}<pre>{html.escape(markdown(runs, about))}</pre></html>")


def plot(run, rows, seconds):
    """SVG: success of each second, and what the origins did."""
    title = f"{html.escape(run['title'])}: {percent(run['gets']['all']['share'])} of GETs answered 2xx"
    height, scale = TOP + HEIGHT + 8 + script.ORIGINS * LANE + 24, (WIDTH - LEFT - RIGHT) / seconds
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">',
             f"<style>{STYLE[STYLE.index('svg text'):]}</style>", _text(LEFT, 16, title, "start"),
             _text(LEFT - 6, TOP + 10, "100 %", "end"), _text(LEFT - 6, TOP + HEIGHT, "0 %", "end"),
             *_bars(run["by_second"], scale), *_lanes(run, rows, scale)]
    for at in run["reloaded_at"]:
        x = f"{LEFT + at * scale:.1f}"
        parts.append(f'<line class="load" x1="{x}" x2="{x}" y1="{TOP}" y2="{TOP + HEIGHT}"/>')
    parts += [_text(LEFT + s * scale, height - 6, f"{s} s", "middle") for s in range(0, seconds + 1, max(1, seconds // 10))]
    return "\n".join([*parts, _box("frame", LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT), "</svg>\n"])


def _bars(by_second, scale):
    out = []
    for s, (good, failed) in enumerate(by_second):
        green = HEIGHT * good / (good + failed) if good + failed else 0
        x, title = LEFT + s * scale, f"second {s}: {good} good, {failed} failed"
        if green:
            out.append(_box("good", x, TOP + HEIGHT - green, scale, green, title))
        if failed or not good:
            # A failure is seen, however few they are.
            out.append(_box("bad", x, TOP, scale, max(HEIGHT - green, 2), title))
    return out


def _lanes(run, rows, scale):
    top = TOP + HEIGHT + 8
    out = [_text(LEFT - 6, top + n * LANE + 11, f"origin {n}", "end") for n in range(script.ORIGINS)]
    out += [_box("ill", LEFT + r.at * scale, top + r.origin * LANE + 1, r.seconds * scale, 8, f"{r.fault.name}: {r.fault.about}") for r in rows]
    return out + [_box("out", LEFT + begun * scale, top + n * LANE + 10, max((ended - begun) * scale, 1), 4) for n, begun, ended in run["out"]]


def _text(x, y, words, anchor):
    return f'<text x="{x:.0f}" y="{y}" text-anchor="{anchor}">{words}</text>'


def _box(kind, x, y, width, height, title=""):
    return (f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}">'
            f"<title>{html.escape(title)}</title></rect>")


def write(folder, runs, about):
    """report.md, report.html and a plot for each server."""
    files = {"report.md": markdown(runs, about), "report.html": page(runs, about)}
    files.update({f"{r['peer']}.svg": plot(r, about["rows"], about["seconds"]) for r in runs})
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)

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
.frame{fill:none;stroke:#9ca3af}.good{fill:#15803d}.bad{fill:#dc2626}.ill{fill:#c2410c;opacity:.75}.out{fill:#1d4ed8}.load{stroke:#6b7280;stroke-dasharray:2 3}
@media (prefers-color-scheme:dark){body{color:#e5e7eb;background:#111827}svg text{fill:#e5e7eb}.good{fill:#4ade80}.bad{fill:#f87171}.out{fill:#93c5fd}.ill{fill:#fb923c}}"""


def markdown(runs, about):
    """All of it as text."""
    parts = [f"# {about['seconds']} s of kill, stall, slow, error, garbage, recover", _conditions(about), *_summary(runs)]
    for run in runs:
        parts += ["", f"## {run['title']}", "", *_protocols(run), *_posts(run), *_named(run)]
    return "\n".join([*parts, "", "## The script", "", *script.table(about["rows"]), ""])


def _conditions(about):
    return (f"\n{script.ORIGINS} origins; {about['rate']} GETs and {about['post_rate']} POSTs a second by each protocol, open loop; "
            f"{about['reloads']} reloads; seed {about['seed']}; a client waits {about['timeout']} s. {about['machine']}\n")


def _summary(runs):
    lines = ["| server | GETs answered 2xx | of | failed | POSTs seen twice | POSTs answered 2xx | CPU of the machine |", "|---|---|---|---|---|---|---|"]
    for r in runs:
        g, p = r["gets"]["all"], r["posts"]["all"]
        lines.append(f"| {r['title']} | {percent(g['share'])} | {g['intended']:,} | {g['intended'] - g['good']:,} | {r['posts']['twice']} of {r['posts']['seen']:,} "
                     f"| {percent(p['share'])} | {sum(r['busy_percent']):.0f} % of a core |")
    return lines


def _protocols(run):
    lines = ["| | 2xx | of | p50 | p99 | p99.9 | failures |", "|---|---|---|---|---|---|---|"]
    for method in ("gets", "posts"):
        for protocol, part in run[method].items():
            if protocol in TITLES:
                lines.append(f"| {method[:-1].upper()} {TITLES[protocol]} | {percent(part['share'])} | {part['intended']:,} "
                             f"| {_ms(part.get('p50_ms'))} | {_ms(part.get('p99_ms'))} | {_ms(part.get('p999_ms'))} | {_kinds(tallies.kinds(part))} |")
    return lines


def _posts(run):
    lines = ["", f"Requests that origins saw: {run['seen'].get('GET', 0):,} GETs for {run['gets']['all']['intended']:,} asked, "
             f"{run['seen'].get('check', 0):,} health checks. Reloads: {run['reloads']}."]
    lines += [f"- POST {name} was seen {len(at)} times: {at}" for name, at in list(run["posts"]["twice_ids"].items())[:20]]
    return lines + [f"- {problem}" for problem in run["problems"]]


def _named(run):
    if run["named"] is None:
        return []
    lines = ["", "Who was out, as `edge status --json` named it:", "", "| fault | origin | from, s | named after | as | why | back after |", "|---|---|---|---|---|---|---|"]
    for n in run["named"]:
        said = n["said"] or {}
        after = "never" + (" (half were out already)" if n["excused"] else "") if n["after"] is None else f"{n['after']:.2f} s"
        back = f"{n['back_after']:.1f} s" if "back_after" in n else ""
        lines.append(f"| {n['fault']} | {n['origin']} | {n['at']} | {after} | {said.get('state', '')} | {said.get('why') or said.get('reason') or ''} | {back} |")
    return lines


def percent(share):
    """Three digits behind the point, never rounded up."""
    return f"{int(share * 1e5 + 1e-9) / 1e3:.3f}".rstrip("0").rstrip(".") + " %"


def _ms(value):
    return "" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _kinds(faults):
    return ", ".join(f"{name} {n:,}" for name, n in sorted(faults.items(), key=lambda kv: -kv[1])) or "none"


def page(runs, about):
    """A page in one file: a plot for each server, above them the script."""
    text = markdown(runs, about)
    plots = "".join(f"<h2>{html.escape(r['title'])}</h2>{plot(r, about['rows'], about['seconds'])}" for r in runs)
    return (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Chaos</title><style>{STYLE}</style>"
            f"<h1>{about['seconds']} s of kill, stall, slow, error, garbage, recover</h1><p>Green: GETs answered 2xx, red: those that were not, of each second. "
            f"Below: which origin was ill (orange), and when it was out of use as the edge tells it (blue).</p>{plots}<pre>{html.escape(text)}</pre></html>")


def plot(run, rows, seconds):
    """SVG: success of each second, and what the origins did."""
    height = TOP + HEIGHT + 8 + script.ORIGINS * LANE + 24
    scale = (WIDTH - LEFT - RIGHT) / seconds
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(run["title"])}, second by second">',
             f'<text x="{LEFT}" y="16">{html.escape(run["title"])}: {percent(run["gets"]["all"]["share"])} of GETs</text>',
             f'<text x="{LEFT - 6}" y="{TOP + 10}" text-anchor="end">100 %</text><text x="{LEFT - 6}" y="{TOP + HEIGHT}" text-anchor="end">0 %</text>']
    parts += _bars(run["by_second"], scale) + _lanes(run, rows, scale)
    for at in run["reloaded_at"]:
        parts.append(f'<line class="load" x1="{LEFT + at * scale:.1f}" x2="{LEFT + at * scale:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}"/>')
    parts += [f'<text x="{LEFT + s * scale:.0f}" y="{height - 6}" text-anchor="middle">{s} s</text>' for s in range(0, seconds + 1, max(1, seconds // 10))]
    return "\n".join(parts) + f'\n<rect class="frame" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT}"/></svg>\n'


def _bars(by_second, scale):
    out = []
    for s, (good, failed) in enumerate(by_second):
        share = good / (good + failed) if good + failed else 0
        green = share * HEIGHT
        for kind, y, h in (("good", TOP + HEIGHT - green, green), ("bad", TOP, HEIGHT - green)):
            if h > 0:
                # A failure is seen, however few they are.
                h = max(h, 2) if kind == "bad" else h
                out.append(f'<rect class="{kind}" x="{LEFT + s * scale:.2f}" y="{y:.2f}" width="{scale:.2f}" height="{h:.2f}"><title>second {s}: {good} good, {failed} failed</title></rect>')
    return out


def _lanes(run, rows, scale):
    out, top = [], TOP + HEIGHT + 8
    for n in range(script.ORIGINS):
        out.append(f'<text x="{LEFT - 6}" y="{top + n * LANE + 11}" text-anchor="end">origin {n}</text>')
    for r in rows:
        out.append(f'<rect class="ill" x="{LEFT + r.at * scale:.1f}" y="{top + r.origin * LANE + 1}" width="{r.seconds * scale:.1f}" height="8">'
                   f'<title>{r.fault.name}: {r.fault.about}</title></rect>')
    for n, begun, ended in run["out"]:
        out.append(f'<rect class="out" x="{LEFT + begun * scale:.1f}" y="{top + n * LANE + 10}" width="{max((ended - begun) * scale, 1):.1f}" height="4"/>')
    return out


def write(folder, runs, about):
    """report.md, report.html and a plot for each server."""
    files = {"report.md": markdown(runs, about), "report.html": page(runs, about)}
    files.update({f"{r['peer']}.svg": f"{plot(r, about['rows'], about['seconds'])}".replace('role="img"', f'width="{WIDTH}" role="img"', 1) for r in runs})
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)

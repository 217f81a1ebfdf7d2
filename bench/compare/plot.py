"""Line charts as SVG: logarithmic axes, legible on light and dark pages, without scripts or fonts of their own."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 44, 52
#: Colours that differ in lightness too, for light and for dark pages; and strokes, so that colour is not needed.
LIGHT = ["#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#0e7490", "#a16207", "#be185d", "#475569", "#4d7c0f"]
DARK = ["#fb923c", "#93c5fd", "#86efac", "#d8b4fe", "#67e8f9", "#fde047", "#f9a8d4", "#cbd5e1", "#bef264"]
DASHES = ["", "7 3", "2 3", "9 3 2 3", "5 5", "12 4", "1 4", "3 2 8 2", "10 2"]
#: Labels at the ends of lines keep this distance.
LABEL_GAP = 15


class Axis:
    """One scale, logarithmic where values span more than a factor of four."""

    def __init__(self, values, begin, end, include_zero=False):
        low, high = min(values), max(values)
        self.log = low > 0 and high / low > 4 or (low == 0 and high > 100)
        # Zero has its place on a logarithmic axis, a step before the smallest value.
        positive = [v for v in values if v > 0] or [1]
        self.zero_at = min(positive) / 10 if self.log and low == 0 else None
        self.low, self.high = (self.zero_at or low), high
        if include_zero and not self.log:
            self.low = 0
        if self.low == self.high:
            self.low, self.high = self.low * 0.5, self.high * 1.5 or 1
        self.begin, self.end = begin, end

    def at(self, value):
        """Where a value is, pixels."""
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self):
        """Round values within the scale."""
        if not self.log:
            return _even(self.low, self.high)
        span = self.high / self.low
        factors = (1,) if span > 2e3 else (1, 3) if span > 60 else (1, 2, 5)
        marks = [f * 10.0 ** e for e in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1) for f in factors]
        return [m for m in marks if self.low * 0.999 <= m <= self.high * 1.001 and m != self.zero_at]


def _even(low, high):
    step = 10.0 ** math.floor(math.log10(high - low))
    for divisor in (1, 2, 5, 10):
        if (high - low) / (step / divisor) >= 4:
            step /= divisor
            break
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(title, x_title, y_title, lines, x_is_binary=False):
    """`lines`: [(name, [(x, y, low, high)])], one colour and stroke each. The text of an SVG file."""
    points = [p for _, ps in lines for p in ps]
    if not points:
        return ""
    xs = sorted({p[0] for p in points})
    x_axis = Axis(xs, LEFT, WIDTH - RIGHT)
    y_axis = Axis([v for p in points for v in (p[2], p[3])], HEIGHT - BOTTOM, TOP, include_zero=True)
    parts = [_head(title, lines), _grid(x_axis, y_axis, xs, x_title, y_title, x_is_binary)]
    ends = _spread([(y_axis.at(ps[-1][1]), i) for i, (_, ps) in enumerate(lines)])
    for i, (name, ps) in enumerate(lines):
        parts.append(_line(i, name, [(x_axis.at(x), y_axis.at(y), y_axis.at(lo), y_axis.at(hi)) for x, y, lo, hi in ps], ends[i]))
    return "\n".join(parts) + "\n</svg>\n"


def _head(title, lines):
    def colours(palette):
        return "".join(f".c{i}{{stroke:{palette[i % len(palette)]};fill:{palette[i % len(palette)]}}}" for i in range(len(lines)))
    return f'''<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{_quoted(title)}">
<style>
text{{font:12px system-ui,sans-serif;fill:#1f2937;stroke:none}} .title{{font-size:14px;font-weight:600}} .page{{fill:#ffffff}}
.grid{{stroke:#d1d5db;stroke-width:1}} .line{{fill:none;stroke-width:2}} .range{{stroke-width:1;opacity:.7}}
{colours(LIGHT)}
@media (prefers-color-scheme:dark){{text{{fill:#e5e7eb}} .page{{fill:#111827}} .grid{{stroke:#374151}}
{colours(DARK)}}}
.line{{fill:none}}
</style>
<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>
<text class="title" x="{LEFT}" y="22">{escape(title)}</text>'''


def _grid(x_axis, y_axis, xs, x_title, y_title, binary):
    out = []
    for y in y_axis.ticks():
        at = y_axis.at(y)
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
                   f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{short(y)}</text>')
    for x in xs:
        at = x_axis.at(x)
        out.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                   f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(x, binary)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_title)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text x="16" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 16 {middle:.0f})">{escape(y_title)}</text>')
    return "\n".join(out)


def _line(i, name, ps, label_at):
    dash = f' stroke-dasharray="{DASHES[i % len(DASHES)]}"' if DASHES[i % len(DASHES)] else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in ps)
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" stroke="none"/>'
                    f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{lo:.1f}" y2="{hi:.1f}"/>' for x, y, lo, hi in ps)
    x, y = ps[-1][0], ps[-1][1]
    tie = f'<line class="range" x1="{x + 4:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT + 14}" y2="{label_at:.1f}"/>'
    label = f'<text x="{WIDTH - RIGHT + 18}" y="{label_at + 4:.1f}">{escape(name)}</text>'
    return f'<g class="c{i}"><polyline class="line"{dash} points="{path}"/>{marks}{tie}{label}</g>'


def _spread(ends):
    """Labels beside the ends of their lines, apart enough to be read: {line: y}."""
    placed, last = {}, -math.inf
    for y, i in sorted(ends):
        last = max(y, last + LABEL_GAP)
        placed[i] = last
    over = last - (HEIGHT - BOTTOM)
    return {i: y - over for i, y in placed.items()} if over > 0 else placed


def short(value, binary=False):
    """1500 → "1.5k"; 131072 → "128 Ki" in powers of two."""
    base, units = (1024, ["", " Ki", " Mi", " Gi"]) if binary else (1000, ["", "k", "M", "G"])
    step = 0
    while value >= base and step + 1 < len(units):
        value, step = value / base, step + 1
    return f"{value:.3g}{units[step]}"


def _quoted(text):
    return escape(text, {'"': "&quot;"})

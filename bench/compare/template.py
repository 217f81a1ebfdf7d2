"""Templates of settings: values, conditions and repetitions.

    @{name}            the value of `name`; one that is unknown is an error
    @{if h3} … @{end}  the lines between only where `h3` is true; `@{if not h3}` where it is not
    @{for route} …     the lines between once for each element of the list `route`, which is @{route} in them

`if`, `for` and `end` stand alone on their lines. They may be nested.
"""
import re

MARK = re.compile(r"@\{([^}]*)\}")
CONTROL = re.compile(r"\s*@\{(if not|if|for|end)\s*([a-z0-9_]*)\}\s*$")


class TemplateError(Exception):
    """What is wrong in a template, with its line."""


def render(text, values):
    """The text with all its marks replaced."""
    lines, out = text.split("\n"), []
    end = _block(lines, 0, values, out)
    if end < len(lines):
        raise TemplateError(f"line {end + 1}: an end without a beginning")
    return "\n".join(out)


def fill(text, values):
    """One line, or one word of a command."""
    def value(mark):
        name = mark[1]
        if name not in values:
            raise TemplateError(f"@{{{name}}} is not known here; known are {', '.join(sorted(values))}")
        return str(values[name])
    return MARK.sub(value, text)


def _block(lines, at, values, out):
    """Renders up to the `end` of this block; where that is."""
    while at < len(lines):
        control = CONTROL.match(lines[at])
        if not control:
            out.append(fill(lines[at], values))
            at += 1
            continue
        word, name = control.groups()
        if word == "end":
            return at
        begun, at = at, at + 1
        end = _skip(lines, at, begun)
        for inner in _rounds(word, name, values):
            _block(lines, at, inner, out)
        at = end + 1
    return at


def _rounds(word, name, values):
    """The values for each time that a block is rendered."""
    if word == "for":
        return [{**values, name: element} for element in values.get(name, ())]
    wanted = word == "if"
    return [values] if bool(values.get(name)) == wanted else []


def _skip(lines, at, begun):
    """Where the block ends that began at line `begun`."""
    depth = 1
    while at < len(lines):
        if control := CONTROL.match(lines[at]):
            depth += -1 if control[1] == "end" else 1
            if depth == 0:
                return at
        at += 1
    raise TemplateError(f"line {begun + 1}: no end")

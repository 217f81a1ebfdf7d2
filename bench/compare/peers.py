"""Servers under test: their settings in bench/peers/NAME, what they can do, and how they are started."""
import os
import re
import shutil
import subprocess
import tomllib

import process
import template

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers")
#: The order of tables. The first is what the others are compared with.
ORDER = ["edge", "nginx", "haproxy", "h2o", "nghttpx", "caddy", "envoy"]


class Peer:
    """One kind of server with one program."""

    def __init__(self, name, program):
        self.name = name
        kind = name if os.path.exists(os.path.join(FOLDER, name, "peer.toml")) else name.split("-")[0]
        self.folder = os.path.join(FOLDER, kind)
        try:
            with open(os.path.join(self.folder, "peer.toml"), "rb") as f:
                self.settings = tomllib.load(f)
        except FileNotFoundError:
            raise SystemExit(f"peer {name}: no settings for it; there are {', '.join(kinds())}") from None
        self.program = program or find(self.settings["program"])
        self.notes = self.settings.get("notes", "")
        self.can = set(self.settings["can"])
        self.marks = set()
        if self.program:
            self._detect()

    def _detect(self):
        """Abilities that depend on how the program was built."""
        for name, rule in self.settings.get("detect", {}).items():
            if re.search(rule["says"], self._ask(rule["ask"])):
                self.marks.add(name)
                self.can.update([name, *rule.get("also", [])])

    def _ask(self, command):
        command = [word.replace("{program}", self.program) for word in command]
        try:
            out = subprocess.run(command, capture_output=True, text=True, timeout=process.PATIENCE_S)
        except (OSError, subprocess.TimeoutExpired) as e:
            return str(e)
        return out.stdout + out.stderr

    def version(self):
        """As it says it of itself, shortened to name and number."""
        return short_version(self.settings["about"], self._ask(self.settings["version"]))

    def title(self):
        return f"{self.settings['about']}{self.name[len(self.name.split('-')[0]):].replace('-', ' ')}"

    def start(self, place, values, core, nice, overrides=None):
        """A running one. `place` is the run's folder of files; `values` are those of the templates, beside its abilities."""
        directory = place.fresh(self.name)
        abilities = dict.fromkeys(self.can | self.marks, True)
        values = {**abilities, **values, **(overrides or {}), "dir": directory}
        for name in [self.settings["config"], *self.settings.get("more", [])]:
            with open(os.path.join(self.folder, name)) as f, open(os.path.join(directory, name), "w") as out:
                out.write(template.render(f.read(), values))
        words = {"program": self.program, "config": os.path.join(directory, self.settings["config"]), **values}
        command = [plain(word, words) for word in self.settings["start"]]
        environment = {k: plain(v, words) for k, v in self.settings.get("environment", {}).items()}
        return process.Tree(command, core, directory, environment, nice, self.name)


def plain(word, values):
    """`{name}` in words of commands."""
    return re.sub(r"\{([a-z0-9_]+)\}", lambda m: str(values[m[1]]), word)


def short_version(about, said):
    """"nginx version: nginx/1.22.1 …" → "1.22.1"."""
    lines = [line for line in said.splitlines() if re.search(r"\d+\.\d+", line)]
    numbers = re.findall(r"(?<![\w.])v?(\d+\.\d+(?:\.\d+)*(?:-dev\w*)?)", lines[0].replace("/", " ")) if lines else []
    return numbers[0] if numbers else f"{about}, version unknown"


def kinds():
    """Names of all settings."""
    found = [d for d in os.listdir(FOLDER) if os.path.exists(os.path.join(FOLDER, d, "peer.toml"))]
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def find(program):
    """Where a program is: in PATH or where Debian keeps daemons. None where it is not installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


def choose(names, programs, edge):
    """Peers that are here, and what is not: ([Peer], [sentence]). `programs` are those given by hand."""
    programs = {**programs, "edge": edge}
    wanted = names or [*kinds(), *(name for name in programs if name not in kinds())]
    here, absent = [], []
    for name in wanted:
        peer = Peer(name, programs.get(name))
        if peer.program and os.path.exists(peer.program):
            here.append(peer)
        else:
            absent.append(f"{name}: no program {peer.program or peer.settings['program']}; left out")
    return here, absent

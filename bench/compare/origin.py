"""What servers under test forward to: processes on the client's core."""
import os

import peers
import process
import template
from scenarios import Scenario


class Origins:
    """One that answers requests from memory as fast as it can ("edge" or "nginx"), and for what it cannot do, which is to
    echo WebSockets and to read all of an upload before it answers, `edge bench serve`."""

    def __init__(self, kind, edge, has_bench, place, core, nice):
        self.kind = kind
        self.running = []
        self.quick = self._start(kind, peers.find("nginx") if kind == "nginx" else edge, place, core, nice)
        self.patient = self._start("bench", edge, place, core, nice) if has_bench else None

    def _start(self, *what):
        try:
            self.running.append(Origin(*what))
        except BaseException:
            self.stop()
            raise
        return self.running[-1]

    def of(self, scenario: Scenario):
        """The one for this load. None where there is none."""
        return self.patient if scenario.websocket or scenario.upload else self.quick

    def stop(self):
        for origin in self.running:
            origin.tree.stop()


class Origin:
    """One of them, running."""

    def __init__(self, kind, program, place, core, nice):
        self.port = process.free_port()
        directory = place.fresh(f"origin-{kind}")
        values = {**place.values(), "dir": directory, "origin": self.port}
        self.tree = process.Tree(_command(kind, program, values, directory), core, directory, None, nice, f"origin-{kind}")
        try:
            self.tree.wait_for(lambda: process.listens(self.port), "answer on its port")
        except BaseException:
            self.tree.stop()
            raise


def _command(kind, program, values, directory):
    if kind == "bench":
        return [program, "bench", "serve", f"127.0.0.1:{values['origin']}", "--size", "1k"]
    name = {"edge": "edge.toml", "nginx": "nginx.conf"}[kind]
    config = os.path.join(directory, name)
    with open(os.path.join(peers.FOLDER, "origin", name)) as f, open(config, "w") as out:
        out.write(template.render(f.read(), values))
    if kind == "edge":
        return [program, "run", "--config", config]
    return [program, "-e", os.path.join(directory, "error.log"), "-c", config]

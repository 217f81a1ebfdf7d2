"""What servers under test forward to: one process on the client's core."""
import os

import peers
import process
import template
from scenarios import Scenario


class Origin:
    """Running. `kind`: "bench" (`edge bench serve`), "edge" (an edge that answers from memory) or "nginx"."""

    def __init__(self, kind, program, place, core, nice):
        self.kind, self.port = kind, process.free_port()
        directory = place.fresh("origin")
        values = {**place.values(), "dir": directory, "origin": self.port}
        command = _command(kind, program, values, directory)
        self.tree = process.Tree(command, core, directory, None, nice, "origin")
        try:
            self.tree.wait_for(lambda: process.listens(self.port), "answer on its port")
        except BaseException:
            self.tree.stop()
            raise

    def can(self, scenario: Scenario):
        """`edge bench serve` alone echoes WebSockets and reads all of an upload before it answers."""
        return self.kind == "bench" or not (scenario.websocket or scenario.upload)

    def stop(self):
        self.tree.stop()


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

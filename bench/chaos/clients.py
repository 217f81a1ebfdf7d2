"""The clients: open loops of `edge bench`, by each protocol one of GETs and one of POSTs, each POST with an id of its own."""
import json
import os
import subprocess

import process

WARMUP_S = 2
#: A client waits so long for its answer.
TIMEOUT_S = 5
#: What a generator may take beyond the time of its load, s.
SLACK_S = 20
#: Connections and requests at once on each. A request for which there is no place waits, and its time runs.
GETS = {"h1": (128, 1), "h2": (8, 64), "h3": (8, 64)}
POSTS = {"h1": (64, 1), "h2": (4, 64), "h3": (4, 64)}
#: Beyond what the rate needs; an id that came a second time would look as if it had been sent twice.
SPARE_IDS = 200
#: So many URLs `edge bench` takes.
IDS_MAX = 100_000


class Client:
    """One generator."""

    def __init__(self, program, place, nice, core, server, protocol, method, rate, seconds):
        self.protocol, self.method, self.rate, self.seconds = protocol, method, rate, seconds
        name = f"{method.lower()}-{protocol}"
        folder = place.fresh(f"client-{name}")
        self.result = os.path.join(folder, "result.json")
        connections, streams = (POSTS if method == "POST" else GETS)[protocol]
        command = [program, "bench", "-q", "-k", f"--{protocol}", "-r", str(rate), "-d", f"{seconds}s", "--warmup", f"{WARMUP_S}s",
                   "-c", str(connections), "-m", str(streams), "--timeout", f"{TIMEOUT_S}s", "--connect-timeout", f"{TIMEOUT_S}s",
                   # One thread: with two, each would take the ids from the first on.
                   "--cores", str(core), "--expect-status", "200-299", "--json", self.result]
        if method == "POST":
            command += ["-X", "POST", "--data", "once", "--urls", self._ids(folder, f"{server.url(protocol)}/?id={protocol}")]
        else:
            command.append(f"{server.url(protocol)}/")
        self.tree = process.Tree(command, None, folder, None, nice, name)

    def _ids(self, folder, prefix):
        path = os.path.join(folder, "urls")
        with open(path, "w") as f:
            f.writelines(f"{prefix}-{n}\n" for n in range(ids_needed(self.rate, self.seconds)))
        return path

    def wait(self):
        """Its result, as `edge bench --json` writes it; None and why where it has none."""
        try:
            self.tree.process.wait(self.seconds + WARMUP_S + TIMEOUT_S + SLACK_S)
            with open(self.result) as f:
                return json.load(f), ""
        except (OSError, ValueError) as e:
            return None, f"{e!r}: {self.tree.said()}"
        except subprocess.TimeoutExpired:
            return None, "it did not end"
        finally:
            self.tree.stop()


def ids_needed(rate, seconds):
    """Of a whole run with its warm-up."""
    return int(rate * (seconds + WARMUP_S)) + SPARE_IDS


def start(program, place, nice, server, rate, post_rate, seconds):
    """All of them; the generators are spread over the processors."""
    cores = sorted(os.sched_getaffinity(0))
    started = []
    try:
        for method, r in (("GET", rate), ("POST", post_rate)):
            for protocol in server.protocols():
                core = cores[len(started) % len(cores)]
                started.append(Client(program, place, nice, core, server, protocol, method, r, seconds))
    except BaseException:
        stop(started)
        raise
    return started


def stop(clients):
    for client in clients:
        client.tree.stop()

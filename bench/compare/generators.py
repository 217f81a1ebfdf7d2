"""Load generators behind one face: edge bench, and wrk, h2load and oha, with which its figures are checked."""
import json
import os
import re
import resource
import subprocess

import peers
import process
from load import Ask, Found, LoadError

#: What a generator may take beyond the time that it is asked to work.
SLACK_S = 20
#: Connections that wait for a server to accept them, as all of them are set; so many a second are made at most.
BACKLOG = 4096


class Generator:
    """A program. Subclasses say what it can do, its command line, and how its report is read."""
    name = program_name = ""
    #: It reads the server's processor time itself, without warm-up.
    warms_up = False

    def __init__(self, place, core, nice, program=None):
        self.place, self.core, self.nice = place, core, nice
        self.program = program or peers.find(self.program_name)

    def version(self):
        return peers.short_version(self.name, self._output([self.program, "--version"]))

    def can(self, ask: Ask):
        raise NotImplementedError

    def command(self, ask: Ask, server_pid):
        raise NotImplementedError

    def read(self, ask: Ask, out, used_us) -> Found:
        raise NotImplementedError

    def run(self, ask: Ask, server_pid=None):
        """Loads, to its end."""
        command = self.command(ask, server_pid)
        limit = ask.seconds + ask.warmup + SLACK_S
        environment = {**os.environ, "OPENSSL_CONF": self.place.openssl()}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        folder = self.place.fresh(self.name)
        with open(os.path.join(folder, "out"), "w+") as out:
            tree = process.Tree(command, self.core, folder, environment, self.nice, self.name, out)
            try:
                tree.process.wait(limit)
            except subprocess.TimeoutExpired:
                raise LoadError(f"{self.name} did not end within {limit:.0f} s") from None
            finally:
                tree.stop()
            out.seek(0)
            text = out.read()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e6
        try:
            return self.read(ask, text, used)
        except (ValueError, KeyError, TypeError, IndexError) as e:
            raise LoadError(f"{self.name}: {type(e).__name__} {e} in its report: {(text + tree.said())[-600:]}") from None

    def _output(self, command):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=process.PATIENCE_S)
            return done.stdout + done.stderr
        except (OSError, subprocess.TimeoutExpired) as e:
            return str(e)

    def _file(self, name, text):
        return self.place.file(f"../{name}", text.encode())


class EdgeBench(Generator):
    name, program_name, warms_up = "edge bench", "edge", True

    def __init__(self, place, core, nice, program=None):
        super().__init__(place, core, nice, program)
        if self.program and "bench" not in self._output([self.program, "--help"]):
            self.program = None

    def can(self, ask):
        return True

    def command(self, ask, server_pid):
        flag = {"h1": "--h1", "h2": "--h2", "h3": "--h3"}[ask.protocol]
        c = [self.program, "bench", "-k", "-q", "--json", "-", "-c", str(ask.connections), "-d", f"{ask.seconds}s",
             "--warmup", f"{ask.warmup}s", "--cores", str(self.core), flag]
        if ask.streams > 1:
            c += ["-m", str(ask.streams)]
        if ask.connections > BACKLOG:
            # All at once would overflow the line before the server, and those left out would come seconds later.
            c += ["--connect-rate", str(BACKLOG)]
        if server_pid:
            c += ["--server-pid", str(server_pid)]
        if ask.upload:
            c += ["-X", "POST", "--body", ask.upload]
        if ask.fresh:
            c += ["--requests-per-conn", "1", "--no-resume"]
        if ask.websocket:
            c += ["--ws", "--ws-size", str(ask.websocket)]
        if ask.rate:
            c += ["-r", f"{ask.rate:.0f}", "--arrivals", "poisson"]
        for name, value in ask.fields:
            c += ["-H", f"{name}: {value}"]
        return [*c, *(ask.url + path for path in ask.paths)]

    def read(self, ask, out, used_us):
        return read_outcome(json.loads(out), used_us)


def read_outcome(outcome, used_us):
    """A result of `edge bench --json`."""
    counts, response = outcome["counts"], outcome["times"]["response"]
    faults = counts["faults"]
    reasons = outcome["verdict"]["reasons"]
    return Found(
        answered=counts["answered"] - faults.get("status", 0) - faults.get("body", 0),
        failed=sum(faults.values()), seconds=outcome["seconds"], body_bytes=counts["body_bytes"],
        generator_us=sum(shard["cpu_us"] for shard in outcome["generator"]) or used_us,
        p50_us=response["p50"], p99_us=response["p99"], server_us=outcome.get("server_cpu_us"),
        invalid="" if outcome["verdict"]["valid"] else "; ".join(reasons),
        faults=", ".join(f"{kind} {n}" for kind, n in faults.items() if n))


LUA = """
local paths, fields, body, at = %s, %s, %s, 0
local made = {}
function init()
  for i, path in ipairs(paths) do made[i] = wrk.format(body and "POST" or "GET", path, fields, body) end
end
function request()
  at = at %% #made + 1
  return made[at]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"us":%%d,"requests":%%d,"bytes":%%d,"connect":%%d,"read":%%d,"write":%%d,"status":%%d,"timeout":%%d,"p50":%%d,"p99":%%d}\\n',
    summary.duration, summary.requests, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Wrk(Generator):
    name = program_name = "wrk"

    def version(self):
        found = re.search(r"wrk (?:debian/)?([\d.]+)", self._output([self.program, "-v"]))
        return found[1] if found else "unknown"

    def can(self, ask):
        return ask.protocol == "h1" and not (ask.fresh or ask.websocket or ask.rate)

    def command(self, ask, _server_pid):
        script = self._file("wrk.lua", wrk_script(ask))
        return [self.program, "-t1", f"-c{ask.connections}", f"-d{whole(ask.seconds)}s", "--timeout", "20s", "-s", script,
                ask.url + ask.paths[0]]

    def read(self, ask, out, used_us):
        said = json.loads(out.strip().splitlines()[-1])
        kinds = {kind: said[kind] for kind in ("connect", "read", "write", "status", "timeout") if said[kind]}
        # It counts bytes with their heads, so the size is looked at before the load only.
        return Found(said["requests"] - said["status"], sum(kinds.values()), said["us"] / 1e6, None, used_us,
                     said["p50"], said["p99"], faults=", ".join(f"{k} {n}" for k, n in kinds.items()))


def wrk_script(ask):
    """Requests are made once; the report is a line of JSON."""
    def quoted(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    paths = "{" + ",".join(quoted(path) for path in ask.paths) + "}"
    fields = "{" + ",".join(f"[{quoted(name)}]={quoted(value)}" for name, value in ask.fields) + "}"
    body = f"assert(io.open({quoted(ask.upload)}, 'rb')):read('*a')" if ask.upload else "nil"
    return LUA % (paths, fields, body)


class H2load(Generator):
    name = program_name = "h2load"

    def can(self, ask):
        return ask.protocol in ("h1", "h2") and not (ask.fresh or ask.websocket or ask.rate)

    def command(self, ask, _server_pid):
        c = [self.program, "-t1", f"-c{ask.connections}", f"-m{ask.streams}", f"-D{whole(ask.seconds)}",
             "--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519"]
        if ask.protocol == "h1":
            c.append("--h1")
        if ask.upload:
            c += ["-d", ask.upload]
        for name, value in ask.fields:
            c += ["-H", f"{name}: {value}"]
        return [*c, *(ask.url + path for path in ask.paths)]

    def read(self, ask, out, used_us):
        return read_h2load(out, ask.protocol, used_us)


def read_h2load(out, protocol, used_us):
    """Its report for people."""
    rate = re.search(r"finished in ([\d.]+)(us|ms|s)", out)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
    # A status is counted with its head, and an answer when it is whole: at the end there are more statuses.
    other = sum(map(int, re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out).groups()))
    body = re.search(r"\((\d+)\) data", out)
    spoken = re.search(r"Application protocol: (\S+)", out)
    if protocol == "h2" and (not spoken or spoken[1] not in ("h2", "h2c")):
        raise LoadError(f"h2load: {spoken[1] if spoken else 'nothing'} was spoken, not h2")
    failed, errored, timeouts = (int(counts[i]) for i in (3, 4, 5))
    good = max(0, int(counts[2]) - other)
    return Found(good, failed + timeouts + other, float(rate[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1}[rate[2]], int(body[1]), used_us,
                 faults=f"failed {failed}, errored {errored}, timeout {timeouts}, status {other}" if failed + other else "")


class Oha(Generator):
    name = program_name = "oha"

    def can(self, ask):
        return not (ask.fresh or ask.websocket or ask.upload or len(ask.paths) > 1)

    def command(self, ask, _server_pid):
        version = {"h1": "1.1", "h2": "2", "h3": "3"}[ask.protocol]
        c = [self.program, "--no-tui", "--output-format", "json", "--insecure", "-z", f"{ask.seconds}s", "-c", str(ask.connections),
             "-p", str(ask.streams), "--http-version", version, "-w"]
        if ask.rate:
            c += ["-q", f"{ask.rate:.0f}", "--latency-correction"]
        for name, value in ask.fields:
            c += ["-H", f"{name}: {value}"]
        return [*c, ask.url + ask.paths[0]]

    def read(self, ask, out, used_us):
        return read_oha(json.loads(out), used_us)


def read_oha(said, used_us):
    """Its report in JSON. What the end of the time cut off is no failure."""
    statuses = said["statusCodeDistribution"]
    good = sum(n for status, n in statuses.items() if status.startswith("2"))
    errors = {kind: n for kind, n in said["errorDistribution"].items() if "deadline" not in kind}
    total = said["summary"]
    p = said["latencyPercentiles"]
    micro = {key: p[key] * 1e6 if p.get(key) else None for key in ("p50", "p99")}
    return Found(good, sum(statuses.values()) - good + sum(errors.values()), total["total"], total["totalData"], used_us,
                 micro["p50"], micro["p99"], faults=", ".join(f"{k} {n}" for k, n in errors.items()))


def whole(seconds):
    """wrk and h2load know whole seconds only."""
    return max(1, round(seconds))


def every(place, core, nice, edge, oha=None):
    """Those that are here, by name; the first that can do a load does it, the others check it."""
    all_ = [EdgeBench(place, core, nice, edge), Wrk(place, core, nice), H2load(place, core, nice), Oha(place, core, nice, oha)]
    return {g.name: g for g in all_ if g.program}

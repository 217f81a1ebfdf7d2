"""What the show scripts share: edges and origins as processes, configurations, load, and figures from outside."""
import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE_S = 20


def arguments(about, **defaults):
    """The options every script has, and its own numbers."""
    p = argparse.ArgumentParser(description=about)
    p.add_argument("--edge", default="target/release/edge", help="the binary")
    for name, value in defaults.items():
        p.add_argument("--" + name.replace("_", "-"), type=type(value), default=value, help=f"default {value}")
    options = p.parse_args()
    options.edge = os.path.abspath(options.edge)
    return options


class Edge:
    """A running edge in a directory of its own."""

    def __init__(self, binary, text, server=""):
        self.binary = binary
        self.dir = tempfile.mkdtemp(prefix="edge-show-")
        self.server = server
        self.admin = f"unix:{self.dir}/admin.sock"
        self.log = f"{self.dir}/access.log"
        self.write(text)
        self.stderr = open(f"{self.dir}/stderr", "w+")
        self.process = subprocess.Popen(
            [binary, "run", "--config", f"{self.dir}/edge.toml"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.stderr)
        self.pid = self.process.pid
        eventually("the edge to be ready", self._ready)

    def _ready(self):
        if self.process.poll() is not None:
            sys.exit(f"the edge ended: {self.said()}")
        return "ready" in self.said()

    def said(self):
        with open(f"{self.dir}/stderr") as f:
            return f.read()

    def write(self, text):
        """Replaces the configuration at once."""
        whole = (f'version = 1\n[server]\nadmin = "{self.admin}"\naccess_log = "{self.log}"\n'
                 f'lb_grace = "0s"\n{self.server}\n{text}')
        with open(f"{self.dir}/new", "w") as f:
            f.write(whole)
        os.rename(f"{self.dir}/new", f"{self.dir}/edge.toml")

    def cli(self, *args):
        return subprocess.run([self.binary, *args, "--admin", self.admin], capture_output=True, text=True)

    def version(self):
        return self.status()["version"]

    def status(self):
        out = self.cli("status", "--json")
        if out.returncode:
            sys.exit(f"edge status: {out.stderr}")
        return json.loads(out.stdout)

    def port(self, listener="web"):
        for l in self.status()["listeners"]:
            if l["name"] == listener:
                return int(l["address"][0].rsplit(":", 1)[1])
        sys.exit(f"no listener {listener}")

    def metrics(self):
        """name{labels} → value"""
        s = socket.socket(socket.AF_UNIX)
        s.connect(f"{self.dir}/admin.sock")
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := s.recv(65536):
            data += piece
        found = re.findall(r"^([a-z_]+(?:\{.*\})?) (\S+)\r?$", data.decode(), re.M)
        return {name: float(value) for name, value in found}

    def sum(self, name, *labels):
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name and all(l in k for l in labels))

    def rss_kib(self):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])

    def lines(self):
        """The access log."""
        with open(self.log) as f:
            return [json.loads(l) for l in f if l.endswith("\n")]

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def eventually(what, ask, patience=PATIENCE_S):
    """Asks until there is an answer."""
    end = time.monotonic() + patience
    while not (answer := ask()):
        if time.monotonic() > end:
            sys.exit(f"still waiting after {patience} s: {what}")
        time.sleep(0.01)
    return answer


LISTENER = '[[listener]]\nname = "web"\naddress = ["127.0.0.1:0"]\n'
ORIGIN = LISTENER + '[[route]]\nid = "all"\nrespond = { body = "ok" }\n'


def proxy(endpoints, pool=""):
    """A listener `web`, a pool `app`, a route `all`."""
    quoted = ", ".join(f'"http://127.0.0.1:{p}"' for p in endpoints)
    return f'{LISTENER}[pool.app]\nendpoints = [{quoted}]\n{pool}\n[[route]]\nid = "all"\npool = "app"\n'


class Background:
    """An asyncio loop in a thread: sockets that stay open, slow origins, load."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def start(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def serve(self, handle):
        """A TCP server on a free port; `handle(reader, writer)` for each connection."""
        async def go():
            server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=4096)
            return server.sockets[0].getsockname()[1]
        return self.run(go())


async def read_answer(reader):
    """(status, body) of one answer with Content-Length or chunks."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if m := re.search(rb"content-length: *(\d+)", head, re.I):
        return status, await reader.readexactly(int(m[1]))
    body = b""
    if re.search(rb"transfer-encoding: *chunked", head, re.I):
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    return status, body


class Load:
    """Requests one after the other from `connections` clients, on kept or new connections, until stopped."""

    def __init__(self, port, connections, fresh, target="/"):
        self.port, self.fresh = port, fresh
        self.request = f"GET {target} HTTP/1.1\r\nHost: show\r\n{'Connection: close' if fresh else 'X-Kept: 1'}\r\n\r\n".encode()
        self.latencies_ms, self.statuses, self.errors = [], {}, []
        self.stopping = False
        self.background = Background()
        self.tasks = [self.background.start(self._client()) for _ in range(connections)]

    async def _client(self):
        reader = writer = None
        while not self.stopping:
            begun = time.perf_counter()
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(self.request)
                status, _ = await read_answer(reader)
            except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as e:
                self.errors.append(repr(e))
                writer = None
                await asyncio.sleep(0.001)
                continue
            self.latencies_ms.append((time.perf_counter() - begun) * 1e3)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if self.fresh:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    def stop(self):
        self.stopping = True
        for t in self.tasks:
            t.result()
        return self

    def failed(self):
        return len(self.errors) + sum(n for s, n in self.statuses.items() if s != 200)

    def p99_ms(self):
        return statistics.quantiles(self.latencies_ms, n=100)[98] if len(self.latencies_ms) > 1 else 0.0


class Wrk:
    """wrk as a second generator, for rates that Python does not reach. None where it is not installed."""

    def __init__(self, port, connections, seconds):
        self.program = shutil.which("wrk")
        self.process = self.program and subprocess.Popen(
            [self.program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"],
            stdout=subprocess.PIPE, text=True)

    def result(self):
        """(requests, failed, p99 in ms), or None without wrk."""
        if not self.process:
            return None
        out = self.process.communicate()[0]
        requests = int(re.search(r"(\d+) requests in", out)[1])
        bad = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", out)))
        bad += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", out)))
        value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
        return requests, bad, float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def verdict(checks):
    """Prints each check and ends with 1 if one failed."""
    for what, good in checks:
        print(("ok    " if good else "FAILED") + "  " + what)
    sys.exit(0 if all(good for _, good in checks) else 1)


TERM, KILL = signal.SIGTERM, signal.SIGKILL

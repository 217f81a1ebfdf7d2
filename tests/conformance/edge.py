"""An edge of one's own for a suite: listeners that are told apart by what they allow, an origin's socket behind them all."""
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

# What listeners have besides their address. `retry`: everybody must show their address; `tight`: small bounds;
# `half`, `full`: few half-open connections.
LISTENERS = {
    "web": "",
    "retry": "http3 = { retry_after = 0 }",
    "full": 'http3 = { retry_after = 100000, max_handshakes = 4 }\ntimeouts = { handshake = "2s" }',
    "early": "http3 = { early_data = true }",
    "tight": 'http3 = { send_buffer = "64KiB", max_concurrent_streams = 16, stream_window = "16KiB",'
             ' connection_window = "32KiB", idle_timeout = "3s" }\n'
             'timeouts = { header = "1s", handshake = "1500ms", keepalive = "2s", write = "2s" }',
    "half": 'http3 = { retry_after = 40, max_handshakes = 400 }\ntimeouts = { handshake = "3s" }',
}
PATIENCE_S = 30
# Bytes of an answer that the edge gives by itself.
LARGE = 60000


class Edge:
    """A running edge; `stop` ends it."""

    def __init__(self, binary, shards=2, steering="auto"):
        self.binary, self.dir = binary, tempfile.mkdtemp(prefix="edge-h3-")
        self.origin, self.admin = f"{self.dir}/origin.sock", f"{self.dir}/admin.sock"
        text = f'version = 1\n[server]\nshards = {shards}\nadmin = "unix:{self.admin}"\naccess_log = "off"\n'
        text += f'[server.quic]\nsteering = "{steering}"\n'
        for name, keys in LISTENERS.items():
            text += (f'[[listener]]\nname = "{name}"\naddress = ["127.0.0.1:0"]\nprotocols = ["h1", "h2", "h3"]\n'
                     f'tls = "self-signed"\n{keys}\n')
        text += f'[pool.app]\nendpoints = ["unix:{self.origin}"]\n[[route]]\nid = "all"\npool = "app"\n'
        text += f'[[route]]\nid = "large"\nmatch = {{ path = "/large" }}\nrespond = {{ body = "{"x" * LARGE}" }}\n'
        with open(f"{self.dir}/edge.toml", "w") as f:
            f.write(text)
        self.stderr = open(f"{self.dir}/stderr", "w+")
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("EDGE_CONFIG", "EDGE_ADMIN", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID")}
        self.process = subprocess.Popen([binary, "run", "--config", f"{self.dir}/edge.toml"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=self.stderr, env=environment)
        deadline = time.monotonic() + PATIENCE_S
        while "ready" not in self.said():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.said()
                self.stop()
                raise SystemExit(f"the edge does not start:\n{said}")
            time.sleep(0.02)

    def said(self):
        """What it wrote."""
        with open(f"{self.dir}/stderr") as f:
            return f.read()

    def ports(self):
        """Listener → port."""
        out = subprocess.run([self.binary, "status", "--json", "--admin", f"unix:{self.admin}"], capture_output=True, text=True)
        return {l["name"]: int(l["address"][0].rsplit(":", 1)[1]) for l in json.loads(out.stdout)["listeners"]}

    def metrics(self):
        """name{labels} → value."""
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.admin)
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = b""
        while piece := s.recv(65536):
            got += piece
        s.close()
        return {n: float(v) for n, v in re.findall(r"^([a-z0-9_]+(?:\{.*\})?) (\S+)\r?$", got.decode(), re.M)}

    def sum(self, name, *labels):
        """A metric over all its labels, or over those that hold these texts."""
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name and all(l in k for l in labels))

    def alive(self):
        return self.process.poll() is None

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024

    def stop(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)

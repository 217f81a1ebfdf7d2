"""What is compared: loads of one kind, each beside what a server must be able to do for it."""
import dataclasses

import process
from load import Ask

MIB = 1 << 20
#: Beside connections of clients: to the origin, logs, libraries.
DESCRIPTORS_SPARE = 2000
#: Time before the measured time.
WARMUP_S = 1.0
#: At least so many connections are made a second, at most while the server answers others already.
CONNECTIONS_PER_S = 2000
#: At least so many rules are read a second.
ROUTES_PER_S = 1000


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One load. Curves are made of changed copies."""
    name: str
    title: str
    protocol: str = "h1"            # h1, h2 or h3
    tls: bool = False
    path: str = "/bytes/1024"
    size: int = 1024                # bytes of an answer's body
    needs: tuple = ()               # abilities, beside those that protocol and TLS need
    connections: int = 64
    streams: int = 1
    upload: int = 0                 # bytes that each request sends
    fresh: bool = False             # a new connection for each request
    websocket: int = 0              # bytes of messages
    half_load: bool = False         # an open loop at half of what the server can do
    per_mib: bool = False           # the figure is per MiB of bodies, not per request
    check_with: str = ""            # a second generator
    workers: int = 1                # of the server, all on its one core
    routes: int = 0                 # rules that the server must choose from
    fields: int = 0                 # further fields of a request
    origin: bool = True             # the request goes on to the origin

    def descriptors(self):
        """Open files that generator and server each need at least."""
        return self.connections + DESCRIPTORS_SPARE

    def abilities(self):
        """What a server needs for it."""
        transport = {"h1": "tls" if self.tls else "h1", "h2": "h2", "h3": "h3"}[self.protocol]
        more = [name for name, wanted in (("routes", self.routes), ("workers", self.workers != 1), ("fields", self.fields)) if wanted]
        return {transport, *self.needs, *more}

    def unit(self):
        return "µs per MiB" if self.per_mib else "µs per handshake" if self.fresh else "µs per message" if self.websocket else "µs per request"

    def amount(self):
        """How much of the unit one answer is."""
        return max(self.size, self.upload) / MIB if self.per_mib else 1.0

    def asked_paths(self):
        if not self.routes:
            return (self.path,)
        # Up to 64 of the rules, evenly spread, so that no cache of the last one helps.
        step = max(1, self.routes // 64)
        return tuple(f"/r{i}{self.path}" for i in range(0, self.routes, step))[:64]

    def start_patience_s(self):
        """How long a server may take to be ready: some read many rules slowly."""
        return process.PATIENCE_S + self.routes / ROUTES_PER_S

    def warmup_s(self):
        """Until all connections are there, and a moment more."""
        return WARMUP_S + self.connections / CONNECTIONS_PER_S

    def ask(self, port, place, seconds, warmup=None, rate=0.0):
        """The load on a server that listens on this port."""
        scheme = "https" if self.tls or self.protocol != "h1" else "http"
        upload = place.file(f"upload-{self.upload}", b"u" * self.upload) if self.upload else ""
        fields = tuple((f"x-field-{i}", f"value of field {i}") for i in range(self.fields))
        return Ask(f"{scheme}://127.0.0.1:{port}", self.asked_paths(), self.protocol, self.connections, self.streams, seconds,
                   self.warmup_s() if warmup is None else warmup,
                   upload, fields, self.fresh, self.websocket, rate, self.size)

    def command(self):
        """The load as one would type it."""
        words = [f"-c {self.connections}", f"--{self.protocol}"]
        words += [f"-m {self.streams}"] if self.streams > 1 else []
        words += ["--requests-per-conn 1 --no-resume"] if self.fresh else []
        words += [f"--ws --ws-size {self.websocket}"] if self.websocket else []
        words += [f"-X POST --body FILE-OF-{self.upload // MIB}-MIB"] if self.upload else []
        words += ["-r RATE --arrivals poisson"] if self.half_load else []
        return " ".join(words) + " " + self.path


ALL = [
    Scenario("h1", "HTTP/1.1 proxied, 1 KiB", check_with="wrk"),
    Scenario("h1-own", "HTTP/1.1, own answer of 1 KiB", path="/own", needs=("own",), origin=False, check_with="wrk"),
    Scenario("h1-tls", "HTTP/1.1 over TLS proxied, 1 KiB", tls=True, check_with="wrk"),
    Scenario("h2", "HTTP/2 over TLS to HTTP/1.1, 1 KiB", protocol="h2", connections=16, streams=32, check_with="h2load"),
    Scenario("h2-own", "HTTP/2 over TLS, own answer of 1 KiB", protocol="h2", path="/own", needs=("own",), connections=16, streams=32,
             origin=False, check_with="h2load"),
    Scenario("h3", "HTTP/3 to HTTP/1.1, 1 KiB", protocol="h3", connections=20, streams=10, check_with="oha"),
    Scenario("h3-own", "HTTP/3, own answer of 1 KiB", protocol="h3", path="/own", needs=("own",), connections=20, streams=10,
             origin=False, check_with="oha"),
    Scenario("handshake", "TLS handshake and one request, HTTP/1.1", tls=True, path="/own", needs=("own",), connections=16, fresh=True,
             origin=False),
    Scenario("handshake-h3", "QUIC handshake and one request, HTTP/3", protocol="h3", path="/own", needs=("own",), connections=16,
             fresh=True, origin=False),
    Scenario("body", "HTTP/1.1 proxied, 100 KiB", path="/bytes/102400", size=102400, per_mib=True, check_with="wrk"),
    Scenario("body-h3", "HTTP/3, 1 MiB of its own", protocol="h3", path="/files/1m", size=MIB, needs=("own1m",), connections=4, streams=2,
             per_mib=True, origin=False),
    Scenario("upload", "HTTP/1.1 proxied, uploads of 1 MiB", path="/sink", size=1024, upload=MIB, needs=("upload",), connections=16,
             per_mib=True, check_with="wrk"),
    Scenario("websocket", "WebSocket echo, 120 bytes", path="/ws", websocket=120, needs=("websocket",)),
    Scenario("file", "HTTP/1.1, file of 4 KiB", path="/files/4k", size=4096, needs=("static",), origin=False, check_with="wrk"),
    Scenario("latency", "HTTP/1.1 proxied, open loop at half load", half_load=True),
]


def by_name(names):
    """Those with these names, in the order of the list; all without names."""
    known = {s.name: s for s in ALL}
    if unknown := [name for name in names or () if name not in known]:
        raise SystemExit(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    return [s for s in ALL if not names or s.name in names]

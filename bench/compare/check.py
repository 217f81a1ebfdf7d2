"""Whether every server does what the scenarios need, and as the others do it."""
import http.client
import http.server
import socket
import ssl
import threading

import measure
import process
from load import LoadError, complaint
from scenarios import Scenario

#: Load of a moment: enough to see answers go wrong.
MOMENT_S = 1.0
#: An open loop that no server is too slow for, requests a second.
CALM_RATE = 200.0
#: Requests on as many connections of clients, which need fewer to the origin.
ASKED = 6
HOST = "checked.test"
PLAIN = Scenario("check", "one request")


def check(peers, scenarios, bench):
    """Prints a line for each server and scenario; how many are wrong."""
    wrong = 0
    for peer in peers:
        findings = _of_peer(peer, scenarios, bench)
        bad = [f for f in findings if f[1] != "ok" and not f[1].startswith("not here")]
        wrong += len(bad)
        print(f"{peer.title()} {peer.version()}: {len(findings) - len(bad)} of {len(findings)}")
        for what, verdict in findings:
            if verdict != "ok":
                print(f"    {what}: {verdict}")
    return wrong


def _of_peer(peer, scenarios, bench):
    findings = [("TLS", _tls(peer, bench)), ("forwarding", _forwarding(peer, bench))]
    for scenario in scenarios:
        if not scenario.abilities() <= peer.can:
            continue
        generator = bench.generator(scenario)
        if not generator or not bench.origins.of(scenario):
            findings.append((scenario.name, "not here: no generator or no origin for it"))
            continue
        findings.append((scenario.name, _load(peer, scenario, generator, bench)))
    return findings


def _load(peer, scenario, generator, bench):
    try:
        with bench.server(peer, scenario) as running:
            rate = CALM_RATE if scenario.half_load else 0.0
            seconds = MOMENT_S if generator.warms_up else scenario.warmup_s()
            ask = scenario.ask(running.port(scenario), bench.place, seconds, rate=rate)
            return complaint(generator.run(ask, running.tree.pid), ask) or "ok"
    except (LoadError, process.StartError) as e:
        return str(e)


def _tls(peer, bench):
    """Version, suite and certificate, from a client that offers everything."""
    try:
        with bench.server(peer, PLAIN) as running:
            return _suite(running.tls, bench.place, peer.settings.get("suite"))
    except (LoadError, process.StartError, OSError) as e:
        return str(e)


def _suite(port, place, chosen_by):
    context = measure.any_certificate()
    with socket.create_connection(("127.0.0.1", port), process.PATIENCE_S) as s, context.wrap_socket(s) as tls:
        version, suite, certificate = tls.version(), tls.cipher()[0], tls.getpeercert(True)
    with open(place.values()["cert"]) as f:
        ours = ssl.PEM_cert_to_DER_cert(f.read())
    if version != "TLSv1.3" or certificate != ours:
        return f"{version}, {'our' if certificate == ours else 'another'} certificate"
    return "ok" if suite == "TLS_AES_128_GCM_SHA256" or chosen_by == "client" else suite


def _forwarding(peer, bench):
    """The origin must see X-Forwarded-For and the client's Host, and its connections must be kept."""
    try:
        with Echo() as echo, bench.server(peer, PLAIN, echo.port) as running:
            for _ in range(ASKED):
                _ask(running.h1)
    except (LoadError, process.StartError, OSError, http.client.HTTPException) as e:
        return str(e)
    last = echo.heads[-1].lower()
    missing = [name for name in ("x-forwarded-for: ", f"host: {HOST}") if name not in last]
    if missing:
        return f"the origin saw no {', '.join(missing)} in {last!r}"
    return "ok" if echo.connections < ASKED else f"{echo.connections} connections to the origin for {len(echo.heads)} requests"


def _ask(port):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=process.PATIENCE_S)
    try:
        client.request("GET", PLAIN.path, headers={"Host": HOST})
        client.getresponse().read()
    finally:
        client.close()


class Echo:
    """An origin that remembers the heads of requests, and how many connections they came by."""

    def __init__(self):
        echo = self
        self.heads, self.connections = [], 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                echo.connections += 1

            def do_GET(self):
                echo.heads.append(str(self.headers))
                self.send_response(200)
                self.send_header("Content-Length", str(PLAIN.size))
                self.end_headers()
                self.wfile.write(b"x" * PLAIN.size)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

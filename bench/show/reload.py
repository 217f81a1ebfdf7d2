"""Reloads under load: the configuration really changes while requests and WebSockets go on.

    python3 bench/show/reload.py --edge target/release/edge

First the load alone, then the same load with reloads (alternately `edge reload` and SIGHUP); the ratio of the two p99 is
of the same generators in the same run.
"""
import argparse
import asyncio
import signal
import time

from common import LISTENER, ORIGIN, Background, Edge, Load, Wrk, arguments, eventually, verdict


def config(ports, i):
    """Version `i`: other routes, another pool, sometimes another listener."""
    origin, sockets = ports
    text = f'{LISTENER}[pool.app]\nendpoints = ["http://127.0.0.1:{origin}"]\n'
    text += f'[pool.ws]\nendpoints = ["http://127.0.0.1:{sockets}"]\n'
    text += f'[pool.extra{i % 7}]\nendpoints = ["http://127.0.0.1:{origin}"]\nmax_connections = {i % 50 + 1}\n'
    text += '[[route]]\nid = "all"\npool = "app"\n[[route]]\nid = "ws"\nmatch = { path = "/ws" }\npool = "ws"\n'
    text += f'[[route]]\nid = "version"\nmatch = {{ path = "/version" }}\nrespond = {{ body = "{i}" }}\n'
    for k in range(i % 20):
        text += f'[[route]]\nid = "r{i}-{k}"\nmatch = {{ host = ["h{k}.test"], path_prefix = "/{i}" }}\npool = "extra{i % 7}"\n'
    if i % 3 == 1:
        text += '[[listener]]\nname = "second"\naddress = ["127.0.0.1:0"]\n'
    return text


async def echo(reader, writer):
    """Switches protocols and returns every byte."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while piece := await reader.read(65536):
        writer.write(piece)


class Sockets:
    """Upgraded connections that send a frame every 100 ms and check its echo."""

    def __init__(self, port, count):
        self.closed, self.echoes, self.stopping = 0, 0, False
        self.background = Background()
        self.opened = 0
        self.tasks = [self.background.start(self._one(port, i)) for i in range(count)]
        eventually("the WebSockets to open", lambda: self.opened == count)

    async def _one(self, port, i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        self.opened += 1
        frame = b"\x82\x85abcd" + bytes(f"{i:05}", "ascii")
        while not self.stopping:
            try:
                writer.write(frame)
                ok = await asyncio.wait_for(reader.readexactly(len(frame)), 10) == frame
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
                ok = False
            if not ok:
                self.closed += 1
                return
            self.echoes += 1
            await asyncio.sleep(0.1)
        writer.close()

    def stop(self):
        self.stopping = True
        for t in self.tasks:
            t.result()


def phase(port, options, work):
    """Runs the load for a while with `work` beside it; returns (requests, failed, p99 of kept, p99 of new)."""
    wrk = Wrk(port, options.connections, options.seconds)
    kept = None if wrk.process else Load(port, options.connections, fresh=False)
    new = Load(port, 4, fresh=True)
    work(time.monotonic() + options.seconds)
    requests, failed, p99 = wrk.result() or (len(kept.stop().latencies_ms), kept.failed(), kept.p99_ms())
    new.stop()
    if new.failed():
        print("  failures of new connections:", new.statuses, new.errors[:3])
    return requests + len(new.latencies_ms), failed + new.failed(), p99, new.p99_ms()


def wait_until(end):
    time.sleep(max(0, end - time.monotonic()))


def main():
    options = arguments(__doc__.splitlines()[0], seconds=60, reloads=100, websockets=200, connections=32)
    background = Background()
    origin = Edge(options.edge, ORIGIN, server='shards = 1\n')
    ports = origin.port(), background.serve(echo)
    edge = Edge(options.edge, config(ports, 0))
    try:
        port = edge.port()
        sockets = Sockets(port, options.websockets)
        failed_reloads = []

        def reloads(end):
            gap = options.seconds / options.reloads
            begun = time.monotonic()
            for i in range(1, options.reloads + 1):
                edge.write(config(ports, i))
                version = edge.version()
                if i % 2:
                    out = edge.cli("reload")
                    if out.returncode:
                        failed_reloads.append(out.stderr)
                else:
                    edge.process.send_signal(signal.SIGHUP)
                    eventually("the new version", lambda: edge.version() > version)
                wait_until(begun + i * gap)
            wait_until(end)

        phase(port, lasting(options, 3), wait_until)
        alone = phase(port, options, wait_until)
        rss_before = edge.rss_kib()
        beside = phase(port, options, reloads)
        rss_after = edge.rss_kib()
        sockets.stop()
        version = edge.version()
        print(f"load alone:    {alone[0]} requests, {alone[1]} failed, p99 {alone[2]:.2f} ms kept, {alone[3]:.2f} ms new")
        print(f"with reloads:  {beside[0]} requests, {beside[1]} failed, p99 {beside[2]:.2f} ms kept, {beside[3]:.2f} ms new")
        print(f"reloads: {options.reloads}, version {version}; WebSockets: {options.websockets}, {sockets.echoes} echoes")
        print(f"RSS {rss_before} KiB before, {rss_after} KiB after the reloads; p99 ratio {beside[2] / alone[2]:.2f}")
        verdict([
            (f"{options.reloads} reloads applied {failed_reloads[:1] or ''}", not failed_reloads and version == options.reloads + 1),
            (f"{beside[1]} failed requests", beside[1] == 0),
            (f"{sockets.closed} closed WebSockets", sockets.closed == 0),
            (f"p99 with reloads {beside[2] / alone[2]:.2f} of without (at most 1.2)", beside[2] <= 1.2 * alone[2]),
            (f"RSS grew by {rss_after - rss_before} KiB (at most 4096)", rss_after - rss_before <= 4096),
        ])
    finally:
        edge.stop()
        origin.stop()


def lasting(options, seconds):
    """The same options with another duration."""
    return argparse.Namespace(**{**vars(options), "seconds": seconds})


if __name__ == "__main__":
    main()

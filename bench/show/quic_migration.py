"""HTTP/3 from a client that keeps changing its port: each download goes on, on the same shard, in both steering modes.

    python3 bench/show/quic_migration.py --edge target/release/edge

Needs aioquic, which is a client that shares nothing with the edge.
"""
import asyncio
import hashlib
import ssl
import sys
import time

from common import Background, Edge, arguments, eventually, verdict

try:
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration
except ImportError:
    sys.exit("needs aioquic: pip install aioquic")

PIECE = bytes(range(256)) * 256


def body(length):
    """The origin's answer, piece by piece: no two pieces alike."""
    for number in range(0, length, len(PIECE)):
        yield (number.to_bytes(8, "big") + PIECE[8:])[: length - number]


async def origin(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split()[1][1:])
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length)
    for piece in body(length):
        writer.write(piece)
        await writer.drain()
    writer.close()


class Download(QuicConnectionProtocol):
    """One request; tells how much has come."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None
        self.status, self.got, self.hash = None, 0, hashlib.sha256()
        self.watch = lambda: None
        self.done = asyncio.get_running_loop().create_future()

    def ask(self, path):
        self.http = H3Connection(self._quic)
        stream = self._quic.get_next_available_stream_id()
        fields = {b":method": b"GET", b":scheme": b"https", b":authority": b"localhost", b":path": path}
        self.http.send_headers(stream, list(fields.items()), end_stream=True)
        self.transmit()

    def quic_event_received(self, event):
        for said in self.http.handle_event(event) if self.http else []:
            if isinstance(said, HeadersReceived):
                self.status = dict(said.headers)[b":status"]
            elif isinstance(said, DataReceived):
                self.got += len(said.data)
                self.hash.update(said.data)
                self.watch()
            if said.stream_ended and not self.done.done():
                self.done.set_result(None)

    def connection_lost(self, reason):
        pass  # an old socket was closed: there is another

    async def move(self):
        """From now on its packets come from another port."""
        old = self._transport
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("::", 0))
        old.close()
        return self._transport.get_extra_info("sockname")[1]


async def download(port, length, moves):
    """(status, hash, seconds, ports) of one download with so many moves."""
    quic = QuicConfiguration(alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name="localhost")
    quic.max_stream_data = quic.max_data = 1 << 22
    ports, more = [], asyncio.Event()
    async with connect("127.0.0.1", port, configuration=quic, create_protocol=Download) as client:
        client.watch = more.set
        begun = time.monotonic()
        client.ask(b"/%d" % length)
        while not client.done.done():
            more.clear()
            await asyncio.wait([client.done, asyncio.ensure_future(more.wait())], timeout=20,
                               return_when=asyncio.FIRST_COMPLETED)
            if not more.is_set():
                break
            if len(ports) < moves and client.got > length // (moves + 1) * (len(ports) + 1):
                ports.append(await client.move())
        return client.status, client.hash.hexdigest(), time.monotonic() - begun, ports


def config(origin_port):
    return ('[[listener]]\nname = "web"\naddress = ["127.0.0.1:0"]\nprotocols = ["h1", "h2", "h3"]\ntls = "self-signed"\n'
            f'[pool.app]\nendpoints = ["http://127.0.0.1:{origin_port}"]\n[[route]]\nid = "all"\npool = "app"\n')


def show(options, background, steering, shards):
    """One download in one mode; its checks."""
    length = options.mib << 20
    expected = hashlib.sha256()
    for piece in body(length):
        expected.update(piece)
    server = f'shards = {shards}\nquic = {{ steering = "{steering}" }}\n'
    edge = Edge(options.edge, config(background.serve(origin)), server)
    try:
        status, got, seconds, ports = background.run(download(edge.port(), length, options.moves))
        line = eventually("the access log", lambda: [l for l in edge.lines() if l["path"] == f"/{length}"])[0]
        per_shard = [
            {d: edge.sum("edge_quic_packets_total", f'shard="{i}"', f'direction="{d}"')
             for d in ("received", "sent", "forwarded")} for i in range(shards)]
        moved = edge.sum("edge_quic_migrations_total")
        forwarded = sum(s["forwarded"] for s in per_shard)
        print(f"{steering}, {shards} shards: {options.mib} MiB in {seconds:.1f} s from {len(ports) + 1} ports, "
              f"served by shard {line['shard']}; {moved:.0f} moves noticed")
        for i, s in enumerate(per_shard):
            print(f"   shard {i}: " + ", ".join(f"{k} {v:.0f}" for k, v in s.items()))
        elsewhere = sum(s["sent"] for i, s in enumerate(per_shard) if i != line["shard"])
        name = f"{steering}, {shards} shards: "
        return [
            (name + "the bytes are right", status == b"200" and got == expected.hexdigest()),
            (name + f"{moved:.0f} of {options.moves} moves", moved == options.moves == len(ports)),
            (name + "one shard sent everything", elsewhere == 0),
            (name + f"{forwarded:.0f} packets forwarded", (forwarded == 0) == (steering == "kernel")),
        ]
    finally:
        edge.stop()


def main():
    options = arguments(__doc__.splitlines()[0], mib=100, moves=20)
    background = Background()
    checks = []
    for steering in ("kernel", "forward"):
        for shards in (2, 8):
            checks += show(options, background, steering, shards)
    verdict(checks)


if __name__ == "__main__":
    main()

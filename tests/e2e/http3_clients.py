"""Clients of HTTP/3 that are not ours: `http3_clients.py CLIENT PORT CA` asks the edge twice and prints what came."""
import asyncio
import io
import json
import sys


def pattern(length):
    return bytes(((i * 31) ^ (i >> 8) ^ (i >> 16)) & 0xFF for i in range(length))


SENT = pattern(200_000)


def with_pycurl(port, ca):
    import pycurl

    handle = pycurl.Curl()
    for path, body in (("file", None), ("echo", SENT)):
        got = io.BytesIO()
        handle.setopt(pycurl.URL, f"https://localhost:{port}/{path}")
        handle.setopt(pycurl.RESOLVE, [f"localhost:{port}:127.0.0.1"])
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_3ONLY)
        handle.setopt(pycurl.CAINFO, ca)
        handle.setopt(pycurl.TIMEOUT, 20)
        handle.setopt(pycurl.WRITEDATA, got)
        if body is not None:
            handle.setopt(pycurl.POST, 1)
            handle.setopt(pycurl.POSTFIELDSIZE, len(body))
            handle.setopt(pycurl.READDATA, io.BytesIO(body))
        handle.perform()
        yield handle.getinfo(pycurl.INFO_HTTP_VERSION), handle.getinfo(pycurl.RESPONSE_CODE), got.getvalue()


def with_curl_cffi(port, ca):
    from curl_cffi import CurlHttpVersion, CurlOpt, requests

    options = {CurlOpt.RESOLVE: [f"localhost:{port}:127.0.0.1"]}
    with requests.Session(verify=ca, http_version=CurlHttpVersion.V3ONLY, curl_options=options) as session:
        for path, body in (("file", None), ("echo", SENT)):
            url = f"https://localhost:{port}/{path}"
            got = session.get(url, timeout=20) if body is None else session.post(url, data=body, timeout=20)
            yield got.http_version, got.status_code, got.content


def with_niquests(port, ca):
    import niquests

    with niquests.Session(resolver="in-memory://default/?hosts=localhost:127.0.0.1") as session:
        session.quic_cache_layer.add_domain("localhost", port)
        for path, body in (("file", None), ("echo", SENT)):
            url = f"https://localhost:{port}/{path}"
            got = session.request("GET" if body is None else "POST", url, data=body, verify=ca, timeout=20)
            yield got.http_version, got.status_code, got.content


def with_aioquic(port, ca):
    return asyncio.run(aioquic_answers(port, ca))


async def aioquic_answers(port, ca):
    from aioquic.asyncio.client import connect
    from aioquic.asyncio.protocol import QuicConnectionProtocol
    from aioquic.h3.connection import H3_ALPN, H3Connection
    from aioquic.h3.events import DataReceived, HeadersReceived
    from aioquic.quic.configuration import QuicConfiguration

    class Client(QuicConnectionProtocol):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.http = H3Connection(self._quic)
            self.answers = {}

        def quic_event_received(self, event):
            for event in self.http.handle_event(event):
                answer = self.answers[event.stream_id]
                if isinstance(event, HeadersReceived):
                    answer["status"] = int(dict(event.headers)[b":status"])
                elif isinstance(event, DataReceived):
                    answer["body"] += event.data
                if getattr(event, "stream_ended", False):
                    answer["done"].set_result(None)

        async def ask(self, method, path, body):
            stream = self._quic.get_next_available_stream_id()
            answer = {"status": 0, "body": b"", "done": asyncio.get_running_loop().create_future()}
            self.answers[stream] = answer
            head = [(":method", method), (":scheme", "https"), (":authority", f"localhost:{port}"), (":path", path)]
            head.append(("x-client", "aioquic"))
            self.http.send_headers(stream, [(n.encode(), v.encode()) for n, v in head], end_stream=body is None)
            if body is not None:
                self.http.send_data(stream, body, end_stream=True)
            self.transmit()
            await asyncio.wait_for(answer["done"], 20)
            return 30, answer["status"], answer["body"]

    config = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
    config.load_verify_locations(ca)
    async with connect("127.0.0.1", port, configuration=config, create_protocol=Client) as client:
        both = await asyncio.gather(client.ask("GET", "/file", None), client.ask("POST", "/echo", SENT))
        # Again and again over one connection: its QPACK tables fill.
        for _ in range(20):
            assert (await client.ask("GET", "/file", None)) == both[0]
        return both


def main():
    client, port, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    answers = list(globals()[f"with_{client}"](port, ca))
    expected = [pattern(300_000), SENT]
    shown = [[int(v), s, len(b), b == e] for (v, s, b), e in zip(answers, expected)]
    print(json.dumps(shown))


main()

"""SIGTERM with requests in flight: all of them finish, and the process ends with 0.

    python3 bench/show/drain.py --edge target/release/edge
"""
import asyncio
import time

from common import TERM, Background, Edge, arguments, eventually, proxy, read_answer, verdict


def main():
    options = arguments(__doc__.splitlines()[0], requests=200)
    background = Background()
    state = {"held": 0, "open": False}

    async def hold(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        state["held"] += 1
        while not state["open"]:
            await asyncio.sleep(0.01)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished")
        await writer.drain()

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await read_answer(reader)
        rest = await reader.read()
        writer.close()
        return got == (200, b"finished") and rest == b""

    edge = Edge(options.edge, proxy([background.serve(hold)]))
    try:
        port = edge.port()
        asked = [background.start(ask(port)) for _ in range(options.requests)]
        eventually("every request to reach the origin", lambda: state["held"] == options.requests)
        begun = time.monotonic()
        edge.process.send_signal(TERM)
        time.sleep(1)
        alive = edge.process.poll() is None
        state["open"] = True
        finished = 0
        for a in asked:
            try:
                finished += a.result(timeout=30)
            except Exception as e:  # counted as not finished
                print("  ", repr(e))
        code = edge.process.wait(timeout=60)
        print(f"{finished} of {options.requests} finished; exit {code} after {time.monotonic() - begun:.2f} s")
        verdict([
            ("it waits for what is in flight", alive),
            ("every request in flight finished", finished == options.requests),
            ("exit 0", code == 0),
        ])
    finally:
        edge.stop()


if __name__ == "__main__":
    main()

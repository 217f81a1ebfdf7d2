"""An HTTP/1.1 origin that records every byte it is sent and trusts nobody: what a gateway let through can be looked at."""
import base64
import hashlib
import os
import re
import socket
import threading

HEAD_MAX = 1 << 20


class Request:
    """One request as it came: `line`, `fields` (name, value as bytes), `body`, `head` (raw), `connection` (a number)."""

    def __init__(self, connection, head, body):
        self.connection, self.head, self.body = connection, head, body
        lines = head[:-4].split(b"\r\n")
        self.line = lines[0]
        self.fields = [tuple(p.strip(b" \t") for p in l.partition(b":")[::2]) for l in lines[1:]]

    def all(self, name):
        """Every value of a field, whatever the case of its name."""
        return [v for n, v in self.fields if n.lower() == name]

    @property
    def method(self):
        return self.line.split(b" ")[0]

    @property
    def target(self):
        return self.line.split(b" ")[1] if b" " in self.line else b""


class Origin:
    """Serves in threads: …/bytes/N; …/echo; …/ws (a WebSocket that returns the bytes it gets); …/trailers; …/hold (answers
    when the case is over); …/stuck (reads no body, never answers); …/early (answers without reading); else 200 `ok`."""

    def __init__(self, port=None, path=None):
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.path = path
        else:
            self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
            self.path = None
        self.listener.listen(1024)
        self.address = self.listener.getsockname()
        self.lock = threading.Condition()
        self.got, self.broken, self.raw, self.free = [], [], {}, set()
        threading.Thread(target=self._accept, daemon=True).start()

    def requests(self, token):
        """Requests whose head or body holds the token."""
        mark = token.encode()
        with self.lock:
            return [r for r in self.got if mark in r.head or mark in r.body]

    def anomalies(self, token):
        """Bytes that were no request, if they hold the token."""
        with self.lock:
            return [b for b in self.broken if token.encode() in b]

    def wait(self, token, patience):
        """The first request with the token, or None."""
        with self.lock:
            self.lock.wait_for(lambda: any(token.encode() in r.head for r in self.got), patience)
        found = self.requests(token)
        return found[0] if found else None

    def release(self, token):
        """Lets the held answers of this token go."""
        with self.lock:
            self.free.add(token.encode())
            self.lock.notify_all()

    def close(self):
        self.listener.close()
        if self.path:
            os.unlink(self.path)

    def _accept(self):
        for number in range(1 << 60):
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        stream = connection.makefile("rb")
        try:
            while self._one(connection, stream, number):
                pass
        except (OSError, ValueError):
            pass
        finally:
            stream.close()
            connection.close()

    def _one(self, connection, stream, number):
        head = read_head(stream)
        if not head:
            return False
        request = Request(number, head, b"")
        if not re.fullmatch(rb"[!-~]+ [!-~]+ HTTP/1\.[01]", request.line):
            with self.lock:
                self.broken.append(head)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return False
        if request.all(b"expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        # On record before the body is read: a body that never ends is a finding, too.
        with self.lock:
            self.got.append(request)
            self.lock.notify_all()
        path = request.target.partition(b"?")[0]
        if path.endswith(b"/ws") and request.all(b"upgrade"):
            return echo_websocket(connection, stream, request)
        if path.endswith(b"/stuck"):
            self._hold(request)
            return False
        if path.endswith(b"/early"):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n")
            return False
        read_body(request, stream)
        self._answer(connection, request, path)
        return b"close" not in b",".join(request.all(b"connection")).lower()

    def _hold(self, request):
        """Until the case is over."""
        with self.lock:
            self.lock.wait_for(lambda: any(t in request.head for t in self.free), 10)

    def _answer(self, connection, request, path):
        if path.endswith(b"/hold"):
            self._hold(request)
        body, fields = b"ok\n", b"content-type: text/plain\r\n"
        if m := re.search(rb"/bytes/(\d+)$", path):
            body = b"0123456789abcdef" * (int(m[1]) // 16 + 1)
            body = body[:int(m[1])]
        elif path.endswith(b"/echo"):
            body = request.body
        if request.method == b"HEAD":
            connection.sendall(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n" % (fields, len(body)))
        elif path.endswith(b"/trailers"):
            connection.sendall(b"HTTP/1.1 200 OK\r\n%strailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n"
                               b"3\r\nok\n\r\n0\r\nx-sum: 1\r\n\r\n" % fields)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n" % (fields, len(body)) + body)


def echo_websocket(connection, stream, request):
    """Takes the upgrade and returns every byte."""
    key = b"".join(request.all(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
                       b"sec-websocket-accept: " + accept + b"\r\n\r\n")
    while piece := stream.read1(65536):
        connection.sendall(piece)
    return False


def read_head(stream):
    """Through the empty line (CRLF CRLF only: a bare LF is no line end here)."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline(HEAD_MAX)
        if not line or len(head) > HEAD_MAX:
            return b""
        head += line
    return head


def read_body(request, stream):
    """Fills `request.body` as it comes, by Transfer-Encoding first, then Content-Length."""
    if request.all(b"transfer-encoding"):
        while size := int(stream.readline(1000).split(b";")[0], 16):
            request.body += stream.read(size)
            stream.readline(10)
        while stream.readline(HEAD_MAX) not in (b"\r\n", b""):
            pass
    elif request.all(b"content-length"):
        left = int(request.all(b"content-length")[0])
        while left and (piece := stream.read1(min(left, 65536))):
            request.body += piece
            left -= len(piece)

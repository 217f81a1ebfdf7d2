"""A raw HTTP/3 client on `quic.Quic`: sends whatever bytes it is told on whatever streams, and reads answers strictly."""
import time

import pylsqpack

from .case import Fail
from .quic import Quic
from .wire import (
    CONTROL, DATA, GOAWAY, H3, HEADERS, QUIC, SETTINGS, headers, read_varint, section, settings, varint)


class Target:
    """Where a listener is. `timeout`: seconds for anything that ought to come at once."""

    def __init__(self, host, port, timeout=5.0, authority="localhost"):
        self.host, self.port, self.timeout, self.authority = host, port, timeout, authority


class Answer:
    """A response: `status`, `fields` (bytes pairs without :status), `body`, `trailers`, `interim` statuses, `end`."""

    def __init__(self):
        self.status, self.fields, self.trailers, self.interim, self.body, self.end = None, [], None, [], b"", False

    def field(self, name):
        return [v for n, v in self.fields if n == name]


class Client(Quic):
    """`control=False` leaves the control stream to the case; `settings` are the pairs of its SETTINGS."""

    def __init__(self, trial, target, control=True, pairs=(), **how):
        super().__init__(target, **how)
        self.trial, self.has_control, self.pairs = trial, control, pairs
        self.control = None

    def open(self):
        self.shake()
        if self.has_control:
            self.control = self.uni(varint(CONTROL) + settings(*self.pairs))

    # --- sending

    def stream(self):
        """The next request stream's id."""
        return self.machine.get_next_available_stream_id()

    def uni(self, start=b"", fin=False):
        """A new unidirectional stream that begins so."""
        stream = self.machine.get_next_available_stream_id(is_unidirectional=True)
        self.send(stream, start, fin)
        return stream

    def send(self, stream, data=b"", fin=False):
        self.machine.send_stream_data(stream, data, end_stream=fin)
        self.flush()

    def reset(self, stream, code=0x10c):
        self.machine.reset_stream(stream, code)
        self.flush()

    def fields(self, method="GET", path="", extra=(), **replace):
        """A valid request's fields; `scheme=`/`authority=` replace, None leaves a pseudo-field out."""
        pseudo = {"method": method, "scheme": "https", "authority": self.target.authority,
                  "path": self.trial.path() if path == "" else path, **replace}
        return [(":" + k, v) for k, v in pseudo.items() if v is not None] + list(extra)

    def head(self, fields=None, **how):
        """A HEADERS frame of a request, uncompressed."""
        return headers(section(self.fields(**how) if fields is None else fields))

    def request(self, fields=None, end=True, more=b"", **how):
        """Sends a request, and `more` behind its head; its stream."""
        stream = self.stream()
        self.send(stream, self.head(fields, **how) + more, fin=end)
        return stream

    # --- receiving

    def server_stream(self, kind):
        """The server's unidirectional stream of a type, without the type: bytes, or None."""
        for stream, got in self.received.items():
            if stream % 4 == 3 and (read := read_varint(got)) and read[0] == kind:
                return bytes(got[read[1]:])
        return None

    def server_stream_id(self, kind):
        for stream, got in self.received.items():
            if stream % 4 == 3 and (read := read_varint(got)) and read[0] == kind:
                return stream
        return None

    def control_frames(self):
        """(type, payload) of the server's control stream."""
        return frames(self.server_stream(CONTROL) or b"")

    def peer_settings(self):
        """The server's SETTINGS as pairs, in order."""
        self.until(lambda: self.control_frames(), "SETTINGS of the server")
        kind, payload = self.control_frames()[0]
        if kind != SETTINGS:
            raise Fail(f"the server's first control frame is {kind:#x}")
        pairs, at = [], 0
        while at < len(payload):
            key, at = read_varint(payload, at)
            value, at = read_varint(payload, at)
            pairs.append((key, value))
        return pairs

    def going(self):
        """The stream of the last GOAWAY, or None."""
        ids = [read_varint(p)[0] for k, p in self.control_frames() if k == GOAWAY]
        return ids[-1] if ids else None

    def parsed(self, stream):
        """The answer as far as it is there."""
        answer, got = Answer(), bytes(self.received.get(stream, b""))
        for kind, payload in frames(got):
            if kind == HEADERS:
                self._section(stream, payload, answer)
            elif kind == DATA:
                if answer.status is None or answer.trailers is not None:
                    raise Fail("it sent DATA where none may be")
                answer.body += payload
        answer.end = stream in self.finished
        return answer

    def _section(self, stream, payload, answer):
        # The server was told of no table: every section stands by itself.
        try:
            _, fields = pylsqpack.Decoder(0, 0).feed_header(stream, payload)
        except (pylsqpack.DecompressionFailed, pylsqpack.StreamBlocked) as e:
            raise Fail(f"it sent a field section that cannot be read: {payload[:40].hex()}") from e
        if any(n.lower() != n for n, _ in fields):
            raise Fail(f"it sent {fields}")
        status = [v for n, v in fields if n == b":status"]
        rest = [f for f in fields if not f[0].startswith(b":")]
        if answer.status is not None:
            answer.trailers = rest
        elif len(status) != 1:
            raise Fail(f"it sent a head with :status {status}")
        elif int(status[0]) < 200:
            answer.interim.append(int(status[0]))
        else:
            answer.status, answer.fields = int(status[0]), rest

    def settled(self, stream, patience=None):
        """How a request went: ("answer", Answer), ("reset", code), ("closed", (code, application))."""
        deadline = time.time() + (patience or self.target.timeout)
        while True:
            if self.closed:
                return "closed", self.closed[:2]
            if stream in self.resets:
                return "reset", self.resets[stream]
            if stream in self.finished:
                return "answer", self.parsed(stream)
            if not self.read(deadline) and not self.closed:
                return "nothing", None

    def answered(self, stream, patience=None):
        """The answer; anything else fails."""
        kind, what = self.settled(stream, patience)
        if kind != "answer":
            raise Fail(f"no answer on stream {stream}; seen: {self.seen()}")
        return what

    def works(self, what="a request", **how):
        """An ordinary request is answered."""
        how.setdefault("path", "/works")     # which is not on the case's record
        answer = self.answered(self.request(**how))
        if answer.status != 200:
            raise Fail(f"{what}: status {answer.status}")
        return answer

    def connection_error(self, *names, patience=None):
        """The connection is closed with one of these codes, of HTTP/3 or of QUIC."""
        if not self.until_closed(patience):
            raise Fail(f"no connection error {' or '.join(names)}; seen: {self.seen()}")
        code, application, _ = self.closed
        wanted = [(H3[n], True) if n in H3 else (QUIC[n], False) for n in names]
        if (code, application) not in wanted:
            raise Fail(f"not {' or '.join(names)}; seen: {self.seen()}")

    def stream_error(self, stream, *names, connection=False):
        """The stream is reset with one of these codes; with `connection`, a connection error with it will do."""
        kind, what = self.settled(stream)
        codes = [H3[n] for n in names]
        if kind == "reset" and what in codes:
            self.works("a request behind it on the same connection")
            return
        if kind == "closed" and what[0] in codes and what[1]:
            if not connection:
                self.trial.should(f"a connection error for what is a stream's: {self.seen()}")
            return
        raise Fail(f"no stream error {' or '.join(names)}; seen: {self.seen()}{self._said(kind, what)}")

    def malformed(self, stream):
        """RFC 9114 4.1.2: H3_MESSAGE_ERROR; a 4xx answer before the reset is allowed, too."""
        kind, what = self.settled(stream)
        if kind == "answer" and 400 <= what.status < 500:
            self.trial.should(f"answered with {what.status} instead of H3_MESSAGE_ERROR")
            return
        self.stream_error(stream, "H3_MESSAGE_ERROR")
        if self.trial.requests():
            raise Fail("the request was forwarded")

    def refused(self, stream, *names):
        """A 4xx/5xx answer, or one of these errors."""
        kind, what = self.settled(stream)
        if kind == "answer" and what.status >= 400:
            return what.status
        if kind in ("reset", "closed") and (what if kind == "reset" else what[0]) in [H3[n] for n in names]:
            return None
        raise Fail(f"not refused; seen: {self.seen()}{self._said(kind, what)}")

    @staticmethod
    def _said(kind, what):
        return f" (status {what.status})" if kind == "answer" else ""


def frames(got):
    """The complete frames of a stream's bytes."""
    found, at = [], 0
    while (kind := read_varint(got, at)) and (length := read_varint(got, kind[1])):
        end = length[1] + length[0]
        if end > len(got):
            break
        found.append((kind[0], got[length[1]:end]))
        at = end
    return found


class Bystander:
    """A connection that does nothing wrong, and stays."""

    def __init__(self, targets):
        self.targets, self.client = targets, None

    def ask(self):
        """One request; fails when it is not answered."""
        first = self.client is None
        try:
            if first:
                self._begin()
            self.client.works("a request of a connection that does nothing wrong")
        except Fail:
            if self.client:
                self.client.close()
            self.client = None
            raise

    def _begin(self):
        self.client = Client(_Nobody(), self.targets["web"])
        self.client.open()

    def close(self):
        if self.client:
            self.client.close()


class _Nobody:
    """Stands for a case."""

    def path(self, kind=""):
        return "/" + kind

    def requests(self):
        return []

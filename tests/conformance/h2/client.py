"""A raw HTTP/2 client: sends whatever bytes it is told, and holds everything it receives against RFC 9113."""
import itertools
import socket
import ssl
import time

import hpack
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame

from .case import Fail, Skip
from .wire import (
    ACK, CODES, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE,
    PRIORITY_UPDATE, PUSH_PROMISE, RST_STREAM, SETTINGS, TYPES, WINDOW_UPDATE, code_name, frame, headers, ping,
    settings, window_update)

CONNECTION_FIELDS = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


class Target:
    """Where the server under test is and how to reach it."""

    def __init__(self, host, port, tls=False, insecure=False, authority="localhost", path="/", timeout=3.0):
        self.host, self.port, self.authority, self.path, self.timeout = host, port, authority, path, timeout
        self.scheme = "https" if tls else "http"
        self.context = tls_context(insecure) if tls else None

    def dial(self):
        """A connected socket, with TLS and ALPN h2 where the target has TLS."""
        plain = socket.create_connection((self.host, self.port), timeout=self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.context:
            return plain
        name = self.authority.rsplit(":", 1)[0]
        wrapped = self.context.wrap_socket(plain, server_hostname=name)
        if wrapped.selected_alpn_protocol() != "h2":
            raise Fail(f"ALPN chose {wrapped.selected_alpn_protocol()!r}, not h2")
        return wrapped


def tls_context(insecure):
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    context.check_hostname = not insecure
    context.verify_mode = ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED
    return context


class Answer:
    """A response: `status`, `fields` (bytes pairs without :status), `body`, `trailers`, `interim` statuses."""

    def __init__(self):
        self.status, self.fields, self.trailers, self.interim, self.body = None, [], None, [], b""

    def field(self, name):
        return [v for n, v in self.fields if n == name]


class Client:
    """One connection. `open_settings` are the pairs of its first SETTINGS; `preface=False` leaves all that to the case;
    `ack=False` does not acknowledge the peer's SETTINGS; `grow=False` never opens the receive windows."""

    def __init__(self, trial, open_settings=(), preface=True, ack=True, grow=True):
        self.trial, self.target = trial, trial.target
        self.open_settings, self.preface, self.ack, self.grow = open_settings, preface, ack, grow
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.buffer = bytearray()
        self.closed = None              # why nothing more comes
        self.goaway = None              # (last stream, code)
        self.resets = {}                # stream → code
        self.answers, self.ended = {}, set()
        self.peer = {}                  # the peer's settings
        self.acks = self.settings_frames = 0
        self.pongs = []
        self.updates = {}               # stream → sum of WINDOW_UPDATE increments
        self.log = []                   # every frame, in short
        self.initial_window, self.window, self.windows = 65535, 65535, {}
        self.pending_windows = []       # initial windows we sent, not acknowledged yet
        self.fragment = None
        self.ids = itertools.count(1, 2)
        self.socket = None

    # --- sending

    def open(self):
        self.socket = self.target.dial()
        if self.preface:
            self.send(PREFACE, settings(*self.open_settings))
            self.until(lambda: self.settings_frames, "the server's SETTINGS")

    def send(self, *pieces):
        """Sends bytes; a peer that has closed is noticed when reading."""
        whole = b"".join(pieces)
        self._note_settings(whole)
        try:
            self.socket.sendall(whole)
        except TimeoutError:
            raise Fail(f"the server reads nothing for {self.target.timeout} s; seen: {self.seen()}") from None
        except OSError as e:
            self.log.append(f"(sending: {e.__class__.__name__})")

    def _note_settings(self, whole):
        """Remembers each SETTINGS frame on its way out with the initial window it sets (None: it sets none)."""
        at = len(PREFACE) if whole.startswith(PREFACE) else 0
        while at + 9 <= len(whole):
            length = int.from_bytes(whole[at:at + 3], "big")
            if whole[at + 3] == SETTINGS and not whole[at + 4] & ACK and length % 6 == 0:
                value = None
                for p in range(at + 9, at + 9 + length, 6):
                    if int.from_bytes(whole[p:p + 2], "big") == INITIAL_WINDOW_SIZE:
                        value = int.from_bytes(whole[p + 2:p + 6], "big")
                self.pending_windows.append(value)
            if whole[at + 3] == WINDOW_UPDATE and length == 4:
                self._opened(int.from_bytes(whole[at + 5:at + 9], "big"), int.from_bytes(whole[at + 9:at + 13], "big"))
            at += 9 + length

    def _opened(self, stream, increment):
        if stream == 0:
            self.window += increment
        else:
            self.windows[stream] = self.windows.get(stream, 0) + increment

    def stream(self):
        """The next stream id."""
        return next(self.ids)

    def fields(self, method="GET", path=None, extra=(), **replace):
        """A valid request's fields; `scheme=`/`authority=` replace, None leaves a pseudo-field out."""
        pseudo = {"method": method, "scheme": self.target.scheme, "authority": self.target.authority,
                  "path": self.trial.path() if path is None else path, **replace}
        return [(":" + k, v) for k, v in pseudo.items() if v is not None] + list(extra)

    def block(self, fields):
        """Encodes with the connection's HPACK state, unchecked."""
        return self.encoder.encode([(_bytes(n), _bytes(v)) for n, v in fields], huffman=False)

    def request(self, fields=None, end=True, stream=None, **how):
        """Sends a request and returns its stream; keywords as for `fields`."""
        stream = stream or self.stream()
        self.send(headers(stream, self.block(fields or self.fields(**how)), end=end))
        return stream

    # --- receiving

    def until(self, done, what):
        """Reads until `done()`; fails when the connection ends or time runs out first."""
        deadline = time.monotonic() + self.target.timeout
        while not done():
            if not self.read(deadline):
                raise Fail(f"no {what}; {self.closed or 'time ran out'}; seen: {self.seen()}")

    def read(self, deadline):
        """Takes one frame; False when time runs out or the connection has ended."""
        while self.closed is None:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if length > 16384:
                    raise Fail(f"a frame of {length} bytes (or no HTTP/2 at all): {bytes(self.buffer[:40])!r}")
                if len(self.buffer) >= 9 + length:
                    whole = bytes(self.buffer[:9 + length])
                    del self.buffer[:9 + length]
                    self._take(whole)
                    return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return False
            except ssl.SSLError as e:
                more, self.closed = b"", f"TLS ended: {e.reason}"
            except OSError as e:
                more, self.closed = b"", f"closed: {e.__class__.__name__}"
            finally:
                self.socket.settimeout(self.target.timeout)
            if not more and self.closed is None:
                self.closed = "closed"
            self.buffer += more
        return False

    def _take(self, whole):
        kind, flags = whole[3], whole[4]
        stream = int.from_bytes(whole[5:9], "big") & 0x7fffffff
        self.log.append(f"{TYPES.get(kind, hex(kind))}({stream})")
        try:
            parsed, _ = Frame.parse_frame_header(memoryview(whole[:9]))
            parsed.parse_body(memoryview(whole[9:]))
        except HyperframeError as e:
            raise Fail(f"it sent a bad frame: {e}: {whole[:40].hex()}") from e
        if self.fragment is not None and (kind != CONTINUATION or stream != self.fragment[0]):
            raise Fail(f"it sent {self.log[-1]} inside a header block")
        take = {SETTINGS: self._settings, PING: self._ping, GOAWAY: self._goaway, RST_STREAM: self._reset,
                WINDOW_UPDATE: self._window_update, HEADERS: self._headers, CONTINUATION: self._continuation,
                DATA: self._data, PUSH_PROMISE: self._push}.get(kind)
        if take:
            take(parsed, flags, stream)

    def _settings(self, parsed, flags, stream):
        if flags & ACK:
            self.acks += 1
            self._settings_acknowledged()
            return
        self.settings_frames += 1
        self.peer.update(parsed.settings)
        # Our encoder keeps to what the peer's decoder allows.
        self.encoder.header_table_size = min(4096, self.peer.get(1, 4096))
        if self.ack:
            self.send(frame(SETTINGS, ACK))

    def _settings_acknowledged(self):
        if not self.pending_windows:
            raise Fail("it acknowledged SETTINGS that were not sent")
        new = self.pending_windows.pop(0)
        if new is not None:
            self.initial_window = new

    def _ping(self, parsed, flags, stream):
        if flags & ACK:
            self.pongs.append(parsed.opaque_data)
        else:
            self.send(ping(parsed.opaque_data, ack=True))

    def _goaway(self, parsed, flags, stream):
        self.goaway = (parsed.last_stream_id, parsed.error_code)
        self.log[-1] = f"GOAWAY({code_name(parsed.error_code)}, last {parsed.last_stream_id})"

    def _reset(self, parsed, flags, stream):
        self.resets.setdefault(stream, parsed.error_code)
        self.log[-1] = f"RST_STREAM({stream}, {code_name(parsed.error_code)})"

    def _window_update(self, parsed, flags, stream):
        self.updates[stream] = self.updates.get(stream, 0) + parsed.window_increment

    def _headers(self, parsed, flags, stream):
        self._open_for_peer(stream)
        self.fragment = (stream, bytearray(parsed.data), bool(flags & END_STREAM))
        if flags & END_HEADERS:
            self._block_done()

    def _continuation(self, parsed, flags, stream):
        if self.fragment is None:
            raise Fail("it sent CONTINUATION without HEADERS")
        self.fragment[1].extend(parsed.data)
        if flags & END_HEADERS:
            self._block_done()

    def _open_for_peer(self, stream):
        if stream == 0 or stream % 2 == 0:
            raise Fail(f"it used stream {stream}")
        if stream in self.ended or stream in self.resets:
            raise Fail(f"it sent {self.log[-1]} after the end of the stream")

    def _block_done(self):
        stream, block, end = self.fragment
        self.fragment = None
        try:
            fields = self.decoder.decode(bytes(block), raw=True)
        except hpack.HPACKError as e:
            raise Fail(f"its header block does not decode: {e!r}") from e
        check_fields(fields)
        answer = self.answers.setdefault(stream, Answer())
        self.log[-1] = f"HEADERS({stream}, {dict(fields).get(b':status', b'trailers').decode()})"
        if answer.status is None:
            take_response(answer, fields, end)
        else:
            if any(n.startswith(b":") for n, _ in fields) or not end:
                raise Fail("bad trailers: pseudo-field or no END_STREAM")
            answer.trailers = fields
        if end:
            self.ended.add(stream)

    def _data(self, parsed, flags, stream):
        self._open_for_peer(stream)
        answer = self.answers.get(stream)
        if answer is None or answer.status is None:
            raise Fail("it sent DATA before HEADERS")
        size = parsed.flow_controlled_length
        self.window -= size
        self.windows[stream] = self.windows.get(stream, 0) - size
        allowed = max([self.initial_window] + [w for w in self.pending_windows if w is not None])
        if self.window < 0 or self.windows[stream] + allowed < 0:
            raise Fail(f"it sent more than the flow-control window allows: {size} bytes on stream {stream}")
        answer.body += parsed.data
        if flags & END_STREAM:
            self.ended.add(stream)
        if self.grow and size:
            self.send(window_update(0, size), *([] if flags & END_STREAM else [window_update(stream, size)]))

    def _push(self, parsed, flags, stream):
        raise Fail("it sent PUSH_PROMISE")

    # --- what a case may ask

    def barrier(self, what="answer to PING"):
        """Everything sent before has been read by the peer once this returns, and the connection still works."""
        mark = f"{len(self.pongs):08d}".encode()
        self.send(ping(mark))
        self.until(lambda: mark in self.pongs, what)

    def answer(self, stream, ok=True):
        """The whole response on a stream; with `ok` its status must be 2xx."""
        self.until(lambda: stream in self.ended or stream in self.resets or self.goaway, "response")
        if stream not in self.ended and self.goaway and self.goaway[1] == 0 and self.goaway[0] >= stream:
            self.until(lambda: stream in self.ended or stream in self.resets, "response")
        if stream not in self.ended:
            raise Fail(f"no response; seen: {self.seen()}")
        answer = self.answers[stream]
        if ok and not 200 <= answer.status < 300:
            raise Fail(f"answered {answer.status}")
        return answer

    def works(self, what="a request afterwards"):
        """An ordinary request still succeeds on this connection."""
        stream = self.request()
        try:
            self.answer(stream)
        except Fail as e:
            raise Fail(f"{what} fails: {e}") from e

    def connection_error(self, *codes):
        """The peer must end the connection: GOAWAY with one of `codes`, then close."""
        deadline = time.monotonic() + self.target.timeout
        while not (self.goaway and self.goaway[1] != 0) and self.read(deadline):
            pass
        if self.goaway and self.goaway[1] not in codes and not (self.goaway[1] == 0 and self.closed):
            raise Fail(f"GOAWAY with {code_name(self.goaway[1])}, not {names(codes)}; seen: {self.seen()}")
        while self.read(deadline):
            pass
        if self.closed is None:
            kind = "GOAWAY, but the connection stays open" if self.goaway else "the connection goes on"
            raise Fail(f"{kind}; seen: {self.seen()}")
        if not self.goaway or self.goaway[1] == 0:
            self.trial.should(f"{self.closed} without GOAWAY({names(codes)}); seen: {self.seen()}")

    def stream_error(self, stream, *codes, answer=False, lives=True):
        """The peer must reset the stream with one of `codes` and keep the connection, or (second best) treat it as a
        connection error. With `answer` a 4xx or 501 counts too (9113 8.1.1), as second best."""
        deadline = time.monotonic() + self.target.timeout
        while not self._settled(stream) and self.read(deadline):
            pass
        if stream in self.resets and self.resets[stream] in codes:
            if lives:
                self.works("the connection after the stream error")
            return
        got = self.answers.get(stream)
        if got and got.status and answer and (400 <= got.status < 500 or got.status == 501):
            self.trial.should(f"answered {got.status} instead of RST_STREAM({names(codes)})")
        elif stream in self.resets:
            raise Fail(f"RST_STREAM with {code_name(self.resets[stream])}, not {names(codes)}; seen: {self.seen()}")
        elif got and got.status:
            raise Fail(f"answered {got.status}; seen: {self.seen()}")
        elif self.goaway and self.goaway[1] in codes:
            self.trial.should("the whole connection was ended")
        elif self.closed and not self.goaway:
            self.trial.should(f"{self.closed} without RST_STREAM or GOAWAY")
        else:
            raise Fail(f"no RST_STREAM({names(codes)}); {self.closed or ''} seen: {self.seen()}")

    def _settled(self, stream):
        got = self.answers.get(stream)
        return stream in self.resets or (self.goaway and self.goaway[1] != 0) or (got and got.status and
                                                                                  stream in self.ended)

    def rejected(self, stream, *codes):
        """A malformed request (9113 8.1.1): a stream error, never a success."""
        self.stream_error(stream, *(codes or (1,)), answer=True)

    def either_error(self, stream, connection, stream_codes):
        """A connection error with a code of `connection`, or a stream error with a code of `stream_codes`."""
        deadline = time.monotonic() + self.target.timeout
        while not (self.goaway and self.goaway[1]) and stream not in self.resets and self.read(deadline):
            pass
        if stream in self.resets and not self.goaway:
            if self.resets[stream] not in stream_codes:
                raise Fail(f"RST_STREAM with {code_name(self.resets[stream])}, not {names(stream_codes)}")
            return
        self.connection_error(*connection)

    def settled(self, stream):
        """Waits for whatever ends a request and returns it: ("answer", status), ("reset", code), ("gone", why)."""
        deadline = time.monotonic() + self.target.timeout
        while not self._settled(stream) and self.read(deadline):
            pass
        got = self.answers.get(stream)
        if got and got.status:
            return "answer", got.status
        if stream in self.resets:
            return "reset", self.resets[stream]
        if self.goaway or self.closed:
            return "gone", self.goaway or self.closed
        raise Fail(f"neither answer nor error; seen: {self.seen()}")

    def seen(self):
        """The last frames, for a report."""
        return " ".join(self.log[-8:]) + (f" ({self.closed})" if self.closed else "") or "nothing"

    def close(self):
        if self.socket:
            self.socket.close()


def check_fields(fields):
    """A response's fields against 9113 8.2."""
    for name, value in fields:
        if name != name.lower() or name.lower() in CONNECTION_FIELDS or not name:
            raise Fail(f"it sent the field {name!r}")
        if any(c in value for c in b"\r\n\0") or value != value.strip(b" \t"):
            raise Fail(f"it sent the value {value!r}")


def take_response(answer, fields, end):
    statuses = [v for n, v in fields if n == b":status"]
    if len(statuses) != 1 or not fields[0][0] == b":status" or not statuses[0].isdigit() or len(statuses[0]) != 3:
        raise Fail(f"bad :status: {fields!r}")
    status = int(statuses[0])
    if 100 <= status < 200:
        if end or status == 101:
            raise Fail(f"an interim response {status}, END_STREAM {end}")
        answer.interim.append(status)
        return
    answer.status, answer.fields = status, fields[1:]


def names(codes):
    return "|".join(code_name(c) for c in codes)


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


__all__ = ["Answer", "CODES", "Client", "PRIORITY_UPDATE", "Skip", "Target", "names"]

"""A QUIC client that says whatever it is told: aioquic's state machine over a plain socket, and packets made by hand."""
import select
import socket
import ssl
import time

from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import END_STATES, QuicConnection, QuicConnectionError, QuicConnectionState
from aioquic.quic import events
from aioquic.tls import Epoch

from .case import Fail
from .wire import code_name

LONG_TYPES = {Epoch.INITIAL: 0, Epoch.ZERO_RTT: 1, Epoch.HANDSHAKE: 2}


def ready(sock, patience, what=select.POLLIN):
    """Whether it can be read (or written) within so many seconds. Unlike `select`, it takes any number of sockets."""
    poll = select.poll()
    poll.register(sock, what)
    return bool(poll.poll(patience * 1000))


class Machine(QuicConnection):
    """aioquic's client, with the transport parameters as the case wants them. What it holds against the peer is noted."""

    def __init__(self, parameters=b"", **how):
        super().__init__(**how)
        self.parameters, self.complaints = parameters, []

    def _serialize_transport_parameters(self):
        return super()._serialize_transport_parameters() + self.parameters

    def _payload_received(self, context, plain, crypto_frame_required=False):
        try:
            return super()._payload_received(context, plain, crypto_frame_required)
        except QuicConnectionError as e:
            self.complaints.append(str(e))
            return True, False

    def close(self, error_code=0, frame_type=None, reason_phrase=""):
        self.complaints.append(f"{code_name(error_code, False)} {reason_phrase}")

    def say_goodbye(self):
        """Closes as an application does."""
        super().close(error_code=0x100)


class Quic:
    """One connection, driven while something is waited for. `strict=False`: what aioquic holds against the peer is no
    finding, because the case itself broke the rules."""

    def __init__(self, target, alpn=("h3",), strict=True, parameters=b"", token=b"", ticket=None, window=1 << 20,
                 connection_window=None, socket_from=None, rcid_length=8, suites=None):
        self.target, self.strict = target, strict
        how = QuicConfiguration(is_client=True, alpn_protocols=list(alpn), verify_mode=ssl.CERT_NONE, server_name="localhost",
                                max_data=connection_window if connection_window is not None else 16 * window,
                                max_stream_data=window, token=token, session_ticket=ticket, initial_rtt=0.05,
                                connection_id_length=rcid_length, supported_versions=[1], cipher_suites=suites)
        self.tokens, self.tickets = [], []
        self.machine = Machine(parameters=parameters, configuration=how, token_handler=self.tokens.append,
                               session_ticket_handler=self.tickets.append)
        self.received, self.finished = {}, set()       # stream → bytes; streams that ended
        self.resets, self.stops = {}, {}               # stream → code
        self.confirmed = False
        self.sent = self.got = 0                       # bytes of UDP payload
        self.packets = []                              # what came, when `keep`
        self.keep = False
        self.socket = socket_from or self.plug()

    def plug(self):
        """A new socket: a new port."""
        new = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        new.connect((self.target.host, self.target.port))
        new.setblocking(False)
        return new

    @property
    def complaints(self):
        return self.machine.complaints if self.strict else []

    @property
    def closed(self):
        """How the peer ended it: (code, application, reason), or None."""
        event = self.machine._close_event
        if event is None:
            return None
        return event.error_code, event.frame_type is None, event.reason_phrase

    def start(self):
        self.machine.connect((self.target.host, self.target.port), time.time())
        self.flush()

    def shake(self):
        """The whole handshake."""
        self.start()
        self.until(lambda: self.confirmed, "end of the handshake")

    def flush(self):
        """Sends what there is to send."""
        for datagram, _ in self.machine.datagrams_to_send(time.time()):
            self.throw(datagram)

    def throw(self, datagram):
        """One datagram, whatever it is."""
        for _ in range(100):
            try:
                self.sent += self.socket.send(datagram)
                return
            except BlockingIOError:
                ready(self.socket, 1, select.POLLOUT)
            except ConnectionRefusedError:
                continue    # of an earlier one

    def read(self, deadline):
        """Takes what comes, for a moment; False when time runs out or the connection has ended."""
        if self.machine._state in END_STATES:
            return False
        now = time.time()
        timer = self.machine.get_timer()
        wait = deadline - now if timer is None else min(deadline, timer) - now
        if ready(self.socket, max(0, min(wait, 0.2))):
            self._take_all()
        now = time.time()
        timer = self.machine.get_timer()
        if timer is not None and timer <= now and self.machine._state not in END_STATES:
            self.machine.handle_timer(now)
        self._events()
        self.flush()
        return now < deadline

    def _take_all(self):
        for _ in range(256):
            try:
                datagram = self.socket.recv(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.got += len(datagram)
            if self.keep:
                self.packets.append(datagram)
            self.machine.receive_datagram(datagram, (self.target.host, self.target.port), time.time())

    def _events(self):
        while event := self.machine.next_event():
            if isinstance(event, events.HandshakeCompleted):
                self.confirmed = True
            elif isinstance(event, events.StreamDataReceived):
                self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
                if event.end_stream:
                    self.finished.add(event.stream_id)
            elif isinstance(event, events.StreamReset):
                self.resets[event.stream_id] = event.error_code
            elif isinstance(event, events.StopSendingReceived):
                self.stops[event.stream_id] = event.error_code

    def until(self, done, what, patience=None):
        """Reads until `done()`; fails when the connection ends or time runs out first."""
        deadline = time.time() + (patience or self.target.timeout)
        while not done():
            if not self.read(deadline) and not done():
                raise Fail(f"no {what}; seen: {self.seen()}")

    def wait(self, seconds):
        """Reads for so long, whatever comes."""
        deadline = time.time() + seconds
        while self.read(deadline):
            pass

    def until_closed(self, patience=None):
        """Reads until the peer has closed; whether it has."""
        deadline = time.time() + (patience or self.target.timeout)
        while self.closed is None and self.read(deadline):
            pass
        return self.closed is not None

    # --- by hand

    def hello(self):
        """What the client's first CRYPTO frame says; nothing is sent."""
        self.machine.connect((self.target.host, self.target.port), time.time())
        return bytes(self.machine._crypto_streams[Epoch.INITIAL].sender._buffer)

    def first_flight(self):
        """The datagrams of the first flight, not sent."""
        self.machine.connect((self.target.host, self.target.port), time.time())
        return [d for d, _ in self.machine.datagrams_to_send(time.time())]

    def answer(self, patience=0.5):
        """The next datagram that comes, not looked at; None when none does."""
        try:
            return self.socket.recv(65536) if ready(self.socket, patience) else None
        except ConnectionRefusedError:
            return None

    def packet(self, payload, epoch=Epoch.ONE_RTT, number=None, cid=None, phase=None, first=None, token=b"", fill=True):
        """A packet around these frames, protected with the connection's keys."""
        m = self.machine
        pair = m._cryptos[epoch]
        if number is None:
            number, m._packet_number = m._packet_number, m._packet_number + 1
        cid = m._peer_cid.cid if cid is None else cid
        if fill:
            payload = payload + bytes(max(0, 4 - len(payload)))     # header protection wants so much
        if epoch == Epoch.ONE_RTT:
            phase = pair.send.key_phase if phase is None else phase
            header = bytes([(0x41 | phase << 2) if first is None else first]) + cid
        else:
            header = bytes([(0xc1 | LONG_TYPES[epoch] << 4) if first is None else first]) + b"\0\0\0\1"
            header += bytes([len(cid)]) + cid + bytes([len(m.host_cid)]) + m.host_cid
            if epoch == Epoch.INITIAL:
                buffer = Buffer(capacity=1024)
                buffer.push_uint_var(len(token))
                header += buffer.data + token
            header += (len(payload) + (header[0] & 3) + 1 + 16 | 0x4000).to_bytes(2, "big")
        header += (number & 0xffffffff).to_bytes(4, "big")[3 - (header[0] & 3):]
        return pair.encrypt_packet(header, payload, number)

    def inject(self, payload, **how):
        """Sends such a packet by itself."""
        self.throw(self.packet(payload, **how))

    def adopt(self, stream):
        """Has aioquic know a stream that was opened by hand."""
        self.machine._get_or_create_stream_for_send(stream)

    def seen(self):
        """What came, in short."""
        said = [f"{s}: {len(d)} bytes{' end' if s in self.finished else ''}" for s, d in self.received.items() if s % 4 == 0]
        said += [f"{s}: RESET_STREAM {code_name(c)}" for s, c in self.resets.items()]
        said += [f"{s}: STOP_SENDING {code_name(c)}" for s, c in self.stops.items()]
        if self.closed:
            code, application, reason = self.closed
            said.append(f"closed with {code_name(code, application)} ({reason!r})")
        elif self.machine._state in END_STATES:
            said.append("over")
        if self.machine.complaints:
            said.append("aioquic: " + ", ".join(self.machine.complaints[:3]))
        return ", ".join(said) or "nothing"

    def close(self):
        if self.machine._state == QuicConnectionState.CONNECTED:
            self.machine.say_goodbye()
            self.flush()
        self.socket.close()

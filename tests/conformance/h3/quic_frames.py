"""RFC 9000 sections 4, 7.4, 12.4, 13 and 19, RFC 9001 section 8: frames and parameters that break QUIC's own rules."""
from aioquic.quic.connection import QuicConnectionId
from aioquic.tls import CipherSuite, Epoch

from .case import Fail, case, each
from .wire import (
    PING, ack, crypto, headers, new_connection_id, numbered, reset_stream, section, stop_sending, stream_frame, varint)


def injected(t, *packets, **how):
    """A connection after these packets of 1-RTT frames."""
    c = t.connect(strict=False)
    c.works()
    for payload in packets:
        c.inject(payload, **how)
    return c


# --- section 12.4: which frames may be where

@each("9000/12.4", "a frame of the unknown type {} is FRAME_ENCODING_ERROR", [
    ("0x20", 0x20), ("0x21", 0x21), ("0x40", 0x40), ("0xffff", 0xffff), ("2^62-1", (1 << 62) - 1)])
def unknown(t, kind):
    injected(t, varint(kind) + b"\0" * 8).connection_error("FRAME_ENCODING_ERROR")


@case("9000/12.4", "a frame's type that is cut is FRAME_ENCODING_ERROR")
def cut_type(t):
    injected(t, PING * 8 + b"\xc0\0").connection_error("FRAME_ENCODING_ERROR")


@case("9000/12.4", "a packet without frames is PROTOCOL_VIOLATION")
def empty(t):
    injected(t, b"", first=0x43, fill=False).connection_error("PROTOCOL_VIOLATION")


@each("9000/12.4", "{} from a client is PROTOCOL_VIOLATION", [
    ("HANDSHAKE_DONE", b"\x1e"), ("NEW_TOKEN", b"\x07\x04abcd")])
def of_servers(t, frame):
    injected(t, frame).connection_error("PROTOCOL_VIOLATION")


@each("9221/3", "{} though none was offered is PROTOCOL_VIOLATION", [("DATAGRAM", b"\x30abc"), ("DATAGRAM with a length", b"\x31\3abc")])
def datagram(t, frame):
    injected(t, frame).connection_error("PROTOCOL_VIOLATION", "FRAME_ENCODING_ERROR")


IN_INITIAL = [
    ("STREAM", stream_frame(0, b"x")), ("RESET_STREAM", reset_stream(0)), ("MAX_DATA", numbered(0x10, 9)),
    ("NEW_CONNECTION_ID", new_connection_id(1, 0, b"12345678")), ("PATH_CHALLENGE", b"\x1a12345678"),
    ("HANDSHAKE_DONE", b"\x1e"), ("NEW_TOKEN", b"\x07\x04abcd")]


@each("9000/12.4", "{} in an Initial packet is PROTOCOL_VIOLATION", IN_INITIAL)
def in_initial(t, frame):
    c = t.client(strict=False)
    c.start()
    c.inject(frame + bytes(1150), epoch=Epoch.INITIAL)
    c.connection_error("PROTOCOL_VIOLATION")


@case("9000/12.4", "CONNECTION_CLOSE of an application in an Initial packet ends the handshake, whether with an error or not")
def close_in_initial(t):
    c = t.client(strict=False)
    c.start()
    c.inject(b"\x1d\0\0" + bytes(1150), epoch=Epoch.INITIAL)
    c.wait(0.5)
    if c.confirmed and not c.closed:
        c.send(c.stream(), c.head(path="/works"), fin=True)
        if c.settled(0, 1)[0] == "answer":
            raise Fail("the connection goes on")


@case("9000/12.4", "STREAM in a Handshake packet is PROTOCOL_VIOLATION")
def in_handshake(t):
    c = t.client(strict=False)
    c.start()
    machine, flush = c.machine, c.flush
    c.flush = lambda: None      # nothing goes out that would end the handshake
    c.until(lambda: machine._cryptos[Epoch.HANDSHAKE].send.is_valid(), "handshake keys")
    c.inject(stream_frame(0, b"x") + bytes(30), epoch=Epoch.HANDSHAKE)
    c.flush = flush
    c.connection_error("PROTOCOL_VIOLATION")


@case("9000/17.3.1", "reserved bits that are set are PROTOCOL_VIOLATION")
def reserved_bits(t):
    injected(t, PING, first=0x41 | 0x18).connection_error("PROTOCOL_VIOLATION")


# --- section 4: flow control and final sizes

def limits(c):
    """What the server allows: (of a stream, of the connection, request streams, unidirectional streams)."""
    m = c.machine
    return m._remote_max_stream_data_bidi_remote, m._remote_max_data, m._remote_max_streams_bidi, m._remote_max_streams_uni


@case("9000/4.1", "a byte beyond a stream's limit is FLOW_CONTROL_ERROR")
def stream_limit(t):
    c = t.connect(strict=False)
    c.inject(stream_frame(0, b"x", limits(c)[0]))
    c.connection_error("FLOW_CONTROL_ERROR")


@case("9000/4.1", "a byte beyond the connection's limit, on streams below theirs, is FLOW_CONTROL_ERROR")
def connection_limit(t):
    c = t.connect(strict=False)
    of_stream, of_all, _, _ = limits(c)
    for n in range(of_all // of_stream + 1):
        c.inject(stream_frame(4 * n, b"x", of_stream - 1))
    c.connection_error("FLOW_CONTROL_ERROR")


@case("9000/4.5", "a RESET_STREAM whose final size is beyond the limit is FLOW_CONTROL_ERROR")
def reset_beyond(t):
    c = t.connect(strict=False)
    c.inject(reset_stream(0, size=limits(c)[1] + 1))
    c.connection_error("FLOW_CONTROL_ERROR", "FINAL_SIZE_ERROR")


@case("9000/19.8", "a STREAM frame whose end is beyond 2^62-1 is FRAME_ENCODING_ERROR or FLOW_CONTROL_ERROR")
def offset_beyond(t):
    injected(t, stream_frame(4, b"xyz", (1 << 62) - 2)).connection_error("FRAME_ENCODING_ERROR", "FLOW_CONTROL_ERROR")


@each("9000/4.5", "{} is FINAL_SIZE_ERROR", [
    ("data behind the end", [stream_frame(4, b"abc", 0, True), stream_frame(4, b"d", 3)]),
    ("two ends", [stream_frame(4, b"abc", 0, True), stream_frame(4, b"", 5, True)]),
    ("RESET_STREAM of less than came", [stream_frame(4, b"\1\x40"), reset_stream(4, size=1)]),
    ("two RESET_STREAM of different sizes", [stream_frame(4, b"\1", 9), reset_stream(4, size=20) + reset_stream(4, size=21)])])
def final_size(t, frames):
    injected(t, b"".join(frames)).connection_error("FINAL_SIZE_ERROR")


@case("9000/4.5", "an end before data that came is FINAL_SIZE_ERROR (SHOULD); at least no request comes of it", origin=True)
def end_before_data(t):
    c = t.connect(strict=False)
    whole = c.head(method="POST", path=t.path("echo")) + b"\0\3abc"
    c.inject(stream_frame(0, whole) + stream_frame(0, b"", 3, True))
    if c.until_closed(0.5):
        c.connection_error("FINAL_SIZE_ERROR")
        return
    t.should("borne")
    if any(r.body == b"abc" for r in t.requests()) and 0 in c.finished:
        raise Fail("it was taken for a complete request")


@each("9000/4.6", "a {} stream beyond the limit is STREAM_LIMIT_ERROR", [("request", 0), ("unidirectional", 2)])
def too_many(t, kind):
    c = t.connect(strict=False)
    c.inject(stream_frame(4 * limits(c)[2 + kind // 2] + kind, b"x"))
    c.connection_error("STREAM_LIMIT_ERROR")


@case("9000/4.6", "the limit of streams holds while requests wait: one more is STREAM_LIMIT_ERROR", origin=True)
def too_many_waiting(t):
    c = t.connect("tight", strict=False)
    most = limits(c)[2]
    for n in range(most):
        c.request(path=t.path("hold"))
    c.wait(0.1)
    c.inject(stream_frame(4 * most, c.head()))
    c.connection_error("STREAM_LIMIT_ERROR")


@each("9000/19", "{} above 2^60 is FRAME_ENCODING_ERROR or STREAM_LIMIT_ERROR", [
    ("MAX_STREAMS", numbered(0x12, (1 << 60) + 1)), ("MAX_STREAMS of unidirectional ones", numbered(0x13, (1 << 60) + 1)),
    ("STREAMS_BLOCKED", numbered(0x16, (1 << 60) + 1))])
def absurd_limits(t, frame):
    injected(t, frame).connection_error("FRAME_ENCODING_ERROR", "STREAM_LIMIT_ERROR")


# --- section 19: states of streams

@each("9000/19", "{} is STREAM_STATE_ERROR", [
    ("STREAM on a server's stream that is not open", stream_frame(1, b"x")),
    ("STREAM on the server's control stream", stream_frame(3, b"x")), ("RESET_STREAM of the server's control stream", reset_stream(3)),
    ("STOP_SENDING of the client's own control stream", stop_sending(2)),
    ("MAX_STREAM_DATA of the client's own control stream", numbered(0x11, 2, 1 << 20)),
    ("STOP_SENDING of a server's stream that is not open", stop_sending(4 * 50 + 3)),
    ("MAX_STREAM_DATA of a server's stream that is not open", numbered(0x11, 4 * 50 + 1, 1 << 20)),
    ("STREAM_DATA_BLOCKED of the server's control stream", numbered(0x15, 3, 0))])
def stream_state(t, frame):
    injected(t, frame).connection_error("STREAM_STATE_ERROR", *(["STREAM_LIMIT_ERROR"] if "50" in str(frame) else []))


# --- section 13 and 19.3: acknowledgements

@case("9000/13.1", "an acknowledgement of a packet that was never sent is PROTOCOL_VIOLATION")
def ack_unsent(t):
    injected(t, ack(1 << 30)).connection_error("PROTOCOL_VIOLATION")


@case("9000/19.3.1", "an acknowledgement of packets below 0 is FRAME_ENCODING_ERROR")
def ack_negative(t):
    injected(t, ack(3, first_range=9)).connection_error("FRAME_ENCODING_ERROR")


@case("9000/19.3", "an acknowledgement that is cut is FRAME_ENCODING_ERROR")
def ack_cut(t):
    injected(t, b"\x02\x40\x05\0\x09\0").connection_error("FRAME_ENCODING_ERROR")


@each("9000/19", "{} that ends within itself is FRAME_ENCODING_ERROR", [
    ("STREAM", b"\x0e\x04\0\x40\x64abc"), ("CRYPTO", b"\x06\0\x40\x64abc"), ("RESET_STREAM", b"\x04\x04\x41"),
    ("NEW_CONNECTION_ID", b"\x18\1\0\x08abcd"), ("PATH_CHALLENGE", b"\x1a1234"), ("CONNECTION_CLOSE", b"\x1c\0\0\x40\x64abc")])
def cut(t, frame):
    injected(t, PING * 10 + frame).connection_error("FRAME_ENCODING_ERROR")


# --- connection ids

@each("9000/19.15", "NEW_CONNECTION_ID {} is FRAME_ENCODING_ERROR", [
    ("of no length", new_connection_id(9, 0, b"")), ("of 21 bytes", new_connection_id(9, 0, b"x" * 21)),
    ("that retires ids behind its own", new_connection_id(9, 10, b"12345678"))])
def cid_encoding(t, frame):
    injected(t, frame).connection_error("FRAME_ENCODING_ERROR", "PROTOCOL_VIOLATION")


@case("9000/19.15", "one sequence number for two ids is borne or PROTOCOL_VIOLATION")
def cid_twice(t):
    c = injected(t, new_connection_id(20, 20, b"12345678") + new_connection_id(20, 20, b"87654321"))
    c.wait(0.2)
    if c.closed:
        c.connection_error("PROTOCOL_VIOLATION")


def give(c, sequence, retire_prior=0):
    """A NEW_CONNECTION_ID frame, and aioquic knows the id."""
    cid = b"cid-%04d" % sequence
    c.machine._host_cids = c.machine._host_cids[-64:] + [QuicConnectionId(cid=cid, sequence_number=sequence, was_sent=True)]
    return new_connection_id(sequence, retire_prior, cid)


@case("9000/5.1.1", "more ids than active_connection_id_limit are CONNECTION_ID_LIMIT_ERROR")
def cid_limit(t):
    c = t.connect(strict=False)
    c.inject(b"".join(give(c, n) for n in range(1, 40)))
    c.connection_error("CONNECTION_ID_LIMIT_ERROR")


@case("9000/5.1.2", "5,000 new ids, each retiring the one before, are borne or ended, and do not pile up")
def cid_flood(t):
    c = t.connect(strict=False)
    for n in range(20, 5020, 20):
        c.inject(b"".join(give(c, k, k) for k in range(n, n + 20)))
        if n % 200 == 0:
            c.wait(0.002)
        if c.closed:
            break
    c.until_closed(0.5)
    if c.closed and (c.closed[1] or c.closed[0] not in (9, 0xa)):
        raise Fail(c.seen())


@case("9000/19.16", "RETIRE_CONNECTION_ID of an id that was never given out is PROTOCOL_VIOLATION")
def retire_unknown(t):
    injected(t, numbered(0x19, 1 << 20)).connection_error("PROTOCOL_VIOLATION")


@case("9000/19.16", "2,000 ids retired as they come: new ones come, and the connection goes on or is ended")
def retire_flood(t):
    c = t.connect(strict=False)
    c.works()
    for _ in range(500):
        c.machine.change_connection_id()
        c.flush()
        c.wait(0.001)
        if c.closed:
            break
    if not c.closed:
        c.works()


# --- paths

@case("9000/8.2", "3,000 PATH_CHALLENGE frames: answered at most once each, and nobody waits")
def challenges(t):
    c = t.connect(strict=False)
    before, sent = c.got, c.sent
    for n in range(3000):
        c.inject(b"\x1a" + n.to_bytes(8, "big"))
        if n % 50 == 0:
            c.wait(0.001)
    c.works()
    if c.got - before > 3 * (c.sent - sent) + 3000 * 1300:
        raise Fail(f"{c.got - before} bytes for {c.sent - sent}")


@case("9000/19.18", "PATH_RESPONSE frames that answer nothing are ignored or PROTOCOL_VIOLATION")
def responses(t):
    c = injected(t, *[b"\x1b" + n.to_bytes(8, "big") for n in range(100)])
    c.wait(0.1)
    if c.closed:
        c.connection_error("PROTOCOL_VIOLATION")
    else:
        c.works()


# --- the handshake

@case("9000/7.5", "CRYPTO data far beyond what came are CRYPTO_BUFFER_EXCEEDED, in an Initial packet")
def crypto_initial(t):
    c = t.client(strict=False)
    c.hello()
    c.inject(crypto(b"x", 1 << 20) + bytes(1150), epoch=Epoch.INITIAL)
    c.connection_error("CRYPTO_BUFFER_EXCEEDED")


@case("9000/7.5", "CRYPTO data far beyond what came are CRYPTO_BUFFER_EXCEEDED or dropped, once the handshake is done")
def crypto_late(t):
    c = injected(t, crypto(b"x", 1 << 20))
    if c.until_closed(0.5):
        c.connection_error("CRYPTO_BUFFER_EXCEEDED")
    else:
        c.works()


@each("9000/18.2", "{} is TRANSPORT_PARAMETER_ERROR", [
    ("max_idle_timeout twice", numbered(1) + b"\x02\x40\x10"), ("initial_max_data twice", b"\x04\x01\x05"),
    ("max_udp_payload_size 1199", b"\x03\x02" + varint(1199)), ("original_destination_connection_id", b"\0\x08abcdefgh"),
    ("stateless_reset_token", b"\x02\x10" + b"t" * 16), ("retry_source_connection_id", b"\x10\x04abcd"),
    ("preferred_address", b"\x0d\x31" + bytes(49)), ("a parameter that is cut", b"\x40\x5b\x20abc"),
    ("disable_active_migration with a value", b"\x0c\x01x"), ("max_udp_payload_size of 3 bytes", b"\x03\x03\x44\xb0\0")])
def parameters(t, extra):
    c = t.client(strict=False, parameters=extra)
    c.start()
    c.connection_error("TRANSPORT_PARAMETER_ERROR")


@case("9000/7.4.2", "unknown and reserved transport parameters are ignored")
def grease(t):
    c = t.connect(parameters=b"\x40\x5b\x05abcde" + varint(31 * 1000 + 27) + b"\0")
    c.works()


@case("9001/8.2", "a ClientHello without QUIC's transport parameters is ended with missing_extension")
def no_parameters(t):
    c = t.client(strict=False)
    real = c.machine._initialize

    def without(cid):
        real(cid)
        c.machine.tls.handshake_extensions = []
    c.machine._initialize = without
    c.start()
    if not c.until_closed() or c.closed[:2] != (0x100 + 109, False):
        raise Fail(c.seen())


@each("9001/8.1", "{} is ended with no_application_protocol", [("ALPN h2", ("h2",)), ("ALPN http/1.1 and hq-29", ("http/1.1", "hq-29")),
                                                              ("ALPN h3-29", ("h3-29",))])
def alpn(t, names):
    c = t.client(strict=False, alpn=names)
    c.start()
    c.connection_error("NO_APPLICATION_PROTOCOL")


@case("9001/8.1", "a handshake without ALPN is ended with no_application_protocol")
def no_alpn(t):
    c = t.client(strict=False, alpn=())
    c.machine.configuration.alpn_protocols = None
    c.start()
    c.connection_error("NO_APPLICATION_PROTOCOL")


@each("9001/4.2", "a ClientHello that is {} is a TLS error", [
    ("noise", b"\x01\0\0\x40" + b"\xa5" * 64), ("no ClientHello", b"\x02\0\0\x04abcd"), ("a Finished", b"\x14\0\0\x20" + b"f" * 32),
    ("of 16 MiB", b"\x01\xff\xff\xff" + b"\3\3" * 400)])
def bad_hello(t, hello):
    c = t.client(strict=False)
    c.hello()
    c.inject(crypto(hello) + bytes(1160 - len(hello)), epoch=Epoch.INITIAL)
    c.until_closed(1)
    if c.closed and not (0x100 <= c.closed[0] < 0x200 or c.closed[0] in (0xd, 0xa)):
        raise Fail(c.seen())


@case("9001/4.1.3", "a KeyUpdate message of TLS is ended with unexpected_message")
def tls_key_update(t):
    c = injected(t, crypto(b"\x18\0\0\x01\0"))
    if not c.until_closed() or c.closed[:2] != (0x100 + 10, False):
        raise Fail(c.seen())


@each("9001/5.3", "the cipher suite {} works", [
    ("TLS_AES_128_GCM_SHA256", CipherSuite.AES_128_GCM_SHA256), ("TLS_AES_256_GCM_SHA384", CipherSuite.AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite.CHACHA20_POLY1305_SHA256)])
def suites(t, suite):
    c = t.connect(suites=[suite])
    c.works()


@case("9001/9.2", "a ticket offers no early data where none is allowed")
def early(t):
    c = t.connect()
    c.works()
    c.until(lambda: c.tickets, "ticket")
    if c.tickets[0].max_early_data_size:
        raise Fail(f"{c.tickets[0].max_early_data_size}")
    second = t.connect(ticket=c.tickets[0])
    second.works()


@case("9000/10.2", "CONNECTION_CLOSE of either kind, with a long reason, ends the connection quietly")
def closes(t):
    for frame in (b"\x1c\0\0\x40\x80" + b"r" * 128, b"\x1d\x41\0\x40\x80" + b"\xff" * 128, b"\x1c\xc0\0\0\0\0\0\0\1\x40\xff\0"):
        injected(t, frame)


@case("9114/4.1", "a request in pieces that come in reverse order and overlap is answered")
def reverse(t):
    c = t.connect()
    stream = c.stream()
    c.adopt(stream)
    whole = headers(section(c.fields(method="POST", path=t.path("echo"))))
    whole += b"\0\x40\x80" + bytes(range(128))
    for at in range(len(whole) - 1, -1, -1):
        c.inject(stream_frame(stream, whole[at:at + 5], at, at + 5 >= len(whole)))
    answer = c.answered(stream)
    if answer.status != 200 or (t.origin and answer.body != bytes(range(128))):
        raise Fail(c.seen())

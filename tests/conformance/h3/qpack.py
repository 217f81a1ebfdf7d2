"""RFC 9204: field sections, the encoder's and the decoder's instructions, and what they may cost."""
from .case import Fail, case, each
from .wire import DECODER, ENCODER, capacity, data, headers, insert, literal, prefixed, varint

REQUEST = b"\xd1\xd7\xc1\x50\x09localhost"      # :method GET, :scheme https, :path /, :authority localhost


def with_section(t, *lines, prefix=b"\0\0", encoder=None, **how):
    """A request of this field section; with `encoder`, these instructions before it: (connection, stream)."""
    c = t.connect(**how)
    if encoder is not None:
        c.encoder = c.uni(varint(ENCODER) + encoder)
        c.wait(0.02)
    stream = c.stream()
    c.send(stream, headers(prefix + b"".join(lines)), fin=True)
    return c, stream


def prefix(required, most=128, base=0):
    """RFC 9204 4.5.1, of a table of `most` entries; `base` counts from the required insert count."""
    encoded = 0 if required == 0 else required % (2 * most) + 1
    return prefixed(encoded, 8) + (prefixed(base, 7) if base >= 0 else prefixed(-base - 1, 7, 0x80))


@each("9204/4.5", "a section with {} is QPACK_DECOMPRESSION_FAILED", [
    ("static index 99", (b"\0\0", REQUEST + prefixed(99, 6, 0xc0))), ("static index 2^40", (b"\0\0", prefixed(1 << 40, 6, 0xc0))),
    ("a static name 99", (b"\0\0", prefixed(99, 4, 0x50) + b"\1x")), ("a dynamic index and no table", (b"\0\0", REQUEST + b"\x80")),
    ("a post-base index and no table", (b"\0\0", REQUEST + b"\x10")), ("a dynamic name and no table", (b"\0\0", b"\x40\1x")),
    ("a post-base name and no table", (b"\0\0", b"\0\1x")), ("no prefix", (b"", b"")), ("half a prefix", (b"\0", b"")),
    ("an integer that never ends", (b"\0\0", b"\xff" + b"\x80" * 30)), ("an integer above 2^62", (b"\0\0", b"\xff" + b"\xff" * 9 + b"\1")),
    ("a string that is cut", (b"\0\0", b"\x27\0abc")), ("a value that is cut", (b"\0\0", b"\x21a\x7f\x10abc")),
    ("Base below zero", (b"\0\x85", REQUEST))])
def bad_section(t, what):
    c, _ = with_section(t, what[1], prefix=what[0])
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@each("9204/4.5", "Huffman code {} is QPACK_DECOMPRESSION_FAILED", [
    ("with EOS", b"\xff\xff\xff\xff"), ("padded with more than 7 bits", b"\x1f\xff\xff"), ("padded with zeros", b"\x18\x00"),
    ("of nothing but padding", b"\xff")])
def huffman(t, code):
    c, _ = with_section(t, REQUEST, b"\x21a" + prefixed(len(code), 7, 0x80) + code)
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@each("9204/4.5", "Huffman code {} in a name is QPACK_DECOMPRESSION_FAILED", [("with EOS", b"\xff\xff\xff\xff")])
def huffman_name(t, code):
    c, _ = with_section(t, REQUEST, prefixed(len(code), 3, 0x28) + code + b"\1a")
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@case("9204/2.1.2", "more blocked streams than allowed are QPACK_DECOMPRESSION_FAILED")
def blocked_too_many(t):
    c = t.connect()
    most = dict(c.peer_settings()).get(7, 0)
    for _ in range(most + 1):
        c.send(c.stream(), headers(prefix(1) + REQUEST + b"\x80"), fin=True)
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@case("9204/2.1.2", "as many blocked streams as allowed wait, and are answered when the entry comes")
def blocked(t):
    c = t.connect()
    most = dict(c.peer_settings()).get(7, 0)
    streams = []
    for _ in range(most):
        streams.append(c.stream())
        c.send(streams[-1], headers(prefix(1) + REQUEST + b"\x80"), fin=True)
    c.wait(0.1)
    c.works("a request that needs no entry")
    c.uni(varint(ENCODER) + capacity(4096) + insert("x-late", "1"))
    for stream in streams:
        if c.answered(stream).status != 200:
            raise Fail(c.seen())


@case("9204/2.2.2.2", "a blocked stream that is reset is forgotten: its place is free, a Stream Cancellation comes")
def blocked_reset(t):
    c = t.connect()
    most = dict(c.peer_settings()).get(7, 0)
    for _ in range(2 * most):
        stream = c.stream()
        c.send(stream, headers(prefix(1) + REQUEST + b"\x80"))
        c.wait(0.01)
        c.reset(stream)
    c.works()
    if not c.server_stream(DECODER):
        t.should("no Stream Cancellation")


@case("9204/2.2.1", "a blocked stream that nobody unblocks is given up at the head's deadline")
def blocked_late(t):
    c = t.connect("tight")
    stream = c.stream()
    c.send(stream, headers(prefix(1) + REQUEST + b"\x80"), fin=True)
    kind, what = c.settled(stream)
    if kind not in ("answer", "reset"):
        raise Fail(f"{kind} {what}")


@case("9204/2.2.1", "a Required Insert Count that the section does not need is QPACK_DECOMPRESSION_FAILED")
def unneeded(t):
    c, stream = with_section(t, REQUEST, prefix=prefix(1), encoder=capacity(4096) + insert("a", "b"))
    kind, what = c.settled(stream)
    if kind == "answer" and what.status == 200:
        return      # MAY (RFC 9204 2.2.1)
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@case("9204/4.5.1.1", "a Required Insert Count above what a table of that size can hold is QPACK_DECOMPRESSION_FAILED")
def required_beyond(t):
    c, _ = with_section(t, REQUEST, prefix=prefixed(300, 8) + b"\0")
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@each("9204/3.2.5", "a reference {} is QPACK_DECOMPRESSION_FAILED", [
    ("behind the Required Insert Count", (prefix(1, base=1), b"\x80")), ("before the first entry", (prefix(2), b"\x82")),
    ("post-base beyond it", (prefix(1), b"\x10"))])
def beyond(t, what):
    c, _ = with_section(t, REQUEST, what[1], prefix=what[0], encoder=capacity(4096) + insert("a", "1") + insert("b", "2"))
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@case("9204/3.2.2", "a reference to an entry that was evicted is QPACK_DECOMPRESSION_FAILED")
def evicted(t):
    c, _ = with_section(t, REQUEST, b"\x81", prefix=prefix(2), encoder=capacity(100) + insert("a", "x" * 40) + insert("b", "x" * 40))
    c.connection_error("QPACK_DECOMPRESSION_FAILED")


@case("9204/3.2", "entries of the dynamic table are read by every kind of reference")
def dynamic(t):
    lines = [b"\x80", b"\x41\1x", b"\x10", b"\0\1y"]     # indexed, name reference, post-base indexed, post-base name
    c, stream = with_section(t, REQUEST, *lines, prefix=prefix(3, base=-1),
                             encoder=capacity(4096) + insert("x-a", "1") + insert("x-b", "2") + insert("x-c", "3"))
    if c.answered(stream).status != 200:
        raise Fail(c.seen())
    c.until(lambda: c.server_stream(DECODER), "acknowledgement")


def encoder_says(t, *pieces):
    c = t.connect()
    c.uni(varint(ENCODER) + b"".join(pieces))
    return c


@each("9204/4.1.3", "{} is QPACK_ENCODER_STREAM_ERROR", [
    ("a capacity above the setting", capacity(4097)), ("a capacity of 2^40", capacity(1 << 40)),
    ("an entry larger than the table", capacity(100) + insert("a", "x" * 100)), ("an entry before any capacity", insert("a", "b")),
    ("a static name of 99", capacity(4096) + prefixed(99, 6, 0xc0) + b"\1x"),
    ("a dynamic name that is not there", capacity(4096) + prefixed(0, 6, 0x80) + b"\1x"),
    ("a copy of an entry that is not there", capacity(4096) + b"\0"),
    ("a copy of an entry that was evicted", capacity(100) + insert("a", "x" * 60) + insert("b", "x" * 60) + b"\1"),
    ("an integer that never ends", b"\x3f" + b"\x80" * 30), ("Huffman code with EOS", capacity(4096) + b"\x41a\x84\xff\xff\xff\xff"),
    ("a name of 1 GiB", capacity(4096) + prefixed(1 << 30, 5, 0x40)), ("a value of 1 GiB", capacity(4096) + b"\x41a" + prefixed(1 << 30, 7))])
def encoder_error(t, said):
    encoder_says(t, said).connection_error("QPACK_ENCODER_STREAM_ERROR")


@case("9204/4.3", "instructions that come byte by byte are read")
def byte_by_byte(t):
    c = t.connect()
    stream = c.uni(varint(ENCODER))
    for b in capacity(4096) + insert("x-a", "1") + capacity(200) + insert("x-b", "2" * 20):
        c.send(stream, bytes([b]))
        c.wait(0.001)
    s = c.stream()
    c.send(s, headers(prefix(2) + REQUEST + b"\x80\x81"), fin=True)
    if c.answered(s).status != 200:
        raise Fail(c.seen())


@each("9204/4.4", "{} is QPACK_DECODER_STREAM_ERROR", [
    ("a Section Acknowledgment of a stream that is none", b"\x84"), ("an Insert Count Increment of 0", b"\0"),
    ("an Insert Count Increment of 1 too many", b"\1"), ("an Insert Count Increment of 2^40", prefixed(1 << 40, 6)),
    ("an integer that never ends", b"\x3f" + b"\x80" * 30)])
def decoder_error(t, said):
    c = t.connect()
    c.uni(varint(DECODER) + said)
    c.connection_error("QPACK_DECODER_STREAM_ERROR")


@case("9204/4.4.2", "Stream Cancellations of streams that nobody knows are no error")
def cancellations(t):
    c = t.connect()
    c.uni(varint(DECODER) + b"".join(prefixed(4 * n, 6, 0x40) for n in range(50)))
    c.works()


@case("9204/7.3", "ten thousand references to an entry of 4 KiB are not 40 MB of fields: 431, or an error")
def bomb(t):
    c, stream = with_section(t, REQUEST, b"\x80" * 10_000, prefix=prefix(1), encoder=capacity(4096) + insert("x-a", "v" * 4000))
    status = c.refused(stream, "H3_EXCESSIVE_LOAD", "H3_REQUEST_REJECTED", "QPACK_DECOMPRESSION_FAILED")
    if status not in (None, 431):
        raise Fail(f"status {status}")


@case("9204/7.3", "ten thousand names by reference to an entry of 4 KiB: 431, or an error")
def name_bomb(t):
    c, stream = with_section(t, REQUEST, b"\x40\0" * 10_000, prefix=prefix(1), encoder=capacity(4096) + insert("n" * 4000, ""))
    status = c.refused(stream, "H3_EXCESSIVE_LOAD", "H3_REQUEST_REJECTED", "QPACK_DECOMPRESSION_FAILED")
    if status not in (None, 431):
        raise Fail(f"status {status}")


@case("9204/7.3", "thousands of copies inside the table are borne or ended")
def copies(t):
    c = t.connect()
    stream = c.uni(varint(ENCODER) + capacity(4096) + insert("x-a", "v" * 1900))
    for _ in range(40):
        c.send(stream, b"\0" * 500)
        c.wait(0.01)
        if c.closed:
            break
    if c.closed:
        c.connection_error("H3_EXCESSIVE_LOAD", "QPACK_ENCODER_STREAM_ERROR")
    else:
        c.works()


@case("9204/7.3", "capacity changes without end are borne or ended")
def capacities(t):
    c = t.connect()
    stream = c.uni(varint(ENCODER) + capacity(4096))
    for _ in range(40):
        c.send(stream, (capacity(0) + capacity(4096)) * 500)
        c.wait(0.01)
        if c.closed:
            break
    if c.closed:
        c.connection_error("H3_EXCESSIVE_LOAD", "QPACK_ENCODER_STREAM_ERROR")
    else:
        c.works()


@case("9204/2.1.3", "a server that is given a table and never an acknowledgement answers without waiting for one")
def no_acknowledgement(t):
    c = t.connect(pairs=[(1, 4096), (7, 0)])
    first = c.request()
    c.until(lambda: first in c.finished, "answer")
    streams = [c.request(extra=[("x-n", str(n))]) for n in range(50)]
    c.until(lambda: all(s in c.finished for s in streams), "answers")


@case("9204/4.5", "a literal of every form, with and without N, is read")
def forms(t):
    lines = [literal("x-a", "1"), prefixed(3, 3, 0x30) + b"x-b\1" + b"2", prefixed(5, 4, 0x70) + b"\1c", prefixed(5, 4, 0x50) + b"\0"]
    c, stream = with_section(t, REQUEST, *lines)
    if c.answered(stream).status != 200:
        raise Fail(c.seen())


@case("9204/2.2", "DATA of a request whose head is blocked wait for it")
def blocked_body(t):
    c = t.connect()
    stream = c.stream()
    post = b"\xd4\xd7\x50\x09localhost" + b"\x51" + prefixed(len(t.path("echo")), 7) + t.path("echo").encode()
    c.send(stream, headers(prefix(1) + post + b"\x80") + data(b"abc") + data(b"def"), fin=True)
    c.wait(0.05)
    c.uni(varint(ENCODER) + capacity(4096) + insert("x-late", "1"))
    answer = c.answered(stream)
    if answer.status != 200 or (t.origin and answer.body != b"abcdef"):
        raise Fail(f"{answer.status} {answer.body!r}")

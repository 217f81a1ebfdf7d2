"""RFC 7541: field representations, strings and Huffman code, each looked at behind the server where there is an origin."""
import hpack.huffman
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from .case import Fail, case, each
from .wire import COMPRESSION_ERROR, headers

HUFFMAN = hpack.huffman.HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def integer(value, bits, first=0):
    """RFC 7541 5.1."""
    top = (1 << bits) - 1
    if value < top:
        return bytes([first | value])
    out, value = [first | top], value - top
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + [value])


def string(text, huffman=False):
    """RFC 7541 5.2."""
    raw = text if isinstance(text, bytes) else text.encode("latin-1")
    coded = HUFFMAN.encode(raw) if huffman else raw
    return integer(len(coded), 7, 0x80 if huffman else 0) + coded


def literal(kind, name, value, huffman=False):
    """A literal: `kind` is "incremental", "without" or "never"; an integer name is an index."""
    bits, first = {"incremental": (6, 0x40), "without": (4, 0x00), "never": (4, 0x10)}[kind]
    if isinstance(name, int):
        return integer(name, bits, first) + string(value, huffman)
    return bytes([first]) + string(name, huffman) + string(value, huffman)


def raw_request(t, extra, before=b"", scheme=None):
    """A request's block by hand, without the dynamic table: pseudo-fields, then `extra`."""
    scheme = scheme or (7 if t.target.scheme == "https" else 6)
    return (before + bytes([0x82, 0x80 | scheme]) + literal("without", 1, t.target.authority)
            + literal("without", 4, t.path()) + extra)


def decodes(t, extra, name, value, before=b""):
    """The block is a good request, and the field arrives."""
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, extra, before)))
    c.answer(s)
    got = [r.all(name) for r in t.requests()]
    if t.origin and got != [[value]]:
        raise Fail(f"{name!r} arrived as {got}")
    return c


def breaks(t, extra, before=b"", c=None):
    """The block is a connection error COMPRESSION_ERROR."""
    c = c or t.connect()
    c.send(headers(c.stream(), raw_request(t, extra, before)))
    c.connection_error(COMPRESSION_ERROR)


@case("generic/5", "an indexed field", "generic/5/1")
def indexed(t):
    decodes(t, b"\x90", b"accept-encoding", b"gzip, deflate")


KINDS = [("incremental", 2), ("without", 6), ("never", 10)]


def _representations():
    for kind, first in KINDS:
        for i, (name, huffman) in enumerate([(58, False), (58, True), ("x-new-name", False), ("x-new-name", True)]):
            about = f"a literal {kind} indexing, {'indexed' if name == 58 else 'new'} name" + (", Huffman" if huffman else "")
            yield about.replace("never indexing", "never indexed"), \
                (kind, name, huffman), f"generic/5/{first + i}"


ALL = list(_representations())


@each("generic/5", "{}", [(a, v) for a, v, _ in ALL], [p for _, _, p in ALL])
def representation(t, what):
    kind, name, huffman = what
    decodes(t, literal(kind, name, "value-1", huffman), b"user-agent" if name == 58 else b"x-new-name", b"value-1")


@case("generic/5", "a dynamic table size update", "generic/5/14")
def size_update(t):
    decodes(t, literal("without", "x-a", "1"), b"x-a", b"1", before=integer(128, 5, 0x20))


@case("generic/5", "two dynamic table size updates in one block", "generic/5/15")
def size_updates(t):
    decodes(t, literal("without", "x-a", "1"), b"x-a", b"1", before=integer(0, 5, 0x20) + integer(4096, 5, 0x20))


@each("7541/2.3.3", "{} is COMPRESSION_ERROR", [
    ("an indexed field with index 62 and an empty dynamic table", integer(62, 7, 0x80)),
    ("a literal whose name has index 70 and an empty dynamic table", literal("incremental", 70, "x")),
    ("a literal without indexing whose name has index 1,000", literal("without", 1000, "x")),
], ["hpack/2.3.3/1", "hpack/2.3.3/2", None])
def bad_index(t, extra):
    breaks(t, extra)


@case("7541/6.1", "index 0 is COMPRESSION_ERROR", "hpack/6.1/1")
def index_zero(t):
    breaks(t, b"\x80")


@each("7541/5.1", "{} is accepted", [
    ("an integer with one needless byte", b"\x0f\xab\x00" + string("agent")),
    ("a string length in three bytes", b"\x0f\x2b\x7f\x01" + b"a" * 128),
])
def long_integers(t, extra):
    # 0x0f 0x2b is name index 58 (user-agent).
    value = b"agent" if extra.endswith(b"agent") else b"a" * 128
    decodes(t, extra, b"user-agent", value)


@each("7541/5.1", "{} is COMPRESSION_ERROR", [
    ("an index of 2^35 in continuation bytes", b"\xff" + b"\xff" * 5 + b"\x0f"),
    ("an index of endless continuation bytes", b"\xff" + b"\xff" * 200 + b"\x00"),
    ("an index that wraps to 2 at 32 bits", b"\xff" + b"\x83\xff\xff\xff\x0f"),
    ("an index that wraps at 64 bits", b"\xff" + b"\x83" + b"\xff" * 8 + b"\x01"),
    ("a string length of 2^32", b"\x40\x7f\x81\xff\xff\xff\x0f"),
    ("an integer cut in the middle", b"\xff\x80"),
])
def overflow(t, extra):
    breaks(t, extra)


@each("7541/5.2", "{} is COMPRESSION_ERROR", [
    ("Huffman padding of more than 7 bits", literal("without", "x-a", "1")[:5] + b"\x82" + b"\x0f\xff"),
    ("Huffman padding of zeros", literal("without", "x-a", "1")[:5] + b"\x81\x08"),
    ("the Huffman code EOS", literal("without", "x-a", "1")[:5] + b"\x84\xff\xff\xff\xff"),
    ("EOS behind a letter", literal("without", "x-a", "1")[:5] + b"\x85\x1f\xff\xff\xff\xff"),
    ("a string longer than the block", literal("without", "x-a", "1")[:5] + b"\x7e" + b"abc"),
    ("a name longer than the block", b"\x00\x20abc"),
    ("a literal without its value", literal("without", "x-a", "1")[:5]),
    ("a literal without name and value", b"\x00"),
], ["hpack/5.2/1", "hpack/5.2/2", "hpack/5.2/3"] + [None] * 5)
def bad_string(t, extra):
    breaks(t, extra)


@case("7541/5.2", "every octet that is allowed in a value survives the Huffman code", origin=True)
def all_octets(t):
    value = bytes(list(range(0x21, 0x7f)) + list(range(0x80, 0x100)))
    decodes(t, literal("without", "x-all", value, True), b"x-all", value)


@case("7541/5.2", "an empty Huffman string is an empty value")
def empty_huffman(t):
    decodes(t, b"\x00" + string("x-empty") + b"\x80", b"x-empty", b"")


@case("7541/5.2", "Huffman strings of 1 to 40 bytes, each with another padding, arrive whole", origin=True)
def paddings(t):
    c = t.connect()
    for n in range(1, 41):
        s = c.stream()
        c.send(headers(s, raw_request(t, literal("without", "x-n", "5qZ~a" * 8, True)
                                      + literal("without", "x-m", ("a0{Z" * 10)[:n], True))))
        c.answer(s)
    got = [r.all(b"x-m")[0] for r in t.requests()]
    if sorted(got) != sorted(("a0{Z" * 10)[:n].encode() for n in range(1, 41)):
        raise Fail(f"{got}")


@case("7541/5.2", "an upper-case name hidden in Huffman code is malformed all the same")
def hidden_upper_case(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, literal("without", "X-Bad", "1", True))))
    c.rejected(s)


@case("7541/5.2", "CRLF hidden in Huffman code is malformed all the same")
def hidden_crlf(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, literal("without", "x-bad", "1\r\nx-evil: 1", True))))
    c.rejected(s)
    if any(b"x-evil" in r.head for r in t.requests()):
        raise Fail("the origin got it")


@case("7541/A", "all 61 entries of the static table mean what the RFC says", origin=True)
def static_table(t):
    from hpack.table import HeaderTable
    c = t.connect()
    # Entries that may stand in any request with a value of ours: 16 to 61 without connection-specific and host fields.
    left_out = {20, 21, 22, 25, 28, 30, 31, 35, 37, 38, 39, 40, 41, 42, 43, 44, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 61}
    for i in range(15, 61):
        if i in left_out:
            continue
        name = HeaderTable.STATIC_TABLE[i - 1][0]
        s = c.stream()
        c.send(headers(s, raw_request(t, literal("without", i, f"v{i}"))))
        kind, what = c.settled(s)
        if kind != "answer":
            raise Fail(f"{i} ({name.decode()}): {kind} {what}")
        if what < 300 and not any(f"v{i}".encode() in r.head for r in t.requests()):
            t.should(f"{i} ({name.decode()}) did not arrive")

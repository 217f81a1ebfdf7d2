"""RFC 7541 sections 2.3, 4 and 6.3: the dynamic table and its size."""
import hpack

from .case import Fail, case, each
from .hpack_blocks import breaks, integer, literal, raw_request
from .wire import HEADER_TABLE_SIZE, headers, rst_stream, settings


def ask(t, c, block, name):
    """Sends a block and returns the values that the origin got of a field, for this one request."""
    before = len(t.requests())
    s = c.stream()
    c.send(headers(s, raw_request(t, block)))
    c.answer(s)
    got = [r.all(name) for r in t.requests()[before:]]
    return got[0] if got else None


def expect(t, got, value):
    if t.origin and got != [value]:
        raise Fail(f"arrived: {got}, sent: {value!r}")


@case("7541/2.3.2", "entries are found by index, the newest at 62")
def newest_first(t):
    c = t.connect()
    ask(t, c, literal("incremental", "x-a", "one") + literal("incremental", "x-b", "two"), b"x-a")
    expect(t, ask(t, c, b"\xbe", b"x-b"), b"two")
    expect(t, ask(t, c, b"\xbf", b"x-a"), b"one")
    expect(t, ask(t, c, literal("without", 63, "three"), b"x-a"), b"three")


@case("7541/2.3.2", "an entry can be used in the block that made it")
def same_block(t):
    c = t.connect()
    expect(t, ask(t, c, literal("incremental", "x-a", "one") + literal("without", 62, "two"), b"x-a")[:1] or None
           if t.origin else None, b"one")


@case("7541/2.3.2", "literals without indexing and never indexed make no entry")
def no_entry(t):
    c = t.connect()
    ask(t, c, literal("without", "x-a", "one") + literal("never", "x-b", "two"), b"x-a")
    breaks(t, b"\xbe", c=c)


@case("7541/4.2", "a size update behind the first field is COMPRESSION_ERROR", "hpack/4.2/1")
def late_update(t):
    breaks(t, integer(100, 5, 0x20))


@case("7541/6.3", "a size update above SETTINGS_HEADER_TABLE_SIZE is COMPRESSION_ERROR", "hpack/6.3/1")
def large_update(t):
    c = t.connect()
    over = c.peer.get(HEADER_TABLE_SIZE, 4096) + 1
    breaks(t, b"", before=integer(over, 5, 0x20), c=c)


@case("7541/6.3", "a size update of 2^40 is COMPRESSION_ERROR")
def huge_update(t):
    breaks(t, b"", before=integer(1 << 40, 5, 0x20))


@case("7541/6.3", "a size update to exactly SETTINGS_HEADER_TABLE_SIZE is accepted")
def exact_update(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, b"", before=integer(c.peer.get(HEADER_TABLE_SIZE, 4096), 5, 0x20))))
    c.answer(s)


@case("7541/4.3", "a size update to 0 empties the table")
def emptied(t):
    c = t.connect()
    ask(t, c, literal("incremental", "x-a", "one"), b"x-a")
    s = c.stream()
    c.send(headers(s, raw_request(t, b"", before=integer(0, 5, 0x20))))
    c.answer(s)
    breaks(t, b"\xbe", before=integer(4096, 5, 0x20), c=c)


@case("7541/4.3", "a smaller table drops its oldest entries and keeps the newest")
def shrunk(t):
    c = t.connect()
    ask(t, c, literal("incremental", "x-a", "one") + literal("incremental", "x-b", "two"), b"x-a")
    s = c.stream()
    c.send(headers(s, raw_request(t, b"\xbe", before=integer(40, 5, 0x20))))
    c.answer(s)
    breaks(t, b"\xbf", c=c)


@case("7541/4.4", "an entry larger than the table empties it and is itself no entry")
def larger_than_table(t):
    c = t.connect()
    ask(t, c, literal("incremental", "x-a", "one"), b"x-a")
    size = c.peer.get(HEADER_TABLE_SIZE, 4096)
    if size > 16384:
        size = 1000
        s = c.stream()
        c.send(headers(s, raw_request(t, b"", before=integer(size, 5, 0x20))))
        c.answer(s)
    expect(t, ask(t, c, literal("incremental", "x-b", "v" * size), b"x-b"), b"v" * size)
    breaks(t, b"\xbe", c=c)


@case("7541/4.4", "an entry whose name refers to the entry it pushes out is right")
def refers_to_evicted(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, literal("incremental", "x-long-name", "a" * 20), before=integer(80, 5, 0x20))))
    c.answer(s)
    expect(t, ask(t, c, literal("incremental", 62, "b" * 30), b"x-long-name"), b"b" * 30)
    expect(t, ask(t, c, b"\xbe", b"x-long-name"), b"b" * 30)


@case("7541/4.1", "an entry counts its 32 bytes of overhead: exactly as many fit as the RFC says")
def overhead(t):
    c = t.connect()
    s = c.stream()
    # Entries of 3 + 1 + 32 bytes; the table holds two of them.
    block = b"".join(literal("incremental", f"x-{n}", n) for n in "abc")
    c.send(headers(s, raw_request(t, block, before=integer(72, 5, 0x20))))
    c.answer(s)
    expect(t, ask(t, c, b"\xbf", b"x-b"), b"b")
    breaks(t, b"\xc0", c=c)


@case("7541/2.3.2", "300 inserts push old entries out, and what is left decodes", origin=True)
def many_inserts(t):
    c = t.connect()
    c.encoder = hpack.Encoder()
    for i in range(300):
        s = c.stream()
        c.send(headers(s, c.encoder.encode(
            [(n.encode(), v.encode()) for n, v in c.fields()] + [(b"x-%d" % (i % 40), b"value %d" % (i // 7))])))
        c.answer(s)
    got = sorted(r.all(b"x-%d" % (i % 40))[0] for i, r in enumerate(sorted(t.requests(), key=number)))
    if got != sorted(b"value %d" % (i // 7) for i in range(300)):
        raise Fail("values were mixed up")


def number(request):
    """Sorts by (value, name), as they were sent."""
    name, value = next((n, v) for n, v in request.fields if n.startswith(b"x-") and n[2:].isdigit())
    return int(value[6:]), (int(name[2:]) - int(value[6:]) * 7) % 40


@case("7541/2.2", "a block for a refused or cancelled stream still changes the table")
def refused_changes(t):
    c = t.connect()
    s = c.stream()
    c.send(headers(s, raw_request(t, literal("incremental", "x-a", "one")), end=False), rst_stream(s))
    c.barrier()
    expect(t, ask(t, c, b"\xbe", b"x-a"), b"one")


@case("7541/2.2", "a block for trailers changes the same table")
def trailers_change(t):
    c = t.connect()
    s = c.request(method="POST", path=t.path("echo"), end=False)
    c.send(headers(s, literal("incremental", "x-a", "one")))
    c.answer(s, ok=bool(t.origin))
    expect(t, ask(t, c, b"\xbe", b"x-a"), b"one")


@each("7541/4.2", "SETTINGS_HEADER_TABLE_SIZE {}: the server's encoder stays within it", [("0", 0), ("100", 100)])
def server_encoder(t, size):
    c = t.connect(open_settings=[(HEADER_TABLE_SIZE, size)])
    c.until(lambda: c.acks, "SETTINGS acknowledgement")
    c.decoder.max_allowed_table_size = size
    for _ in range(5):
        c.works()


@case("7541/4.2", "a table made smaller and larger again in two SETTINGS: the server signals the smallest size")
def smallest(t):
    c = t.connect()
    c.works()
    c.works()
    c.send(settings((HEADER_TABLE_SIZE, 0)), settings((HEADER_TABLE_SIZE, 4096)))
    c.until(lambda: c.acks == 3, "acknowledgements")
    # Our decoder forgets everything: an index from before must not come.
    c.decoder.header_table_size = 0
    c.decoder.header_table_size = 4096
    for _ in range(3):
        c.works()



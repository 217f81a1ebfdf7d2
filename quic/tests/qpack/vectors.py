#!/usr/bin/env python3
"""Vectors for the QPACK tests, by an implementation of others: ls-qpack, through `pip install pylsqpack` (1.0.0).

    vectors.py write   writes theirs.txt: what the encoder of ls-qpack makes of the messages below
    vectors.py check   reads ours.txt, which the test `differential::write_ours` wrote: the decoder of ls-qpack has to read
                       from it what it says

A file is a sequence of lines, each a word and octets in hexadecimal:

    connection TABLE BLOCKED   a new connection with these settings of the decoder
    inserts OCTETS             comes on the encoder stream
    section STREAM OCTETS      comes on a request stream; it may be blocked until more inserts come
    field NAME VALUE           a field of the section before
"""
import pathlib
import random
import sys

import pylsqpack

HERE = pathlib.Path(__file__).parent
# Static entries by their names and values come from the RFC by way of ls-qpack: each pair below is one entry.
STATIC = """
:authority|;:path|/;age|0;content-disposition|;content-length|0;cookie|;date|;etag|;if-modified-since|;if-none-match|;
last-modified|;link|;location|;referer|;set-cookie|;:method|CONNECT;:method|DELETE;:method|GET;:method|HEAD;
:method|OPTIONS;:method|POST;:method|PUT;:scheme|http;:scheme|https;:status|103;:status|200;:status|304;:status|404;
:status|503;accept|*/*;accept|application/dns-message;accept-encoding|gzip, deflate, br;accept-ranges|bytes;
access-control-allow-headers|cache-control;access-control-allow-headers|content-type;access-control-allow-origin|*;
cache-control|max-age=0;cache-control|max-age=2592000;cache-control|max-age=604800;cache-control|no-cache;
cache-control|no-store;cache-control|public, max-age=31536000;content-encoding|br;content-encoding|gzip;
content-type|application/dns-message;content-type|application/javascript;content-type|application/json;
content-type|application/x-www-form-urlencoded;content-type|image/gif;content-type|image/jpeg;content-type|image/png;
content-type|text/css;content-type|text/html! charset=utf-8;content-type|text/plain;content-type|text/plain!charset=utf-8;
range|bytes=0-;strict-transport-security|max-age=31536000;strict-transport-security|max-age=31536000! includesubdomains;
strict-transport-security|max-age=31536000! includesubdomains! preload;vary|accept-encoding;vary|origin;
x-content-type-options|nosniff;x-xss-protection|1! mode=block;:status|100;:status|204;:status|206;:status|302;:status|400;
:status|403;:status|421;:status|425;:status|500;accept-language|;access-control-allow-credentials|FALSE;
access-control-allow-credentials|TRUE;access-control-allow-headers|*;access-control-allow-methods|get;
access-control-allow-methods|get, post, options;access-control-allow-methods|options;
access-control-expose-headers|content-length;access-control-request-headers|content-type;
access-control-request-method|get;access-control-request-method|post;alt-svc|clear;authorization|;
content-security-policy|script-src 'none'! object-src 'none'! base-uri 'none';early-data|1;expect-ct|;forwarded|;if-range|;
origin|;purpose|prefetch;server|;timing-allow-origin|*;upgrade-insecure-requests|1;user-agent|;x-forwarded-for|;
x-frame-options|deny;x-frame-options|sameorigin
"""


def statics():
    pairs = [pair.strip().replace("!", ";").split("|", 1) for pair in STATIC.split(";")]
    return [(name.encode(), value.encode()) for name, value in pairs]


def message(dice, n):
    """A request or a response: some fields repeat, some do not."""
    if dice.random() < 0.5:
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"www%d.example.com" % dice.randrange(3)),
                  (b":path", b"/%d" % dice.randrange(40)), (b"user-agent", b"client/%d (some words)" % dice.randrange(4)),
                  (b"accept", b"*/*"), (b"accept-language", b"de,en;q=0.%d" % dice.randrange(3))]
        if dice.random() < 0.3:
            fields.append((b"cookie", b"session=%d" % dice.randrange(10)))
    else:
        fields = [(b":status", dice.choice([b"200", b"304", b"418"])), (b"date", b"Mon, 01 Jan 2024 00:00:%02d GMT" % (n // 4 % 60)),
                  (b"server", b"edge"), (b"content-type", dice.choice([b"text/css", b"text/x-odd", b"image/avif"]))]
    for _ in range(dice.randrange(4)):
        name = dice.choice([b"x-a", b"x-trace", b"x-frame-options", b"x-some-long-name-of-its-own"])
        fields.append((name, dice.choice([b"", b"1", b"deny", b"%d" % n, b"\xc3\xa4", b"v" * dice.randrange(60)])))
    return fields


def write():
    dice, lines = random.Random(9204), []
    for table, blocked in [(0, 0), (128, 4), (512, 0), (512, 100), (4096, 0), (4096, 16), (4096, 100), (65536, 100)]:
        lines.append(f"connection {table} {blocked}")
        encoder, decoder = pylsqpack.Encoder(), pylsqpack.Decoder(table, blocked)
        pending = encoder.apply_settings(table, blocked)
        waiting = 0
        for n in range(40):
            stream = 4 * n
            fields = statics() if n == 0 else message(dice, n)
            inserts, section = encoder.encode(stream, fields)
            pending += inserts
            # Some inserts come late, as far as the encoder has to reckon with it.
            late = blocked > 0 and waiting < 3 and dice.random() < 0.4
            if not late:
                lines.append(f"inserts {pending.hex()}")
                for unblocked in decoder.feed_encoder(pending):
                    encoder.feed_decoder(decoder.resume_header(unblocked)[0])
                pending, waiting = b"", 0
            lines.append(f"section {stream} {section.hex()}")
            lines += [f"field {name.hex()} {value.hex()}" for name, value in fields]
            try:
                control, read = decoder.feed_header(stream, section)
                assert read == fields
                encoder.feed_decoder(control)
            except pylsqpack.StreamBlocked:
                waiting += 1
        lines.append(f"inserts {pending.hex()}")
    (HERE / "theirs.txt").write_text("\n".join(lines) + "\n")


def check():
    decoder, count, got, expected = None, 0, [], []
    for line in (HERE / "ours.txt").read_text().splitlines() + ["end"]:
        word, _, rest = line.partition(" ")
        if word != "field":
            assert got == expected, (got, expected)
            got, expected = [], []
        if word == "connection":
            decoder = pylsqpack.Decoder(*map(int, rest.split()))
        elif word == "inserts":
            assert decoder.feed_encoder(bytes.fromhex(rest)) == []
        elif word == "section":
            stream, octets = rest.split()
            got = decoder.feed_header(int(stream), bytes.fromhex(octets))[1]
            count += 1
        elif word == "field":
            name, value = rest.split(" ")
            expected.append((bytes.fromhex(name), bytes.fromhex(value)))
    print(f"{count} sections, all as they say")


{"write": write, "check": check}[sys.argv[1]]()

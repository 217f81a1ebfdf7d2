//! Header sections as QPACK has them without a dynamic table (RFC 9204 4.5), by code that the edge does not share.
use std::io;

/// Codes fields as literals with literal names (4.5.6), which any decoder takes and none remembers.
pub fn encode<'a>(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    // No dynamic table: required insert count and base are 0.
    let mut out = vec![0, 0];
    for (name, value) in fields {
        integer(&mut out, 0x20, 3, name.len());
        out.extend_from_slice(name);
        integer(&mut out, 0, 7, value.len());
        out.extend_from_slice(value);
    }
    out
}

/// Appends an integer behind the bits of `first` (RFC 7541 5.1).
fn integer(out: &mut Vec<u8>, first: u8, bits: u32, n: usize) {
    let most = (1 << bits) - 1;
    if n < most {
        return out.push(first | n as u8);
    }
    out.push(first | most as u8);
    let mut rest = n - most;
    while rest >= 128 {
        out.push(rest as u8 | 128);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Names and values of a header section.
///
/// # Errors
/// `InvalidData` for anything that a client without a dynamic table cannot be sent.
pub fn decode(section: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut input = Input(section);
    if (input.integer(8)?, input.integer(7)?) != (0, 0) {
        return Err(invalid("a reference to a dynamic table that was not offered"));
    }
    let mut fields = Vec::new();
    while let Some(&first) = input.0.first() {
        fields.push(match first {
            0xc0.. => {
                let (name, value) = entry(input.integer(6)?)?;
                (name.into(), value.into())
            }
            0x50..=0x5f | 0x70..=0x7f => (entry(input.integer(4)?)?.0.into(), input.string(7)?),
            0x20..=0x3f => (input.string(3)?, input.string(7)?),
            _ => return Err(invalid("a field line of a dynamic table")),
        });
    }
    Ok(fields)
}

fn entry(index: usize) -> io::Result<(&'static str, &'static str)> {
    STATIC_TABLE.get(index).copied().ok_or_else(|| invalid("no such entry of the static table"))
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> io::Result<u8> {
        let (first, rest) = self.0.split_first().ok_or_else(|| invalid("a cut field section"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn integer(&mut self, bits: u32) -> io::Result<usize> {
        let most = (1 << bits) - 1;
        let mut n = usize::from(self.byte()?) & most;
        if n < most {
            return Ok(n);
        }
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            n += usize::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(n);
            }
        }
        Err(invalid("an endless integer"))
    }

    /// A string whose length has so many bits in its first byte, behind the one that says whether it is Huffman coded.
    fn string(&mut self, bits: u32) -> io::Result<Vec<u8>> {
        let huffman = self.0.first().is_some_and(|b| b & (1 << bits) != 0);
        let len = self.integer(bits)?;
        let bytes = self.0.split_off(..len).ok_or_else(|| invalid("a cut string"))?;
        if !huffman {
            return Ok(bytes.into());
        }
        let mut plain = Vec::new();
        httlib_huffman::decode(bytes, &mut plain, httlib_huffman::DecoderSpeed::FourBits)
            .map_err(|_| invalid("a broken Huffman code"))?;
        Ok(plain)
    }
}

/// RFC 9204, Appendix A.
const STATIC_TABLE: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

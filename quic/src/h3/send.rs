//! Output on request streams: heads and trailers. The owner writes DATA itself, behind [`super::data_header`].
use super::{
    Connection, RequestHead, Stream,
    frame::{begin_headers, finish_headers},
    qpack::Encoder,
};
use edge_io::{field_codec::Pseudo, head::FieldRef, message::is_hop_by_hop};

impl Connection {
    /// Appends a response's head to `out`, for the request stream `id`. `status` below 200 is an interim response: more
    /// heads follow. Fields that only HTTP/1.1 has are left out (RFC 9114, section 4.2); names are written in lower
    /// case.
    #[inline]
    pub fn write_response<'f>(
        &mut self,
        id: u64,
        status: u16,
        fields: impl Iterator<Item = FieldRef<'f>>,
        out: &mut Vec<u8>,
    ) {
        let start = begin_headers(out);
        self.encoder.begin(id, out);
        self.encoder.status(out, status);
        self.finish_section(fields, start, out);
    }

    /// Appends a request's head to `out`, for a new stream, whose response `stream` will read.
    pub fn write_request<'f>(
        &mut self,
        stream: &mut Stream,
        id: u64,
        request: &RequestHead<'_>,
        fields: impl Iterator<Item = FieldRef<'f>>,
        out: &mut Vec<u8>,
    ) {
        *stream = Stream::asking(request.method == b"HEAD", request.method == b"CONNECT");
        write_request(&mut self.encoder, id, request, fields, out);
    }

    /// Appends trailers to `out`, for the request stream `id`: nothing may follow them.
    pub fn write_trailers<'f>(&mut self, id: u64, fields: impl Iterator<Item = FieldRef<'f>>, out: &mut Vec<u8>) {
        let start = begin_headers(out);
        self.encoder.begin(id, out);
        self.finish_section(fields, start, out);
    }

    #[inline]
    fn finish_section<'f>(&mut self, fields: impl Iterator<Item = FieldRef<'f>>, start: usize, out: &mut Vec<u8>) {
        finish_section(&mut self.encoder, fields, start, out);
    }
}

/// Appends a request's head to `out`, as `encoder` encodes it.
pub(crate) fn write_request<'f>(
    encoder: &mut Encoder,
    id: u64,
    request: &RequestHead<'_>,
    fields: impl Iterator<Item = FieldRef<'f>>,
    out: &mut Vec<u8>,
) {
    let start = begin_headers(out);
    encoder.begin(id, out);
    encoder.pseudo(out, Pseudo::Method, request.method);
    if let Some(protocol) = request.protocol {
        encoder.pseudo(out, Pseudo::Protocol, protocol);
    }
    if request.method != b"CONNECT" || request.protocol.is_some() {
        encoder.pseudo(out, Pseudo::Scheme, request.scheme);
        encoder.pseudo(out, Pseudo::Path, request.path);
    }
    if !request.authority.is_empty() {
        encoder.pseudo(out, Pseudo::Authority, request.authority);
    }
    finish_section(encoder, fields, start, out);
}

#[inline]
fn finish_section<'f>(
    encoder: &mut Encoder,
    fields: impl Iterator<Item = FieldRef<'f>>,
    start: usize,
    out: &mut Vec<u8>,
) {
    for field in fields {
        if !is_hop_by_hop(field.id) {
            encoder.field(out, field.id, field.name, field.value);
        }
    }
    encoder.end(out);
    finish_headers(out, start);
}

//! A request as it is sent again and again: encoded once.
use crate::h3::{self, RequestHead, qpack};
use bytes::Bytes;
use edge_io::head::FieldRef;

/// Bodies up to this size are kept in one piece with the head, bytes.
const TOGETHER: usize = 4 * 1024;

/// A request's frames. They use no entry of QPACK's dynamic table, and so are the same on every connection.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The HEADERS frame, and what of DATA is in front of `body`.
    pub(super) head: Bytes,
    /// What is not copied behind it.
    pub(super) body: Bytes,
    method: Method,
}

/// What of the method the answer's meaning depends on (RFC 9110, section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Head,
    Connect,
    Other,
}

impl Prepared {
    /// Of `request`, its `fields` and its `body`; an empty one is none. Fields that only HTTP/1.1 has are left out; a
    /// content-length is the caller's.
    pub fn new<'f>(request: &RequestHead<'_>, fields: impl Iterator<Item = FieldRef<'f>>, body: &Bytes) -> Prepared {
        let mut head = Vec::with_capacity(256);
        h3::write_request(&mut qpack::Encoder::new(), 0, request, fields, &mut head);
        let mut body = body.clone();
        if !body.is_empty() {
            h3::data_header(body.len() as u64, &mut head);
        }
        if body.len() <= TOGETHER {
            head.extend_from_slice(&body);
            body = Bytes::new();
        }
        let method = match request.method {
            b"HEAD" => Method::Head,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        Prepared { head: head.into(), body, method }
    }

    /// Bytes that go onto the request's stream.
    pub fn wire_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What will read the answer.
    #[inline]
    pub(super) fn stream(&self) -> h3::Stream {
        h3::Stream::asking(self.method == Method::Head, self.method == Method::Connect)
    }
}

//! What holds for all bytes: no way to cut them changes what they say, nothing panics, and what we write we read back.
use crate::{
    drive::{Outcome, Wire, requests, responses},
    vectors::{Role, load},
};
use edge_io::{
    head::{FieldId, FieldRef, Head, Method, Version},
    http1::{
        Framing, HeadParser, Limits, response_semantics, write_chunk_start, write_content_length, write_field,
        write_last_chunk, write_request_line, write_status_line,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::sync::OnceLock;

const ROLES: [Role; 2] = [Role::Request, Role::Response];

fn outcome(role: Role, bytes: &[u8], piece: &mut dyn FnMut() -> usize) -> Outcome {
    // Small limits, so that they are met often.
    let limits = Limits { line_bytes: 200, head_bytes: 600, fields: 12, chunk_line_bytes: 24, trailer_bytes: 80 };
    let wire = Wire::new(bytes, piece);
    match role {
        Role::Request => requests(wire, &limits, &mut |_, _| {}),
        Role::Response => responses(wire, &limits, &[Method::Get, Method::Head, Method::Get], true, &mut |_| {}),
    }
}

/// The pieces in turn, for ever.
fn cut(pieces: &[usize]) -> impl FnMut() -> usize {
    let mut turn = pieces.iter().copied().cycle();
    move || turn.next().unwrap_or(1)
}

/// One change of a message.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, u8),
    Delete(Index, usize),
    Repeat(Index, usize),
    Swap(Index, Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match self {
            Mutation::Replace(at, b) => bytes[at.index(len)] = *b,
            Mutation::Insert(at, b) => bytes.insert(at.index(len), *b),
            Mutation::Delete(at, n) => {
                let at = at.index(len);
                bytes.drain(at..(at + n).min(len));
            }
            Mutation::Repeat(at, n) => {
                let at = at.index(len);
                let copy = bytes[at..(at + n).min(len)].to_vec();
                bytes.splice(at..at, copy);
            }
            Mutation::Swap(a, b) => bytes.swap(a.index(len), b.index(len)),
        }
    }
}

/// Bytes that mean something to a parser, and some that do not.
fn telling() -> impl Strategy<Value = u8> {
    prop_oneof![4 => proptest::sample::select(&b"\r\n\t :;,=\"\\\0_-/?#%*0159afxHT\x7f\x80"[..]), 1 => any::<u8>()]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        (at(), telling()).prop_map(|(i, b)| Mutation::Replace(i, b)),
        (at(), telling()).prop_map(|(i, b)| Mutation::Insert(i, b)),
        (at(), 1..9usize).prop_map(|(i, n)| Mutation::Delete(i, n)),
        (at(), 1..40usize).prop_map(|(i, n)| Mutation::Repeat(i, n)),
        (at(), at()).prop_map(|(i, j)| Mutation::Swap(i, j)),
    ]
}

fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| load().iter().map(|c| c.bytes()).filter(|b| b.len() < 1000).collect())
}

/// A field name that no rule asks about.
fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9!#$%&'*+.^`|~-]{1,20}"
        .prop_filter("a name with a meaning", |name| FieldId::of(name.as_bytes()) == FieldId::Other)
}

fn value() -> impl Strategy<Value = String> {
    "([!-~é]([ -~\té]{0,40}[!-~é])?)?"
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((name(), value()), 0..12)
}

fn refs(fields: &[(String, String)]) -> Vec<FieldRef<'_>> {
    fields
        .iter()
        .map(|(n, v)| FieldRef { id: FieldId::of(n.as_bytes()), name: n.as_bytes(), value: v.as_bytes() })
        .collect()
}

fn write_chunks(out: &mut Vec<u8>, chunks: &[Vec<u8>], trailers: &[(String, String)]) {
    for chunk in chunks {
        write_chunk_start(out, chunk.len());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    write_last_chunk(out, refs(trailers).into_iter());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn cutting_a_spoiled_message_changes_nothing(
        seed in any::<Index>(),
        mutations in vec(mutation(), 0..4),
        pieces in vec(1..30usize, 1..8),
    ) {
        let mut bytes = seed.get(seeds()).clone();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        for role in ROLES {
            let whole = outcome(role, &bytes, &mut || usize::MAX);
            prop_assert_eq!(&outcome(role, &bytes, &mut cut(&pieces)), &whole);
            prop_assert_eq!(&outcome(role, &bytes, &mut || 1), &whole);
        }
    }

    #[test]
    fn garbage_never_panics_and_cutting_it_changes_nothing(
        bytes in prop_oneof![vec(any::<u8>(), 0..200), vec(telling(), 0..200)],
        start in proptest::sample::select(&[
            "", "GET / HTTP/1.1\r\nHost: h\r\n", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        ][..]),
        pieces in vec(1..30usize, 1..8),
    ) {
        let bytes = [start.as_bytes(), &bytes].concat();
        for role in ROLES {
            let whole = outcome(role, &bytes, &mut || usize::MAX);
            prop_assert_eq!(outcome(role, &bytes, &mut cut(&pieces)), whole);
        }
    }

    #[test]
    fn every_fault_is_seen_at_its_byte(
        seed in any::<Index>(),
        mutations in vec(mutation(), 1..3),
    ) {
        // A head that is rejected is rejected by its shortest bad prefix too, for the same reason, and never accepted
        // with more bytes behind it.
        let mut bytes = seed.get(seeds()).clone();
        mutations.iter().for_each(|m| m.apply(&mut bytes));
        let limits = Limits::default();
        for new in [HeadParser::request, HeadParser::response] {
            let mut head = Head::new();
            let whole = new().parse(&bytes, &limits, &mut head);
            let shorter = (0..=bytes.len())
                .map(|n| new().parse(&bytes[..n], &limits, &mut head))
                .find(|result| *result != Ok(None))
                .unwrap_or(Ok(None));
            prop_assert_eq!(whole, shorter);
        }
    }

    #[test]
    fn requests_are_read_back_as_written(
        method in "[A-Za-z!#$%&'*+.^_`|~-]{1,10}".prop_filter("CONNECT", |m| m != "CONNECT"),
        path in "/([a-z0-9._~!$&'()*+,;=:@/-]|%[1-9A-F][0-9a-f]){0,40}",
        query in proptest::option::of("[a-z0-9%=&?/+]{0,20}"),
        fields in fields(),
        chunks in vec(vec(any::<u8>(), 1..40), 0..5),
        trailers in fields(),
        pieces in vec(1..30usize, 1..8),
    ) {
        let target = query.as_ref().map_or(path.clone(), |q| format!("{path}?{q}"));
        let mut bytes = Vec::new();
        write_request_line(&mut bytes, method.as_bytes(), target.as_bytes());
        write_field(&mut bytes, b"host", b"example.com:8080");
        write_field(&mut bytes, b"transfer-encoding", b"chunked");
        refs(&fields).iter().for_each(|f| write_field(&mut bytes, f.name, f.value));
        bytes.extend_from_slice(b"\r\n");
        write_chunks(&mut bytes, &chunks, &trailers);
        let mut read = Head::new();
        let outcome = requests(Wire::new(&bytes, &mut cut(&pieces)), &Limits::default(), &mut |head, meaning| {
            read = head.clone();
            assert_eq!(meaning.framing, Framing::Chunked);
        });
        prop_assert_eq!((outcome.fault, outcome.left, outcome.messages.len()), (None, 0, 1));
        prop_assert_eq!(read.method_bytes(), method.as_bytes());
        prop_assert_eq!(read.path(), path.as_bytes());
        prop_assert_eq!(read.query(), query.as_ref().map(String::as_bytes));
        prop_assert_eq!(read.path_and_query(), target.as_bytes());
        prop_assert_eq!(read.authority(), b"example.com:8080");
        prop_assert_eq!(read.fields().skip(2).collect::<Vec<_>>(), refs(&fields));
        prop_assert_eq!(&outcome.messages[0].body, &chunks.concat());
        prop_assert_eq!(&outcome.messages[0].trailers, &format!("{:?}", refs(&trailers)));
    }

    #[test]
    fn responses_are_read_back_as_written(
        status in (200..600u16).prop_filter("no body", |s| ![204, 304].contains(s)),
        reason in value(),
        fields in fields(),
        body in vec(any::<u8>(), 0..200),
        pieces in vec(1..30usize, 1..8),
    ) {
        let mut bytes = Vec::new();
        write_status_line(&mut bytes, status, reason.as_bytes());
        write_content_length(&mut bytes, body.len() as u64);
        refs(&fields).iter().for_each(|f| write_field(&mut bytes, f.name, f.value));
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        let mut read = Head::new();
        let mut size = cut(&pieces);
        let wire = Wire::new(&bytes, &mut size);
        let outcome = responses(wire, &Limits::default(), &[Method::Get], false, &mut |head| read = head.clone());
        prop_assert_eq!((outcome.fault, outcome.left, outcome.messages.len()), (None, 0, 1));
        prop_assert_eq!((read.status(), read.reason(), read.version()), (status, reason.as_bytes(), Version::Http11));
        prop_assert_eq!(read.fields().skip(1).collect::<Vec<_>>(), refs(&fields));
        prop_assert_eq!(&outcome.messages[0].body, &body);
        let meaning = response_semantics(&read, Method::Get, false).unwrap();
        prop_assert_eq!(meaning.framing, Framing::Length(body.len() as u64));
    }
}

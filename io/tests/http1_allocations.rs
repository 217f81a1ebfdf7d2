//! A connection that has warmed up reads and writes messages without allocating.
use edge_io::{
    head::{Head, Method},
    http1::{
        BodyDecoder, Framing, HeadParser, Limits, request_semantics, response_semantics, write_chunk_start,
        write_content_length, write_field, write_last_chunk, write_request_line, write_status_line,
    },
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator as it is; counting touches only a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// The buffers of one connection.
#[derive(Default)]
struct Connection {
    head: Head,
    trailers: Head,
    out: Vec<u8>,
}

const REQUEST: &[u8] = b"POST http://example.com?a=b HTTP/1.1\r\nHost: example.com\r\nUser-Agent: x\r\nAccept: */*\r\n\
    Connection: keep-alive, te\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nX-Mine: y\r\n\r\n\
    5;a=b\r\nhello\r\n0\r\nServer-Timing: a\r\nX-Other: b\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

impl Connection {
    fn body(&mut self, mut input: &[u8], framing: Framing) {
        let limits = Limits::default();
        let mut decoder = BodyDecoder::new(framing);
        self.trailers.clear();
        while !decoder.is_done() {
            let step = decoder.decode(input, &limits, &mut self.trailers).expect("a good body");
            let data = &input[step.data.clone()];
            if !data.is_empty() {
                write_chunk_start(&mut self.out, data.len());
                self.out.extend_from_slice(data);
                self.out.extend_from_slice(b"\r\n");
            }
            input = &input[step.consumed..];
        }
        write_last_chunk(&mut self.out, self.trailers.fields());
    }

    fn fields(&mut self) {
        self.head.fields().for_each(|f| write_field(&mut self.out, f.name, f.value));
        write_content_length(&mut self.out, 5);
        self.out.extend_from_slice(b"\r\n");
    }

    /// One request and one response, with heads in two pieces.
    fn exchange(&mut self) {
        let limits = Limits::default();
        self.out.clear();
        let mut parser = HeadParser::request();
        assert_eq!(parser.parse(&REQUEST[..50], &limits, &mut self.head), Ok(None));
        let n = parser.parse(REQUEST, &limits, &mut self.head).expect("a good head").expect("a whole head");
        let meaning = request_semantics(&self.head).expect("a good request");
        write_request_line(&mut self.out, self.head.method_bytes(), self.head.path_and_query());
        self.fields();
        self.body(&REQUEST[n..], meaning.framing);
        let mut parser = HeadParser::response();
        assert_eq!(parser.parse(&RESPONSE[..30], &limits, &mut self.head), Ok(None));
        let n = parser.parse(RESPONSE, &limits, &mut self.head).expect("a good head").expect("a whole head");
        let meaning = response_semantics(&self.head, Method::Post, false).expect("a good response");
        write_status_line(&mut self.out, self.head.status(), self.head.reason());
        self.fields();
        self.body(&RESPONSE[n..], meaning.framing);
    }
}

#[test]
fn a_warm_connection_allocates_nothing() {
    let mut connection = Connection::default();
    assert_ne!(allocations(|| connection.exchange()), 0, "allocations are counted");
    assert_eq!(allocations(|| (0..10).for_each(|_| connection.exchange())), 0);
}

#[test]
fn a_new_connection_allocates_once_for_each_buffer() {
    let mut head = Head::new();
    let parse = |head: &mut Head| {
        let taken = HeadParser::response().parse(RESPONSE, &Limits::default(), head);
        assert!(matches!(taken, Ok(Some(_))));
    };
    assert_eq!(allocations(|| parse(&mut head)), 2, "the block and the offsets");
    let limits = Limits::default();
    let mut trailers = Head::new();
    let last = allocations(|| {
        let step = BodyDecoder::new(Framing::Chunked).decode(b"0\r\n\r\n", &limits, &mut trailers);
        assert!(step.is_ok_and(|step| step.done));
    });
    assert_eq!(last, 0, "a body without trailer fields needs no memory for them");
}

#[test]
fn parsers_are_small() {
    assert!(size_of::<HeadParser>() <= 48, "{}", size_of::<HeadParser>());
    assert!(size_of::<BodyDecoder>() <= 48, "{}", size_of::<BodyDecoder>());
    assert!(size_of::<Head>() <= 192, "{}", size_of::<Head>());
}

//! Drives the HTTP/1 engine over the bytes of one connection, in pieces of any size, as a connection would.
use edge_io::{
    head::{Head, Method},
    http1::{
        BodyDecoder, Framing, HeadParser, Limits, Reject, RequestSemantics, request_semantics, response_semantics,
    },
};

/// One complete message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Start line and fields, in [`Head`]'s debug form.
    pub head: String,
    /// The body's data.
    pub body: Vec<u8>,
    /// The trailer fields that were kept.
    pub trailers: String,
}

/// What became of a connection's bytes.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Outcome {
    /// The complete messages; for responses the final ones only.
    pub messages: Vec<Message>,
    /// What is wrong with the one after them, if something is.
    pub fault: Option<Reject>,
    /// Bytes behind the last message that were not looked at.
    pub left: usize,
}

/// The bytes of a connection as they arrive.
pub struct Wire<'a> {
    bytes: &'a [u8],
    start: usize,
    end: usize,
    piece: &'a mut dyn FnMut() -> usize,
}

impl<'a> Wire<'a> {
    /// `piece` says how many bytes arrive next; 0 counts as 1.
    pub fn new(bytes: &'a [u8], piece: &'a mut dyn FnMut() -> usize) -> Wire<'a> {
        Wire { bytes, start: 0, end: 0, piece }
    }

    fn here(&self) -> &'a [u8] {
        &self.bytes[self.start..self.end]
    }

    /// More bytes; false when the peer has closed.
    fn more(&mut self) -> bool {
        let arrived = self.end < self.bytes.len();
        self.end = self.end.saturating_add((self.piece)().max(1)).min(self.bytes.len());
        arrived
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// `None`: the peer closed where a message may end.
    fn head(&mut self, parser: &mut HeadParser, limits: &Limits, head: &mut Head) -> Result<Option<()>, Reject> {
        parser.reset();
        loop {
            let input = self.here();
            if let Some(n) = parser.parse(input, limits, head)? {
                assert!(n <= input.len(), "took {n} of {} bytes", input.len());
                self.start += n;
                return Ok(Some(()));
            }
            if !self.more() {
                return if parser.is_fresh() { Ok(None) } else { Err(Reject::Truncated) };
            }
        }
    }

    fn body(&mut self, framing: Framing, limits: &Limits, head: String) -> Result<Message, Reject> {
        let (mut decoder, mut trailers, mut body) = (BodyDecoder::new(framing), Head::new(), Vec::new());
        loop {
            let input = self.here();
            let step = decoder.decode(input, limits, &mut trailers)?;
            assert!(step.data.start <= step.data.end && step.data.end <= step.consumed && step.consumed <= input.len());
            assert_eq!(step.done, decoder.is_done());
            body.extend_from_slice(&input[step.data.clone()]);
            self.start += step.consumed;
            let ended = step.done || (step.consumed == input.len() && !self.more());
            if ended {
                decoder.end_of_input()?;
                return Ok(Message { head, body, trailers: format!("{:?}", trailers.fields().collect::<Vec<_>>()) });
            }
            assert!(step.consumed > 0 || input.is_empty(), "no progress");
        }
    }
}

/// Reads requests until the bytes end, the connection must close, or something is wrong. `see` is shown every head.
pub fn requests(mut wire: Wire<'_>, limits: &Limits, see: &mut dyn FnMut(&Head, &RequestSemantics)) -> Outcome {
    let (mut outcome, mut parser, mut head) = (Outcome::default(), HeadParser::request(), Head::new());
    let mut next = |wire: &mut Wire<'_>| -> Result<Option<(Message, bool)>, Reject> {
        let Some(()) = wire.head(&mut parser, limits, &mut head)? else {
            return Ok(None);
        };
        let meaning = request_semantics(&head)?;
        see(&head, &meaning);
        let message = wire.body(meaning.framing, limits, format!("{head:?}"))?;
        Ok(Some((message, meaning.keep_alive)))
    };
    let mut alive = true;
    while alive {
        match next(&mut wire) {
            Ok(Some((message, keep_alive))) => {
                outcome.messages.push(message);
                alive = keep_alive;
            }
            Ok(None) => break,
            Err(fault) => {
                outcome.fault = Some(fault);
                return outcome;
            }
        }
    }
    outcome.left = wire.left();
    outcome
}

/// Reads the final responses to requests with these methods; `upgrade`: whether they asked for one.
pub fn responses(
    mut wire: Wire<'_>,
    limits: &Limits,
    methods: &[Method],
    upgrade: bool,
    see: &mut dyn FnMut(&Head),
) -> Outcome {
    let (mut outcome, mut parser, mut head) = (Outcome::default(), HeadParser::response(), Head::new());
    let mut next = |wire: &mut Wire<'_>, method: Method| -> Result<(Message, bool), Reject> {
        loop {
            wire.head(&mut parser, limits, &mut head)?.ok_or(Reject::Truncated)?;
            let meaning = response_semantics(&head, method, upgrade)?;
            see(&head);
            if head.status() < 200 && meaning.framing != Framing::Tunnel {
                assert_eq!(meaning.framing, Framing::None);
                continue;
            }
            let message = wire.body(meaning.framing, limits, format!("{head:?}"))?;
            return Ok((message, meaning.keep_alive));
        }
    };
    for &method in methods {
        match next(&mut wire, method) {
            Ok((message, keep_alive)) => {
                outcome.messages.push(message);
                if !keep_alive {
                    break;
                }
            }
            Err(fault) => {
                outcome.fault = Some(fault);
                return outcome;
            }
        }
    }
    outcome.left = wire.left();
    outcome
}

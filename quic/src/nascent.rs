//! A request on its way: its stream is open, and its head is not complete.
use crate::{
    connection::Connection,
    h3::{self, Error, ErrorCode, Event, Fatal},
    inflow::{Inflow, State},
};
use edge_io::head::{Head, spare};
use quinn_proto::StreamId;
use std::{rc::Rc, time::Instant};

/// A request whose head is being read.
pub struct Nascent {
    /// The engine's share of it.
    pub engine: h3::Stream,
    /// Its head, once it is complete.
    pub head: Box<Head>,
    /// Bytes behind the head.
    pub inflow: Inflow,
    /// When its stream was opened.
    pub since: Instant,
}

/// How far the head is.
pub enum Step {
    /// More has to come.
    Waiting,
    /// It is there.
    Complete {
        /// Nothing follows.
        end: bool,
    },
    /// The client gave it up.
    Reset,
    /// It is none.
    Refused {
        /// What the stream is reset with.
        code: ErrorCode,
        /// Or is answered with.
        respond: Option<u16>,
    },
    /// The connection cannot go on.
    Fatal(Fatal),
    /// The connection is gone.
    Gone,
}

impl Nascent {
    /// A stream that was just opened.
    pub fn new(now: Instant) -> Nascent {
        Nascent { engine: h3::Stream::new(), head: spare::take(), inflow: Inflow::default(), since: now }
    }

    /// Reads what has come.
    pub fn advance(&mut self, connection: &Rc<Connection>, id: StreamId) -> Step {
        if self.engine.is_blocked() {
            if self.inflow.is_reset(connection, id) {
                connection.engine().cancelled(&mut self.engine, id.into());
                return Step::Reset;
            }
            return Step::Waiting;
        }
        loop {
            self.inflow.fill(connection, id);
            let last = self.inflow.is_last();
            if self.inflow.first().is_empty() && !last {
                return match self.inflow.state() {
                    State::Reset(_) => {
                        connection.engine().cancelled(&mut self.engine, id.into());
                        Step::Reset
                    }
                    State::Closed => Step::Gone,
                    State::Open | State::Finished => Step::Waiting,
                };
            }
            let now_ms = connection.core().now_ms();
            let mut engine = connection.engine();
            let received =
                engine.receive(&mut self.engine, id.into(), self.inflow.first(), last, now_ms, &mut self.head);
            drop(engine);
            match received {
                Err(e) => return refused(e),
                Ok((n, event)) => {
                    self.inflow.advance(n);
                    match event {
                        None if last && self.inflow.first().is_empty() => {
                            return Step::Refused { code: ErrorCode::H3_REQUEST_INCOMPLETE, respond: None };
                        }
                        None => {}
                        Some(Event::Head { end }) => return Step::Complete { end },
                        Some(Event::Blocked) => return Step::Waiting,
                        Some(Event::Data { .. } | Event::Trailers | Event::End) => {
                            return Step::Refused { code: ErrorCode::H3_MESSAGE_ERROR, respond: None };
                        }
                    }
                }
            }
        }
    }

    /// What it waited for has come on the encoder's stream.
    pub fn resume(&mut self, connection: &Rc<Connection>, id: StreamId) -> Step {
        let resumed = connection.engine().resume(&mut self.engine, id.into(), &mut self.head);
        match resumed {
            Err(e) => refused(e),
            Ok(Some(Event::Head { end })) => Step::Complete { end },
            Ok(_) => Step::Waiting,
        }
    }
}

fn refused(e: Error) -> Step {
    match e {
        Error::Stream { code, respond, .. } => Step::Refused { code, respond },
        Error::Connection(fatal) => Step::Fatal(fatal),
    }
}

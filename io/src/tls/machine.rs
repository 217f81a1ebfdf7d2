//! One call of rustls' state machine, either role, as a plain value.
use super::Error;
use crate::buf::Buf;
use rustls::{
    CommonState,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, ReadTraffic, UnbufferedStatus},
};

/// The protocol's state and keys.
pub(super) enum Machine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What the caller wants from a call; everything else that is due happens on the way, one thing per call.
pub(super) enum Want<'a> {
    /// To get on: messages that are due go to the buffer.
    Progress(&'a mut Buf),
    /// Plaintext: as much of it as has room in the slice, the rest into the (empty) buffer.
    Plaintext(&'a mut [u8], &'a mut Buf),
    /// These bytes encrypted into the room.
    Encrypt(&'a [u8], &'a mut [u8]),
    /// `close_notify` encrypted into the room.
    Close(&'a mut [u8]),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A message went to the buffer, or something else changed: there may be more.
    Again,
    /// Plaintext waits to be taken.
    Plaintext,
    /// So many bytes were put into the caller's room.
    Done(usize),
    /// The peer's `close_notify` came.
    PeerClosed,
    /// Everything that came is worked through.
    NeedsInput,
}

impl Machine {
    /// One call with the bytes that came. The first number is how many of them are done with.
    pub fn step(&mut self, input: &mut [u8], want: Want<'_>) -> (usize, Result<Step, Error>) {
        match self {
            Machine::Server(conn) => take(conn.process_tls_records(input), want),
            Machine::Client(conn) => take(conn.process_tls_records(input), want),
        }
    }

    pub fn common(&self) -> &CommonState {
        match self {
            Machine::Server(conn) => conn,
            Machine::Client(conn) => conn,
        }
    }

    pub fn is_server(&self) -> bool {
        matches!(self, Machine::Server(_))
    }
}

fn take<D>(status: UnbufferedStatus<'_, '_, D>, want: Want<'_>) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(e) => Err(e.into()),
        Ok(state) => act(state, want, &mut discard),
    };
    (discard, step)
}

fn act<D>(state: ConnectionState<'_, '_, D>, want: Want<'_>, discard: &mut usize) -> Result<Step, Error> {
    match (state, want) {
        (ConnectionState::ReadTraffic(from), Want::Plaintext(room, rest)) => read(from, room, rest, discard),
        (ConnectionState::ReadTraffic(_), _) => Ok(Step::Plaintext),
        (ConnectionState::EncodeTlsData(from), Want::Progress(to)) => encode(from, to),
        // No message is lost: those that are due come before plaintext, and are taken when they become due.
        (ConnectionState::EncodeTlsData(_), _) => Err(internal("a message was due")),
        (ConnectionState::TransmitTlsData(sent), _) => {
            sent.done(); // it goes out of our buffer, before anything that is encrypted later
            Ok(Step::Again)
        }
        (ConnectionState::PeerClosed, _) => Ok(Step::PeerClosed),
        (ConnectionState::WriteTraffic(mut to), Want::Encrypt(data, room)) => {
            to.encrypt(data, room).map(Step::Done).map_err(encrypt_failed)
        }
        (ConnectionState::WriteTraffic(mut to), Want::Close(room)) => {
            to.queue_close_notify(room).map(Step::Done).map_err(encrypt_failed)
        }
        (ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake | ConnectionState::Closed, _) => {
            Ok(Step::NeedsInput)
        }
        _ => Err(internal("early data is not supported")),
    }
}

fn read<D>(
    mut from: ReadTraffic<'_, '_, D>,
    room: &mut [u8],
    rest: &mut Buf,
    discard: &mut usize,
) -> Result<Step, Error> {
    let mut filled = 0;
    while let Some(record) = from.next_record() {
        let record = record?;
        *discard += record.discard;
        let n = record.payload.len().min(room.len() - filled);
        let (fits, over) = record.payload.split_at(n);
        room[filled..filled + n].copy_from_slice(fits);
        filled += n;
        if !over.is_empty() {
            if !rest.reserve(over.len()) {
                return Err(internal("more plaintext than a record carries"));
            }
            rest.spare()[..over.len()].copy_from_slice(over);
            rest.advance(over.len());
        }
    }
    Ok(Step::Done(filled))
}

fn encode<D>(mut from: EncodeTlsData<'_, D>, to: &mut Buf) -> Result<Step, Error> {
    loop {
        match from.encode(to.spare()) {
            Ok(n) => {
                to.advance(n);
                return Ok(Step::Again);
            }
            Err(EncodeError::InsufficientSize(e)) if to.reserve(e.required_size) => {}
            Err(e) => return Err(internal(&e.to_string())),
        }
    }
}

fn encrypt_failed(e: EncryptError) -> Error {
    internal(&e.to_string())
}

fn internal(detail: &str) -> Error {
    Error::new(super::ErrorKind::Internal, detail)
}

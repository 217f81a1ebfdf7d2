//! Handshakes, both roles, on a connected socket. The caller bounds the time by dropping the future.
use super::{
    Error, ErrorKind, Info, Role, Session, error::ClearText, info::TLS13, machine::Machine, names, session::State,
};
use crate::{buf::Buf, stream::Stream, tcp};
use rustls::{
    ClientConfig, ServerConfig, client::UnbufferedClientConnection, pki_types::ServerName,
    server::UnbufferedServerConnection,
};
use std::{future::poll_fn, io, sync::Arc};

/// The most that a peer may send before the handshake is through, bytes: the longest certificate chain, twice.
pub const HANDSHAKE_BYTES: usize = 128 * 1024;
/// The most reads for it.
pub const HANDSHAKE_READS: usize = 16 * 1024;
/// The first byte of a handshake record (RFC 8446 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// The server's side. Errors of kind `NotTls` carry the connection. TLS 1.3 tickets go out with the first write.
pub async fn accept(tcp: tcp::Stream, config: Arc<ServerConfig>) -> Result<Stream, Error> {
    let conn = UnbufferedServerConnection::new(names::listening(&config))?;
    drop(config);
    let mut state = Box::new(State::new(Machine::Server(conn)));
    if read_more(&tcp, &mut state).await? == 0 {
        return Err(Error::new(ErrorKind::Closed, "closed before the first byte"));
    }
    if state.input.filled().first() != Some(&HANDSHAKE_RECORD) {
        let received = std::mem::replace(&mut state.input, Buf::none());
        let clear = Some(Box::new(ClearText { tcp, received }));
        return Err(Error { clear, ..Error::new(ErrorKind::NotTls, "the first byte is not that of a handshake") });
    }
    run(tcp, state).await
}

/// The client's side: the server must prove that it is `name`. Its last message may wait for the first write; it goes
/// out with that, when the owner waits for input, or with `poll_flush`, whichever comes first.
pub async fn connect(tcp: tcp::Stream, config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Stream, Error> {
    let conn = UnbufferedClientConnection::new(config, name)?;
    let mut state = Box::new(State::new(Machine::Client(conn)));
    state.exhausted = false; // it speaks first
    run(tcp, state).await
}

async fn run(tcp: tcp::Stream, mut state: Box<State>) -> Result<Stream, Error> {
    let mut server_name = None;
    let mut received = state.input.len();
    for _ in 0..HANDSHAKE_READS {
        names::take();
        let advanced = state.advance();
        server_name = names::take().or(server_name);
        if let Err(e) = advanced {
            state.output.flush_all(&tcp);
            end_gently(&tcp);
            return Err(e);
        }
        if !state.machine.common().is_handshaking() {
            return finish(tcp, state, server_name).await;
        }
        poll_fn(|cx| state.output.poll_flush(&tcp, cx)).await?;
        let n = read_more(&tcp, &mut state).await?;
        received += n;
        if n == 0 {
            return Err(Error::new(ErrorKind::Closed, "closed in the middle of the handshake"));
        }
        if received > HANDSHAKE_BYTES {
            break;
        }
    }
    Err(Error::new(ErrorKind::Protocol, "the handshake is too long"))
}

async fn read_more(tcp: &tcp::Stream, state: &mut State) -> Result<usize, Error> {
    loop {
        poll_fn(|cx| tcp.poll_readable(cx)).await;
        match state.receive(tcp) {
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err(Error::new(ErrorKind::Protocol, e.to_string()));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// After an alert: what the peer sent meanwhile is read, because closing over unread bytes resets the connection and
/// could take the alert with it.
fn end_gently(tcp: &tcp::Stream) {
    tcp.shutdown_write();
    let mut sink = Buf::small();
    let _ = tcp.try_recv(sink.spare());
}

async fn finish(tcp: tcp::Stream, mut state: Box<State>, server_name: Option<Box<str>>) -> Result<Stream, Error> {
    let info = info(&state.machine, server_name);
    if state.machine.is_server() && info.version == TLS13 {
        state.output.put_by(state.machine.common()); // tickets
    } else if !state.machine.is_server() {
        state.output.hold(); // the request follows at once
    }
    if !state.output.may_wait() {
        poll_fn(|cx| state.output.poll_flush(&tcp, cx)).await?;
    }
    Ok(Stream::secure(tcp, Session::new(info, *state)))
}

fn info(machine: &Machine, server_name: Option<Box<str>>) -> Info {
    let role = if machine.is_server() { Role::Server } else { Role::Client };
    Info { server_name, ..Info::new(machine.common(), role, None) }
}

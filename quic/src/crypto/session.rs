//! One connection's TLS: rustls' state machine, as quinn-proto drives it.
use super::{
    hello::Hello,
    packet::{self, Generation, Padding},
    retry,
};
use edge_io::tls::{EarlyData, Error, Info, Role};
use quinn_proto::{
    ConnectionId, Side, TransportError, TransportErrorCode,
    crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey},
    transport_parameters::TransportParameters,
};
use rustls::{
    AlertDescription, ContentType,
    quic::{Connection, KeyChange, Secrets},
};
use std::{any::Any, io::Cursor, sync::Arc};

/// Where TLS is.
enum Stage {
    /// rustls has it. A client stays here: tickets may come at any time.
    Running(Box<Connection>),
    /// A server's handshake is through and its tickets are written: a client has nothing more to say (RFC 9001 4.1.3
    /// and 6), and what rustls holds is memory that an idle connection does not need.
    Over(Box<Info>),
}

/// One connection's TLS. Keying material can be exported until a server's handshake is through.
pub(super) struct Session {
    stage: Stage,
    role: Role,
    /// Whether `HandshakeDataReady` was told.
    ready: bool,
    hello: Hello,
    /// Of the keys after the first ones, until they are asked for.
    secrets: Option<Secrets>,
    /// The last keys that were asked for.
    generation: Option<Arc<Generation>>,
    failed: Option<Box<rustls::Error>>,
}

impl Session {
    pub fn new(connection: Connection) -> Session {
        let role = match &connection {
            Connection::Client(_) => Role::Client,
            Connection::Server(_) => Role::Server,
        };
        Session {
            stage: Stage::Running(Box::new(connection)),
            role,
            ready: false,
            hello: Hello::default(),
            secrets: None,
            generation: None,
            failed: None,
        }
    }

    fn side(&self) -> Side {
        match self.role {
            Role::Client => Side::Client,
            Role::Server => Side::Server,
        }
    }

    fn running(&self) -> Option<&Connection> {
        match &self.stage {
            Stage::Running(connection) => Some(connection),
            Stage::Over(_) => None,
        }
    }

    fn info(&self) -> Info {
        let connection = match &self.stage {
            Stage::Running(connection) => connection,
            Stage::Over(info) => return Info::clone(info),
        };
        let (name, accepted) = match &**connection {
            Connection::Client(client) => (None, client.is_early_data_accepted()),
            // Cheap where it is not: the secret is there only after early data was accepted.
            Connection::Server(server) => (server.server_name(), connection.zero_rtt_keys().is_some()),
        };
        let mut info = Info::new(connection, self.role, name);
        info.early_data = match (accepted, self.hello.asks_for_early_data()) {
            (true, _) => EarlyData::Accepted,
            (false, true) => EarlyData::Rejected,
            (false, false) => EarlyData::None,
        };
        info
    }

    /// Keeps why it failed, and says it to the peer: the alert (RFC 9001 4.8) and one word.
    fn fail(&mut self, e: rustls::Error, alert: Option<AlertDescription>) -> TransportError {
        let reason = edge_io::tls::ErrorKind::of(&e).as_str().to_owned();
        self.failed = Some(Box::new(e));
        let code = alert.map_or(TransportErrorCode::PROTOCOL_VIOLATION, |a| TransportErrorCode::crypto(a.into()));
        TransportError { code, frame: None, reason }
    }

    /// Whether what `handshake_data` tells is there, for the first time. A server has chosen everything as soon as it
    /// read the ClientHello; a client knows the server's choice with ALPN.
    fn is_news(&mut self) -> bool {
        if self.ready {
            return false;
        }
        let Some(connection) = self.running() else { return false };
        self.ready = connection.alpn_protocol().is_some() || !connection.is_handshaking();
        self.ready
    }

    /// Lets rustls' state go when there is nothing more to come.
    fn settle(&mut self) {
        if self.role == Role::Server && self.running().is_some_and(|c| !c.is_handshaking()) {
            self.stage = Stage::Over(Box::new(self.info()));
        }
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        // The suite is compiled in: `ServerCrypto::new` and `ClientCrypto::new` have seen it.
        packet::initial(dst_cid, side, Padding::Goes).expect("AES-128-GCM is there")
    }

    /// [`Info`]; after a failure, an [`Error`] instead.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        if let Some(e) = &self.failed {
            return Some(Box::new(Error::from(rustls::Error::clone(e))));
        }
        self.ready.then(|| -> Box<dyn Any> { Box::new(self.info()) })
    }

    /// The peer's end-entity certificate, DER, as `Box<[u8]>`.
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        let der: Box<[u8]> = match &self.stage {
            Stage::Running(connection) => connection.peer_certificates()?.first()?.as_ref().into(),
            Stage::Over(info) => info.client_certificate.clone()?,
        };
        Some(Box::new(der))
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.running()?.zero_rtt_keys().map(packet::directional)
    }

    fn early_data_accepted(&self) -> Option<bool> {
        match self.running()? {
            Connection::Client(client) => Some(client.is_early_data_accepted()),
            Connection::Server(_) => None,
        }
    }

    fn is_handshaking(&self) -> bool {
        self.running().is_some_and(|c| c.is_handshaking())
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        if buf.is_empty() {
            return Ok(false);
        }
        let Stage::Running(connection) = &mut self.stage else {
            let unexpected = rustls::Error::InappropriateMessage {
                expect_types: vec![ContentType::ApplicationData],
                got_type: ContentType::Handshake,
            };
            return Err(self.fail(unexpected, Some(AlertDescription::UnexpectedMessage)));
        };
        if self.role == Role::Server && !self.ready {
            self.hello.read(buf);
        }
        if let Err(e) = connection.read_hs(buf) {
            let alert = connection.alert();
            return Err(self.fail(e, alert));
        }
        Ok(self.is_news())
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        match self.running().and_then(Connection::quic_transport_parameters) {
            None => Ok(None),
            Some(bytes) => Ok(Some(TransportParameters::read(self.side(), &mut Cursor::new(bytes))?)),
        }
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let Stage::Running(connection) = &mut self.stage else { return None };
        let before = buf.len();
        let change = connection.write_hs(buf);
        if self.role == Role::Client && !self.ready {
            self.hello.read(buf.get(before..).unwrap_or_default());
        }
        match change {
            Some(KeyChange::Handshake { keys }) => Some(packet::both(keys)),
            Some(KeyChange::OneRtt { keys, next }) => {
                self.secrets = Some(next);
                Some(packet::both(keys))
            }
            None => {
                if buf.is_empty() {
                    self.settle();
                }
                None
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let next = match self.secrets.take() {
            Some(first) => Generation::new(first),
            None => self.generation.as_ref()?.next(),
        };
        Some(self.generation.insert(Arc::new(next)).pair())
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        retry::is_valid(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let connection = self.running().ok_or(ExportKeyingMaterialError)?;
        connection.export_keying_material(output, label, Some(context)).map_err(|_| ExportKeyingMaterialError)?;
        Ok(())
    }
}

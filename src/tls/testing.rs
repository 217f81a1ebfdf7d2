//! What tests of TLS need: authorities, pairs in files, and handshakes in memory.
use super::config::Pair;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::ServerName};
use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// An authority.
pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// For `names`, valid for long.
pub(super) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.use_authority_key_identifier_extension = true;
    params
}

/// For a client called `name`, with this serial number.
pub(super) fn client_params(name: &str, serial: u64) -> CertificateParams {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(serial.into());
    params
}

/// PEM of a certificate issued by `authority` for `key`.
pub(super) fn issue(authority: &Authority, params: CertificateParams, key: &KeyPair) -> String {
    params.signed_by(key, authority).unwrap().pem()
}

/// A list that revokes the certificates with `serials`.
pub(super) fn revoke(authority: &Authority, serials: &[u64]) -> String {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2090, 1, 1),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(authority).unwrap().pem().unwrap()
}

/// A directory with pairs.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only its owner can read.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn pair(&self, name: &str, chain: &str, key: &KeyPair) -> Pair {
        let cert = self.write(&format!("{name}.pem"), chain);
        Pair { cert, key: self.write(&format!("{name}.key"), &key.serialize_pem()) }
    }

    /// A pair for `names` by `authority`, with a key of its own.
    pub fn issued(&self, name: &str, authority: &Authority, names: &[&str]) -> Pair {
        let key = KeyPair::generate().unwrap();
        self.pair(name, &issue(authority, params(names), &key), &key)
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }
}

/// A finished handshake, seen from both sides.
pub(super) struct Done {
    pub client: ClientConnection,
    pub server: ServerConnection,
}

/// Lets both sides talk until they are done; the error of the side that failed first. One byte of data goes each way,
/// so that tickets and late alerts arrive.
pub(super) fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Result<Done, String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).map_err(|e| e.to_string())?;
    let mut server = ServerConnection::new(server.clone()).map_err(|e| e.to_string())?;
    let mut said = false;
    for _ in 0..20 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(|e| format!("server: {e}"))?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|e| format!("client: {e}"))?;
        }
        if !client.is_handshaking() && !server.is_handshaking() && !std::mem::replace(&mut said, true) {
            client.writer().write_all(b"x").unwrap();
            server.writer().write_all(b"y").unwrap();
        }
    }
    let mut byte = [0];
    client.reader().read_exact(&mut byte).map_err(|e| format!("client: {e}"))?;
    server.reader().read_exact(&mut byte).map_err(|e| format!("server: {e}"))?;
    Ok(Done { client, server })
}

//! Keys of packets: what quinn-proto calls, over what rustls makes. Nothing here can panic: where quinn-proto's own
//! adapters unwrap, a packet that cannot be handled stays as it is, and fails authentication where it arrives.
use super::padding;
use bytes::BytesMut;
use quinn_proto::{
    ConnectionId, Side,
    crypto::{CryptoError, HeaderKey, KeyPair, Keys, PacketKey},
};
use rustls::{
    crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    quic::{self, DirectionalKeys, PacketKeySet, Secrets, Suite, Version},
};
use std::{
    cell::Cell,
    sync::{Arc, OnceLock},
};

/// A packet's number has at most so many bytes, and what is sampled for its protection begins after as many
/// (RFC 9001 5.4.2).
const NUMBER_BYTES: usize = 4;

/// The parts of a packet that header protection is about: first byte, number, sample. `None` when it is too short.
fn parts(packet: &mut [u8], number_at: usize, sample: usize) -> Option<(&mut u8, &mut [u8], &[u8])> {
    let (header, rest) = packet.split_at_mut_checked(number_at.checked_add(NUMBER_BYTES)?)?;
    let (first, header) = header.split_first_mut()?;
    let number = header.get_mut(number_at.checked_sub(1)?..)?;
    Some((first, number, rest.get(..sample)?))
}

fn protect(key: &dyn quic::HeaderProtectionKey, number_at: usize, packet: &mut [u8]) {
    if let Some((first, number, sample)) = parts(packet, number_at, key.sample_len()) {
        let _ = key.encrypt_in_place(sample, first, number);
    }
}

fn unprotect(key: &dyn quic::HeaderProtectionKey, number_at: usize, packet: &mut [u8]) {
    if let Some((first, number, sample)) = parts(packet, number_at, key.sample_len()) {
        let _ = key.decrypt_in_place(sample, first, number);
    }
}

/// `packet` has its header, the payload and room for the tag. What cannot be encrypted (it is longer than the cipher
/// can take, 64 GiB) leaves as zeros rather than in clear text.
fn seal(key: &dyn quic::PacketKey, number: u64, packet: &mut [u8], header_bytes: usize) {
    let Some((header, rest)) = packet.split_at_mut_checked(header_bytes) else { return packet.fill(0) };
    let Some((payload, room)) = rest.len().checked_sub(key.tag_len()).and_then(|n| rest.split_at_mut_checked(n)) else {
        return rest.fill(0);
    };
    match key.encrypt_in_place(number, header, payload) {
        Ok(tag) if tag.as_ref().len() == room.len() => room.copy_from_slice(tag.as_ref()),
        _ => rest.fill(0),
    }
}

/// Whether padding stays at the end of what is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// For who counts the bytes.
    Stays,
    /// For who reads the frames.
    Goes,
}

fn open(
    key: &dyn quic::PacketKey,
    number: u64,
    header: &[u8],
    payload: &mut BytesMut,
    padding: Padding,
) -> Result<(), CryptoError> {
    let plain = key.decrypt_in_place(number, header, payload).map_err(|_| CryptoError)?;
    let kept = if padding == Padding::Goes { padding::without(plain) } else { plain.len() };
    payload.truncate(kept);
    Ok(())
}

/// Protects headers.
struct Header(Box<dyn quic::HeaderProtectionKey>);

impl HeaderKey for Header {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        unprotect(&*self.0, pn_offset, packet);
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        protect(&*self.0, pn_offset, packet);
    }

    fn sample_size(&self) -> usize {
        self.0.sample_len()
    }
}

/// Something that has a key for payloads.
trait HasKey: Send + Sync {
    fn key(&self) -> &dyn quic::PacketKey;

    fn padding(&self) -> Padding {
        Padding::Goes
    }
}

/// Protects payloads.
struct Payload<T>(T);

impl<T: HasKey> PacketKey for Payload<T> {
    fn encrypt(&self, packet: u64, buf: &mut [u8], header_len: usize) {
        seal(self.0.key(), packet, buf, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        open(self.0.key(), packet, header, payload, self.0.padding())
    }

    fn tag_len(&self) -> usize {
        self.0.key().tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.key().confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.key().integrity_limit()
    }
}

impl HasKey for Box<dyn quic::PacketKey> {
    fn key(&self) -> &dyn quic::PacketKey {
        &**self
    }
}

/// Keys of one direction, as quinn-proto takes them.
pub(super) fn directional(keys: DirectionalKeys) -> (Box<dyn HeaderKey>, Box<dyn PacketKey>) {
    (Box::new(Header(keys.header)), Box::new(Payload(keys.packet)))
}

/// Keys of both directions, as quinn-proto takes them.
pub(super) fn both(keys: quic::Keys) -> Keys {
    let (local, remote) = (directional(keys.local), directional(keys.remote));
    Keys { header: KeyPair { local: local.0, remote: remote.0 }, packet: KeyPair { local: local.1, remote: remote.1 } }
}

/// The keys after the next key update (RFC 9001 6), made when they are first used: most connections never update, and
/// then cost neither the time nor the memory. That the first use takes longer tells an observer that there was an
/// update, which RFC 9001 6.3 allows.
pub(super) struct Generation {
    of: Secrets,
    made: OnceLock<(PacketKeySet, Secrets)>,
}

impl Generation {
    pub fn new(of: Secrets) -> Generation {
        Generation { of, made: OnceLock::new() }
    }

    fn made(&self) -> &(PacketKeySet, Secrets) {
        self.made.get_or_init(|| {
            let mut secrets = self.of.clone();
            (secrets.next_packet_keys(), secrets)
        })
    }

    /// Those after these.
    pub fn next(&self) -> Generation {
        Generation::new(self.made().1.clone())
    }

    /// As quinn-proto takes them.
    pub fn pair(self: &Arc<Generation>) -> KeyPair<Box<dyn PacketKey>> {
        KeyPair { local: Box::new(Payload(Local(self.clone()))), remote: Box::new(Payload(Remote(self.clone()))) }
    }
}

struct Local(Arc<Generation>);
struct Remote(Arc<Generation>);

impl HasKey for Local {
    fn key(&self) -> &dyn quic::PacketKey {
        &*self.0.made().0.local
    }
}

impl HasKey for Remote {
    fn key(&self) -> &dyn quic::PacketKey {
        &*self.0.made().0.remote
    }
}

/// The suite of Initial packets, whatever the configuration offers for the others (RFC 9001 5.2).
fn initial_suite() -> Option<Suite> {
    TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()
}

thread_local! {
    /// The last keys that a server made for a client's first packet.
    static LAST: Cell<Option<(ConnectionId, Arc<quic::Keys>)>> = const { Cell::new(None) };
}

/// Keys for Initial packets, shared by those who ask for the same.
struct Initial {
    keys: Arc<quic::Keys>,
    local: bool,
    padding: Padding,
}

impl Initial {
    fn directional(&self) -> &DirectionalKeys {
        if self.local { &self.keys.local } else { &self.keys.remote }
    }
}

impl HasKey for Initial {
    fn key(&self) -> &dyn quic::PacketKey {
        &*self.directional().packet
    }

    fn padding(&self) -> Padding {
        self.padding
    }
}

impl HeaderKey for Initial {
    fn decrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        unprotect(&*self.directional().header, pn_offset, packet);
    }

    fn encrypt(&self, pn_offset: usize, packet: &mut [u8]) {
        protect(&*self.directional().header, pn_offset, packet);
    }

    fn sample_size(&self) -> usize {
        self.directional().header.sample_len()
    }
}

/// Keys for Initial packets (RFC 9001 5.2): of what a client chose as the server's connection ID. The server's side is
/// asked twice, for the first packet and for the connection that begins with it, and makes them once. The first packet's
/// padding has to stay: quinn-proto reckons with its opened length how much it may send to an address that is not
/// validated (RFC 9000 8.1).
pub(super) fn initial(cid: &ConnectionId, side: Side, padding: Padding) -> Option<Keys> {
    let keys = match side {
        Side::Client => Arc::new(initial_suite()?.keys(cid, rustls::Side::Client, Version::V1)),
        Side::Server => match LAST.take() {
            Some((of, keys)) if of == *cid => keys,
            _ => {
                let keys = Arc::new(initial_suite()?.keys(cid, rustls::Side::Server, Version::V1));
                LAST.set(Some((*cid, keys.clone())));
                keys
            }
        },
    };
    let header = |local| -> Box<dyn HeaderKey> { Box::new(Initial { keys: keys.clone(), local, padding }) };
    let packet = |local| -> Box<dyn PacketKey> { Box::new(Payload(Initial { keys: keys.clone(), local, padding })) };
    Some(Keys {
        header: KeyPair { local: header(true), remote: header(false) },
        packet: KeyPair { local: packet(true), remote: packet(false) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001, Appendix A.
    const CID: [u8; 8] = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

    fn keys(side: Side) -> Keys {
        initial(&ConnectionId::new(&CID), side, Padding::Goes).unwrap()
    }

    #[test]
    fn the_servers_initial_packet_of_the_rfc() {
        // RFC 9001 A.3
        let header = [0xc1, 0, 0, 0, 1, 0, 8, 0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5, 0, 0x40, 0x75, 0, 1];
        let mut packet = header.to_vec();
        // The first bytes are enough: those of the ciphertext depend on no others.
        packet.extend([2, 0, 0, 0, 0, 6, 0, 0x40, 0x5a, 2, 0, 0, 0x56, 3, 3, 0xee, 0xfc, 0xe7, 0xf7]);
        packet.resize(20 + 99 + 16, 0);
        let keys = keys(Side::Server);
        keys.packet.local.encrypt(1, &mut packet, header.len());
        keys.header.local.encrypt(18, &mut packet);
        assert_eq!(packet[0], 0xcf);
        let expected = [
            0xc0, 0xd9, 0x5a, 0x48, 0x2c, 0xd0, 0x99, 0x1c, 0xd2, 0x5b, 0x0a, 0xac, 0x40, 0x6a, 0x58, 0x16, 0xb6, 0x39,
        ];
        assert_eq!(packet[18..36], expected);
    }

    #[test]
    fn both_sides_have_the_same_keys_the_other_way_round() {
        let (client, server) = (keys(Side::Client), keys(Side::Server));
        for (from, to) in [(&client, &server), (&server, &client)] {
            let mut packet = vec![0xc3, 1, 2, 3, 4, 5, 6, 7, 8, 9];
            packet.resize(10 + 40 + 16, 7);
            let clear = packet.clone();
            from.packet.local.encrypt(3, &mut packet, 10);
            from.header.local.encrypt(6, &mut packet);
            assert_ne!(packet[..10], clear[..10]);
            to.header.remote.decrypt(6, &mut packet);
            assert_eq!(packet[..10], clear[..10]);
            let mut payload = BytesMut::from(&packet[10..]);
            to.packet.remote.decrypt(3, &packet[..10], &mut payload).unwrap();
            assert_eq!(payload, clear[10..50]);
            payload = BytesMut::from(&packet[10..]);
            assert!(to.packet.remote.decrypt(4, &packet[..10], &mut payload).is_err());
        }
    }

    #[test]
    fn padding_goes_where_it_may() {
        let cid = ConnectionId::new(&CID);
        let mut packet = vec![0xc3; 10];
        packet.push(1);
        packet.resize(10 + 1000 + 16, 0);
        keys(Side::Client).packet.local.encrypt(0, &mut packet, 10);
        for (padding, left) in [(Padding::Goes, 1), (Padding::Stays, 1000)] {
            let mut payload = BytesMut::from(&packet[10..]);
            let keys = initial(&cid, Side::Server, padding).unwrap();
            keys.packet.remote.decrypt(0, &packet[..10], &mut payload).unwrap();
            assert_eq!(payload.len(), left);
        }
    }

    #[test]
    fn what_is_too_short_stays_as_it_is() {
        let keys = keys(Side::Server);
        for length in 0..40 {
            for number_at in (0..45).chain([usize::MAX - 3, usize::MAX]) {
                let clear = vec![0xc3; length];
                let mut packet = clear.clone();
                keys.header.remote.decrypt(number_at, &mut packet);
                let fits = number_at >= 1 && number_at.saturating_add(4 + 16) <= length;
                assert!(fits || packet == clear, "{length} {number_at}");
                keys.header.local.encrypt(number_at, &mut packet);
            }
            let mut packet = BytesMut::zeroed(length);
            assert!(keys.packet.remote.decrypt(0, &[], &mut packet).is_err());
        }
    }

    #[test]
    fn what_cannot_be_sealed_is_not_sent_in_clear_text() {
        let keys = keys(Side::Server);
        for (length, header) in [(10, 11), (20, 5), (0, 0), (15, 0)] {
            let mut packet = vec![1; length];
            keys.packet.local.encrypt(0, &mut packet, header);
            assert!(packet.iter().skip(header).all(|b| *b == 0), "{length} {header}");
        }
    }

    #[test]
    fn keys_for_one_first_packet_are_made_once() {
        let cid = ConnectionId::new(&[5; 8]);
        let first = initial(&cid, Side::Server, Padding::Goes).unwrap();
        let made = LAST.take().unwrap();
        LAST.set(Some(made.clone()));
        let second = initial(&cid, Side::Server, Padding::Goes).unwrap();
        assert_eq!(Arc::strong_count(&made.1), 9, "four parts each, and this one");
        assert!(LAST.take().is_none(), "a third one is not kept alive");
        drop((first, second));
    }
}

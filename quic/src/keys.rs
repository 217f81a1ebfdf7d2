//! Keys that all shards share: resets, tokens, connection IDs. A packet may meet any shard, and with forwarding the
//! wrong one first: what one has signed, each must know.
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk, Salt},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use quinn_proto::crypto::{AeadKey, CryptoError, HandshakeTokenKey, HmacKey};
use std::{fmt, sync::Arc};

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// The keys of a process. Clones are the same keys.
#[derive(Clone)]
pub struct Shared {
    reset: Arc<dyn HmacKey>,
    token: Arc<dyn HandshakeTokenKey>,
    cid: [u8; 16],
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// There is no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system gives no random bytes")
    }
}

impl std::error::Error for NoRandomness {}

impl Shared {
    /// Chosen by chance. Once per process.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Shared, NoRandomness> {
        let random = SystemRandom::new();
        let mut secrets = [[0; SECRET_BYTES]; 2];
        let mut cid = [0; 16];
        for bytes in secrets.iter_mut().map(|s| s.as_mut_slice()).chain([cid.as_mut_slice()]) {
            random.fill(bytes).map_err(|_| NoRandomness)?;
        }
        let [reset, token] = secrets;
        Ok(Shared {
            reset: Arc::new(ResetKey(hmac::Key::new(hmac::HMAC_SHA256, &reset))),
            token: Arc::new(TokenKey(Salt::new(HKDF_SHA256, &[]).extract(&token))),
            cid,
        })
    }

    /// Of which a connection ID's stateless reset token is made (RFC 9000 10.3.2).
    pub fn reset(&self) -> Arc<dyn HmacKey> {
        self.reset.clone()
    }

    /// Of which the keys are made that seal Retry and NEW_TOKEN tokens (RFC 9000 8.1).
    pub fn token(&self) -> Arc<dyn HandshakeTokenKey> {
        self.token.clone()
    }

    /// For the checksums in connection IDs.
    pub fn cid(&self) -> [u8; 16] {
        self.cid
    }
}

struct ResetKey(hmac::Key);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let mac = hmac::sign(&self.0, data);
        for (to, from) in signature_out.iter_mut().zip(mac.as_ref()) {
            *to = *from;
        }
    }

    fn signature_len(&self) -> usize {
        MAC_BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.0, data, signature).map_err(|_| CryptoError)
    }
}

struct TokenKey(Prk);

impl HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        let mut key = [0; 32];
        let info = [random_bytes];
        let filled = self.0.expand(&info, HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
        let made = filled.and_then(|()| UnboundKey::new(&AES_256_GCM, &key));
        Box::new(Seal(made.ok().map(LessSafeKey::new)))
    }
}

/// Seals one token; without a key, nothing.
struct Seal(Option<LessSafeKey>);

impl Seal {
    /// A key is made of a token's own random number and seals nothing else, so that its nonce is a constant.
    fn nonce() -> Nonce {
        Nonce::assume_unique_for_key([0; NONCE_LEN])
    }
}

impl AeadKey for Seal {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        let key = self.0.as_ref().ok_or(CryptoError)?;
        key.seal_in_place_append_tag(Seal::nonce(), Aad::from(additional_data), data).map_err(|_| CryptoError)
    }

    fn open<'a>(&self, data: &'a mut [u8], additional_data: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        let key = self.0.as_ref().ok_or(CryptoError)?;
        key.open_in_place(Seal::nonce(), Aad::from(additional_data), data).map_err(|_| CryptoError)
    }
}

//! Tokens that servers give for next connections (RFC 9000, section 8.1.3).
use bytes::Bytes;
use quinn_proto::{TokenMemoryCache, TokenStore};

/// Servers whose tokens are kept, and tokens of each: more than servers a shard has, and than connections it makes at once.
const SERVERS: u32 = 64;
const TOKENS: usize = 64;

/// The tokens of a shard's servers. What is kept is a copy: a token as it comes is a part of the shard's receive memory,
/// which could not be used again as long as it is there.
pub(super) struct Tokens(TokenMemoryCache);

impl Tokens {
    pub fn new() -> Tokens {
        Tokens(TokenMemoryCache::new(SERVERS, TOKENS))
    }
}

impl TokenStore for Tokens {
    fn insert(&self, server_name: &str, token: Bytes) {
        self.0.insert(server_name, Bytes::copy_from_slice(&token));
    }

    fn take(&self, server_name: &str) -> Option<Bytes> {
        self.0.take(server_name)
    }
}

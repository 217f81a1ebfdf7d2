//! Balance by hash: what of a request is hashed. The same on all shards, and on every node with the same pool.
use super::Maglev;
use crate::message::cookie::cookies;
use edge_io::head::Head;
use std::net::IpAddr;

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address, after trusted proxies.
    ClientIp,
    /// The path, normalized, without its query.
    Path,
    /// The first field of this name.
    Header(Box<str>),
    /// The first cookie of this name.
    Cookie(Box<str>),
}

/// Balance by hash for one pool.
#[derive(Clone, Debug)]
pub struct HashRule {
    /// What is hashed.
    pub by: HashBy,
    /// Whose a key is.
    pub table: Maglev,
}

impl PartialEq for HashRule {
    /// The table follows from the endpoints, which are compared elsewhere.
    fn eq(&self, other: &HashRule) -> bool {
        self.by == other.by
    }
}

impl Eq for HashRule {}

impl HashRule {
    /// For endpoints with these names and weights.
    pub fn new<'e>(by: HashBy, endpoints: impl Iterator<Item = (&'e str, u16)>) -> HashRule {
        HashRule { by, table: Maglev::new(endpoints) }
    }

    /// The key of a request with this head, this normalized path, of this client. `None` when it has nothing that could be
    /// hashed: it belongs to nobody.
    pub fn key(&self, head: &Head, path: &[u8], client: IpAddr) -> Option<u64> {
        let hashed = match &self.by {
            HashBy::ClientIp => match client.to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            },
            HashBy::Path => hash(path),
            HashBy::Header(name) => hash(head.get_name(name.as_bytes())?),
            HashBy::Cookie(name) => hash(cookies(head, name.as_bytes()).next()?),
        };
        Some(hashed)
    }
}

/// FNV-1a, and the last mixing of MurmurHash3, so that every bit of the result depends on all bits of `bytes`. Not against
/// those who choose the bytes: what they could do with it, the bound on an endpoint's load ends.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The last mixing of MurmurHash3.
pub(super) fn mix(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(by: HashBy, head: &Head, path: &str, ip: &str) -> Option<u64> {
        HashRule::new(by, [("a", 1)].into_iter()).key(head, path.as_bytes(), ip.parse().unwrap())
    }

    #[test]
    fn each_key_is_of_its_part_of_the_request() {
        let mut head = Head::new();
        head.push(b"X-User", b"7").unwrap();
        head.push(b"cookie", b"s=1; s=2").unwrap();
        let ip = |ip| key(HashBy::ClientIp, &head, "/", ip);
        assert_eq!(ip("10.0.0.1"), ip("::ffff:10.0.0.1"), "one client, however it came");
        assert_ne!(ip("10.0.0.1"), ip("10.0.0.2"));
        assert_ne!(ip("fd00::1"), ip("fd00::2"));
        let path = |path| key(HashBy::Path, &head, path, "10.0.0.1");
        assert_eq!(path("/a"), Some(hash(b"/a")));
        assert_ne!(path("/a"), path("/b"));
        let header = |name: &str| key(HashBy::Header(name.into()), &head, "/", "10.0.0.1");
        assert_eq!(header("x-user"), Some(hash(b"7")));
        assert_eq!(header("x-none"), None);
        let cookie = |name: &str| key(HashBy::Cookie(name.into()), &head, "/", "10.0.0.1");
        assert_eq!(cookie("s"), Some(hash(b"1")));
        assert_eq!(cookie("S"), None, "names of cookies are case-sensitive");
    }
}

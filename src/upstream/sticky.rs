//! Sticky sessions: a cookie that says which endpoint a client belongs to, and that only the edge can make.
//!
//! Its value is base64url of: the endpoint's id (8 bytes), when it ends (5 bytes, seconds since 1970), and a tag (16 bytes, HMAC-SHA256
//! cut) over both and the pool's name. The id is made of the secret and the endpoint's name: it is the same on every shard, after
//! every reload and on every edge with the same secret, and tells nobody an address.
use crate::{message::cookie::cookies, tls::Secret};
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use edge_io::{head::Head, http1::write_decimal};
use std::{sync::Arc, time::Duration};

const ID: usize = 8;
const END: usize = 5;
const TAG: usize = 16;
const BYTES: usize = ID + END + TAG;
/// Characters of a value; base64 of 29 bytes without padding.
const CHARS: usize = (BYTES * 8).div_ceil(6);
/// Cookies of the name that are looked at: an older one of a narrower path may stand before ours.
const TRIES: usize = 4;

/// How a pool keeps clients at their endpoints, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyConfig {
    /// The cookie's name, a token.
    pub cookie: String,
    /// How long it is good.
    pub ttl: Duration,
    /// What it is signed with; `None` = chance.
    pub secret: Option<Secret>,
}

/// How a pool keeps clients at their endpoints.
#[derive(Clone, Debug)]
pub struct StickyRule {
    cookie: Box<str>,
    ttl: Duration,
    pool: Box<str>,
    key: hmac::Key,
    /// To tell one secret from another without showing it.
    mark: [u8; ID],
    /// Ids of the endpoints, by index.
    ids: Arc<[[u8; ID]]>,
    /// The same, sorted, with their index.
    by_id: Arc<[([u8; ID], u32)]>,
}

impl PartialEq for StickyRule {
    /// Endpoints are compared elsewhere.
    fn eq(&self, other: &StickyRule) -> bool {
        (&self.cookie, self.ttl, &self.pool, self.mark) == (&other.cookie, other.ttl, &other.pool, other.mark)
    }
}

/// Where a client belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The endpoint's index in the pool.
    pub endpoint: usize,
    /// More than half of the cookie's time is over: a client that still comes is to get a new one.
    pub renew: bool,
}

impl StickyRule {
    /// For `pool` with `endpoints`, their names by index. A cookie called `cookie` is good for `ttl`, and made with `secret`.
    pub fn new<'e>(
        cookie: &str,
        ttl: Duration,
        secret: &[u8],
        pool: &str,
        endpoints: impl Iterator<Item = &'e str>,
    ) -> StickyRule {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mark = tag(&key, &[b"secret\0"]);
        let (ids, by_id) = (Arc::default(), Arc::default());
        StickyRule { cookie: cookie.into(), ttl, pool: pool.into(), key, mark, ids, by_id }.with_endpoints(endpoints)
    }

    /// The same for other endpoints.
    pub fn with_endpoints<'e>(&self, endpoints: impl Iterator<Item = &'e str>) -> StickyRule {
        let ids: Arc<[_]> = endpoints.map(|name| tag(&self.key, &[b"endpoint\0", name.as_bytes()])).collect();
        let mut by_id: Vec<_> = ids.iter().copied().zip(0..).collect();
        by_id.sort_unstable();
        StickyRule { ids, by_id: by_id.into(), ..self.clone() }
    }

    /// The endpoint that the request's client belongs to: `None` without a cookie of ours, or when its time is over or its endpoint
    /// is gone.
    pub fn find(&self, head: &Head, now_unix_s: u64) -> Option<Stuck> {
        cookies(head, self.cookie.as_bytes()).take(TRIES).find_map(|value| self.read(value, now_unix_s))
    }

    fn read(&self, value: &[u8], now: u64) -> Option<Stuck> {
        let mut bytes = [0; BYTES + 1]; // base64 wants room for whole groups
        if value.len() != CHARS || URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()? != BYTES {
            return None;
        }
        let (said, shown) = bytes.get(..BYTES)?.split_at(ID + END);
        let (id, end) = said.split_at(ID);
        verify_slices_are_equal(&self.tag(id, end), shown).ok()?;
        let left = end.iter().fold(0, |n, b| n << 8 | u64::from(*b)).checked_sub(now).filter(|left| *left > 0)?;
        let at = self.by_id.binary_search_by(|(known, _)| known[..].cmp(id)).ok()?;
        let endpoint = usize::try_from(self.by_id.get(at)?.1).ok()?;
        Some(Stuck { endpoint, renew: left <= self.ttl.as_secs() / 2 })
    }

    /// Appends the value of a `Set-Cookie` that binds its client to `endpoint`. `tls`: the client came by TLS, and is to show the
    /// cookie nowhere else. Nothing is appended where there is no such endpoint.
    pub fn set_cookie(&self, endpoint: usize, now_unix_s: u64, tls: bool, out: &mut Vec<u8>) {
        let Some(id) = self.ids.get(endpoint) else { return };
        let end = &now_unix_s.saturating_add(self.ttl.as_secs()).to_be_bytes()[8 - END..];
        let mut bytes = [0; BYTES];
        bytes[..ID].copy_from_slice(id);
        bytes[ID..ID + END].copy_from_slice(end);
        bytes[ID + END..].copy_from_slice(&self.tag(id, end));
        let mut value = [0; CHARS];
        if URL_SAFE_NO_PAD.encode_slice(bytes, &mut value).is_err() {
            return; // it fits: CHARS was computed
        }
        out.extend_from_slice(self.cookie.as_bytes());
        out.push(b'=');
        out.extend_from_slice(&value);
        out.extend_from_slice(b"; Path=/; Max-Age=");
        write_decimal(out, self.ttl.as_secs());
        out.extend_from_slice(b"; HttpOnly; SameSite=Lax");
        if tls {
            out.extend_from_slice(b"; Secure");
        }
    }

    fn tag(&self, id: &[u8], end: &[u8]) -> [u8; TAG] {
        tag(&self.key, &[b"cookie\0", self.pool.as_bytes(), b"\0", id, end])
    }
}

/// The first `N` bytes, at most 32, of the HMAC of `parts`.
fn tag<const N: usize>(key: &hmac::Key, parts: &[&[u8]]) -> [u8; N] {
    let mut context = hmac::Context::with_key(key);
    parts.iter().for_each(|part| context.update(part));
    let whole = context.sign();
    let mut cut = [0; N];
    cut.iter_mut().zip(whole.as_ref()).for_each(|(to, from)| *to = *from);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const SECRET: [u8; 32] = [7; 32];

    fn rule(secret: &[u8], pool: &str, endpoints: &[&str]) -> StickyRule {
        StickyRule::new("edge_sticky", Duration::from_secs(3600), secret, pool, endpoints.iter().copied())
    }

    fn cookie(rule: &StickyRule, endpoint: usize, tls: bool) -> String {
        let mut out = Vec::new();
        rule.set_cookie(endpoint, NOW, tls, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn with(cookies: &str) -> Head {
        let mut head = Head::new();
        head.push(b"cookie", cookies.as_bytes()).unwrap();
        head
    }

    fn value(set_cookie: &str) -> &str {
        set_cookie.split(';').next().unwrap()
    }

    fn at(endpoint: usize, renew: bool) -> Option<Stuck> {
        Some(Stuck { endpoint, renew })
    }

    #[test]
    fn a_cookie_leads_back_to_its_endpoint() {
        let app = rule(&SECRET, "app", &["http://10.0.0.1:80", "http://10.0.0.2:80", "unix:/run/a.sock"]);
        for endpoint in 0..3 {
            let set = cookie(&app, endpoint, true);
            assert!(set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"), "{set}");
            let pair = value(&set);
            assert!(!pair.contains("10.0"), "no address in {pair}");
            assert_eq!(app.find(&with(pair), NOW), at(endpoint, false));
            assert_eq!(app.find(&with(&format!("a=b; {pair}; edge_sticky=zzz")), NOW + 1), at(endpoint, false));
            assert_eq!(app.find(&with(&format!("edge_sticky=other; {pair}")), NOW), at(endpoint, false));
        }
        assert!(!cookie(&app, 0, false).contains("Secure"), "a browser keeps no such cookie without TLS");
        assert_eq!(cookie(&app, 3, true), "", "no such endpoint");
        assert_eq!(app.find(&with("a=b"), NOW), None);
    }

    #[test]
    fn its_time_ends_and_half_of_it_renews() {
        let app = rule(&SECRET, "app", &["a", "b"]);
        let set = cookie(&app, 1, true);
        let after = |seconds| app.find(&with(value(&set)), NOW + seconds);
        assert_eq!([after(0), after(1799)], [at(1, false); 2]);
        assert_eq!([after(1800), after(3599)], [at(1, true); 2]);
        assert_eq!([after(3600), after(1 << 40)], [None; 2]);
    }

    #[test]
    fn it_outlives_changes_of_the_list_but_not_its_endpoint() {
        let set = cookie(&rule(&SECRET, "app", &["a", "b", "c"]), 1, true);
        let find = |rule: StickyRule| rule.find(&with(value(&set)), NOW).map(|stuck| stuck.endpoint);
        assert_eq!(find(rule(&SECRET, "app", &["c", "new", "b", "a"])), Some(2), "by name, not by place");
        assert_eq!(find(rule(&SECRET, "app", &["a", "c"])), None);
        assert_eq!(find(rule(&SECRET, "other", &["a", "b"])), None, "of another pool");
        assert_eq!(find(rule(&[8; 32], "app", &["a", "b"])), None, "with another secret");
    }

    #[test]
    fn nobody_else_makes_one() {
        let app = rule(&SECRET, "app", &["a", "b"]);
        let set = cookie(&app, 0, true);
        let (name, good) = value(&set).split_once('=').unwrap();
        assert_eq!(good.len(), CHARS);
        for at in 0..good.len() {
            let mut forged = good.as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = format!("{name}={}", String::from_utf8(forged).unwrap());
            assert_eq!(app.find(&with(&forged), NOW), None, "{forged}");
        }
        for wrong in ["", "A", &good[1..], &format!("{good}A"), &format!("\"{good}\""), &"\u{fe}".repeat(20)] {
            assert_eq!(app.find(&with(&format!("{name}={wrong}")), NOW), None, "{wrong}");
        }
    }

    #[test]
    fn rules_are_alike_when_their_settings_are() {
        assert_eq!(rule(&SECRET, "app", &["a"]), rule(&SECRET, "app", &["b"]));
        assert_ne!(rule(&SECRET, "app", &["a"]), rule(&[1; 32], "app", &["a"]));
    }
}

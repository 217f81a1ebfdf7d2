//! What is counted of TLS handshakes.
use super::counter::Counter;
use std::sync::OnceLock;

/// How a handshake with a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HandshakeResult {
    /// The connection stands.
    Ok,
    /// It took longer than `timeouts.handshake`.
    Timeout,
    /// The client went away.
    Closed,
    /// The client did not accept the certificate, or something else of ours: it said so.
    Refused,
    /// The client showed no certificate where one is required, or one that is not accepted.
    ClientCertificate,
    /// Both sides have no version, cipher suite, group or protocol in common.
    Incompatible,
    /// What came is not TLS, or breaks its rules.
    Protocol,
}

/// Results as metric labels, in the order of their discriminants.
pub const TLS_RESULTS: [&str; 7] =
    ["ok", "timeout", "closed", "refused", "client_certificate", "incompatible", "protocol"];
/// What handshakes go over, as metric labels.
pub const TRANSPORTS: [&str; 2] = ["tcp", "quic"];
/// Versions as metric labels; `none` where it was not agreed on.
pub const TLS_VERSIONS: [&str; 3] = ["1.2", "1.3", "none"];
/// Key exchange groups as metric labels; `none` where it was not agreed on.
pub const TLS_GROUPS: [&str; 6] = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1", "other", "none"];

/// A handshake, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// How it ended.
    pub result: HandshakeResult,
    /// `TLSv1.2` or `TLSv1.3`; empty where it was not agreed on.
    pub version: &'a str,
    /// The key exchange group's name; empty where it was not agreed on.
    pub group: &'a str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

const COMBINATIONS: usize = TLS_RESULTS.len() * TLS_VERSIONS.len() * TLS_GROUPS.len() * 2;

/// Handshakes of one shard, by all that is known of them. One thread writes; any thread reads.
#[derive(Debug, Default)]
pub struct Handshakes(OnceLock<Box<[Counter]>>);

impl Handshakes {
    /// Counts one.
    pub fn count(&self, handshake: &Handshake<'_>) {
        let version = match handshake.version {
            "TLSv1.2" => 0,
            "TLSv1.3" => 1,
            _ => 2,
        };
        let known = |name: &str| TLS_GROUPS.iter().position(|group| group.eq_ignore_ascii_case(name));
        let group = match handshake.group {
            "" => TLS_GROUPS.len() - 1,
            // One group has two names.
            "P-256" => 2,
            "P-384" => 3,
            name => known(name).unwrap_or(TLS_GROUPS.len() - 2),
        };
        let place = ((handshake.result as usize * TLS_VERSIONS.len() + version) * TLS_GROUPS.len() + group) * 2;
        let counters = self.0.get_or_init(|| (0..COMBINATIONS).map(|_| Counter::default()).collect());
        if let Some(counter) = counters.get(place + usize::from(handshake.resumed)) {
            counter.inc();
        }
    }

    /// What was counted: result, version, group, whether resumed, and how many; nothing that is 0.
    pub fn counts(&self) -> impl Iterator<Item = ([&'static str; 4], u64)> {
        let counters = self.0.get().map_or(&[][..], |counters| counters);
        counters.iter().map(Counter::get).enumerate().filter(|(_, n)| *n > 0).map(|(place, n)| {
            let (resumed, rest) = (["no", "yes"][place % 2], place / 2);
            let (group, rest) = (TLS_GROUPS[rest % TLS_GROUPS.len()], rest / TLS_GROUPS.len());
            let (version, result) = (TLS_VERSIONS[rest % TLS_VERSIONS.len()], rest / TLS_VERSIONS.len());
            ([TLS_RESULTS[result % TLS_RESULTS.len()], version, group, resumed], n)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_for_itself() {
        let handshakes = Handshakes::default();
        assert_eq!(handshakes.counts().count(), 0);
        let done = |version, group, resumed| Handshake { result: HandshakeResult::Ok, version, group, resumed };
        handshakes.count(&done("TLSv1.3", "X25519MLKEM768", false));
        handshakes.count(&done("TLSv1.3", "X25519MLKEM768", false));
        handshakes.count(&done("TLSv1.3", "x25519", true));
        handshakes.count(&done("TLSv1.2", "secp521r1", false));
        handshakes.count(&Handshake { result: HandshakeResult::Protocol, version: "", group: "", resumed: true });
        let mut seen: Vec<_> = handshakes.counts().collect();
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                (["ok", "1.2", "other", "no"], 1),
                (["ok", "1.3", "X25519", "yes"], 1),
                (["ok", "1.3", "X25519MLKEM768", "no"], 2),
                (["protocol", "none", "none", "yes"], 1),
            ]
        );
    }
}

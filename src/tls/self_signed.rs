//! A certificate for this host that nobody vouches for: for development, and for a first look.
use super::certificate::{Certificate, now};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// How long it is valid, days. A process that runs longer gets another one with a reload.
const DAYS: i64 = 365;

/// Makes one for `localhost`, the loopback addresses and the machine's own name.
pub(super) fn make() -> Result<Certificate, String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_ascii_lowercase();
    if host != "localhost" && rustls::pki_types::DnsName::try_from(host.as_str()).is_ok() {
        names.push(host);
    }
    let failed = |e: rcgen::Error| format!("a self-signed certificate could not be made: {e}");
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "edge, self-signed");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let (from, to) = (day(now() - 86_400), day(now() + DAYS * 86_400));
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(to.0, to.1, to.2);
    let key = KeyPair::generate().map_err(failed)?; // ECDSA P-256
    let made = params.self_signed(&key).map_err(failed)?;
    let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
    Certificate::from_parts(vec![made.der().clone()], secret.into(), "self-signed")
}

/// Year, month, day.
fn day(seconds: i64) -> (i32, u8, u8) {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    let part = |n: i8| u8::try_from(n).unwrap_or(1);
    (i32::from(at.year()), part(at.month()), part(at.day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_for_this_host_and_valid_now() {
        let made = make().unwrap();
        for host in ["localhost", "LOCALHOST.", "127.0.0.1", "::1"] {
            assert!(made.covers(host), "{host}");
        }
        assert!(!made.covers("example.com"));
        assert!(made.not_before < now() && made.not_after > now() + 300 * 86_400);
        assert!(!made.is_due(now()));
    }
}

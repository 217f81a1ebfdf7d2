//! What a listener's answers say of its HTTP/3 (RFC 7838): rendered when its sockets are known, looked up by requests.
use std::{fmt::Write as _, sync::OnceLock, time::Duration};

/// A port, and the value for answers to connections to it.
type Value = (u16, Box<[u8]>);

/// The values of `Alt-Svc`, by the port that the client has connected to. Empty until the sockets are open.
#[derive(Debug, Default)]
pub struct AltSvc {
    max_age: Option<Duration>,
    values: OnceLock<Box<[Value]>>,
}

impl PartialEq for AltSvc {
    /// Whether both are configured the same, wherever their sockets are.
    fn eq(&self, other: &AltSvc) -> bool {
        self.max_age == other.max_age
    }
}

impl AltSvc {
    /// Nothing to be said yet; ever, when there is no `max_age`.
    pub(super) fn new(max_age: Option<Duration>) -> AltSvc {
        AltSvc { max_age, values: OnceLock::new() }
    }

    /// HTTP/3 is spoken on these UDP ports, and others over TCP on those of the same number. The first word counts.
    pub fn announce(&self, ports: &[u16]) {
        let Some(max_age) = self.max_age else { return };
        let mut values: Vec<Value> = Vec::with_capacity(ports.len());
        for port in ports {
            if values.iter().all(|(known, _)| known != port) {
                let mut value = String::new();
                // Writing into a `String` cannot fail.
                let _ = write!(value, "h3=\":{port}\"; ma={}", max_age.as_secs());
                values.push((*port, value.into_bytes().into()));
            }
        }
        let _ = self.values.set(values.into());
    }

    /// The value for answers on a connection to TCP port `port`; `None` where no HTTP/3 is spoken.
    #[inline]
    pub fn at(&self, port: u16) -> Option<&[u8]> {
        self.values.get()?.iter().find(|(known, _)| *known == port).map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_has_its_own_value_once_the_sockets_are_open() {
        let alt_svc = AltSvc::new(Some(Duration::from_secs(86_400)));
        assert_eq!(alt_svc.at(443), None);
        alt_svc.announce(&[443, 8443, 443]);
        assert_eq!(alt_svc.at(443), Some(b"h3=\":443\"; ma=86400".as_slice()));
        assert_eq!(alt_svc.at(8443), Some(b"h3=\":8443\"; ma=86400".as_slice()));
        assert_eq!(alt_svc.at(80), None);
        assert_eq!(alt_svc, AltSvc::new(Some(Duration::from_secs(86_400))));
    }

    #[test]
    fn without_an_age_nothing_is_said() {
        let alt_svc = AltSvc::new(None);
        alt_svc.announce(&[443]);
        assert_eq!(alt_svc.at(443), None);
    }
}

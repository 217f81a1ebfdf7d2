//! SETTINGS (RFC 9114, section 7.2.4): what we say, and what the peer says.
use super::{
    Abuse, ErrorCode, Fatal, Limits, Role,
    frame::{kind, write_header},
    varint,
};

/// Settings (RFC 9114, section 7.2.4.1; RFC 9204, section 5; RFC 9220, section 5; RFC 9297, section 2.1.1).
mod id {
    pub const QPACK_MAX_TABLE_CAPACITY: u64 = 0x1;
    pub const MAX_FIELD_SECTION_SIZE: u64 = 0x6;
    pub const QPACK_BLOCKED_STREAMS: u64 = 0x7;
    pub const ENABLE_CONNECT_PROTOCOL: u64 = 0x8;
    pub const H3_DATAGRAM: u64 = 0x33;
}

/// Longest payload of SETTINGS that is read; there are far fewer settings.
pub(super) const BYTES_MAX: u64 = 1024;
/// Most entries of SETTINGS, each compared with those before it.
const ENTRIES_MAX: usize = 64;

/// What the peer's settings say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// They have come.
    pub settled: bool,
    pub connect_protocol: bool,
    pub table_bytes: u32,
    /// `None`: no limit was told.
    pub head_bytes: Option<u64>,
}

impl Peer {
    /// Reads the payload of SETTINGS.
    pub(super) fn read(mut payload: &[u8]) -> Result<Peer, Fatal> {
        let mut peer = Peer { settled: true, ..Peer::default() };
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let entry = varint::read(payload).and_then(|(id, a)| {
                let (value, b) = varint::read(payload.get(a..)?)?;
                Some((id, value, payload.get(a + b..)?))
            });
            let Some((id, value, rest)) = entry else { return Err(Fatal::frame("SETTINGS end within an entry")) };
            payload = rest;
            if seen.contains(&id) {
                return Err(Fatal::new(ErrorCode::H3_SETTINGS_ERROR, "a setting twice"));
            }
            if seen.len() == ENTRIES_MAX {
                return Err(Fatal::abuse(Abuse::Settings));
            }
            seen.push(id);
            peer.set(id, value)?;
        }
        Ok(peer)
    }

    fn set(&mut self, id: u64, value: u64) -> Result<(), Fatal> {
        match id {
            // Those of HTTP/2 (RFC 9114, section 7.2.4.1).
            0x0 | 0x2..=0x5 => return Err(Fatal::new(ErrorCode::H3_SETTINGS_ERROR, "a setting of HTTP/2")),
            id::QPACK_MAX_TABLE_CAPACITY => self.table_bytes = u32::try_from(value).unwrap_or(u32::MAX),
            id::MAX_FIELD_SECTION_SIZE => self.head_bytes = Some(value),
            id::ENABLE_CONNECT_PROTOCOL | id::H3_DATAGRAM if value > 1 => {
                return Err(Fatal::new(ErrorCode::H3_SETTINGS_ERROR, "a setting out of range"));
            }
            id::ENABLE_CONNECT_PROTOCOL => self.connect_protocol = value == 1,
            // Our encoder blocks no stream, so that QPACK_BLOCKED_STREAMS says nothing to it.
            _ => {}
        }
        Ok(())
    }
}

/// Appends our SETTINGS frame. One setting of it is reserved, so that the peer learns to pass over what it does not
/// know (RFC 9114, section 7.2.4.1); `grease` picks it.
pub(super) fn write(role: Role, limits: &Limits, grease: u64, out: &mut Vec<u8>) {
    let connect_protocol = role == Role::Server && limits.connect_protocol;
    let entries = [
        (id::QPACK_MAX_TABLE_CAPACITY, u64::from(limits.table_bytes)),
        (id::MAX_FIELD_SECTION_SIZE, limits.head_bytes as u64),
        (id::QPACK_BLOCKED_STREAMS, u64::from(limits.blocked_streams)),
        (id::ENABLE_CONNECT_PROTOCOL, u64::from(connect_protocol)),
        (0x1f * (grease % (1 << 24)) + 0x21, grease % 64),
    ];
    let mut payload = Vec::with_capacity(32);
    for (id, value) in entries {
        // 0 is what all of them are when they are not told, but for the size of a field section.
        if value > 0 || id == id::MAX_FIELD_SECTION_SIZE {
            varint::write(id, &mut payload);
            varint::write(value, &mut payload);
        }
    }
    write_header(kind::SETTINGS, payload.len() as u64, out);
    out.extend_from_slice(&payload);
}

#[cfg(test)]
mod tests {
    use super::{super::frame::FrameHeader, *};

    #[test]
    fn what_is_written_is_read() {
        for (role, offered) in [(Role::Server, true), (Role::Client, false)] {
            for grease in [0, 1, 63, 1 << 20, u64::MAX] {
                let limits = Limits { connect_protocol: true, head_bytes: 77_000, ..Limits::default() };
                let mut out = Vec::new();
                write(role, &limits, grease, &mut out);
                let (header, n) = FrameHeader::read(&out).expect("a header");
                assert_eq!((header.kind, header.length as usize), (kind::SETTINGS, out.len() - n));
                let peer = Peer::read(&out[n..]).expect("settings");
                assert_eq!(peer.table_bytes, 4096);
                assert_eq!(peer.head_bytes, Some(77_000));
                assert_eq!(peer.connect_protocol, offered);
                assert!(peer.settled);
            }
        }
    }
}

//! Extensible priorities (RFC 9218): what a stream asked for.

/// A stream's priority (RFC 9218, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// 0 (first) to 7 (last).
    pub urgency: u8,
    /// Whether the response is of use in pieces, so that it may share the connection with others of its urgency.
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Priority {
        Priority { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads a `priority` field value, as far as it is one: parameters that are unknown, out of range or of another
    /// type are ignored (RFC 9218, section 4).
    pub fn parse(value: &[u8]) -> Priority {
        let mut priority = Priority::default();
        for member in value.split(|&b| b == b',') {
            let item = member.split(|&b| b == b';').next().unwrap_or(&[]).trim_ascii();
            match item {
                [b'u', b'=', urgency @ b'0'..=b'7'] => priority.urgency = urgency - b'0',
                b"i" | b"i=?1" => priority.incremental = true,
                b"i=?0" => priority.incremental = false,
                _ => {}
            }
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_far_as_they_are_known() {
        let of = |urgency, incremental| Priority { urgency, incremental };
        for (value, want) in [
            ("", of(3, false)),
            ("u=0", of(0, false)),
            ("u=7, i", of(7, true)),
            ("i,u=1", of(1, true)),
            ("u=5;x=1, i=?1;y", of(5, true)),
            ("i, i=?0", of(3, false)),
            ("u=8", of(3, false)),
            ("u=-1, u=55, u=, uu=1", of(3, false)),
            ("U=1, I", of(3, false)),
            ("x=\"u=1\", i=1", of(3, false)),
            (",,;=", of(3, false)),
        ] {
            assert_eq!(Priority::parse(value.as_bytes()), want, "{value}");
        }
    }
}

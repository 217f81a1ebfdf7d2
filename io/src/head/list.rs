//! Comma-separated lists in field values (RFC 9110, section 5.6.1).

/// The members of a comma-separated list, trimmed; empty members are left out, as RFC 9110 section 5.6.1.2 asks of
/// recipients. For lists of tokens: a comma inside a quoted string is not understood.
#[inline]
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
}

/// Whether a comma-separated list has this member, in any case.
#[inline]
pub fn has_member(value: &[u8], member: &[u8]) -> bool {
    // Almost every list has one member.
    value.eq_ignore_ascii_case(member) || members(value).any(|m| m.eq_ignore_ascii_case(member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_trimmed_and_empty_ones_dropped() {
        let got: Vec<_> = members(b" a ,,\tB\t, c d,").collect();
        assert_eq!(got, [&b"a"[..], b"B", b"c d"]);
        assert_eq!(members(b" , ").count(), 0);
    }

    #[test]
    fn membership_is_exact_but_for_case() {
        assert!(has_member(b"keep-alive, Upgrade", b"upgrade"));
        assert!(has_member(b"CLOSE", b"close"));
        assert!(!has_member(b"closed, not-close", b"close"));
    }
}

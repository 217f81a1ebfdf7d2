//! Cookies that a request brings (RFC 6265 4.2).
use edge_io::head::{FieldId, Head};

/// The values of the cookies called `name`, in the order of the request, as they stand. Names are case-sensitive.
pub fn cookies<'a>(head: &'a Head, name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let pairs = head.get_all(FieldId::Cookie).flat_map(|value| value.split(|b| *b == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let at = memchr::memchr(b'=', pair)?;
        let (found, value) = (pair.get(..at)?, pair.get(at + 1..)?);
        (found.trim_ascii_end() == name).then(|| value.trim_ascii_start())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_name_are_found_in_all_lines() {
        let mut head = Head::new();
        head.push(b"cookie", b"a=1; b = 2;a=3;aa=4; A=5").unwrap();
        head.push(b"cookie", b"a=; x").unwrap();
        let of = |name: &[u8]| cookies(&head, name).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(of(b"a"), [&b"1"[..], b"3", b""]);
        assert_eq!(of(b"b"), [b"2"]);
        assert!(of(b"x").is_empty());
    }
}

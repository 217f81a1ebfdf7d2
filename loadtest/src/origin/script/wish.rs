//! What one request asks for itself, in its query: `?size=64k&delay=5ms&status=503&fault=reset`.
use super::{Delay, Fault, Mistake, Size, mix, units};
use std::{borrow::Cow, num::NonZeroUsize, time::Duration};

/// Pairs of a query that are looked at: no client needs more, and each costs time.
const PAIRS_MAX: usize = 32;

/// Largest piece of a body, bytes: it is in memory as a whole.
pub const PIECE_MAX: usize = 1 << 20;

/// What takes the place of the script's own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// `size=64k` or `size=1k-64k`.
    pub size: Option<Size>,
    /// `delay=5ms`, or any distribution.
    pub delay: Option<Delay>,
    /// `status=503`.
    pub status: Option<u16>,
    /// `chunk=4k`.
    pub chunk: Option<NonZeroUsize>,
    /// `chunk-delay=1ms`.
    pub chunk_delay: Option<Duration>,
    /// `fault=reset`.
    pub fault: Option<Fault>,
    /// `interval=100ms`, of events.
    pub interval: Option<Duration>,
    /// `count=10`, of events.
    pub count: Option<u64>,
}

impl Wish {
    /// Reads a query. Other names are nobody's business here.
    ///
    /// # Errors
    /// A value that cannot be read, or is beyond its bound.
    pub fn parse(query: &str) -> Result<Wish, Mistake> {
        let mut wish = Wish::default();
        for pair in query.split('&').take(PAIRS_MAX) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            wish.set(name, &decoded(value)).map_err(|mistake| Mistake(format!("{name}: {mistake}")))?;
        }
        Ok(wish)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Mistake> {
        match name {
            "size" => self.size = Some(value.parse()?),
            "delay" => self.delay = Some(value.parse()?),
            "status" => self.status = Some(mix::status(value)?),
            "chunk" => self.chunk = Some(piece(value)?),
            "chunk-delay" => self.chunk_delay = Some(units::duration(value)?),
            "fault" => self.fault = Some(value.parse()?),
            "interval" => self.interval = Some(interval(value)?),
            "count" => {
                let number = value.parse().map_err(|_| Mistake(format!("`{value}` is no number of events")))?;
                self.count = Some(number);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Between two events: at least a tenth of a millisecond.
///
/// # Errors
/// It is no duration, shorter, or longer than `DELAY_MAX`.
pub fn interval(text: &str) -> Result<Duration, Mistake> {
    let interval = units::duration(text)?;
    if interval < Duration::from_micros(100) {
        return Err(Mistake(format!("`{text}` is too short a time between events: 100us is the least")));
    }
    Ok(interval)
}

/// A piece of a body: at least one byte, at most `PIECE_MAX`.
///
/// # Errors
/// It is no size, or beyond these bounds.
pub fn piece(text: &str) -> Result<NonZeroUsize, Mistake> {
    let bytes = usize::try_from(units::size(text)?).ok().filter(|bytes| *bytes <= PIECE_MAX);
    let bytes = bytes.and_then(NonZeroUsize::new);
    bytes.ok_or_else(|| Mistake(format!("`{text}`: a piece has between one byte and 1m, as in 4k")))
}

/// With `%C2%B1` and the like as what they stand for; what stands for nothing stays.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_in_any_order_with_other_things_in_it() {
        assert_eq!(Wish::parse("").unwrap(), Wish::default());
        assert_eq!(Wish::parse("a=b&_=1&size").unwrap_err().0, "size: ".to_owned() + &units::size("").unwrap_err().0);
        let wish = Wish::parse("delay=5ms%C2%B12ms&x&count=3&interval=100ms&size=1k-2k").unwrap();
        assert_eq!(wish.delay, Some("3ms-7ms".parse().unwrap()));
        assert_eq!((wish.count, wish.interval), (Some(3), Some(Duration::from_millis(100))));
        assert_eq!(Wish::parse("delay=1%25%").unwrap_err().0.split(':').next(), Some("delay"));
    }

    #[test]
    fn bounds() {
        for query in
            ["size=2g", "delay=61s", "status=99", "chunk=0", "chunk=2m", "interval=1us", "fault=none", "count=-1"]
        {
            assert!(Wish::parse(query).is_err(), "{query}");
        }
    }
}

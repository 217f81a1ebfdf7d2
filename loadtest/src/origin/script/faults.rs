//! What goes wrong on purpose, and how often.
use super::Mistake;
use std::str::FromStr;

/// Something that goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before the answer.
    Close,
    /// HTTP/1.1: the connection is reset. HTTP/2 and HTTP/3: the stream is.
    Reset,
    /// A longer answer is announced than comes; then the connection (HTTP/1.1) or the stream ends.
    Truncate,
    /// What comes is no HTTP.
    Garbage,
    /// Nothing comes, ever.
    Stall,
}

impl Fault {
    /// All of them, in the order of their variants.
    pub const ALL: [Fault; 5] = [Fault::Close, Fault::Reset, Fault::Truncate, Fault::Garbage, Fault::Stall];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Close => "close",
            Fault::Reset => "reset",
            Fault::Truncate => "truncate",
            Fault::Garbage => "garbage",
            Fault::Stall => "stall",
        }
    }
}

impl FromStr for Fault {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Fault, Mistake> {
        let found = Fault::ALL.into_iter().find(|fault| fault.as_str() == text);
        found.ok_or_else(|| {
            Mistake(format!("`{text}` is no fault: close, reset, truncate, garbage or stall is expected"))
        })
    }
}

/// How often each fault happens, in the order of `Fault::ALL`; most often none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    shares: [f64; Fault::ALL.len()],
}

impl Faults {
    /// Each fault with its share, 0 to 1.
    ///
    /// # Errors
    /// Together they are more than 100%.
    pub fn new(shares: [f64; Fault::ALL.len()]) -> Result<Faults, Mistake> {
        if shares.iter().sum::<f64>() > 1.0 + 1e-9 {
            return Err(Mistake("the shares of all faults are more than 100% together".into()));
        }
        Ok(Faults { shares })
    }

    /// Only this one, each time.
    pub fn always(fault: Fault) -> Faults {
        Faults { shares: Fault::ALL.map(|f| if f == fault { 1.0 } else { 0.0 }) }
    }

    /// Whether nothing goes wrong.
    pub fn is_empty(&self) -> bool {
        self.shares.iter().all(|share| *share <= 0.0)
    }

    /// What goes wrong at `at`, a random number from 0 to 1.
    pub fn draw(&self, mut at: f64) -> Option<Fault> {
        for (fault, share) in Fault::ALL.into_iter().zip(self.shares) {
            if at < share {
                return Some(fault);
            }
            at -= share;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::script::Random;

    #[test]
    fn shares_are_kept() {
        let faults = Faults::new([0.01, 0.02, 0.03, 0.04, 0.05]).unwrap();
        let mut random = Random::new(9);
        let mut counts = [0; 6];
        for _ in 0..100_000 {
            counts[faults.draw(random.unit()).map_or(5, |fault| fault as usize)] += 1;
        }
        for (count, wanted) in counts.into_iter().zip([1000, 2000, 3000, 4000, 5000, 85_000]) {
            assert!((count - wanted as i32).abs() < 300, "{counts:?}");
        }
        assert_eq!(Faults::always(Fault::Reset).draw(random.unit()), Some(Fault::Reset));
        assert!(Faults::default().is_empty() && Faults::default().draw(random.unit()).is_none());
        assert!(Faults::new([0.5, 0.6, 0.0, 0.0, 0.0]).is_err());
    }

    #[test]
    fn names() {
        assert!(Fault::ALL.iter().all(|fault| fault.as_str().parse() == Ok(*fault)));
        assert!("melt".parse::<Fault>().unwrap_err().0.contains("garbage or stall"));
    }
}

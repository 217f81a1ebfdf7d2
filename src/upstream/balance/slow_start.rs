//! Slow start: an endpoint that is new or came back gets a tenth of its share at first, and all of it after a while: caches,
//! pools and compilers of its own have to become warm.
use std::time::Duration;

/// All of its share, per mille.
pub const FULL: u32 = 1000;
/// What it begins with, per mille.
pub const FIRST: u32 = 100;

/// The share, per mille of its weight, of an endpoint that may be used since `since_us`: from [`FIRST`] to [`FULL`] in a
/// straight line over `ramp`. A clock that went back counts as no time.
pub fn share(since_us: u64, now_us: u64, ramp: Duration) -> u32 {
    let (at, ramp) = (u128::from(now_us.saturating_sub(since_us)), ramp.as_micros());
    if at >= ramp {
        return FULL;
    }
    // less than FULL - FIRST, as `at` is less than `ramp`
    FIRST + (u128::from(FULL - FIRST) * at / ramp) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_a_line_from_a_tenth_to_all() {
        let ramp = Duration::from_secs(30);
        let at = |seconds: u64| share(7, 7 + seconds * 1_000_000, ramp);
        assert_eq!([at(0), at(10), at(15), at(20), at(30), at(31)], [100, 400, 550, 700, 1000, 1000]);
        assert_eq!(share(0, u64::MAX, ramp), FULL);
        assert_eq!(share(5, 5, Duration::ZERO), FULL, "off");
        assert_eq!(share(10, 5, ramp), FIRST, "a clock that went back");
    }

    proptest! {
        #[test]
        fn it_never_shrinks_and_keeps_its_bounds(since in 0u64..1 << 50, a in 0u64..1 << 40, b in 0u64..1 << 40, ramp_ms in 0u64..4_000_000) {
            let at = |after| share(since, since + after, Duration::from_millis(ramp_ms));
            prop_assert!((FIRST..=FULL).contains(&at(a)));
            prop_assert!(at(a.min(b)) <= at(a.max(b)));
        }
    }
}

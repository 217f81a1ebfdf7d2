//! Whether a request may be sent again, and when: rules over what became of an attempt. Pure.
//!
//! One thing is no rule, but holds whatever is configured: what may have happened is not made to happen twice (RFC 9110
//! 9.2.2). A request whose method is not idempotent goes out again only when nothing of it can have been acted on.
use super::budget::Share;
use crate::message::{Category, Fault, Side};
use edge_io::head::Method;
use std::time::Duration;

/// `retry` of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryRule {
    /// Attempts at most, the first among them; at least 2.
    pub attempts: u32,
    /// What is tried again.
    pub on: RetryOn,
    /// The wait before the second attempt; each further one is twice as long.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// How long one attempt may take to the answer's head; then it counts as timed out. `None` is no limit of its own.
    pub per_try_timeout: Option<Duration>,
    /// Bytes of a request's body that are kept for another attempt; longer bodies are sent once.
    pub replay: usize,
    /// Retries per successes, node-wide.
    pub budget: Share,
}

/// What is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// Nothing was sent: no connection, a failed handshake, a stream that the endpoint refused.
    pub connect: bool,
    /// The connection ended before the answer began, or what came was no answer.
    pub reset: bool,
    /// The answer's head did not come in time.
    pub timeout: bool,
    /// Answers with these statuses, ascending.
    pub statuses: Vec<u16>,
}

/// What an attempt ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The head of an answer, of which nothing was passed on yet.
    Status(u16),
    /// A failure.
    Failed(Fault),
}

/// All that decides whether there is another attempt.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// What it ended with.
    pub ending: Ending,
    /// Whether the request may be carried out twice (RFC 9110 9.2.2).
    pub idempotent: bool,
    /// Whether the client has seen anything of a final answer.
    pub answered: bool,
    /// Whether the body can be sent again: there is none, or all that was taken of it is kept.
    pub replayable: bool,
}

impl RetryRule {
    /// Whether there may be another attempt after `tries` of them, the first among them. The budget is asked afterwards.
    pub fn allows(&self, outcome: &Outcome, tries: u32) -> bool {
        tries < self.attempts && outcome.is_safe() && self.on.names(&outcome.ending)
    }

    /// How long to wait after `tries` attempts. `random`: any 64 bits; the wait is between half of its length and all of it,
    /// so that requests that failed together do not come back together.
    pub fn backoff(&self, tries: u32, random: u64) -> Duration {
        let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        let most = self.backoff.saturating_mul(doubled).min(self.max_backoff);
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        let part = (u128::from(random) * u128::from(micros / 2 + 1)) >> 64;
        Duration::from_micros(micros - u64::try_from(part).unwrap_or(0))
    }
}

impl Outcome {
    /// Whether nothing can happen twice, and nobody sees two answers.
    pub fn is_safe(&self) -> bool {
        !self.answered && self.replayable && (self.idempotent || self.is_unsent())
    }

    fn is_unsent(&self) -> bool {
        matches!(self.ending, Ending::Failed(fault) if fault.unsent)
    }
}

impl RetryOn {
    /// Whether `ending` is among what is tried again.
    pub fn names(&self, ending: &Ending) -> bool {
        match ending {
            Ending::Status(status) => self.statuses.binary_search(status).is_ok(),
            Ending::Failed(fault) if fault.side != Side::Upstream => false,
            Ending::Failed(fault) if fault.unsent => self.connect,
            Ending::Failed(fault) => match fault.category {
                // what came was no answer: nobody can do anything with it either
                Category::UpstreamReset | Category::UpstreamProtocol => self.reset,
                Category::UpstreamTimeout => self.timeout,
                _ => false,
            },
        }
    }
}

/// Whether a request may be carried out twice without harm (RFC 9110 9.2.2).
pub fn is_idempotent(method: Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule() -> RetryRule {
        RetryRule {
            attempts: 2,
            on: RetryOn { connect: true, reset: true, timeout: false, statuses: vec![502, 503, 504] },
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_secs(1),
            per_try_timeout: None,
            replay: 64 << 10,
            budget: Share { permille: 100, burst: 10 },
        }
    }

    fn everything() -> RetryOn {
        RetryOn { connect: true, reset: true, timeout: true, statuses: (400..=599).collect() }
    }

    fn failed(category: Category, unsent: bool) -> Ending {
        Ending::Failed(Fault { unsent, ..Fault::new(category, Side::Upstream, "") })
    }

    #[test]
    fn what_is_tried_again_by_default() {
        let get = |ending| Outcome { ending, idempotent: true, answered: false, replayable: true };
        let post = |ending| Outcome { idempotent: false, ..get(ending) };
        for (ending, of_get, of_post) in [
            (Ending::Status(200), false, false),
            (Ending::Status(500), false, false),
            (Ending::Status(502), true, false),
            (Ending::Status(503), true, false),
            (Ending::Status(504), true, false),
            (failed(Category::UpstreamConnectFailed, true), true, true),
            (failed(Category::UpstreamTls, true), true, true),
            (failed(Category::UpstreamTimeout, true), true, true), // connecting took too long
            (failed(Category::UpstreamReset, true), true, true),   // REFUSED_STREAM, GOAWAY
            (failed(Category::UpstreamReset, false), true, false),
            (failed(Category::UpstreamTimeout, false), false, false),
            (failed(Category::UpstreamProtocol, false), true, false), // what came was no answer
            (Ending::Failed(Fault::new(Category::Overloaded, Side::Edge, "").unsent()), false, false),
            (Ending::Failed(Fault::new(Category::ClientAbort, Side::Downstream, "")), false, false),
        ] {
            assert_eq!(rule().allows(&get(ending), 1), of_get, "GET {ending:?}");
            assert_eq!(rule().allows(&post(ending), 1), of_post, "POST {ending:?}");
            assert!(!rule().allows(&get(ending), 2), "two attempts are all: {ending:?}");
        }
    }

    #[test]
    fn nothing_happens_twice_and_nobody_sees_two_answers_whatever_is_configured() {
        let rule = RetryRule { attempts: u32::MAX, on: everything(), ..rule() };
        let statuses = (100..=599).map(Ending::Status);
        let faults =
            Category::ALL.into_iter().flat_map(|category| [false, true].map(|unsent| failed(category, unsent)));
        for ending in statuses.chain(faults) {
            for bits in 0..8 {
                let [idempotent, answered, replayable] = [1, 2, 4].map(|bit| bits & bit != 0);
                let outcome = Outcome { ending, idempotent, answered, replayable };
                let unsent = matches!(ending, Ending::Failed(fault) if fault.unsent);
                if rule.allows(&outcome, 1) {
                    assert!(idempotent || unsent, "{outcome:?}");
                    assert!(!answered && replayable, "{outcome:?}");
                }
            }
        }
    }

    #[test]
    fn methods_that_may_be_carried_out_twice() {
        let all = [Method::Get, Method::Head, Method::Put, Method::Delete, Method::Options, Method::Trace];
        assert!(all.into_iter().all(is_idempotent));
        assert!(![Method::Post, Method::Patch, Method::Connect].into_iter().any(is_idempotent));
    }

    #[test]
    fn waits_double_up_to_their_most() {
        let ms = |tries, random| rule().backoff(tries, random).as_micros();
        assert_eq!([ms(1, 0), ms(2, 0), ms(3, 0), ms(6, 0), ms(7, 0)], [25_000, 50_000, 100_000, 800_000, 1_000_000]);
        assert_eq!([ms(1, u64::MAX), ms(2, u64::MAX)], [12_500, 25_000]);
        assert_eq!(ms(u32::MAX, 0), 1_000_000);
        let none = RetryRule { backoff: Duration::ZERO, ..rule() };
        assert_eq!(none.backoff(3, u64::MAX), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn waits_are_within_their_bounds(tries in 1u32.., random: u64, backoff in 0u64..60_000, most in 0u64..60_000) {
            let (backoff, max_backoff) = (Duration::from_millis(backoff), Duration::from_millis(most.max(backoff)));
            let rule = RetryRule { backoff, max_backoff, ..rule() };
            let whole = rule.backoff(tries, 0);
            let wait = rule.backoff(tries, random);
            prop_assert!(wait <= whole && whole <= max_backoff && whole >= backoff);
            prop_assert!(wait * 2 + Duration::from_micros(1) >= whole);
        }
    }
}

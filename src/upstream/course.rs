//! What all attempts of one request share, and where the request has been: who is asked first, who next, and whether at all.
use super::{
    EndpointRule, Panic, PoolRule, Request, Trace, Upstreams,
    balance::Balance,
    choose::{Ask, Tried},
    forward::Plan,
    h2::Live,
    pool::{Endpoint, Place, Wish},
    retry::{Ending, Outcome},
    sticky::Stuck,
};
use crate::message::{BodySize, Category, Fault, Side};
use edge_io::{clock::monotonic_us, head::Head};
use std::{rc::Rc, time::Duration};

/// No endpoint can be chosen.
const NONE_USABLE: Fault =
    Fault::new(Category::NoHealthyEndpoint, Side::Edge, "no endpoint of the pool may be used now");
pub(super) const NO_ENDPOINT: Fault = Fault::new(Category::NoHealthyEndpoint, Side::Edge, "the pool has no endpoint");

/// What all attempts of one request share.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    /// The shard's way to endpoints.
    pub upstreams: &'a Upstreams,
    /// The pool.
    pub pool: &'a PoolRule,
    /// What the route's policy says.
    pub plan: Plan<'a>,
    /// The request.
    pub request: &'a Request<'a>,
    /// Its head.
    pub head: &'a Head,
    /// Whether it may be carried out twice (RFC 9110 9.2.2).
    pub idempotent: bool,
}

impl<'a> Call<'a> {
    /// An endpoint of the pool, as the snapshot and as the shard has it.
    pub fn endpoint(&self, index: usize) -> Option<(&'a EndpointRule, Rc<Endpoint>)> {
        let rule = self.pool.endpoints.get(index)?;
        Some((rule, self.upstreams.endpoints.get(self.pool, rule)))
    }

    /// What is asked of a connection for it.
    pub fn wish<'w>(&self, refused: Option<&'w Rc<Live>>) -> Wish<'w> {
        Wish {
            // What cannot be sent again (RFC 9110 9.2.2), or only with a body that is gone by then.
            careful: !self.idempotent || self.request.body != BodySize::Empty,
            websocket: self.request.websocket,
            connect_timeout: self.plan.timeouts.connect,
            tls_timeout: self.plan.timeouts.tls,
            class: self.plan.priority,
            h1_only: false,
            refused,
        }
    }

    /// Where a connection is to come from.
    pub fn place<'p>(&'p self, rule: &'p EndpointRule, endpoint: &'p Rc<Endpoint>) -> Place<'p> {
        Place { local: &self.upstreams.local, stats: &self.upstreams.stats, pool: self.pool, rule, endpoint }
    }

    fn choose(&self, course: &Course, tried: &Tried, any: bool) -> Option<usize> {
        let now_ms = self.upstreams.local.timers.now();
        self.upstreams.choose(
            self.pool,
            Ask { tried, key: course.key, sticky: course.stuck.map(|stuck| stuck.endpoint), any, now_ms },
        )
    }

    /// An endpoint that may be used and was not asked yet.
    pub fn other(&self, course: &Course) -> Option<usize> {
        self.choose(course, &course.tried, false)
    }
}

/// Where a request has been, and how often.
#[derive(Clone, Default)]
pub(super) struct Course {
    /// Endpoints that were asked.
    pub tried: Tried,
    /// What the pool's balance hashes, where it does.
    pub key: Option<u64>,
    /// Where the client belongs.
    pub stuck: Option<Stuck>,
    /// Attempts, but for repetitions on a fresh connection.
    pub tries: u32,
    /// Repetitions on a fresh connection.
    pub repeats: u32,
    /// It passes only to see whether the pool is well again: nothing follows it.
    pub once: bool,
}

impl Course {
    /// Whether there may be another attempt after one that ended so, and after which wait. Takes it from the budget.
    pub fn grant(&mut self, call: &Call<'_>, trace: &mut Trace, outcome: &Outcome) -> Option<Duration> {
        let retry = call.plan.retry?;
        if self.once || !retry.allows(outcome, self.tries + 1) {
            return None;
        }
        if call.plan.state.is_some_and(|state| !state.take_retry(retry)) {
            trace.no_budget = true;
            return None;
        }
        self.tries += 1;
        let elsewhere = call.pool.endpoints.len() > 1;
        let unsent = matches!(outcome.ending, Ending::Failed(fault) if fault.unsent);
        Some(match unsent && elsewhere {
            true => Duration::ZERO, // nobody was troubled, and another one is asked
            false => retry.backoff(self.tries, call.upstreams.rng.borrow_mut().next_u64()),
        })
    }

    /// The first endpoint. Where none may be used, now and then one is asked all the same.
    pub fn first(&mut self, call: &Call<'_>) -> Result<usize, Fault> {
        let Call { pool, plan, head, upstreams, .. } = *call;
        if let Balance::Hash(rule) = &pool.balance {
            self.key = rule.key(head, plan.path, plan.client);
        }
        if let Some(sticky) = &pool.sticky {
            self.stuck = sticky.find(head, upstreams.unix_s());
        }
        if let Some(index) = call.other(self) {
            return Ok(index);
        }
        if pool.endpoints.is_empty() {
            return Err(NO_ENDPOINT);
        }
        if !pool.state.fail_open(pool.panic, monotonic_us()) {
            return Err(NONE_USABLE);
        }
        self.once = pool.panic == Panic::Trickle;
        call.choose(self, &Tried::default(), true).ok_or(NONE_USABLE)
    }

    /// The endpoint for another attempt: one that was not asked; or else one that was, unless it fails again and again: then one
    /// that is out of use may be well by now.
    pub fn next(&self, call: &Call<'_>) -> Option<usize> {
        let course = self;
        let none = Tried::default();
        let again = || call.choose(course, &none, false);
        let failing = |index: &usize| call.pool.endpoints.get(*index).is_none_or(|e| e.state.failures_in_a_row() > 1);
        call.other(course)
            .or_else(|| again().filter(|index| !failing(index)))
            .or_else(|| call.choose(course, &course.tried, true))
            .or_else(again)
            .or_else(|| call.choose(course, &none, true))
    }
}

//! Outlier detection: which endpoints of a pool are left out for a while, by what shards saw of their answers. Pure: it is
//! told the time and the counts.
//!
//! The rules and figures are those that Envoy and others have made common: a run of failures, a share of failures in a
//! window, times far beyond the others'; each further time out is twice as long; and never more than a share of the pool,
//! for what all endpoints do is seldom their fault.
use crate::observe::stats::{BOUNDS_US, HistogramTotal};
use std::{cmp::Reverse, time::Duration};

/// Pieces of the window of failures: what is older than the window is forgotten piece by piece.
const SLICES: usize = 10;
/// Windows of latency in one window of failures.
const LATENCY_WINDOWS: u64 = 3;
/// A median must exceed the others' by this much too: three times almost nothing is nothing.
const LATENCY_LEAST_US: u64 = 5_000;
/// How often counts are looked at; runs of failures are looked at in each tick.
const COUNTS_EVERY_US: u64 = 500_000;

/// `[pool.NAME.outlier]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierRule {
    /// Failures in a row; 0 = not looked at.
    pub consecutive: u32,
    /// Failures of the answers in the window, in thousandths; 0 = not looked at.
    pub error_share: u32,
    /// Fewer answers than this tell nothing, in either kind of window.
    pub min_requests: u32,
    /// The window that shares are counted in. Latency is compared each third of it, three times in a row.
    pub window: Duration,
    /// How many times the others' median an endpoint's may be; 0 = not looked at.
    pub latency_factor: u32,
    /// How long the first time out is.
    pub ejection: Duration,
    /// How long it is at most.
    pub ejection_max: Duration,
    /// How many endpoints of a pool may be out, in thousandths, rounded down; those that are unhealthy count.
    pub max_ejected: u32,
}

impl OutlierRule {
    /// How long an endpoint is out that was out `times` before.
    pub fn time_out(&self, times: u32) -> u64 {
        let first = micros(self.ejection);
        let doubled = first.checked_shl(times.min(40)).filter(|long| long >> times.min(40) == first);
        doubled.unwrap_or(u64::MAX).min(micros(self.ejection_max)).max(first)
    }

    /// How many of `endpoints` may be out.
    pub fn most(&self, endpoints: usize) -> usize {
        endpoints * self.max_ejected as usize / 1000
    }
}

/// Why an endpoint is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// So many failures in a row.
    Consecutive(u32),
    /// So many failures of so many answers.
    Share(u64, u64),
    /// Its median and the others', µs.
    Latency(u64, u64),
}

impl Reason {
    /// Its place in [`EJECTIONS`](crate::observe::stats::EJECTIONS).
    pub fn label(self) -> usize {
        match self {
            Reason::Consecutive(_) => 0,
            Reason::Share(..) => 1,
            Reason::Latency(..) => 2,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |us: &u64| *us as f64 / 1000.0;
        match self {
            Reason::Consecutive(n) => write!(f, "{n} failures in a row"),
            Reason::Share(failures, all) => write!(f, "{failures} of {all} answers failed"),
            Reason::Latency(its, others) => {
                write!(f, "its median is {:.1} ms, that of the others {:.1} ms", ms(its), ms(others))
            }
        }
    }
}

/// What happens to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is left out until this time.
    Eject(Reason, u64),
    /// It may be used again.
    Readmit,
}

/// What was seen of one endpoint. Counts are totals since ever.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The longest run of failures since the last tick.
    pub longest: u32,
    /// The active check says that it is down.
    pub unhealthy: bool,
    /// Failures and successes, at ticks that ask for them.
    pub counts: Option<Counts>,
    /// Times to the first byte, at ticks that ask for them.
    pub latency: Option<HistogramTotal>,
}

/// Totals of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// What [`failed`](super::EndpointState::failed) counted.
    pub failures: u64,
    /// Answers below 500.
    pub successes: u64,
}

impl Counts {
    fn since(self, earlier: Counts) -> Counts {
        Counts {
            failures: self.failures.saturating_sub(earlier.failures),
            successes: self.successes.saturating_sub(earlier.successes),
        }
    }

    fn add(&mut self, other: Counts) {
        self.failures += other.failures;
        self.successes += other.successes;
    }

    fn all(self) -> u64 {
        self.failures + self.successes
    }
}

/// What is remembered of one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Member {
    out_until: Option<u64>,
    /// How often it was out, less what was forgotten since.
    times: u32,
    /// When it came back, or one time was forgotten.
    in_since: u64,
    slices: [Counts; SLICES],
    last: Option<Counts>,
    last_latency: Option<HistogramTotal>,
    /// It should be out, but too many are: that was counted.
    spared: bool,
    /// Windows in a row in which it was too slow.
    slow: u64,
    /// Its median in the last of them, and the others', µs.
    medians: (u64, u64),
}

impl Member {
    /// Until when it is left out, if it is.
    pub fn out_until(&self) -> Option<u64> {
        self.out_until
    }

    fn window(&self) -> Counts {
        let mut sum = Counts::default();
        self.slices.iter().for_each(|slice| sum.add(*slice));
        sum
    }

    /// Forgets what it was judged by; not how often it was out.
    fn renew(&mut self, now_us: u64) {
        let (times, last) = (self.times, self.last);
        *self = Member { times, last, in_since: now_us, ..Member::default() };
    }

    /// One time out is forgotten when it has served for as long as that time was: it goes as fast as it came.
    fn forget(&mut self, rule: &OutlierRule, now_us: u64) {
        while self.out_until.is_none() && self.times > 0 {
            let served = rule.time_out(self.times - 1);
            if now_us.saturating_sub(self.in_since) < served {
                return;
            }
            self.times -= 1;
            self.in_since += served;
        }
    }
}

/// What is remembered of a pool.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    /// Its endpoints, in the order of the samples.
    pub members: Vec<Member>,
    slice: usize,
    slice_until: u64,
    counts_at: u64,
    latency_at: u64,
    /// How often nobody was left out because too many were out already.
    pub capped: u64,
}

/// Which samples a tick wants beyond runs of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// `Sample::counts`.
    pub counts: bool,
    /// `Sample::latency`.
    pub latency: bool,
}

impl Detector {
    /// What the tick at `now_us` wants to be told.
    pub fn wants(&self, rule: &OutlierRule, now_us: u64) -> Wants {
        Wants {
            counts: rule.error_share > 0 && now_us >= self.counts_at,
            latency: rule.latency_factor > 0 && now_us >= self.latency_at,
        }
    }

    /// A tick: `samples` are those of the members, one each. Decisions by member; they hold already.
    pub fn tick(&mut self, rule: &OutlierRule, now_us: u64, samples: &[Sample]) -> Vec<(usize, Decision)> {
        self.members.resize_with(samples.len(), Member::default);
        let mut decisions = Vec::new();
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.out_until.is_some_and(|until| until <= now_us) {
                member.renew(now_us);
                decisions.push((index, Decision::Readmit));
            }
            member.forget(rule, now_us);
        }
        self.count(rule, now_us, samples);
        self.compare(rule, now_us, samples);
        self.make_room(rule, now_us, samples, &mut decisions);
        self.eject(rule, now_us, samples, &mut decisions);
        decisions
    }

    /// Everybody may be used again: the rule is gone.
    pub fn clear(&mut self) -> Vec<(usize, Decision)> {
        let out = |(index, member): (usize, Member)| member.out_until.map(|_| (index, Decision::Readmit));
        std::mem::take(&mut self.members).into_iter().enumerate().filter_map(out).collect()
    }

    fn count(&mut self, rule: &OutlierRule, now_us: u64, samples: &[Sample]) {
        let wide = (micros(rule.window) / SLICES as u64).max(1);
        if now_us >= self.slice_until {
            // After a pause everything is old.
            let missed = (now_us - self.slice_until) / wide + 1;
            for _ in 0..missed.min(SLICES as u64) {
                self.slice = (self.slice + 1) % SLICES;
                self.members.iter_mut().for_each(|m| m.slices[self.slice] = Counts::default());
            }
            self.slice_until = now_us + wide;
        }
        if !self.wants(rule, now_us).counts {
            return;
        }
        self.counts_at = now_us + COUNTS_EVERY_US;
        for (member, sample) in self.members.iter_mut().zip(samples) {
            let Some(counts) = sample.counts else { continue };
            let news = member.last.map_or(Counts::default(), |last| counts.since(last));
            member.last = Some(counts);
            // Those that were on their way when it was left out say nothing of how it is when it comes back.
            if member.out_until.is_none() {
                member.slices[self.slice].add(news);
            }
        }
    }

    /// Compares each one's median with that of all others together.
    fn compare(&mut self, rule: &OutlierRule, now_us: u64, samples: &[Sample]) {
        if !self.wants(rule, now_us).latency {
            return;
        }
        self.latency_at = now_us + micros(rule.window) / LATENCY_WINDOWS;
        let mut windows = Vec::with_capacity(samples.len());
        let mut all = HistogramTotal::default();
        for (member, sample) in self.members.iter_mut().zip(samples) {
            let window = match (&sample.latency, &member.last_latency) {
                (Some(now), Some(before)) => difference(now, before),
                _ => HistogramTotal::default(),
            };
            member.last_latency.clone_from(&sample.latency);
            all.add_total(&window);
            windows.push(window);
        }
        for (member, window) in self.members.iter_mut().zip(windows) {
            let others = difference(&all, &window);
            let enough = |h: &HistogramTotal| h.count() >= u64::from(rule.min_requests.max(1));
            let slow = enough(&window) && enough(&others) && too_slow(rule, median(&window), median(&others));
            member.slow = if slow && member.out_until.is_none() { member.slow + 1 } else { 0 };
            member.medians = (median(&window), median(&others));
        }
    }

    /// When more are unhealthy than before, or the pool is smaller, fewer may be left out: those whose time is over
    /// soonest come back. What is left out is never why a pool is empty.
    fn make_room(
        &mut self,
        rule: &OutlierRule,
        now_us: u64,
        samples: &[Sample],
        decisions: &mut Vec<(usize, Decision)>,
    ) {
        let most = rule.most(samples.len());
        let too_many = self.out(samples).saturating_sub(most);
        self.bring_back(now_us, samples, too_many, |s| !s.unhealthy, decisions);
        let too_many = self.ejected().saturating_sub(most);
        self.bring_back(now_us, samples, too_many, |_| true, decisions);
    }

    /// Ends the times of up to `how_many` among those that are meant: of those whose are over soonest.
    fn bring_back(
        &mut self,
        now_us: u64,
        samples: &[Sample],
        how_many: usize,
        meant: impl Fn(&Sample) -> bool,
        decisions: &mut Vec<(usize, Decision)>,
    ) {
        if how_many == 0 {
            return;
        }
        let out = self.members.iter().zip(samples).enumerate().filter(|(_, (_, s))| meant(s));
        let mut out: Vec<(u64, usize)> =
            out.filter_map(|(index, (member, _))| Some((member.out_until?, index))).collect();
        out.sort_unstable();
        for (_, index) in out.into_iter().take(how_many) {
            if let Some(member) = self.members.get_mut(index) {
                member.renew(now_us);
                decisions.push((index, Decision::Readmit));
            }
        }
    }

    fn ejected(&self) -> usize {
        self.members.iter().filter(|m| m.out_until.is_some()).count()
    }

    /// Endpoints that are not to be used, for either reason.
    fn out(&self, samples: &[Sample]) -> usize {
        self.members.iter().zip(samples).filter(|(m, s)| m.out_until.is_some() || s.unhealthy).count()
    }

    fn eject(&mut self, rule: &OutlierRule, now_us: u64, samples: &[Sample], decisions: &mut Vec<(usize, Decision)>) {
        let mut worst: Vec<(usize, Reason)> = Vec::new();
        for (index, (member, sample)) in self.members.iter_mut().zip(samples).enumerate() {
            let may = member.out_until.is_none() && !sample.unhealthy;
            let reason = if may { judge(rule, member, sample) } else { None };
            member.spared &= reason.is_some();
            worst.extend(reason.map(|reason| (index, reason)));
        }
        if worst.is_empty() {
            return;
        }
        worst.sort_by_key(|(index, _)| Reverse(samples.get(*index).map_or(0, |s| s.longest)));
        let mut room = rule.most(samples.len()).saturating_sub(self.out(samples));
        for (index, reason) in worst {
            let Some(member) = self.members.get_mut(index) else { continue };
            if room == 0 {
                self.capped += u64::from(!std::mem::replace(&mut member.spared, true));
                continue;
            }
            // One that has just come back in this tick had no request since.
            if decisions.iter().any(|(known, _)| *known == index) {
                continue;
            }
            let until = now_us.saturating_add(rule.time_out(member.times));
            let times = member.times.saturating_add(1);
            member.renew(now_us);
            (member.out_until, member.times) = (Some(until), times);
            decisions.push((index, Decision::Eject(reason, until)));
            room -= 1;
        }
    }
}

fn judge(rule: &OutlierRule, member: &Member, sample: &Sample) -> Option<Reason> {
    if rule.consecutive > 0 && sample.longest >= rule.consecutive {
        return Some(Reason::Consecutive(sample.longest));
    }
    let window = member.window();
    let enough = window.all() >= u64::from(rule.min_requests.max(1));
    if rule.error_share > 0 && enough && window.failures * 1000 >= window.all() * u64::from(rule.error_share) {
        return Some(Reason::Share(window.failures, window.all()));
    }
    if rule.latency_factor > 0 && member.slow >= LATENCY_WINDOWS {
        return Some(Reason::Latency(member.medians.0, member.medians.1));
    }
    None
}

fn too_slow(rule: &OutlierRule, its: u64, others: u64) -> bool {
    its >= others.saturating_mul(u64::from(rule.latency_factor)) && its >= others.saturating_add(LATENCY_LEAST_US)
}

/// The counts of `a` that are not in `b`.
fn difference(a: &HistogramTotal, b: &HistogramTotal) -> HistogramTotal {
    let mut rest = a.clone();
    rest.buckets.iter_mut().zip(b.buckets).for_each(|(n, less)| *n = n.saturating_sub(less));
    rest.sum_us = rest.sum_us.saturating_sub(b.sum_us);
    rest
}

/// The median in µs, as if durations were spread evenly within their bucket; beyond the last bound, that bound.
fn median(h: &HistogramTotal) -> u64 {
    let half = h.count().div_ceil(2);
    let (mut below, mut low) = (0, 0);
    if half == 0 {
        return 0;
    }
    for (n, high) in h.buckets.iter().zip(BOUNDS_US) {
        if *n > 0 && below + n >= half {
            return low + (high - low) * (half - below) / n;
        }
        below += n;
        low = high;
    }
    low
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

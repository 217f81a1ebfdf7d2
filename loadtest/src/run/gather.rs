//! The coordinator's side of a run: merges what the shards report, second by second, and tells how far it has come.
use super::{
    log::Log,
    thread::{End, Report, SECOND_US},
};
use crate::{
    check::cpu,
    client::Span,
    plan::Plan,
    record::{Interval, Progress, Totals},
};
use std::{collections::BTreeMap, sync::mpsc::SyncSender};

/// What has come so far.
pub(super) struct Gather<'a> {
    plan: &'a Plan,
    span: Span,
    pub totals: Totals,
    pub ends: Vec<End>,
    /// Seconds that not every shard has reported, by their number.
    open: BTreeMap<u64, Box<Interval>>,
    /// Per shard, the last second that it reported.
    upto: Vec<u64>,
    /// The last second that all have reported.
    told: u64,
    /// Where merged intervals go back to.
    empties: Vec<SyncSender<Box<Interval>>>,
    /// The server's CPU time at the beginning of the measured time, and at the last second, µs.
    server: Option<(u64, u64)>,
    log: Log<'a>,
}

impl<'a> Gather<'a> {
    pub fn new(plan: &'a Plan, span: Span, empties: Vec<SyncSender<Box<Interval>>>, log: Log<'a>) -> Gather<'a> {
        let upto = vec![0; empties.len()];
        let (totals, ends, open) = (Totals::new(), Vec::new(), BTreeMap::new());
        Gather { plan, span, totals, ends, open, upto, told: 0, empties, server: None, log }
    }

    /// When the measured time begins, µs.
    pub fn start_us(&self) -> u64 {
        self.span.start_us
    }

    /// The measured time begins.
    pub fn begin(&mut self) {
        if self.server.is_none() {
            self.server = self.plan.server_pid.and_then(cpu::of_tree).map(|us| (us, us));
        }
    }

    pub fn take(&mut self, report: Report) {
        match report {
            Report::Seconds { shard, upto, interval } => {
                self.merge(upto, &interval);
                if let Some(empties) = self.empties.get(shard) {
                    let _ = empties.try_send(interval); // full: there are enough
                }
                if let Some(last) = self.upto.get_mut(shard) {
                    *last = upto;
                }
            }
            Report::End(end) => {
                if let Some(last) = self.upto.get_mut(end.shard) {
                    *last = u64::MAX;
                }
                self.ends.push(*end);
            }
        }
        self.tell();
    }

    fn merge(&mut self, upto: u64, interval: &Interval) {
        self.open.entry(upto).or_default().add(interval);
    }

    /// Takes the seconds that all shards have reported. What a shard had to keep back joins a later second.
    fn tell(&mut self) {
        let all = self.upto.iter().copied().min().unwrap_or(0);
        while let Some(entry) = self.open.first_entry() {
            let second = *entry.key();
            if second > all {
                return;
            }
            let interval = entry.remove();
            let used = self.server_used();
            let length = second.saturating_sub(self.told) as f64;
            self.log.second(self.told as f64, length, &interval.response);
            self.totals.second(second as f64, length, &interval, used);
            self.told = second;
        }
    }

    /// The server's CPU time since the last second, µs.
    fn server_used(&mut self) -> Option<u64> {
        let (_, last) = self.server.as_mut()?;
        let now = self.plan.server_pid.and_then(cpu::of_tree)?;
        Some(now.saturating_sub(std::mem::replace(last, now)))
    }

    /// All shards have said their last word. Answers how long was measured, seconds, and the server's CPU in it.
    pub fn finish(&mut self) -> (f64, Option<u64>) {
        let ended = self.ends.iter().map(|end| end.ended_us).max().unwrap_or(self.span.end_us);
        let seconds = ended.saturating_sub(self.span.start_us) as f64 / 1e6;
        let mut rest = Interval::new();
        for end in &self.ends {
            rest.add(&end.interval);
            self.totals.early(&end.early);
        }
        let told = self.told as f64;
        // The last part of a second is one of its own; what came after it, or a sliver, belongs to the one before.
        if seconds - told >= LAST_MIN || self.told == 0 {
            let used = self.server_used();
            self.log.second(told, seconds - told, &rest.response);
            self.totals.second(seconds, seconds - told, &rest, used);
        } else {
            self.log.late(&rest.response);
            self.totals.late(&rest);
        }
        self.log.end();
        (seconds, self.server.map(|(first, last)| last.saturating_sub(first)))
    }

    /// How far it has come.
    pub fn progress(&self, now_us: u64) -> Progress {
        let (warmup, from, until) = match now_us < self.span.start_us {
            true => (true, self.span.begin_us, self.span.start_us),
            false => (false, self.span.start_us, self.span.end_us),
        };
        let seconds = |from: u64, until: u64| until.saturating_sub(from) as f64 / SECOND_US as f64;
        let (counts, last) = (&self.totals.sum().counts, self.totals.last());
        let spread = last.map(|second| &second.response).filter(|spread| spread.count > 0);
        Progress {
            warmup,
            elapsed: seconds(from, now_us.min(until)),
            total: seconds(from, until),
            answered: counts.answered,
            requests: self.plan.requests.map(u64::from),
            rate: last.map_or(0.0, |s| if s.length > 0.0 { s.counts.answered as f64 / s.length } else { 0.0 }),
            p50_us: spread.map(|spread| spread.p50),
            p99_us: spread.map(|spread| spread.p99),
            errors: counts.errors(),
        }
    }
}

/// Shortest last part that is a second of its own, seconds: rates of less say nothing.
const LAST_MIN: f64 = 0.1;

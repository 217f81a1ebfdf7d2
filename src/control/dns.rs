//! Names of endpoints while the edge runs: looked up as often as their answers say, by nobody but the control thread.
//! Other addresses make another snapshot of the same configuration, which the shards adopt as they adopt a reload.
mod entry;
mod resolve;

use super::{Control, broadcast, reload::shards_silent};
use crate::{
    admin::view,
    observe::{
        notice,
        stats::{DnsResult, NameStats, StatsRegistry},
    },
    snapshot::Snapshot,
    upstream::{
        Question, Registry,
        names::{self, ResolverRule},
    },
};
use entry::{Entry, Heard, Miss};
use resolve::Resolver;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{sleep_until, timeout},
};

/// A configuration with names that were never asked for waits so long for their first answers, all together.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// Names that are being asked for at a time.
const ASKING_MAX: usize = 32;
/// How often removed endpoints are looked after, and the clock anyhow.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);
/// After another snapshot could not be made, it is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Names that a status lists.
const LISTED_MAX: usize = 1000;

/// What is known of names.
#[derive(Debug)]
pub(super) struct Dns {
    registry: Arc<Registry>,
    stats: Arc<StatsRegistry>,
    entries: RefCell<BTreeMap<Question, Entry>>,
    rule: RefCell<ResolverRule>,
    resolver: RefCell<Option<Rc<Resolver>>>,
    /// Names that are being asked for.
    asking: Cell<usize>,
    /// Something was heard, or there are other names.
    news: Notify,
    /// The same, for a configuration that waits for first answers.
    heard: Notify,
    /// An answer is another one than what the snapshot in force was made of.
    changed: Cell<bool>,
}

/// Keeps names up to date for as long as it is polled.
pub(super) async fn watch(control: Rc<Control>) {
    let dns = &control.dns;
    loop {
        dns.ask_all_due();
        let mut wake = Instant::now() + LOOK_ANYWAY;
        if dns.changed.get() {
            // On a task of its own: a drain that begins meanwhile must not leave it half-way, holding the turn.
            let task = control.clone();
            match spawn_local(async move { task.adopt_names().await }).await {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => {
                    notice(format_args!("warning: other addresses of endpoints could not be adopted: {why}"));
                    wake = Instant::now() + TRY_AGAIN;
                }
                Err(_) => wake = Instant::now() + TRY_AGAIN, // it panicked, which was told
            }
        }
        control.registry.reap(Instant::now());
        let wake = dns.next_due().map_or(wake, |due| due.min(wake));
        tokio::select! {
            () = dns.news.notified() => {}
            () = sleep_until(wake.into()) => {}
        }
    }
}

impl Dns {
    /// Without any names.
    pub(super) fn new(registry: Arc<Registry>, stats: Arc<StatsRegistry>) -> Rc<Dns> {
        Rc::new(Dns {
            registry,
            stats,
            entries: RefCell::default(),
            rule: RefCell::default(),
            resolver: RefCell::default(),
            asking: Cell::new(0),
            news: Notify::new(),
            heard: Notify::new(),
            changed: Cell::new(false),
        })
    }

    /// Asks for the names of `new` that nobody has asked for yet, and waits a little for what is heard of them.
    pub(super) async fn first_answers(self: &Rc<Self>, new: &Snapshot) {
        let wanted = names::questions(&new.pools);
        if wanted.is_empty() {
            return;
        }
        self.follow_rule(&new.server.resolver);
        let now = Instant::now();
        for question in &wanted {
            let known = self.registry.names.get(question);
            self.entries.borrow_mut().entry(question.clone()).or_insert_with(|| Entry::new(now, known));
        }
        let all = async {
            loop {
                self.ask_all_due();
                let heard = self.heard.notified();
                let missing = |(question, entry): (&Question, &Entry)| !entry.heard && wanted.contains(question);
                if !self.entries.borrow().iter().any(missing) {
                    return;
                }
                heard.await;
            }
        };
        let _ = timeout(FIRST_PATIENCE, all).await;
    }

    /// Other servers may say something else: everything is asked anew.
    fn follow_rule(&self, rule: &ResolverRule) {
        if *self.rule.borrow() != *rule {
            *self.rule.borrow_mut() = rule.clone();
            let now = Instant::now();
            self.entries.borrow_mut().values_mut().for_each(|entry| entry.due = now);
        }
    }

    /// `current` is in force: other names are of no interest any more.
    pub(super) fn follow(&self, current: &Snapshot) {
        let wanted = names::questions(&current.pools);
        self.follow_rule(&current.server.resolver);
        self.entries.borrow_mut().retain(|question, _| wanted.contains(question));
        self.registry.names.retain(&wanted);
        self.stats.control.dns.retain(&wanted.iter().map(|question| question.to_string().into()).collect());
        self.news.notify_one();
    }

    fn next_due(&self) -> Option<Instant> {
        if self.asking.get() >= ASKING_MAX {
            return None; // the first one that is heard of brings news
        }
        self.entries.borrow().values().filter(|entry| !entry.asking).map(|entry| entry.due).min()
    }

    /// Asks for what is due, on tasks of their own.
    fn ask_all_due(self: &Rc<Self>) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (question, entry) in self.entries.borrow_mut().iter_mut() {
            if self.asking.get() + due.len() < ASKING_MAX && !entry.asking && entry.due <= now {
                entry.asking = true;
                due.push(question.clone());
            }
        }
        if due.is_empty() {
            return;
        }
        let resolver = Resolver::renewed(self.resolver.take(), &self.rule.borrow());
        *self.resolver.borrow_mut() = resolver.clone();
        for question in due {
            self.asking.set(self.asking.get() + 1);
            let (dns, resolver) = (self.clone(), resolver.clone());
            drop(spawn_local(async move {
                let heard = match resolver {
                    Some(resolver) => {
                        // On a task of its own: one that panics must not leave a name that nobody asks for any more.
                        let asked = question.clone();
                        spawn_local(async move { resolver.ask(&asked).await }).await.ok()
                    }
                    None => None,
                };
                let heard = heard.unwrap_or_else(|| Heard::failed(&question, Miss::Failed));
                dns.asking.set(dns.asking.get() - 1);
                dns.hear(&question, &heard);
                dns.heard.notify_waiters();
                dns.news.notify_one();
            }));
        }
    }

    /// Takes what was heard of a name, and tells what is new.
    fn hear(&self, question: &Question, heard: &Heard) {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(question) else { return };
        let (before, failed_before) = (entry.answer.clone(), entry.miss);
        let now = Instant::now();
        let verdict = entry.hear(heard, now, &self.rule.borrow());
        let stats = &self.stats.control.dns;
        stats.resolved(result(verdict.miss));
        let (name, addresses) = (question.to_string().into(), entry.answer.found().len());
        stats.set(NameStats { name, addresses, answered: entry.answered });
        if let Some(answer) = &verdict.changed {
            self.registry.names.set(question, answer.clone());
            self.changed.set(true);
            notice(format_args!("{question} is {answer}; it was {before}"));
        }
        match verdict.miss {
            Some(miss) if failed_before != Some(miss) => {
                let stays = &entry.answer;
                notice(format_args!("warning: {question}: {}; what was known stays: {stays}", miss.as_str()));
            }
            None if failed_before.is_some() && verdict.changed.is_none() => {
                notice(format_args!("{question} is answered again: {before}"));
            }
            _ => {}
        }
    }

    /// As a status shows it.
    pub(super) fn views(&self) -> Vec<view::Name> {
        let now = Instant::now();
        let view = |(question, entry): (&Question, &Entry)| view::Name {
            name: question.to_string(),
            addresses: entry.answer.found().iter().map(ToString::to_string).collect(),
            age_seconds: entry.answered.map(|at| now.saturating_duration_since(at).as_secs_f64()),
            next_seconds: entry.due.saturating_duration_since(now).as_secs_f64(),
            problem: entry.miss.map(|miss| miss.as_str().to_owned()),
        };
        self.entries.borrow().iter().take(LISTED_MAX).map(view).collect()
    }
}

/// What the metrics call it.
fn result(miss: Option<Miss>) -> DnsResult {
    match miss {
        None => DnsResult::Answered,
        Some(Miss::Nothing) => DnsResult::NoSuchName,
        Some(Miss::Timeout) => DnsResult::Timeout,
        Some(Miss::Refused) => DnsResult::Refused,
        Some(Miss::Failed) => DnsResult::Failed,
    }
}

impl Control {
    /// `new` by what is known of its names after a short wait for those that nobody has asked for yet.
    pub(super) async fn with_first_answers(&self, new: Snapshot) -> Snapshot {
        self.dns.first_answers(&new).await;
        match names::renewed(&new.pools, &self.registry, &self.stats) {
            Some(pools) => new.with_pools(pools),
            None => new,
        }
    }

    /// Has the shards adopt what names mean now. In turn with reloads, of which it is none: the version stays.
    async fn adopt_names(&self) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        self.dns.changed.set(false);
        let current = self.state.borrow().current.clone();
        let Some(current) = current.filter(|_| !self.state.borrow().draining) else { return Ok(()) };
        let Some(pools) = names::renewed(&current.pools, &self.registry, &self.stats) else { return Ok(()) };
        let new = Arc::new(current.with_pools(pools));
        // Every address is open already: this says which ones, and opens none.
        let plan = self.state.borrow().sockets.plan(&new, self.shards.len()).map_err(|errors| {
            self.dns.changed.set(true);
            errors.join("\n")
        })?;
        let answers = broadcast::adopt(&self.shards, &new, plan.per_shard, broadcast::ACK_TIMEOUT).await;
        self.stats.control.dns.adopted.inc();
        let mut state = self.state.borrow_mut();
        if !state.draining {
            state.sockets = plan.sockets;
        }
        self.registry.keep(&new.pools, Instant::now());
        state.current = Some(new);
        if !answers.silent.is_empty() || !answers.errors.is_empty() {
            let errors = answers.errors.join("; ");
            notice(format_args!("warning: other addresses: {} {errors}", shards_silent(&answers.silent)));
        }
        Ok(())
    }

    /// What is in force is another configuration: its endpoints are kept in mind, and its names followed.
    pub(super) fn follow_current(&self) {
        let current = self.state.borrow().current.clone();
        if let Some(current) = current {
            self.registry.keep(&current.pools, Instant::now());
            self.dns.follow(&current);
        }
    }
}

#[cfg(test)]
mod tests;

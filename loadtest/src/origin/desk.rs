//! What one thread of an origin works with, whatever protocol a request comes by.
use super::{
    alarm::Alarms,
    counts::Counts,
    script::{Fault, Full, Mistake, Pace, Random, Reply, Script, Wish, micros},
};
use hyper::{
    HeaderMap,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Instant};

/// What an origin's threads share.
#[derive(Clone)]
pub(super) struct Shared {
    pub script: Arc<Script>,
    pub pace: Arc<Pace>,
    pub start: Instant,
}

/// What one thread has.
pub(super) struct Desk {
    pub script: Arc<Script>,
    pub pace: Arc<Pace>,
    pub alarms: Rc<Alarms>,
    pub counts: Arc<Counts>,
    random: RefCell<Random>,
    /// Fields of an answer as the script has them.
    pub fields: HeaderMap,
}

/// What is done about a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Events, every so many µs, so many.
    Events(u64, u64),
    /// An answer, at a time, µs.
    Reply(Reply, u64),
    /// Nothing, ever.
    Never,
    /// 503: too many wait.
    Refused,
    /// 400: the query cannot be read.
    Mistake(Mistake),
}

impl Desk {
    /// That of thread `thread`: threads draw different numbers.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new(shared: &Shared, thread: u64, counts: Arc<Counts>) -> io::Result<Rc<Desk>> {
        let Shared { script, pace, start } = shared.clone();
        let mut seeds = Random::new(script.seed);
        let seed = (0..thread).fold(script.seed, |_, _| seeds.bits());
        let fields = fields(script.headers);
        let alarms = Alarms::new(start)?;
        Ok(Rc::new(Desk { script, pace, alarms, counts, random: RefCell::new(Random::new(seed)), fields }))
    }

    /// What to do about a request for `path` that is complete now.
    pub fn judge(&self, path: &str, query: Option<&str>) -> Verdict {
        let wish = match query.map(Wish::parse).transpose() {
            Ok(wish) => wish.unwrap_or_default(),
            Err(mistake) => return Verdict::Mistake(mistake),
        };
        let interval = wish.interval.or(self.script.events);
        if path == "/events" || self.script.events.is_some() {
            let every = interval.map_or(super::EVENTS_EVERY_US, micros);
            return Verdict::Events(every, wish.count.unwrap_or(u64::MAX));
        }
        let reply = self.script.draw(&mut self.random.borrow_mut(), &wish);
        if let Some(fault) = reply.fault {
            self.counts.fault(fault);
            if fault == Fault::Stall {
                return Verdict::Never;
            }
        }
        match self.due(reply.delay_us) {
            Ok(due) => Verdict::Reply(reply, due),
            Err(Full) => Verdict::Refused,
        }
    }

    /// When something is answered that is complete now and takes `takes` µs.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn due(&self, takes: u64) -> Result<u64, Full> {
        let due = self.pace.due(self.alarms.now(), takes);
        if due.is_err() {
            self.counts.refused.inc();
        }
        due
    }

    /// How long a WebSocket message waits for its echo, µs.
    pub fn draw_delay(&self) -> u64 {
        self.script.delay.draw(&mut self.random.borrow_mut())
    }

    /// Waits until `at`, µs.
    pub async fn wait(&self, at: u64) {
        if at > self.alarms.now() {
            self.alarms.at(at).await;
        }
    }
}

/// What an answer says of itself, and `more` fields that say nothing.
fn fields(more: u16) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(usize::from(more) + 1);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    for n in 1..=more.min(super::script::HEADERS_MAX) {
        if let Ok(name) = HeaderName::try_from(format!("x-filler-{n}")) {
            fields.insert(name, HeaderValue::from_static("0123456789abcdef"));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(script: Script) -> Rc<Desk> {
        let shared = Shared { pace: Arc::new(Pace::new(&script)), script: Arc::new(script), start: Instant::now() };
        Desk::new(&shared, 0, Arc::default()).unwrap()
    }

    #[test]
    fn verdicts() {
        let desk = desk(Script { headers: 3, ..Script::default() });
        assert_eq!(desk.fields.len(), 4);
        let Verdict::Reply(reply, due) = desk.judge("/", None) else { panic!() };
        assert_eq!((reply.status, reply.size), (200, 1024));
        assert!(due <= desk.alarms.now());
        assert_eq!(desk.judge("/events", Some("interval=5ms&count=2")), Verdict::Events(5000, 2));
        assert_eq!(desk.judge("/", Some("fault=stall")), Verdict::Never);
        assert!(matches!(desk.judge("/", Some("size=x")), Verdict::Mistake(_)));
    }

    #[test]
    fn threads_draw_different_numbers_and_the_same_again() {
        let script = Script { size: "1-1g".parse().unwrap(), ..Script::default() };
        let shared = Shared { pace: Arc::new(Pace::new(&script)), script: Arc::new(script), start: Instant::now() };
        let first = |thread| Desk::new(&shared, thread, Arc::default()).unwrap().judge("/", None);
        let size = |verdict| if let Verdict::Reply(reply, _) = verdict { reply.size } else { 0 };
        assert_eq!(size(first(1)), size(first(1)));
        assert_ne!(size(first(0)), size(first(1)));
        assert_ne!(size(first(2)), size(first(1)));
    }
}

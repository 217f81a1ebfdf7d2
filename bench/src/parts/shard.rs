//! What a shard does around requests: heads copied and sent on, timers set and taken back.
use super::fields::{BROWSER, known, pseudo, regular};
use crate::scenario::{Scenario, Work};
use edge::proto::hop;
use edge_io::{
    clock::Wheel,
    head::{Head, Version},
};
use std::hint::black_box;

/// Timers that are set beside the one that is looked at.
const TIMERS: usize = 10_000;

pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("head/copy/browser", copy),
        Scenario::new("head/fill/browser", fill),
        Scenario::new("head/forward/browser", forward),
        Scenario::new("timer/set and take back/10,000", set_and_take_back),
        Scenario::new("timer/set and fire/10,000", set_and_fire),
    ]
}

fn write(head: &mut Head, fields: &[super::fields::Known]) {
    head.clear();
    let (authority, path) = (pseudo(BROWSER, ":authority"), pseudo(BROWSER, ":path"));
    head.set_request(b"GET", authority, path, Version::Http2).expect("there is room");
    regular(fields).for_each(|f| head.push(f.name, f.value).expect("there is room"));
}

fn browser() -> Head {
    let mut head = Head::new();
    write(&mut head, &known(BROWSER));
    head
}

fn copy() -> Work {
    let head = browser();
    Box::new(move || drop(black_box(black_box(&head).clone())))
}

fn fill() -> Work {
    let (mut head, fields) = (Head::new(), known(BROWSER));
    Box::new(move || {
        write(&mut head, black_box(&fields));
        black_box(&head);
    })
}

/// The fields that go on, as lines for an endpoint.
fn forward() -> Work {
    let (head, mut out) = (browser(), Vec::with_capacity(4096));
    Box::new(move || {
        out.clear();
        hop::write_request_fields(black_box(&head), &mut out);
        black_box(&out);
    })
}

/// Deadlines of other connections, up to a minute away.
fn busy() -> Wheel {
    let mut wheel = Wheel::new(0);
    (0..TIMERS).for_each(|n| _ = wheel.insert(1000 + (n as u64 * 7919) % 59_000, n));
    wheel
}

fn set_and_take_back() -> Work {
    let (mut wheel, mut n) = (busy(), 0);
    Box::new(move || {
        n += 1;
        let id = wheel.insert(black_box(5000 + n % 30_000), TIMERS);
        assert!(wheel.remove(black_box(id)));
    })
}

/// Each timer that fires is set again, a minute on: the wheel turns for ever.
fn set_and_fire() -> Work {
    let (mut wheel, mut now_ms, mut due) = (busy(), 0, Vec::with_capacity(TIMERS));
    Box::new(move || {
        loop {
            wheel.advance(now_ms, |token| due.push(token));
            if !due.is_empty() {
                break;
            }
            now_ms = wheel.next_deadline().expect("timers are set");
        }
        due.drain(..).for_each(|token| _ = wheel.insert(now_ms + 60_000, token));
    })
}

//! The tasks of one shard: a slab, a run queue, and wakers that cost nothing to clone.
//!
//! A waker is the task's number: cloning, dropping and comparing it touches no memory, and waking pushes the number on
//! the thread's run queue. monoio's own queue counts references per waker and submits to its ring between any two
//! batches; this one runs as a part of the future that monoio blocks on (docs/DECISIONS.md has the measurement).
use crate::blocks::Blocks;
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::Pin,
    ptr,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

type Task = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static TASKS: Tasks = const { Tasks::new() };
}

struct Tasks {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<u32>>,
    queue: RefCell<Vec<u32>>,
    spare: RefCell<Vec<u32>>,
    spawned: Cell<u64>,
    panics: Cell<u64>,
    blocks: Blocks,
}

#[derive(Default)]
struct Slot {
    task: Option<Task>,
    /// Told apart from the slot's earlier tasks, whose wakers may still be about.
    generation: u32,
    queued: bool,
}

impl Tasks {
    const fn new() -> Tasks {
        Tasks {
            slots: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            queue: RefCell::new(Vec::new()),
            spare: RefCell::new(Vec::new()),
            spawned: Cell::new(0),
            panics: Cell::new(0),
            blocks: Blocks::new(),
        }
    }

    /// A place for a task that is about to be polled: with the generation of its wakers.
    fn reserve(&self) -> (u32, u32) {
        self.spawned.set(self.spawned.get() + 1);
        let mut slots = self.slots.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            slots.push(Slot::default());
            slots.len() as u32 - 1
        });
        (index, slots[index as usize].generation)
    }

    fn spawn(&self, task: Task) {
        let (index, _) = self.reserve();
        let slot = &mut self.slots.borrow_mut()[index as usize];
        slot.task = Some(task);
        slot.queued = true;
        self.queue.borrow_mut().push(index);
    }

    /// Polls a task that begins; only if it waits for something it takes a place among the others.
    #[inline(always)]
    fn begin<F: Future<Output = ()> + 'static>(&self, make: impl FnOnce() -> F) {
        let (index, generation) = self.reserve();
        let mut task = self.blocks.pin(make);
        let ended = self.poll(task.as_mut(), index, generation);
        if !ended {
            self.slots.borrow_mut()[index as usize].task = Some(task);
            return;
        }
        self.end(index, || self.blocks.give_back(task));
    }

    fn wake(&self, index: u32, generation: u32) {
        let mut slots = self.slots.borrow_mut();
        match slots.get_mut(index as usize) {
            Some(slot) if slot.generation == generation && !slot.queued => slot.queued = true,
            _ => return,
        }
        self.queue.borrow_mut().push(index);
    }

    /// Polls one task. The slot is empty meanwhile, so that the task may spawn and wake as it likes.
    fn run(&self, index: u32) {
        let (task, generation) = {
            let slot = &mut self.slots.borrow_mut()[index as usize];
            slot.queued = false;
            (slot.task.take(), slot.generation)
        };
        let Some(mut task) = task else { return };
        if !self.poll(task.as_mut(), index, generation) {
            self.slots.borrow_mut()[index as usize].task = Some(task);
            return;
        }
        self.end(index, || drop(task));
    }

    /// Whether the task ended, be it by a panic.
    fn poll<F: Future<Output = ()> + ?Sized>(&self, task: Pin<&mut F>, index: u32, generation: u32) -> bool {
        // SAFETY: the vtable's functions treat the pointer as a number.
        let waker = unsafe { Waker::from_raw(raw(index, generation)) };
        let mut cx = Context::from_waker(&waker);
        match std::panic::catch_unwind(AssertUnwindSafe(|| task.poll(&mut cx))) {
            Ok(poll) => poll.is_ready(),
            Err(_) => {
                self.panics.set(self.panics.get() + 1);
                true
            }
        }
    }

    /// The task at `index` is over; `drop` drops what is left of it.
    fn end(&self, index: u32, drop: impl FnOnce()) {
        // Dropping may wake others or panic: neither may happen while the slots are borrowed.
        if std::panic::catch_unwind(AssertUnwindSafe(drop)).is_err() {
            self.panics.set(self.panics.get() + 1);
        }
        let slot = &mut self.slots.borrow_mut()[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.borrow_mut().push(index);
    }
}

/// Runs `task` on this shard. A panic in it ends this task alone and is counted.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    TASKS.with(|t| t.spawn(Box::pin(task)));
}

/// The same, but the task runs at once, up to its first wait; the caller must hold nothing that the task may borrow.
/// Most of what a short task touches is in the caches still. `make` makes it where it will be.
#[inline(always)]
pub fn spawn_now<F: Future<Output = ()> + 'static>(make: impl FnOnce() -> F) {
    TASKS.with(|t| t.begin(make));
}

/// Runs each task that is ready now, once. Tasks they wake or spawn wait for the next call. Answers how many ran.
pub(crate) fn run_ready() -> usize {
    TASKS.with(|t| {
        let mut batch = std::mem::replace(&mut *t.queue.borrow_mut(), t.spare.take());
        let n = batch.len();
        for index in batch.drain(..) {
            t.run(index);
        }
        t.spare.replace(batch);
        n
    })
}

/// Whether any task is ready.
pub(crate) fn any_ready() -> bool {
    TASKS.with(|t| !t.queue.borrow().is_empty())
}

/// Drops every task of this thread, as the shard ends.
pub(crate) fn drop_all() {
    TASKS.with(|t| {
        let slots = std::mem::take(&mut *t.slots.borrow_mut());
        t.queue.borrow_mut().clear();
        t.free.borrow_mut().clear();
        drop(slots);
    });
}

/// Tasks spawned on this thread so far.
pub fn spawned() -> u64 {
    TASKS.with(|t| t.spawned.get())
}

/// Lets every task that is ready now run once.
pub async fn turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A panic was caught elsewhere on this thread, and is counted with those of tasks.
pub fn note_panic() {
    TASKS.with(|t| t.panics.set(t.panics.get() + 1));
}

/// Panics caught on this thread so far.
pub fn panics() -> u64 {
    TASKS.with(|t| t.panics.get())
}

/// One address for all wakers: `will_wake` compares it. A constant would be copied to each place that names it.
static VTABLE: RawWakerVTable = RawWakerVTable::new(|data| RawWaker::new(data, &VTABLE), wake, wake, |_| {});

fn raw(index: u32, generation: u32) -> RawWaker {
    let number = (generation as usize) << 32 | index as usize;
    RawWaker::new(ptr::without_provenance(number), &VTABLE)
}

/// A wake from another thread finds no such task there, or a wrong one that is polled for nothing: shards are told
/// things through mailboxes, never by waking.
fn wake(data: *const ()) {
    let number = data.addr();
    let _ = TASKS.try_with(|t| t.wake(number as u32, (number >> 32) as u32));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, rc::Rc, task::Poll};

    #[test]
    fn a_waker_and_its_clone_are_known_as_the_same() {
        // SAFETY: the vtable's functions treat the pointer as a number.
        let (one, other) = unsafe { (Waker::from_raw(raw(1, 2)), Waker::from_raw(raw(2, 2))) };
        assert!(one.will_wake(&one.clone()) && one.clone().will_wake(&one));
        assert!(!one.will_wake(&other));
    }

    #[test]
    fn a_woken_task_runs_once_per_turn_and_a_stale_waker_does_nothing() {
        let polls = Rc::new(Cell::new(0));
        let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
        let (p, k) = (polls.clone(), kept.clone());
        spawn(async move {
            poll_fn(|cx| {
                p.set(p.get() + 1);
                *k.borrow_mut() = Some(cx.waker().clone());
                if p.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await
        });
        assert_eq!(run_ready(), 1);
        assert_eq!(run_ready(), 0);
        let waker = kept.borrow().clone().expect("polled");
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!((run_ready(), polls.get()), (1, 2));
        waker.wake_by_ref();
        assert_eq!((run_ready(), polls.get()), (1, 3));
        waker.wake_by_ref();
        assert_eq!(run_ready(), 0, "the task is done");
    }

    #[test]
    fn a_task_may_begin_another_which_runs_within_it() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let o = order.clone();
        spawn(async move {
            o.borrow_mut().push("outer");
            let inner = o.clone();
            let mut waited = false;
            spawn_now(|| {
                poll_fn(move |cx| {
                    inner.borrow_mut().push("inner");
                    if std::mem::replace(&mut waited, true) {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
            });
            o.borrow_mut().push("outer again");
        });
        assert_eq!((run_ready(), run_ready(), run_ready()), (1, 1, 0));
        assert_eq!(*order.borrow(), ["outer", "inner", "outer again", "inner"]);
    }

    #[test]
    fn a_panic_ends_one_task() {
        let ran = Rc::new(Cell::new(false));
        let r = ran.clone();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        spawn(async { panic!("on purpose") });
        spawn(async move { r.set(true) });
        let before = panics();
        run_ready();
        std::panic::set_hook(hook);
        assert!(ran.get());
        assert_eq!(panics(), before + 1);
    }
}

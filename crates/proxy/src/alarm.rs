//! A future beside a busy one, looked at only when it has something to say.
//!
//! A task that waits for several things polls them all whenever one of them wakes it. For a relay that is woken by
//! every statement, while its deadlines never come, that is waste: a deadline gets a waker of its own here, which notes
//! that it was the deadline that woke the task.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled when it asked for it, however often its owner is.
#[derive(Debug)]
pub(crate) struct Alarm<F> {
    future: F,
    bell: Arc<Bell>,
    /// The bell as the future sees it.
    waker: Waker,
    /// Whom the bell wakes, to see whether that is still right.
    owner: Option<Waker>,
}

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    owner: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        // Taken out of the lock first: waking may run what drops the task.
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}

impl<F: Future + Unpin> Alarm<F> {
    pub(crate) fn new(future: F) -> Self {
        // Rung, so that it is polled once to begin with.
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), owner: Mutex::default() });
        Self { future, waker: bell.clone().into(), bell, owner: None }
    }

    /// The future itself. Who changes what it waits for has to [`Alarm::ring`].
    pub(crate) fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Has the future polled the next time.
    pub(crate) fn ring(&mut self) {
        self.bell.rung.store(true, Ordering::Release);
    }
}

impl<F: Future + Unpin> Future for Alarm<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.owner.as_ref().is_some_and(|owner| owner.will_wake(cx.waker())) {
            self.owner = Some(cx.waker().clone());
            *self.bell.owner.lock().unwrap_or_else(PoisonError::into_inner) = self.owner.clone();
        }
        // Most often it is silent, and to find that out by a swap would cost more than all the rest.
        if !self.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the poll: a ring during it must count for the next.
        self.bell.rung.swap(false, Ordering::AcqRel);
        let this = &mut *self;
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicUsize;
    use std::task::Waker;

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_future_is_polled_once_and_then_when_it_asked_for_it() {
        let (polls, asked) = (Cell::new(0), Cell::new(None::<Waker>));
        let mut alarm = Alarm::new(std::future::poll_fn(|cx| {
            polls.set(polls.get() + 1);
            asked.set(Some(cx.waker().clone()));
            if polls.get() == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
        let woken = Arc::new(Counting::default());
        let waker = woken.clone().into();
        let mut poll = || Pin::new(&mut alarm).poll(&mut Context::from_waker(&waker));

        assert!(poll().is_pending() && poll().is_pending() && poll().is_pending());
        assert_eq!((polls.get(), woken.0.load(Ordering::Relaxed)), (1, 0));
        asked.take().expect("it was polled").wake();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(poll().is_ready());
    }

    #[test]
    fn the_last_owner_is_the_one_that_is_woken() {
        let asked = Cell::new(None::<Waker>);
        let mut alarm = Alarm::new(std::future::poll_fn(|cx| {
            asked.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        }));
        let owners = [Arc::new(Counting::default()), Arc::new(Counting::default())];
        for owner in owners.clone() {
            assert!(Pin::new(&mut alarm).poll(&mut Context::from_waker(&owner.into())).is_pending());
        }
        asked.take().expect("it was polled").wake();
        assert_eq!(owners.map(|owner| owner.0.load(Ordering::Relaxed)), [0, 1]);
    }
}

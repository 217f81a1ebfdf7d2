//! What a request wants of its whole connection: its task tells the task that drives it.
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// What is to be done with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Closed.
    Close,
    /// Closed with a reset.
    Reset,
    /// Something that is no HTTP, and closed.
    Garbage,
    /// HTTP/1.1: this goes out, and then it is a WebSocket.
    WebSocket(Bytes),
}

/// One connection's.
#[derive(Default)]
pub(super) struct Orders {
    order: RefCell<Option<Order>>,
    driver: RefCell<Option<Waker>>,
    /// Bytes of garbage that the socket is still to put between all others.
    pub garbage: Cell<usize>,
}

impl Orders {
    /// Gives an order, which ends the connection as far as HTTP is concerned: the request waits for ever.
    pub async fn give<T>(&self, order: Order) -> T {
        *self.order.borrow_mut() = Some(order);
        if let Some(driver) = self.driver.borrow_mut().take() {
            driver.wake();
        }
        std::future::pending().await
    }

    /// Drives `connection` until it ends (`None`) or there is an order.
    pub async fn or_end(&self, connection: &mut (impl Future + Unpin)) -> Option<Order> {
        poll_fn(|cx| {
            if Pin::new(&mut *connection).poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            self.poll(cx).map(Some)
        })
        .await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Order> {
        if let Some(order) = self.order.borrow_mut().take() {
            return Poll::Ready(order);
        }
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

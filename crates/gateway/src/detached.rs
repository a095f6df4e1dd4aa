//! A handler's run outlives its caller: when a client hangs up, what the handler has begun is still brought to its
//! end, so that nothing stops between a durable write and what follows from it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tokio_util::task::TaskTracker;

/// Runs in place; dropped unfinished, it goes on as a task of its own, which `tracker` waits for at shutdown.
pub(crate) struct Detached<T: Send + 'static> {
    run: Option<BoxFuture<'static, T>>,
    tracker: TaskTracker,
}

impl<T: Send + 'static> Detached<T> {
    pub(crate) fn new(run: BoxFuture<'static, T>, tracker: &TaskTracker) -> Detached<T> {
        Detached { run: Some(run), tracker: tracker.clone() }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out while it is polled: a handler that panics is not polled again.
        let Some(mut run) = self.run.take() else { return Poll::Pending };
        match run.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => {
                self.run = Some(run);
                Poll::Pending
            }
        }
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let (Some(run), Ok(runtime)) = (self.run.take(), tokio::runtime::Handle::try_current()) {
            self.tracker.spawn_on(run, &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_run_ends_although_its_caller_left() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel::<()>();
        let run = async move {
            wait.await.unwrap();
            done.send(()).unwrap();
        };
        let tracker = TaskTracker::new();
        let mut detached = Detached::new(run.boxed(), &tracker);
        assert!((&mut detached).now_or_never().is_none());
        drop(detached);
        go.send(()).unwrap();
        finished.await.unwrap();
    }
}

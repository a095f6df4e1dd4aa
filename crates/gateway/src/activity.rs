//! Whether anything moves on a connection. Counting is two atomic additions a request, so that no timer has to be set
//! and reset for each; the connection looks at the counts once in a while.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::answer::AnswerBody;

#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Handlers at work, and answers whose next piece is being made.
    running: AtomicU64,
    /// Requests begun and pieces of answers handed over.
    moves: AtomicU64,
}

/// Something is at work for the connection.
pub(crate) struct Running(Arc<Activity>);

impl Activity {
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        self.moves.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        Running(self.clone())
    }

    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Relaxed)
    }

    /// Whether nothing runs and nothing moved since `seen`, which is brought up to date.
    pub(crate) fn rested_since(&self, seen: &mut u64) -> bool {
        let moves = self.moves();
        let rested = moves == *seen && self.running.load(Relaxed) == 0;
        *seen = moves;
        rested
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// A body that tells how it gets on: while its next piece is being made it runs, while its client does not read it
/// rests.
pub struct Watched {
    body: AnswerBody,
    activity: Arc<Activity>,
    waiting: Option<Running>,
}

impl Watched {
    pub(crate) fn new(body: AnswerBody, handler: Running) -> Watched {
        Watched { body, activity: handler.0.clone(), waiting: None }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = <AnswerBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        if next.is_ready() {
            self.activity.moves.fetch_add(1, Relaxed);
            self.waiting = None;
        } else if self.waiting.is_none() {
            self.waiting = Some(self.activity.begin());
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_rests_when_nothing_runs_and_nothing_moved() {
        let activity = Arc::new(Activity::default());
        let mut seen = activity.moves();
        let running = activity.begin();
        assert!(!activity.rested_since(&mut seen));
        assert!(!activity.rested_since(&mut seen), "a handler is at work");
        drop(running);
        assert!(activity.rested_since(&mut seen));
        drop(activity.begin());
        assert!(!activity.rested_since(&mut seen), "a request came and went");
        assert!(activity.rested_since(&mut seen));
    }
}

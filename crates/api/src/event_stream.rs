//! Answers that go on as a stream of events (`StartLiveTail`, `SubscribeToShard`, `InvokeWithResponseStream`).
//!
//! A handler puts a stream of typed events into its output; the writer takes it out once and frames each event.

use std::{fmt, pin::Pin, sync::Mutex};

use futures::{Stream, StreamExt};

use crate::{Fault, Schema, Shape, WriteShape, Writer};

/// Events behind a pointer, each either a value of the stream's union or the error that ends it.
pub type AnyEventStream = Pin<Box<dyn Stream<Item = Result<Box<dyn WriteShape>, Fault>> + Send>>;

/// A stream of events of type `T`, given away once.
pub struct EventStream<T> {
    stream: Mutex<Option<AnyEventStream>>,
    event: std::marker::PhantomData<fn() -> T>,
}

impl<T: Shape + 'static> EventStream<T> {
    pub fn new(stream: impl Stream<Item = Result<T, Fault>> + Send + 'static) -> EventStream<T> {
        let stream = stream.map(|event| event.map(|event| Box::new(event) as Box<dyn WriteShape>));
        EventStream { stream: Mutex::new(Some(Box::pin(stream))), event: std::marker::PhantomData }
    }

    /// Hands the stream to the writer; a second call writes nothing.
    pub fn write(&self, writer: &mut dyn Writer, schema: &'static Schema) {
        let taken = self.stream.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(stream) = taken {
            writer.events(schema, stream);
        }
    }
}

impl<T> Default for EventStream<T> {
    fn default() -> EventStream<T> {
        EventStream { stream: Mutex::new(None), event: std::marker::PhantomData }
    }
}

impl<T> fmt::Debug for EventStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

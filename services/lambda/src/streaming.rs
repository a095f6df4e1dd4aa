//! Answers that come in pieces: `InvokeWithResponseStream` here, function URLs of mode `RESPONSE_STREAM` in `urls/streamed`.
//!
//! A function that does not stream answers in one piece. Who stops reading does not end the function: what it still writes is
//! thrown away. Source: "Response streaming for Lambda functions" in the Lambda developer guide.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use tidemill_api::EventStream;
use tidemill_platform::{Cx, Fault};
use tidemill_sandbox::{Outcome, Piece};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Lambda,
    api::{
        InvokeResponseStreamUpdate, InvokeWithResponseStreamCompleteEvent, InvokeWithResponseStreamRequest,
        InvokeWithResponseStreamResponse, InvokeWithResponseStreamResponseEvent as Event, LogType,
        ResponseStreamingInvocationType,
    },
    invoke::{MOST_SYNC, checked, decode_context},
    names::Named,
    run::Call,
};

/// Pieces that wait for a slow reader; the function waits behind them.
const WAITING: usize = 4;

/// A function's answer while it comes.
pub struct Streaming {
    pub version: String,
    /// Set by functions that stream.
    pub content_type: Option<String>,
    pieces: mpsc::Receiver<Piece>,
    outcome: JoinHandle<Result<Outcome, Fault>>,
    /// How it ended, if that is known before it was asked for.
    ended: Option<Outcome>,
    over: bool,
}

/// What comes next of an answer.
pub enum Next {
    Data(Bytes),
    /// The end, with the error that broke it off if there was one.
    End(Box<Outcome>),
}

pub async fn invoke_with_response_stream(
    lambda: &Lambda,
    cx: &Cx,
    input: InvokeWithResponseStreamRequest,
) -> Result<InvokeWithResponseStreamResponse, Fault> {
    if input.tenant_id.is_some() {
        return Err(Fault::not_implemented("InvokeWithResponseStream with TenantId"));
    }
    let named = Named::read(cx, &input.function_name, input.qualifier.as_deref())?;
    if !lambda.get(&named)?.has(named.qualifier.as_deref()) {
        return Err(named.not_found());
    }
    if input.invocation_type == Some(ResponseStreamingInvocationType::DryRun) {
        return Ok(InvokeWithResponseStreamResponse { status_code: Some(204), ..Default::default() });
    }
    let payload = input.payload.filter(|payload| !payload.is_empty());
    let call = Call {
        payload: checked(payload, MOST_SYNC, "RequestResponse")?,
        client_context: input.client_context.map(|text| decode_context(&text)).transpose()?,
        ..Call::new(cx.request_id())
    };
    let streaming = lambda.stream(cx, &named, call).await?;
    let tail = input.log_type == Some(LogType::Tail);
    Ok(InvokeWithResponseStreamResponse {
        status_code: Some(200),
        executed_version: Some(streaming.version.clone()),
        event_stream: EventStream::new(streaming.map(move |next| Ok(event(next?, tail)))),
        ..Default::default()
    })
}

fn event(next: Next, tail: bool) -> Event {
    let outcome = match next {
        Next::Data(data) => {
            let chunk = InvokeResponseStreamUpdate { payload: Some(data) };
            return Event::PayloadChunk(chunk);
        }
        Next::End(outcome) => outcome,
    };
    let details = outcome.error_type.as_ref().map(|_| String::from_utf8_lossy(&outcome.payload).into_owned());
    let complete = InvokeWithResponseStreamCompleteEvent {
        error_code: outcome.error_type,
        error_details: details,
        log_result: tail.then(|| BASE64_STANDARD.encode(&outcome.log_tail)),
    };
    Event::InvokeComplete(complete)
}

impl Lambda {
    /// Begins to run a function and answers when it begins to answer. What keeps it from running is a fault.
    pub async fn stream(&self, cx: &Cx, named: &Named, call: Call) -> Result<Streaming, Fault> {
        let lambda = self.this.upgrade().ok_or_else(|| Fault::internal("Lambda is being closed"))?;
        let row = self.get(named)?;
        let (version, _) =
            row.resolve(named.qualifier.as_deref(), cx.random()).ok_or_else(|| named.not_found())?;
        let (sender, pieces) = mpsc::channel(WAITING);
        let (cx, named, of) = (cx.clone(), named.clone(), version.clone());
        let call = Call { pieces: Some(sender), ..call };
        let outcome = tokio::spawn(async move { lambda.run_version(&cx, &named, &row, &of, call).await });
        let streaming = Streaming { version, content_type: None, pieces, outcome, ended: None, over: false };
        streaming.begin().await
    }
}

impl Streaming {
    async fn begin(mut self) -> Result<Streaming, Fault> {
        match self.pieces.recv().await {
            Some(Piece::Begin { content_type }) => self.content_type = Some(content_type),
            // The sandbox says how an answer begins before it hands on any of it.
            Some(Piece::Data(_)) => return Err(Fault::internal("a streamed answer without a beginning")),
            None => self.ended = Some((&mut self.outcome).await.map_err(Fault::internal)??),
        }
        Ok(self)
    }
}

impl Stream for Streaming {
    type Item = Result<Next, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        while let Some(piece) = ready!(self.pieces.poll_recv(task)) {
            if let Piece::Data(data) = piece
                && !data.is_empty()
            {
                return Poll::Ready(Some(Ok(Next::Data(data))));
            }
        }
        let mut outcome = match self.ended.take() {
            Some(outcome) => outcome,
            None => match ready!(self.outcome.poll_unpin(task)).map_err(Fault::internal).flatten() {
                Ok(outcome) => outcome,
                Err(fault) => {
                    self.over = true;
                    return Poll::Ready(Some(Err(fault)));
                }
            },
        };
        if outcome.error_type.is_none() && !outcome.payload.is_empty() {
            // A function that does not stream: its whole answer, then the end.
            let whole = std::mem::take(&mut outcome.payload);
            self.ended = Some(outcome);
            return Poll::Ready(Some(Ok(Next::Data(whole))));
        }
        self.over = true;
        Poll::Ready(Some(Ok(Next::End(Box::new(outcome)))))
    }
}

//! The way of a request, as a list. [`answer`] is the whole; [`operation`] is the way to a service of typed operations,
//! [`http_service`] the way to one that speaks HTTP itself. Each step is a function in `steps.rs`; what is known of the
//! request so far is in `exchange.rs`.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use http::{Request, Response, request::Parts};
use hyper::body::Incoming;
use tidemill_sigv4::{AuthError, Credential};

use crate::{
    answer::{AnswerBody, Refusal},
    directory::{Entry, HttpEntry, Internal},
    exchange::{Exchange, Origin, panicked},
    gateway::Gateway,
    http_steps,
    identify::{self, identify},
    route::{Address, Destination},
    steps,
    upload::Upload,
    welcome,
};

type Answer = Result<Response<AnswerBody>, Refusal>;

/// Answers a request, whatever it is and whatever happens.
pub(crate) async fn answer(
    gateway: &Gateway,
    request: Request<Incoming>,
    origin: &Origin,
) -> Response<AnswerBody> {
    let (head, upload) = Upload::of(request);
    let mut exchange = Exchange::begin(gateway, &head, origin);
    let way = AssertUnwindSafe(way(&mut exchange, head, upload)).catch_unwind();
    let outcome = way.await.unwrap_or_else(|panic| Err(panicked(panic)));
    let response = outcome.unwrap_or_else(|refusal| exchange.refuse(&refusal));
    exchange.finish(response)
}

async fn way(exchange: &mut Exchange<'_>, head: Parts, upload: Upload) -> Answer {
    let credential = Credential::unverified(&identify::parts(&head));
    let destination = steps::route(exchange, &head, credential.as_ref());
    exchange.number();
    steps::limit(&head)?;
    if let Some(answer) = steps::browser(exchange, &head, &destination)? {
        return Ok(answer);
    }
    match destination {
        Destination::Operations(entry) => operation(exchange, Some(entry), head, upload, credential).await,
        Destination::Form => operation(exchange, None, head, upload, credential).await,
        Destination::Http(entry, address) => {
            http_service(exchange, entry, address, head, upload, credential).await
        }
        Destination::Internal(internal) => internal_path(exchange, internal, head, upload, credential).await,
        Destination::Health => Ok(welcome::health(exchange.gateway)),
        Destination::Welcome => Ok(welcome::page(exchange.gateway)),
        Destination::Absent(name) => Err(steps::no_such_service(&name).into()),
        Destination::Nowhere => Err(steps::no_such_path(&head).into()),
        Destination::Unknown => Err(AuthError::MissingToken.into()),
    }
}

/// To a service of typed operations.
async fn operation<'g>(
    exchange: &mut Exchange<'g>,
    entry: Option<&'g Entry>,
    head: Parts,
    upload: Upload,
    credential: Option<Credential>,
) -> Answer {
    let caller = identify(exchange.gateway, &head, credential, exchange.origin)?;
    let raw = steps::read_body(exchange, entry, &caller, upload).await?;
    let entry = steps::service_of_form(exchange, entry, &head, &raw)?;
    let mut chosen = steps::choose(exchange, entry, &head, &raw)?;
    let body = steps::prove(exchange, entry, chosen.operation, &head, &caller, &raw)?;
    let body = steps::uncompress(exchange, entry, &head, body)?;
    let body = steps::name_queue(exchange, entry, chosen.protocol, &head, body);
    let call = steps::decode(entry, &mut chosen, &head, body)?;
    let cx = exchange.context(&head, caller.caller);
    steps::authorise(exchange, &cx, entry, chosen.operation, &*call)?;
    let output = steps::run(exchange, cx, call).await?;
    Ok(steps::encode(exchange, entry, &chosen, &*output))
}

/// To a service that speaks HTTP itself; its body passes piece by piece.
async fn http_service(
    exchange: &mut Exchange<'_>,
    entry: &HttpEntry,
    address: Address,
    head: Parts,
    upload: Upload,
    credential: Option<Credential>,
) -> Answer {
    let caller = identify(exchange.gateway, &head, credential, exchange.origin)?;
    http_steps::admit(exchange, entry, &head, &caller)?;
    let check = http_steps::prove_head(exchange, entry, &address, &head, &caller)?;
    let body = http_steps::stream(exchange, &head, upload, check).await?;
    let cx = exchange.context(&head, caller.caller);
    let complaint = body.complaint();
    let request = http_steps::rebuild(exchange, head, body, address, caller.authenticated)?;
    let response = steps::call(exchange, entry.service.call(cx, request)).await;
    match complaint.take() {
        Some(error) => Err(error.into()),
        None => Ok(response),
    }
}

/// To a handler of ours, such as `/_tidemill/…`.
async fn internal_path(
    exchange: &mut Exchange<'_>,
    internal: &Internal,
    head: Parts,
    upload: Upload,
    credential: Option<Credential>,
) -> Answer {
    let caller = http_steps::identify_internal(exchange, internal, &head, credential)?;
    let raw = steps::read_body(exchange, None, &caller, upload).await?;
    http_steps::prove_internal(exchange, internal, &head, &caller, &raw)?;
    let cx = exchange.context(&head, caller.caller);
    let request = http_steps::whole(head, raw, caller.authenticated);
    Ok(steps::call(exchange, internal.handler.call(cx, request)).await)
}

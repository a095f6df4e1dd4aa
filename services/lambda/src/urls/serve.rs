//! What comes in over function URLs: found by the host's first label, let in, run, answered.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full};
use parking_lot::RwLock;
use serde_json::{Value, json};
use tidemill_platform::{Cx, Fault, HttpBody, HttpService};

use super::{UrlRow, answer, cors, event, streamed};
use crate::{Lambda, invoke::MOST_SYNC, names::Named, run::Call, state::FunctionRow};

const FORBIDDEN: &str = "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";

/// Which function an address leads to. An address of a function that is gone leads nowhere.
#[derive(Default)]
pub struct Addresses(RwLock<HashMap<String, String>>);

impl Addresses {
    pub fn of<'a>(functions: impl Iterator<Item = &'a Arc<FunctionRow>>) -> Addresses {
        let addresses = Addresses::default();
        for function in functions {
            for url in function.urls.values() {
                addresses.learn(&url.id, &function.arn);
            }
        }
        addresses
    }

    pub fn learn(&self, id: &str, arn: &str) {
        self.0.write().insert(id.into(), arn.into());
    }

    pub fn forget(&self, id: &str) {
        self.0.write().remove(id);
    }

    fn arn(&self, id: &str) -> Option<String> {
        self.0.read().get(id).cloned()
    }
}

/// The service behind all function URLs.
pub struct Http(pub Arc<Lambda>);

impl HttpService for Http {
    fn call(
        &self,
        cx: Cx,
        request: Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>> {
        let lambda = self.0.clone();
        Box::pin(async move { respond(&lambda, &cx, request).await })
    }
}

async fn respond(lambda: &Lambda, cx: &Cx, request: Request<HttpBody>) -> Response<HttpBody> {
    let (head, body) = request.into_parts();
    let host = host(&head);
    let id = host.split('.').next().unwrap_or_default();
    let Some((function, alias, url)) = find(lambda, id) else {
        return whole(message(StatusCode::FORBIDDEN, "AccessDeniedException", FORBIDDEN));
    };
    let cors = url.cors.as_ref();
    if let Some(cors) = cors.filter(|_| cors::is_preflight(&head.method, &head.headers)) {
        let mut response = Response::new(Bytes::new());
        cors.allow_preflight(&head.headers, response.headers_mut());
        return whole(response);
    }
    let address = event::Address { id, domain: &host, signed: url.signed };
    let mut response = match admit(cx, &function, &alias, &url) {
        Ok(()) => run(lambda, cx, (&function, &alias, &url), &head, body, &address).await,
        Err(sentence) => whole(message(StatusCode::FORBIDDEN, "AccessDeniedException", sentence)),
    };
    if let Some(cors) = cors {
        cors.allow(&head.headers, response.headers_mut());
    }
    if let Ok(trace) = HeaderValue::try_from(cx.trace().to_string())
        && !cx.trace().root.is_empty()
    {
        response.headers_mut().insert("x-amzn-trace-id", trace);
    }
    response
}

fn find(lambda: &Lambda, id: &str) -> Option<(Arc<FunctionRow>, String, UrlRow)> {
    let function = lambda.by_arn(&lambda.addresses.arn(id)?)?;
    let (alias, url) = function.urls.iter().find(|(_, url)| url.id == id)?;
    let (alias, url) = (alias.clone(), url.clone());
    Some((function, alias, url))
}

/// Who may come in. Where signatures are enforced, those of other accounts and those who do not sign need two statements in the
/// function's policy, for the address (`lambda:InvokeFunctionUrl`) and for the function (`lambda:InvokeFunction`); what the caller's own policies say is looked at once IAM evaluates them.
fn admit(cx: &Cx, function: &FunctionRow, alias: &str, url: &UrlRow) -> Result<(), &'static str> {
    let principal = &cx.request().principal;
    if url.signed && principal.access_key.is_empty() {
        return Err("Forbidden");
    }
    if !cx.platform().config.enforce || (url.signed && cx.account() == function.account) {
        return Ok(());
    }
    let list = function.statements.get(alias);
    let statements: Vec<Value> = list
        .into_iter()
        .flat_map(|list| list.values())
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    let account = format!("arn:aws:iam::{}:root", cx.account());
    let is_caller = |statement: &Value| {
        let who = statement.get("Principal").unwrap_or(&Value::Null);
        let named = who.get("AWS").and_then(Value::as_str);
        let everybody = who == "*" || named == Some("*");
        everybody || (url.signed && (named == Some(&account) || named == Some(&principal.arn)))
    };
    let by_url = |statement: &Value| {
        let kind =
            statement.pointer("/Condition/StringEquals/lambda:FunctionUrlAuthType").and_then(Value::as_str);
        allows(statement, "lambda:InvokeFunctionUrl")
            && kind.is_none_or(|kind| (kind == "AWS_IAM") == url.signed)
    };
    let lets_in = statements.iter().any(|statement| by_url(statement) && is_caller(statement))
        && statements.iter().any(|s| allows(s, "lambda:InvokeFunction") && is_caller(s));
    if lets_in { Ok(()) } else { Err(FORBIDDEN) }
}

fn allows(statement: &Value, action: &str) -> bool {
    let named = statement.get("Action").and_then(Value::as_str);
    named == Some(action) || named == Some("lambda:*")
}

async fn run(
    lambda: &Lambda,
    cx: &Cx,
    (function, alias, url): (&FunctionRow, &str, &UrlRow),
    head: &Parts,
    body: HttpBody,
    address: &event::Address<'_>,
) -> Response<HttpBody> {
    let body = read(body).await;
    let event = body.map(|body| Bytes::from(event::of(cx, head, &body, address).to_string()));
    let Some(event) = event.filter(|event| event.len() <= MOST_SYNC) else { return whole(too_large()) };
    let cx = at_function(cx, function);
    let named = Named {
        arn: function.arn.clone(),
        name: function.name.clone(),
        qualifier: (!alias.is_empty()).then(|| alias.to_string()),
    };
    let call = Call { payload: event, ..Call::new(cx.request_id()) };
    if url.streams {
        return match lambda.stream(&cx, &named, call).await {
            Ok(streaming) => streamed::of(streaming).await,
            Err(fault) => whole(failed(&fault)),
        };
    }
    whole(match lambda.run(&cx, &named, call).await {
        Ok((_, ran)) if ran.function_error.is_none() => answer::of(&ran.payload).unwrap_or_else(bad_gateway),
        Ok(_) => bad_gateway(),
        Err(fault) => failed(&fault),
    })
}

/// The function runs in its own account and region, whoever calls.
fn at_function(cx: &Cx, function: &FunctionRow) -> Cx {
    let request = tidemill_platform::Request {
        account: function.account.clone(),
        region: function.region.clone(),
        ..cx.request().clone()
    };
    Cx::new(cx.platform().clone(), request)
}

/// The whole body; `None` when it is too large or broke off.
async fn read(mut body: HttpBody) -> Option<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if all.len() + data.len() > MOST_SYNC {
            return None;
        }
        all.extend_from_slice(&data);
    }
    Some(all.freeze())
}

fn too_large() -> Response<Bytes> {
    let sentence = format!("Request must be smaller than {MOST_SYNC} bytes for the InvokeFunction operation");
    message(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", &sentence)
}

/// The function failed, or what it answered is no HTTP answer.
pub fn bad_gateway() -> Response<Bytes> {
    answer::with_type(StatusCode::BAD_GATEWAY, "application/json", "Internal Server Error")
}

fn failed(fault: &Fault) -> Response<Bytes> {
    let status = match fault.code() {
        "TooManyRequestsException" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_GATEWAY,
    };
    message(status, fault.code(), fault.message())
}

fn message(status: StatusCode, code: &str, sentence: &str) -> Response<Bytes> {
    let body = json!({ "Message": sentence }).to_string();
    let mut response = answer::with_type(status, "application/json", body);
    if let Ok(code) = HeaderValue::try_from(code) {
        response.headers_mut().insert("x-amzn-errortype", code);
    }
    response
}

/// The host as the caller named it, in lower case, without its port.
fn host(head: &Parts) -> String {
    let named = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let named = named.or_else(|| head.uri.authority().map(|authority| authority.as_str()));
    let named = named.unwrap_or_default();
    named.split(':').next().unwrap_or_default().to_ascii_lowercase()
}

pub fn whole(response: Response<Bytes>) -> Response<HttpBody> {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed())
}

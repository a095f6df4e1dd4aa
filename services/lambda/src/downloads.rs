//! Where `Code.Location` and layers' `Content.Location` lead: the zip as it was uploaded, by its hash. Whoever knows the hash
//! may have it, as with the signed links that AWS gives out; unlike those these do not end.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tidemill_platform::{Cx, HttpBody, HttpService};

use crate::Lambda;

/// Paths begin with this; a hash of 64 hex digits follows.
pub const PREFIX: &str = "/_tidemill/lambda/code/";

pub struct Downloads(pub Arc<Lambda>);

impl HttpService for Downloads {
    fn call(
        &self,
        _: Cx,
        request: Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>> {
        let answer = answer(&self.0, request.method(), request.uri().path());
        Box::pin(async move { answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed()) })
    }
}

fn answer(lambda: &Lambda, method: &Method, path: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    if method != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    let hash = path.strip_prefix(PREFIX).filter(|hash| hash.len() == 64);
    match hash.map(|hash| lambda.code(hash)) {
        Some(Ok(zip)) => {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
            *response.body_mut() = zip;
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

//! Serves the certificate that verifies notifications, to anybody.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tidemill_platform::{Cx, HttpBody, HttpService};

use crate::notary::Notary;

/// Where certificates are, before their name and `.pem`.
pub const PREFIX: &str = "/_sns/SimpleNotificationService-";

pub struct Certificates(pub Arc<Notary>);

impl HttpService for Certificates {
    fn call(
        &self,
        _: Cx,
        request: Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>> {
        let (notary, path) = (self.0.clone(), request.uri().path().to_string());
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(move || {
                let name = path.strip_prefix(PREFIX)?.strip_suffix(".pem")?;
                notary.certificate(name)
            });
            match found.await.ok().flatten() {
                Some(pem) => answer(StatusCode::OK, pem),
                None => answer(StatusCode::NOT_FOUND, "There is no such certificate.\n".into()),
            }
        })
    }
}

fn answer(status: StatusCode, text: String) -> Response<HttpBody> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-pem-file"));
    response
}

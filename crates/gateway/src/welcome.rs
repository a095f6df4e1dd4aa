//! What the gateway answers by itself: a page for a person who opens the port in a browser, and the health check.
//! Everything else below `/_` is registered by the binary ([`crate::Gateway::internal`]).

use http::{Response, StatusCode};
use serde_json::{Map, json};

use crate::{answer, answer::AnswerBody, gateway::Gateway};

pub(crate) const HEALTH: &str = "/_localstack/health";

/// Says what this is.
pub(crate) fn page(gateway: &Gateway) -> Response<AnswerBody> {
    let (version, endpoint) = (&gateway.config.version, &gateway.platform.config.endpoint);
    let services = gateway.directory.names().join(", ");
    let text = format!(
        "Tidemill {version}\n\n\
         This port speaks the AWS APIs of: {services}.\n\n\
         aws --endpoint-url http://{endpoint} s3 ls\n\
         export AWS_ENDPOINT_URL=http://{endpoint}   # for the AWS CLI and SDKs\n\n\
         Health: http://{endpoint}{HEALTH}\n"
    );
    answer::plain(StatusCode::OK, "text/plain; charset=utf-8", text)
}

/// `{"services": {"sqs": "running", …}, "edition": "tidemill", "version": …}`
pub(crate) fn health(gateway: &Gateway) -> Response<AnswerBody> {
    let services: Map<_, _> =
        gateway.directory.names().into_iter().map(|name| (name.to_owned(), "running".into())).collect();
    let health = json!({"services": services, "edition": "tidemill", "version": gateway.config.version});
    answer::plain(StatusCode::OK, "application/json", health.to_string())
}

//! `AWS::CDK::Metadata`: carries a note of the CDK and makes nothing, on AWS as here.

use futures::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted},
};

pub struct Metadata;

impl ResourceProvider for Metadata {
    fn types(&self) -> &'static [&'static str] {
        &["AWS::CDK::Metadata"]
    }

    fn create<'a>(&'a self, cx: &'a Cx, _: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        let provided = Provided { physical_id: cx.random().uuid(), ..Provided::default() };
        ready(Ok(provided)).boxed()
    }

    fn update<'a>(
        &'a self,
        _: &'a Cx,
        physical_id: &'a str,
        _: &'a Value,
        _: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Updated, Fault>> {
        let provided = Provided { physical_id: physical_id.into(), ..Provided::default() };
        ready(Ok(Updated::InPlace(provided))).boxed()
    }

    fn delete<'a>(
        &'a self,
        _: &'a Cx,
        _: &'a str,
        _: &'a str,
        _: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        ready(Ok(())).boxed()
    }
}

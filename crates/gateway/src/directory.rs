//! Which services there are and by what names requests mean them. Filled while the gateway is put together and only
//! read afterwards; the decisions made from it are in `route.rs`.

use std::sync::Arc;

use http::{HeaderMap, Method};
use rustc_hash::FxHashMap;
use tidemill_api::{Protocol, ServiceMeta};
use tidemill_platform::{HttpService, Service};
use tidemill_wire::{Router, route::Asked};

use crate::{gateway::Access, ids::IdStyle};

/// Everything the gateway can send a request to.
#[derive(Default)]
pub(crate) struct Directory {
    services: Vec<Entry>,
    /// Indices of services by the name in signatures; some share one.
    by_signing_name: FxHashMap<&'static str, Vec<usize>>,
    by_target_prefix: FxHashMap<&'static str, usize>,
    http: Vec<HttpEntry>,
    internal: Vec<Internal>,
}

/// A service of typed operations.
pub(crate) struct Entry {
    pub(crate) meta: &'static ServiceMeta,
    pub(crate) service: Arc<Service>,
    pub(crate) router: Router,
    /// In bytes; the gateway's own where there is none.
    pub(crate) body_limit: Option<usize>,
    pub(crate) ids: IdStyle,
    /// Answers carry a checksum.
    pub(crate) crc32: bool,
}

/// A service that speaks HTTP itself.
pub(crate) struct HttpEntry {
    pub(crate) name: &'static str,
    pub(crate) service: Arc<dyn HttpService>,
}

/// A handler of paths below a prefix.
pub(crate) struct Internal {
    prefix: &'static str,
    pub(crate) access: Access,
    pub(crate) handler: Arc<dyn HttpService>,
}

impl Directory {
    pub(crate) fn add_service(&mut self, service: Arc<Service>) {
        let (meta, at) = (service.meta, self.services.len());
        self.by_signing_name.entry(meta.signing_name).or_default().push(at);
        if let Some(prefix) = meta.target_prefix {
            self.by_target_prefix.insert(prefix, at);
        }
        // DynamoDB and its streams alone number and sum their answers in this way.
        let is_dynamodb = meta.signing_name == "dynamodb";
        let ids = if is_dynamodb { IdStyle::Long } else { IdStyle::Uuid };
        let router = Router::new(meta);
        self.services.push(Entry { meta, service, router, body_limit: None, ids, crc32: is_dynamodb });
    }

    pub(crate) fn add_http(&mut self, name: &'static str, service: Arc<dyn HttpService>) {
        self.http.push(HttpEntry { name, service });
    }

    pub(crate) fn add_internal(
        &mut self,
        prefix: &'static str,
        access: Access,
        handler: Arc<dyn HttpService>,
    ) {
        self.internal.push(Internal { prefix, access, handler });
        self.internal.sort_by_key(|internal| std::cmp::Reverse(internal.prefix.len()));
    }

    pub(crate) fn set_body_limit(&mut self, service: &str, bytes: usize) {
        let entry = self.services.iter_mut().find(|entry| entry.meta.name == service);
        entry.unwrap_or_else(|| panic!("there is no service {service}")).body_limit = Some(bytes);
    }

    /// The names of all services, sorted.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let tables = self.services.iter().map(|entry| entry.meta.name);
        let mut names: Vec<_> = tables.chain(self.http.iter().map(|entry| entry.name)).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn services(&self) -> &[Entry] {
        &self.services
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Entry> {
        self.services.iter().find(|entry| entry.meta.name == name)
    }

    pub(crate) fn signed_for<'a>(&'a self, signing_name: &str) -> impl Iterator<Item = &'a Entry> {
        let indices = self.by_signing_name.get(signing_name).map_or(&[][..], Vec::as_slice);
        indices.iter().filter_map(|at| self.services.get(*at))
    }

    pub(crate) fn targeted(&self, target_prefix: &str) -> Option<&Entry> {
        self.services.get(*self.by_target_prefix.get(target_prefix)?)
    }

    /// The service of an endpoint's name: `sqs`, `streams.dynamodb`, either with a region behind.
    pub(crate) fn at_endpoint(&self, labels: &str) -> Option<&Entry> {
        let is = |entry: &&Entry| {
            let rest = labels.strip_prefix(entry.meta.endpoint_prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(is_region))
        };
        self.services.iter().find(is)
    }

    /// The service that has this action in this version of its query API; without a version any that has it.
    pub(crate) fn with_action(&self, action: &str, version: Option<&str>) -> Option<&Entry> {
        let speaks = |entry: &&Entry| {
            let meta = entry.meta;
            let is_query = meta.query_compatible || meta.protocols.contains(&Protocol::AwsQuery);
            is_query && version.is_none_or(|version| version == meta.api_version) && knows(meta, action)
        };
        self.services.iter().find(speaks)
    }

    pub(crate) fn http(&self, name: &str) -> Option<&HttpEntry> {
        self.http.iter().find(|entry| entry.name == name)
    }

    pub(crate) fn internal(&self, path: &str) -> Option<&Internal> {
        self.internal.iter().find(|internal| path.starts_with(internal.prefix))
    }
}

impl Entry {
    /// Whether a path of the service's REST protocol leads to an operation.
    pub(crate) fn has_path(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> bool {
        let is_rest = |protocol: &Protocol| matches!(protocol, Protocol::RestJson | Protocol::RestXml);
        let asked = Asked { method: method.as_str(), path, query, headers, body: &[] };
        self.meta.protocols.iter().any(is_rest) && self.router.route(asked).is_ok()
    }

    /// Whether `/service/{name}/operation/…` means this service: by its shape's name, which is the target's prefix, or
    /// by its id without spaces.
    pub(crate) fn has_rpc_name(&self, name: &str) -> bool {
        let id = self.meta.id.chars().filter(|c| *c != ' ');
        self.meta.target_prefix == Some(name) || id.eq(name.chars())
    }
}

fn knows(meta: &ServiceMeta, action: &str) -> bool {
    meta.operations.iter().any(|operation| operation.name == action)
        || meta.absent.iter().any(|absent| absent.split(' ').next() == Some(action))
}

/// `us-east-1`, `eu-isoe-west-1`: letters, dashes, a number.
fn is_region(text: &str) -> bool {
    text.contains('-') && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

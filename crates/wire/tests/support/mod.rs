//! Services made up for a test, and requests to them.

#![allow(dead_code)]

pub mod model;

use http::{HeaderMap, HeaderName, HeaderValue};
use model::Shapes;
use serde_json::{Value, json};
use tidemill_api::{Fault, Schema, ServiceMeta};
use tidemill_wire::{Dynamic, Incoming, Router, decode, route::Asked, value::to_value};

/// A service with one operation `Act`, whose input is the shape `In` and whose output is `Out`, where there are any.
pub struct World {
    pub service: &'static ServiceMeta,
    pub shapes: Shapes,
}

impl World {
    /// `metadata` and `shapes` as in botocore's models; `http` of the operation.
    pub fn new(metadata: Value, http: Value, shapes: Value) -> World {
        let mut given = json!({ "name": "Act", "http": http });
        for (side, shape) in [("input", "In"), ("output", "Out")] {
            if shapes[shape].is_object() {
                given[side] = json!({ "shape": shape });
            }
        }
        let built = Shapes::build(shapes.as_object().expect("shapes are an object"));
        let service = model::service(&json!({ "metadata": metadata }), &json!({ "given": given }), &built);
        World { service, shapes: built }
    }

    pub fn json(shapes: Value) -> World {
        World::new(
            json!({ "protocol": "json", "jsonVersion": "1.0", "targetPrefix": "T" }),
            json!({}),
            shapes,
        )
    }

    pub fn query(shapes: Value) -> World {
        World::new(json!({ "protocol": "query", "apiVersion": "1" }), json!({}), shapes)
    }

    pub fn input(&self) -> &'static Schema {
        self.service.operations[0].input
    }

    /// Routes and decodes a request; what was read, as a JSON value.
    pub fn read(&self, request: &Request) -> Result<Value, Fault> {
        let headers = request.header_map();
        let asked = Asked {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: &headers,
            body: request.body,
        };
        let router = Router::new(self.service);
        let route =
            router.route(asked).map_err(|unrouted| Fault::new("Unrouted", format!("{unrouted:?}")))?;
        let incoming = Incoming {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: &headers,
            body: request.body.to_vec().into(),
            labels: route.labels,
        };
        let schema = route.operation.input;
        let read = |reader: &mut dyn tidemill_api::Reader| Dynamic::read(schema, reader);
        decode(route.protocol, self.service, route.operation, &incoming, read).map(|tree| to_value(&tree))
    }

    /// Reads a body sent to `T.Act`.
    pub fn read_json(&self, body: &[u8]) -> Result<Value, Fault> {
        self.read(&Request { headers: &[("x-amz-target", "T.Act")], body, ..Request::default() })
    }

    /// Reads a form.
    pub fn read_form(&self, form: &str) -> Result<Value, Fault> {
        let body = format!("Action=Act&Version=1&{form}");
        self.read(&Request { body: body.as_bytes(), ..Request::default() })
    }
}

#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Default for Request<'_> {
    fn default() -> Self {
        Request { method: "POST", path: "/", query: "", headers: &[], body: b"" }
    }
}

impl Request<'_> {
    fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                map.append(name, value);
            }
        }
        map
    }
}

//! A service is a table of functions: `Service::new(&SERVICE, state).on::<op::CreateQueue>(queues::create_queue)…`.
//!
//! The gateway looks an operation up by its index in the contract, lets the function's input be read by the codec,
//! and runs it. Services that speak HTTP themselves (S3 through `s3s`, function URLs) implement [`HttpService`].

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tidemill_api::{Fault, Operation, ReadError, Reader, ServiceMeta, Shape, WriteShape};
use tidemill_store::Store;

use crate::Cx;

/// A service's operations, each with its function; those without one answer `NotImplemented`.
pub struct Service {
    pub meta: &'static ServiceMeta,
    /// In the order of `meta.operations`.
    functions: Vec<Option<Box<dyn Function>>>,
    /// Where reading operations wait for what they may have seen.
    settled_in: Option<Store>,
}

/// How operations are named that read.
const READING: [&str; 3] = ["Get", "List", "Describe"];

/// A service's table being written, with the state its functions share.
pub struct Table<S> {
    service: Service,
    state: Arc<S>,
}

impl Service {
    #[allow(clippy::new_ret_no_self)]
    pub fn new<S: Send + Sync + 'static>(meta: &'static ServiceMeta, state: Arc<S>) -> Table<S> {
        let functions = meta.operations.iter().map(|_| None).collect();
        Table { service: Service { meta, functions, settled_in: None }, state }
    }

    /// The operations of the contract that have no function.
    pub fn missing(&self) -> Vec<&'static str> {
        let lacking =
            self.meta.operations.iter().zip(&self.functions).filter(|(_, function)| function.is_none());
        lacking.map(|(operation, _)| operation.name).collect()
    }

    pub fn implements(&self, operation: usize) -> bool {
        self.functions.get(operation).is_some_and(Option::is_some)
    }

    /// Reads the input of the operation with this index. `None` when it has no function.
    pub fn read(
        &self,
        operation: usize,
        reader: &mut dyn Reader,
    ) -> Option<Result<Box<dyn Call>, ReadError>> {
        let call = self.functions.get(operation)?.as_ref()?.read(reader);
        let name = self.meta.operations.get(operation)?.name;
        match &self.settled_in {
            Some(store) if READING.iter().any(|verb| name.starts_with(verb)) => {
                let store = store.clone();
                Some(call.map(|call| Box::new(Settled { call, store }) as Box<dyn Call>))
            }
            _ => Some(call),
        }
    }
}

impl<S: Send + Sync + 'static> Table<S> {
    /// Puts an operation's function into the table.
    ///
    /// Panics when the contract lacks the operation or it has a function already: both are mistakes of ours that show
    /// at the first start.
    pub fn on<O: Operation>(
        mut self,
        function: impl for<'a> Handler<'a, S, O::Input, O::Output> + Clone,
    ) -> Table<S> {
        let at = self.service.meta.operations.iter().position(|operation| operation.name == O::META.name);
        let slot = at.and_then(|at| self.service.functions.get_mut(at));
        let slot =
            slot.unwrap_or_else(|| panic!("{} has no operation {}", self.service.meta.name, O::META.name));
        assert!(slot.is_none(), "{} is in the table twice", O::META.name);
        *slot = Some(Box::new(Bound::<O, S, _> {
            state: self.state.clone(),
            function,
            operation: std::marker::PhantomData,
        }));
        self
    }

    /// Operations that read (`Get…`, `List…`, `Describe…`) answer when everything they may have seen is durable, so nobody
    /// is shown what a crash takes back. For services whose functions do not wait for the rows they read themselves.
    #[must_use]
    pub fn settled_in(mut self, store: &Store) -> Table<S> {
        self.service.settled_in = Some(store.clone());
        self
    }

    pub fn build(self) -> Service {
        self.service
    }
}

/// A decoded request, ready to run.
pub trait Call: Send {
    /// The input as it was read, for authorisation and logs.
    fn input(&self) -> &dyn WriteShape;

    /// Runs the operation.
    fn run(self: Box<Self>, cx: Cx) -> BoxFuture<'static, Result<Box<dyn WriteShape>, Fault>>;
}

/// An `async fn(&State, &Cx, Input) -> Result<Output, Fault>`.
pub trait Handler<'a, S: 'a, I, O>: Send + Sync + 'static {
    type Answer: Future<Output = Result<O, Fault>> + Send + 'a;
    fn answer(&self, state: &'a S, cx: &'a Cx, input: I) -> Self::Answer;
}

impl<'a, S: 'a, I, O, F, A> Handler<'a, S, I, O> for F
where
    F: Fn(&'a S, &'a Cx, I) -> A + Send + Sync + 'static,
    A: Future<Output = Result<O, Fault>> + Send + 'a,
{
    type Answer = A;

    fn answer(&self, state: &'a S, cx: &'a Cx, input: I) -> A {
        self(state, cx, input)
    }
}

trait Function: Send + Sync {
    fn read(&self, reader: &mut dyn Reader) -> Result<Box<dyn Call>, ReadError>;
}

struct Bound<O, S, F> {
    state: Arc<S>,
    function: F,
    operation: std::marker::PhantomData<fn() -> O>,
}

impl<O, S, F> Function for Bound<O, S, F>
where
    O: Operation,
    S: Send + Sync + 'static,
    F: for<'a> Handler<'a, S, O::Input, O::Output> + Clone,
{
    fn read(&self, reader: &mut dyn Reader) -> Result<Box<dyn Call>, ReadError> {
        let input = O::Input::read(reader)?;
        Ok(Box::new(Ready::<O, S, F> { input, state: self.state.clone(), function: self.function.clone() }))
    }
}

struct Ready<O: Operation, S, F> {
    input: O::Input,
    state: Arc<S>,
    function: F,
}

impl<O, S, F> Call for Ready<O, S, F>
where
    O: Operation,
    S: Send + Sync + 'static,
    F: for<'a> Handler<'a, S, O::Input, O::Output>,
{
    fn input(&self) -> &dyn WriteShape {
        &self.input
    }

    fn run(self: Box<Self>, cx: Cx) -> BoxFuture<'static, Result<Box<dyn WriteShape>, Fault>> {
        async move {
            let Ready { input, state, function } = *self;
            let output = function.answer(&state, &cx, input).await?;
            Ok(Box::new(output) as Box<dyn WriteShape>)
        }
        .boxed()
    }
}

/// A call whose answer waits for what it may have seen.
struct Settled {
    call: Box<dyn Call>,
    store: Store,
}

impl Call for Settled {
    fn input(&self) -> &dyn WriteShape {
        self.call.input()
    }

    fn run(self: Box<Self>, cx: Cx) -> BoxFuture<'static, Result<Box<dyn WriteShape>, Fault>> {
        async move {
            let Settled { call, store } = *self;
            let answer = call.run(cx).await;
            store.durable(store.submitted()).await;
            answer
        }
        .boxed()
    }
}

/// Bodies of services that speak HTTP themselves.
pub type HttpBody = http_body_util::combinators::BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// Headers that follow a body (`x-amz-checksum-crc32` after an `aws-chunked` one). A request whose body may have some
/// carries this among its extensions; it is filled when the body has been read to its end and its signatures hold.
#[derive(Debug, Clone, Default)]
pub struct Trailers(Arc<std::sync::OnceLock<http::HeaderMap>>);

impl Trailers {
    pub fn set(&self, headers: http::HeaderMap) {
        let _ = self.0.set(headers);
    }

    pub fn get(&self) -> Option<&http::HeaderMap> {
        self.0.get()
    }
}

/// A service that gets the HTTP request itself, authenticated and with transfer encodings (`aws-chunked`) undone.
pub trait HttpService: Send + Sync + 'static {
    /// Answers a request. Signatures are checked and taken off; [`Trailers`] are among the extensions where the body has
    /// some.
    fn call(
        &self,
        cx: Cx,
        request: http::Request<HttpBody>,
    ) -> Pin<Box<dyn Future<Output = http::Response<HttpBody>> + Send>>;
}

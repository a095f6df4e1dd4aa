//! Sandboxes that are made ahead for provisioned concurrency.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{INIT_LIMIT_AHEAD, Inner, Stage};
use crate::farewell::end_all;
use crate::init::Initialised;
use crate::sandbox::Sandbox;
use crate::{FunctionSpec, SandboxError};

impl Inner {
    /// Has what a lost provisioned sandbox leaves open filled again.
    pub(super) fn lose(self: &Arc<Self>, sandbox: &Sandbox) {
        if sandbox.provisioned() {
            self.provisions.lock().lost(&sandbox.function);
            self.fill_provisioned(&sandbox.function.arn, &sandbox.function.version);
        }
    }

    /// Makes what is wanted of a version, a few at a time, in the background.
    pub(super) fn fill_provisioned(self: &Arc<Self>, arn: &str, version: &str) {
        while !self.is_closed() {
            let Some(function) = self.provisions.lock().begin(arn, version) else { return };
            tokio::spawn(self.clone().make_provisioned(function));
        }
    }

    /// A future of a named type: making one ends in filling, which makes others.
    fn make_provisioned(self: Arc<Self>, function: Arc<FunctionSpec>) -> BoxFuture<'static, ()> {
        let making = async move {
            let mut dropped = Vec::new();
            let place = self.pool.lock().room(&function, self.factory.config.max_memory_mb, &mut dropped);
            end_all(dropped);
            let made = match &place {
                Some(_) => {
                    let making = self.before(Stage::Closing, self.make_ahead(&function));
                    making.await.unwrap_or_else(|| Err(SandboxError::ShutDown.to_string()))
                }
                None => Err("all function memory is in use".to_owned()),
            };
            match (made, &place) {
                (Ok(sandbox), Some(place)) => {
                    let keep = self.provisions.lock().made(&function);
                    self.put_back_counted(sandbox, place, keep);
                }
                (Err(reason), place) => {
                    place.iter().for_each(|place| self.pool.lock().give_up(place));
                    self.provisions.lock().failed(&function, reason);
                    self.finished.notify_waiters();
                }
                _ => {}
            }
            self.fill_provisioned(&function.arn, &function.version);
        };
        making.boxed()
    }

    /// A sandbox of a function whose init phase is behind it.
    async fn make_ahead(self: &Arc<Self>, function: &Arc<FunctionSpec>) -> Result<Sandbox, String> {
        let limit = Duration::from_millis(function.timeout_ms).max(INIT_LIMIT_AHEAD);
        let made = self.new_sandbox(function, limit, Instant::now()).await;
        let (mut sandbox, initialised, _) = made.map_err(|error| error.to_string())?;
        match initialised {
            Initialised::Ready(_) | Initialised::Restored => {
                sandbox.flush_log().await;
                Ok(sandbox)
            }
            Initialised::Not(verdict, init) => {
                sandbox.report_init(&verdict, init).await;
                Err("FUNCTION_ERROR_INIT_FAILURE".to_owned())
            }
        }
    }
}

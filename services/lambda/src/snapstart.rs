//! SnapStart: a published version is initialised once, and each of its sandboxes goes on from there.
//!
//! A version is `Pending` until its snapshot is taken, then `Active`; a failed init phase makes it `Failed`. Snapshots live with the
//! platform: after a restart one is taken again, beside the first invocation that needs it. How it is done is in `tidemill_sandbox`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_platform::{Fault, Trace};
use tidemill_sandbox::{FunctionSpec, Initialization, SandboxError, Snapshotted};

use crate::{
    Lambda,
    api::{self, FunctionConfiguration, InvalidParameterValueException, ResourceConflictException, State},
    names::Named,
    state::{Configuration, FunctionRow},
};

/// How far a version is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SnapStartState {
    Pending,
    On,
    /// It works, but cannot be restored from a snapshot.
    Off(String),
    Failed {
        code: String,
        reason: String,
    },
}

/// What a request asks for.
pub fn wanted(snap_start: Option<api::SnapStart>) -> Option<bool> {
    snap_start?.apply_on.map(|on| on == api::SnapStartApplyOn::PublishedVersions)
}

/// Whether a function can have it.
pub fn check(c: &Configuration) -> Result<(), Fault> {
    if !c.snap_start {
        return Ok(());
    }
    let invalid = |sentence: String| Err(InvalidParameterValueException::new(sentence).into());
    let python = c.runtime.strip_prefix("python3.").and_then(|minor| minor.parse::<u32>().ok());
    let known = ["java11", "java17", "java21", "java25", "dotnet8", "dotnet10"];
    if python.is_none_or(|minor| minor < 12) && !known.contains(&c.runtime.as_str()) {
        return invalid(format!("{} is not supported for SnapStart enabled functions.", c.runtime));
    }
    if c.tmp_mb > 512 {
        return invalid(
            "SnapStart is not supported for functions with ephemeral storage greater than 512 MB.".into(),
        );
    }
    Ok(())
}

/// A version has provisioned concurrency or SnapStart, not both.
pub fn check_provisioned<'a>(
    row: &FunctionRow,
    mut versions: impl Iterator<Item = &'a str>,
) -> Result<(), Fault> {
    let snapstarted = |version: &str| {
        version.parse().ok().and_then(|number: u64| row.versions.get(&number)).is_some_and(|c| c.snap_start)
    };
    match versions.any(snapstarted) {
        true => Err(InvalidParameterValueException::new(
            "Provisioned Concurrency is not supported for SnapStart enabled functions.",
        )
        .into()),
        false => Ok(()),
    }
}

impl FunctionRow {
    /// How a published version's snapshot stands; `None` where it has none.
    fn snapstart(&self, version: &str) -> Option<&SnapStartState> {
        self.snapstarts.get(&version.parse().ok()?)
    }

    /// Notes for a version that was just published that its snapshot is to be taken.
    pub fn expect_snapshot(&mut self, number: u64) {
        if self.versions.get(&number).is_some_and(|c| c.snap_start) {
            self.snapstarts.insert(number, SnapStartState::Pending);
        }
    }

    /// Versions that are not ready cannot be invoked.
    pub fn check_ready(&self, version: &str) -> Result<(), Fault> {
        let state = match self.snapstart(version) {
            Some(SnapStartState::Pending) => "Pending",
            Some(SnapStartState::Failed { .. }) => "Failed",
            _ => return Ok(()),
        };
        let sentence = format!(
            "The operation cannot be performed at this time. The function is currently in the following state: {state}"
        );
        Err(ResourceConflictException::new(sentence).into())
    }

    /// How a version's sandboxes begin.
    pub fn initialization(&self, version: &str) -> Initialization {
        match self.snapstart(version) {
            Some(SnapStartState::Pending | SnapStartState::On) => Initialization::SnapStart,
            _ => Initialization::OnDemand,
        }
    }
}

/// What `FunctionConfiguration` says of it.
pub fn describe(
    row: &FunctionRow,
    version: &str,
    c: &Configuration,
    mut answer: FunctionConfiguration,
) -> FunctionConfiguration {
    let state = row.snapstart(version);
    let optimised = state == Some(&SnapStartState::On);
    answer.snap_start = Some(api::SnapStartResponse {
        apply_on: Some(if c.snap_start { "PublishedVersions" } else { "None" }.into()),
        optimization_status: Some(if optimised { "On" } else { "Off" }.into()),
    });
    match state {
        Some(SnapStartState::Pending) => {
            answer.state = Some(State::Pending);
            answer.state_reason = Some("The function is being created.".into());
            answer.state_reason_code = Some("Creating".into());
        }
        Some(SnapStartState::Failed { code, reason }) => {
            answer.state = Some(State::Failed);
            answer.state_reason = Some(reason.clone());
            answer.state_reason_code = Some(code.as_str().into());
        }
        _ => {}
    }
    answer
}

impl Lambda {
    /// Has the snapshots that are pending taken, in the background.
    pub fn snapshot_soon(&self, arn: &str) {
        let (Some(lambda), Some(row)) = (self.this.upgrade(), self.by_arn(arn)) else { return };
        let pending = row.snapstarts.iter().filter(|(_, state)| **state == SnapStartState::Pending);
        for (number, _) in pending {
            let (lambda, row, number) = (lambda.clone(), row.clone(), *number);
            tokio::spawn(async move {
                let went = lambda.take_snapshot(&row, number).await;
                if let Some(state) = went.unwrap_or_else(|fault| Some(SnapStartState::Off(fault.to_string())))
                    && let Err(fault) = lambda.note_snapshot(&row, number, state).await
                {
                    tracing::warn!(%fault, "a version's state was not written");
                }
            });
        }
    }

    /// Nothing where the platform ends meanwhile: the version stays pending.
    async fn take_snapshot(&self, row: &FunctionRow, number: u64) -> Result<Option<SnapStartState>, Fault> {
        let Some(c) = row.versions.get(&number) else { return Ok(None) };
        let platform = &self.platform;
        let trace = Trace::begin(platform.clock.now(), &platform.random);
        let cx = platform.cx(&row.account, &row.region, trace);
        let spec = self.runner.spec(&cx, row, &number.to_string(), c).await?;
        let spec = FunctionSpec { initialization: Initialization::SnapStart, ..(*spec).clone() };
        Ok(match self.runner.snapshot(Arc::new(spec)).await? {
            Ok(Snapshotted::On) => Some(SnapStartState::On),
            Ok(Snapshotted::Off(reason)) => Some(SnapStartState::Off(reason)),
            Ok(Snapshotted::Failed { code, reason }) => {
                Some(SnapStartState::Failed { code: code.into(), reason })
            }
            Err(SandboxError::ShutDown) => None,
            Err(error) => Some(SnapStartState::Off(error.to_string())),
        })
    }

    async fn note_snapshot(
        &self,
        row: &FunctionRow,
        number: u64,
        state: SnapStartState,
    ) -> Result<(), Fault> {
        if let SnapStartState::Off(reason) = &state {
            tracing::warn!("{}:{number} starts without SnapStart: {reason}", row.arn);
        }
        let named = Named { arn: row.arn.clone(), name: row.name.clone(), qualifier: None };
        let noted = self.change(&named, None, |row| {
            if let Some(there) = row.snapstarts.get_mut(&number) {
                *there = state;
            }
            Ok(())
        });
        noted.await?;
        self.snapshotted.notify_waiters();
        Ok(())
    }

    /// Waits until a published version can be invoked; a fault when it never will be.
    pub async fn ready(&self, arn: &str, version: &str) -> Result<(), Fault> {
        loop {
            let noted = self.snapshotted.notified();
            let mut noted = std::pin::pin!(noted);
            noted.as_mut().enable();
            match self.by_arn(arn) {
                Some(row) if row.snapstart(version) == Some(&SnapStartState::Pending) => noted.await,
                Some(row) => return row.check_ready(version),
                None => return Ok(()),
            }
        }
    }

    /// Lets go of the snapshots of versions that are gone.
    pub fn forget_snapshots(&self, arn: &str) {
        let row = self.by_arn(arn);
        self.runner
            .snapshot_only(arn, &|version| row.as_ref().is_some_and(|row| row.snapstart(version).is_some()));
    }
}

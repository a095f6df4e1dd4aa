//! The extensions of one sandbox: who registered for what, who is ready, and the events that wait for them.
//!
//! Decides and remembers; waits only for its own changes. AWS: "Lambda Extensions API", and its phases in "Lambda execution environment".

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::report::Exit;
use crate::sandbox::random_bytes;

/// Lambda's limit of extensions in a function.
const MOST: usize = 10;

/// A sandbox's extensions. Shared by the phases of the function and the API its extensions call.
#[derive(Default)]
pub struct Extensions {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    members: HashMap<String, Extension>,
    /// Programs that were started, by name; those that have ended are taken out.
    running: HashSet<String>,
    /// Every program that was started: their names are external.
    external: HashSet<String>,
    /// Nobody may register any more.
    closed: bool,
    failure: Option<Failure>,
    /// Events are over: a program may end without harm.
    ending: bool,
}

/// One that has registered.
struct Extension {
    name: String,
    invoke: bool,
    shutdown: bool,
    /// Waits for its next event, so it is done with all before.
    waiting: bool,
    queue: VecDeque<Value>,
    /// Has asked for an event at least once.
    begun: bool,
}

/// What ended the sandbox: Lambda's error type and the sentence its caller gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: &'static str,
    pub message: String,
}

/// Why registering was refused: the error type and its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str, pub String);

/// An invocation as extensions hear of it.
pub struct InvokeEvent<'a> {
    pub request_id: &'a str,
    pub deadline_ms: u64,
    pub arn: &'a str,
    pub trace: Option<&'a str>,
}

/// Why a sandbox ends, in Lambda's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    Spindown,
    Timeout,
    Failure,
}

impl ShutdownReason {
    fn text(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

impl Extensions {
    /// A program of a layer was started under this name.
    pub fn started(&self, name: &str) {
        let mut state = self.state.lock();
        state.running.insert(name.to_owned());
        state.external.insert(name.to_owned());
    }

    /// A program has ended, which ends the sandbox unless that is happening already.
    pub fn exited(&self, name: &str, exit: Exit) {
        let mut state = self.state.lock();
        state.running.remove(name);
        if !state.ending {
            let how = match exit {
                Exit::Status(code) => format!("exit code {code}"),
                Exit::Signal(number) => format!("signal {number}"),
                Exit::Unknown => "unknown exit".to_owned(),
            };
            state.failure.get_or_insert(Failure { kind: "Extension.Crash", message: how });
        }
        self.tell(state);
    }

    /// Notes what ends the sandbox; the first failure counts.
    pub fn fail(&self, failure: Failure) {
        let mut state = self.state.lock();
        state.failure.get_or_insert(failure);
        self.tell(state);
    }

    /// A new member; gives its identifier.
    pub fn register(&self, name: &str, events: &[String]) -> Result<String, Refusal> {
        let mut state = self.state.lock();
        let refuse = |kind, sentence: &str| Err(Refusal(kind, sentence.to_owned()));
        if state.closed {
            return refuse("Extension.RegistrationClosed", "Extension registration closed already");
        }
        if state.members.len() >= MOST {
            return refuse("Extension.TooManyExtensions", "Extension limit (10) reached");
        }
        if state.members.values().any(|member| member.name == name) {
            return refuse("Extension.AlreadyRegistered", "Extension already registered");
        }
        let external = state.external.contains(name);
        for event in events {
            match event.as_str() {
                "INVOKE" => {}
                "SHUTDOWN" if external => {}
                "SHUTDOWN" => {
                    let sentence = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension";
                    return refuse("Extension.InvalidEventType", sentence);
                }
                other => {
                    let sentence = format!("{other}: ErrorInvalidEventType");
                    return refuse("Extension.InvalidEventType", &sentence);
                }
            }
        }
        let wants = |event: &str| events.iter().any(|wanted| wanted == event);
        let id = uuid();
        let member = Extension {
            name: name.to_owned(),
            invoke: wants("INVOKE"),
            shutdown: wants("SHUTDOWN"),
            waiting: false,
            queue: VecDeque::new(),
            begun: false,
        };
        state.members.insert(id.clone(), member);
        self.tell(state);
        Ok(id)
    }

    /// The name behind an identifier.
    pub fn name_of(&self, id: &str) -> Option<String> {
        self.state.lock().members.get(id).map(|member| member.name.clone())
    }

    /// The member's next event. Asking says that it is done with the last one. `None` when it is no member.
    pub async fn next(&self, id: &str) -> Option<Value> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state.lock();
                let member = state.members.get_mut(id)?;
                if let Some(event) = member.queue.pop_front() {
                    member.waiting = false;
                    return Some(event);
                }
                if !member.waiting {
                    (member.waiting, member.begun) = (true, true);
                    self.tell(state);
                    continue;
                }
            }
            changed.await;
        }
    }

    /// Tells everyone who asked for invocations about one. They count as busy until they ask for the next.
    pub fn invoke(&self, event: &InvokeEvent<'_>) {
        let mut state = self.state.lock();
        let mut told = json!({
            "eventType": "INVOKE",
            "deadlineMs": event.deadline_ms,
            "requestId": event.request_id,
            "invokedFunctionArn": event.arn,
        });
        if let (Some(trace), Some(fields)) = (event.trace, told.as_object_mut()) {
            fields.insert("tracing".into(), json!({ "type": "X-Amzn-Trace-Id", "value": trace }));
        }
        for member in state.members.values_mut().filter(|member| member.invoke) {
            (member.waiting, member.queue) = (false, VecDeque::from([told.clone()]));
        }
        self.tell(state);
    }

    /// Tells everyone who asked for it that the sandbox ends at `deadline_ms`.
    pub fn shut_down(&self, reason: ShutdownReason, deadline_ms: u64) {
        let mut state = self.state.lock();
        state.ending = true;
        let told =
            json!({ "eventType": "SHUTDOWN", "shutdownReason": reason.text(), "deadlineMs": deadline_ms });
        for member in state.members.values_mut().filter(|member| member.shutdown) {
            member.queue.push_back(told.clone());
        }
        self.tell(state);
    }

    /// From here on nobody may register. Gives what is logged of each: its name, its state and its events.
    pub fn close(&self) -> Vec<(String, &'static str, Vec<&'static str>)> {
        let mut state = self.state.lock();
        state.closed = true;
        let mut members: Vec<_> = state
            .members
            .values()
            .map(|member| {
                let stage = if member.begun { "Ready" } else { "Registered" };
                (member.name.clone(), stage, member.events())
            })
            .collect();
        members.sort();
        members
    }

    /// Whether anybody registered or runs: such a sandbox is ended gently.
    pub fn any(&self) -> bool {
        let state = self.state.lock();
        !state.members.is_empty() || !state.running.is_empty()
    }

    /// Whether a program of a layer still runs.
    pub fn programs(&self) -> bool {
        !self.state.lock().running.is_empty()
    }

    /// Every program that was started has registered.
    pub async fn registered(&self) {
        self.until(|state| {
            state.external.iter().all(|name| state.members.values().any(|member| member.name == *name))
        })
        .await;
    }

    /// Every member waits for its next event. With nobody registered that is so at once.
    pub async fn ready(&self) {
        self.until(|state| {
            state.members.values().all(|member| member.waiting && member.queue.is_empty() || member.idle())
        })
        .await;
    }

    /// Whether [`ready`](Self::ready) would be so at once.
    pub fn are_ready(&self) -> bool {
        let state = self.state.lock();
        state.members.values().all(|member| member.waiting && member.queue.is_empty() || member.idle())
    }

    /// Every program that was told of the end has ended; the others are not waited for.
    pub async fn gone(&self) {
        let told = |state: &State, name: &str| {
            state.members.values().any(|member| member.shutdown && member.name == *name)
        };
        self.until(|state| !state.running.iter().any(|name| told(state, name))).await;
    }

    /// What ends the sandbox; never while nothing does.
    pub async fn failed(&self) -> Failure {
        loop {
            if let Some(failure) = self.failure() {
                return failure;
            }
            self.until(|state| state.failure.is_some()).await;
        }
    }

    pub fn failure(&self) -> Option<Failure> {
        self.state.lock().failure.clone()
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn tell(&self, state: parking_lot::MutexGuard<'_, State>) {
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Extension {
    /// It asked once and wants no invocations: there is nothing to wait for.
    fn idle(&self) -> bool {
        self.begun && !self.invoke
    }

    fn events(&self) -> Vec<&'static str> {
        [(self.invoke, "INVOKE"), (self.shutdown, "SHUTDOWN")]
            .into_iter()
            .filter_map(|(wanted, name)| wanted.then_some(name))
            .collect()
    }
}

/// A random (version 4) UUID.
pub fn uuid() -> String {
    let mut bytes = random_bytes();
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let text = hex::encode(bytes);
    let mut parts = [8, 4, 4, 4, 12].into_iter().scan(0, |at, length| {
        let part = text.get(*at..*at + length).unwrap_or_default();
        *at += length;
        Some(part)
    });
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + "-" + part)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn register(extensions: &Extensions, name: &str, events: &[&str]) -> Result<String, Refusal> {
        let events: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        extensions.register(name, &events)
    }

    fn invocation(extensions: &Extensions) {
        extensions.invoke(&InvokeEvent { request_id: "id", deadline_ms: 5, arn: "arn", trace: None });
    }

    #[tokio::test]
    async fn a_member_is_done_with_an_event_when_it_asks_for_the_next() {
        let extensions = Extensions::default();
        let id = register(&extensions, "inner", &["INVOKE"]).unwrap();
        assert!(!extensions.are_ready());
        assert!(extensions.next(&id).now_or_never().is_none());
        assert!(extensions.are_ready());
        invocation(&extensions);
        assert!(!extensions.are_ready());
        assert_eq!(extensions.next(&id).await.unwrap()["requestId"], "id");
        assert!(!extensions.are_ready());
        assert!(extensions.next(&id).now_or_never().is_none());
        assert!(extensions.are_ready());
        assert_eq!(extensions.next("nobody").await, None);
    }

    #[test]
    fn only_programs_hear_of_the_end_and_each_name_registers_once() {
        let extensions = Extensions::default();
        extensions.started("outer");
        let refused = |result: Result<String, Refusal>| result.unwrap_err().0;
        assert_eq!(refused(register(&extensions, "inner", &["SHUTDOWN"])), "Extension.InvalidEventType");
        assert_eq!(refused(register(&extensions, "inner", &["SLEEP"])), "Extension.InvalidEventType");
        register(&extensions, "outer", &["SHUTDOWN"]).unwrap();
        assert_eq!(refused(register(&extensions, "outer", &[])), "Extension.AlreadyRegistered");
        for number in 1..MOST {
            register(&extensions, &format!("inner{number}"), &[]).unwrap();
        }
        assert_eq!(refused(register(&extensions, "more", &[])), "Extension.TooManyExtensions");
        extensions.close();
        assert_eq!(refused(register(&extensions, "late", &[])), "Extension.RegistrationClosed");
    }

    #[test]
    fn a_program_that_ends_early_fails_the_sandbox_and_later_it_does_not() {
        let extensions = Extensions::default();
        extensions.started("outer");
        extensions.exited("outer", Exit::Status(3));
        let failure = Failure { kind: "Extension.Crash", message: "exit code 3".into() };
        assert_eq!(extensions.failure(), Some(failure));
        let extensions = Extensions::default();
        extensions.started("outer");
        extensions.shut_down(ShutdownReason::Spindown, 1);
        extensions.exited("outer", Exit::Status(0));
        assert_eq!((extensions.failure(), extensions.programs()), (None, false));
    }
}

//! Asynchronous hops. A service decides that something happened and hands the event over; this engine brings it to its
//! target, however often that takes: retry policy, back-off with jitter, age limits, dead letters and the fate ledger
//! live here and nowhere else.
//!
//! A [`Handover`] is a row written in the same batch as the fact it tells of ([`Delivery::stage`]), so acknowledging
//! the fact acknowledges the hand-over. A [`Target`] makes the row in which it takes an event; a [`Route`] attempts rows
//! of its kind. `engine` runs the attempts, `stream` reads streams for mappings, `ledger` keeps what became of each event, `policy` says when to try again.

mod engine;
mod handover;
mod kept;
mod lane;
pub mod ledger;
mod packed;
pub mod policy;
mod route;
pub mod stream;

pub use engine::{Delivery, Staged};
pub use handover::{Event, Handover};
pub use ledger::{Fate, Step};
pub use policy::Policy;
pub use route::{Attempt, Lane, Outcome, Removal, Route, Taken, Target};

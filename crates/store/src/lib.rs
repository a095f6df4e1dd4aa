//! Durable state: typed tables over ordered keys, one log, one committer.
//!
//! A [`Batch`] is submitted in the order of decisions, applied to an overlay in memory at once and durable when its
//! [`Ticket`] is through: `committer` writes what is queued with one sync for all who wait. `checkpoint` folds the log
//! into `backing` (redb) in the background; opening replays the rest. Begin at `store`. Nothing outside this crate knows
//! files. Bodies larger than a log segment are not taken; blobs of their own and the replicated log are still to come.

mod ahead;
mod backing;
mod batch;
mod block;
mod checkpoint;
mod committer;
mod error;
mod folder;
mod frame;
mod key;
mod log;
mod overlay;
mod partition;
mod scan;
mod store;
mod table;
mod ticket;

pub use batch::Batch;
pub use error::{Damaged, OpenError, Refused};
pub use key::Key;
pub use partition::Partition;
pub use store::{Found, Options, Stats, Store};
pub use table::Table;
pub use ticket::{Durable, Seq, Ticket};

//! Buckets in memory, their rows and all objects in the store.
//!
//! A bucket's rows and its objects' live in the bucket's partition. Every bucket has an id of its own, so that one of
//! the same name made later shares nothing with it.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard, RwLock};
use s3s::S3Result;
use serde::{Deserialize, Serialize};
use tidemill_delivery::Delivery;
use tidemill_platform::Platform;
use tidemill_store::{Batch, Damaged, Partition, Table};

use crate::{bodies::Body, checksums::Checksums, errors, notifications::Notification};

/// Bucket name → bucket. In the name's partition.
pub(crate) const BUCKETS: Table<String, BucketRow> = Table::new("s3.bucket");
/// (bucket id, key) → object. In the bucket's partition.
pub(crate) const OBJECTS: Table<(String, String), ObjectRow> = Table::new("s3.object");

/// Locks by which writes of one key wait for each other.
const KEY_LOCKS: usize = 256;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BucketRow {
    pub id: String,
    pub name: String,
    pub account: String,
    pub region: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    #[serde(default)]
    pub notifications: Vec<Notification>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// What is known of an object beside its body.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ObjectRow {
    pub size: u64,
    pub etag: String,
    /// Milliseconds since 1970.
    pub modified_at: i64,
    pub body: Body,
    pub headers: Headers,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub checksums: Checksums,
    /// Sizes of the parts it was uploaded in; empty for a plain upload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<u64>,
}

/// Headers kept with an object and given back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Headers {
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
}

/// A bucket as it is now.
pub struct Bucket {
    pub row: RwLock<BucketRow>,
    pub partition: Partition,
    /// Held for reading while a write is decided and submitted, for writing while the bucket is deleted.
    pub gate: RwLock<Gone>,
}

/// Whether the bucket was deleted while a writer waited.
pub struct Gone(pub bool);

pub struct S3 {
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    pub buckets: RwLock<HashMap<String, Arc<Bucket>>>,
    key_locks: Vec<Mutex<()>>,
    sequencer: AtomicU64,
}

impl S3 {
    pub fn open(platform: Arc<Platform>, delivery: Delivery) -> Result<S3, Damaged> {
        let mut buckets = HashMap::new();
        for partition in Partition::ALL {
            for (name, row) in platform.store.all(&BUCKETS, partition)? {
                buckets.insert(name, Arc::new(Bucket::new(row)));
            }
        }
        // Sequencers must grow for each key, across restarts too: they begin at the time.
        let sequencer = AtomicU64::new(platform.clock.now().millis().unsigned_abs() << 20);
        Ok(S3 {
            platform,
            delivery,
            buckets: RwLock::new(buckets),
            key_locks: (0..KEY_LOCKS).map(|_| Mutex::new(())).collect(),
            sequencer,
        })
    }

    pub fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        self.buckets.read().get(name).cloned().ok_or_else(|| errors::no_such_bucket(name))
    }

    /// Waits until nobody else decides on this key.
    pub fn lock_key(&self, bucket_id: &str, key: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (bucket_id, key).hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % KEY_LOCKS as u64).unwrap_or(0);
        self.key_locks[at].lock()
    }

    /// Grows with every event.
    pub fn next_sequencer(&self) -> String {
        format!("{:016X}", self.sequencer.fetch_add(1, Ordering::Relaxed))
    }

    /// An object that is there and durable; `None` when there is none.
    pub async fn find(&self, bucket: &Bucket, key: &str) -> S3Result<Option<ObjectRow>> {
        let id = bucket.row.read().id.clone();
        let found = self
            .platform
            .store
            .get(&OBJECTS, bucket.partition, &(id, key.to_string()))
            .map_err(errors::damaged)?;
        let Some(found) = found else { return Ok(None) };
        // What is shown must outlive a crash.
        self.platform.store.durable(found.seq).await;
        Ok(Some(found.value))
    }

    pub fn submit(&self, batch: Batch) -> S3Result<tidemill_store::Ticket> {
        self.platform.submit(batch).map_err(|fault| errors::of_fault(&fault))
    }
}

impl Bucket {
    pub fn new(row: BucketRow) -> Bucket {
        Bucket { partition: Partition::of(&row.name), row: RwLock::new(row), gate: RwLock::new(Gone(false)) }
    }
}

//! Functions as they are kept: one row a function with all that belongs to it, in memory and in the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tidemill_delivery::{Delivery, stream::Streams};
use tidemill_platform::{Fault, Platform};
use tidemill_sandbox::runtimes::java::sized;
use tidemill_store::{Batch, Damaged, Partition, Table};

use crate::{
    Parts,
    layers::Layers,
    mappings::{MappingRow, queues::Readers},
    names::{Named, home},
    places::Places,
    provisioned::{ProvisionedRow, Provisioning},
    quotas::Quotas,
    run::Runner,
    snapstart::SnapStartState,
    urls::{Addresses, UrlRow},
};

/// Function ARN → function. In the ARN's partition.
const FUNCTIONS: Table<String, FunctionRow> = Table::new("lambda.function");
/// SHA-256 in hex → the zip as uploaded. In the hash's partition.
pub(crate) const CODE: Table<String, Bytes> = Table::new("lambda.code");

/// Begun sooner, it would take the processor from the platform's own start.
const WARM_UP_AFTER: std::time::Duration = std::time::Duration::from_millis(200);

/// A function with its versions, aliases and everything else that goes with it when it is deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FunctionRow {
    pub arn: String,
    pub name: String,
    pub account: String,
    pub region: String,
    pub latest: Configuration,
    #[serde(default)]
    pub versions: BTreeMap<u64, Configuration>,
    #[serde(default)]
    pub last_version: u64,
    #[serde(default)]
    pub aliases: BTreeMap<String, AliasRow>,
    #[serde(default)]
    pub reserved_concurrency: Option<i32>,
    /// Qualifier (empty for none) → statement id → statement as JSON text.
    #[serde(default)]
    pub statements: BTreeMap<String, BTreeMap<String, String>>,
    /// Qualifier (`$LATEST` for none) → asynchronous invocation settings.
    #[serde(default)]
    pub invoke_configs: BTreeMap<String, InvokeConfigRow>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Alias (empty for none) → function URL.
    #[serde(default)]
    pub urls: BTreeMap<String, UrlRow>,
    /// Whether chains of events may pass it again and again.
    #[serde(default)]
    pub recursion_allowed: bool,
    /// Version or alias → provisioned concurrency.
    #[serde(default)]
    pub provisioned: BTreeMap<String, ProvisionedRow>,
    /// Versions (`$LATEST` or a number) that take a new runtime only when they change.
    #[serde(default)]
    pub runtime_kept: BTreeSet<String>,
    /// Version → how its snapshot stands, where it has SnapStart.
    #[serde(default)]
    pub snapstarts: BTreeMap<u64, SnapStartState>,
}

/// What a version runs with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    pub description: String,
    pub runtime: String,
    pub handler: String,
    pub role: String,
    /// SHA-256 of the zip, in hex.
    pub code_sha256: String,
    pub code_size: i64,
    /// 0 for code that was uploaded before this was kept.
    #[serde(default)]
    pub unpacked_size: u64,
    /// Later ones win under `/opt`.
    #[serde(default)]
    pub layers: Vec<crate::layers::Use>,
    pub timeout_s: i32,
    pub memory_mb: i32,
    pub tmp_mb: i32,
    pub environment: BTreeMap<String, String>,
    pub dead_letter_arn: Option<String>,
    pub traced: bool,
    pub architecture: String,
    pub log_format: String,
    pub log_group: Option<String>,
    pub application_log_level: Option<String>,
    pub system_log_level: Option<String>,
    /// Whether versions published from it are restored from a snapshot.
    #[serde(default)]
    pub snap_start: bool,
    pub revision_id: String,
    /// Milliseconds since 1970.
    pub modified_at: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AliasRow {
    pub version: String,
    pub description: String,
    /// Further versions and the share of invocations each gets.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    pub revision_id: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InvokeConfigRow {
    pub max_age_s: Option<i32>,
    pub retries: Option<i32>,
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    pub modified_at: i64,
}

pub struct Lambda {
    /// Itself, for consumers that outlive a call.
    pub this: Weak<Lambda>,
    pub platform: Arc<Platform>,
    pub delivery: Delivery,
    pub streams: Streams,
    pub quotas: Quotas,
    /// By ARN.
    functions: RwLock<HashMap<String, Arc<FunctionRow>>>,
    pub layers: Layers,
    pub addresses: Addresses,
    pub mappings: Mutex<BTreeMap<String, MappingRow>>,
    pub readers: Readers,
    pub runner: Runner,
    pub provisioning: Provisioning,
    /// Told whenever a version's snapshot was taken or could not be.
    pub snapshotted: tokio::sync::Notify,
}

impl Lambda {
    pub fn open(platform: Arc<Platform>, parts: Parts) -> Result<Arc<Lambda>, Damaged> {
        let mut functions = HashMap::new();
        for partition in Partition::ALL {
            for (arn, row) in platform.store.all(&FUNCTIONS, partition)? {
                functions.insert(arn, Arc::new(row));
            }
        }
        let layers = Layers::load(&platform)?;
        let addresses = Addresses::of(functions.values());
        let mappings = crate::mappings::load(&platform)?;
        let places = Places::new(parts.quotas.concurrency);
        let runner = Runner::new(platform.clone(), parts.executor, parts.connections, places);
        Ok(Arc::new_cyclic(|this| Lambda {
            this: this.clone(),
            platform,
            delivery: parts.delivery,
            streams: parts.streams,
            quotas: parts.quotas,
            functions: RwLock::new(functions),
            layers,
            addresses,
            mappings: Mutex::new(mappings),
            readers: Readers::default(),
            runner,
            provisioning: Provisioning::default(),
            snapshotted: tokio::sync::Notify::new(),
        }))
    }

    /// Tells the runner what is kept where this function is, after that changed.
    fn count_kept(&self, arn: &str) {
        // Held to the end, so that the last count is of the last state.
        let functions = self.functions.read();
        let near = functions.values().filter(|f| home(&f.arn) == home(arn));
        self.runner.places.keep(arn, near.map(|f| f.kept_concurrency()).sum());
    }

    /// Lets the mappings read. To be called once every stream source is registered.
    pub fn start(self: &Arc<Self>) {
        let arns: Vec<String> = self.functions.read().keys().cloned().collect();
        let one_a_home: BTreeMap<&str, &String> = arns.iter().map(|arn| (home(arn), arn)).collect();
        one_a_home.values().for_each(|arn| self.count_kept(arn));
        let provisioned: Vec<String> = {
            let functions = self.functions.read();
            functions.values().filter(|f| !f.provisioned.is_empty()).map(|f| f.arn.clone()).collect()
        };
        provisioned.iter().for_each(|arn| self.provision_soon(arn));
        arns.iter().for_each(|arn| self.snapshot_soon(arn));
        self.warm_up_soon();
        crate::mappings::start(self);
    }

    /// Warms the interpreters up that functions need, once the platform has begun to answer: the first invocation finds them.
    fn warm_up_soon(&self) {
        let runtimes: BTreeSet<String> = {
            let functions = self.functions.read();
            functions.values().map(|f| sized(&f.latest.runtime, f.latest.memory_mb.unsigned_abs())).collect()
        };
        let Some(lambda) = self.this.upgrade().filter(|_| !runtimes.is_empty()) else { return };
        tokio::spawn(async move {
            tokio::time::sleep(WARM_UP_AFTER).await;
            lambda.runner.warm_up(runtimes).await;
        });
    }

    /// Stops running functions: waits up to `grace` for those that run.
    pub async fn stop(&self, grace: std::time::Duration) {
        self.readers.stop_all();
        self.runner.stop(grace).await;
    }

    pub fn get(&self, named: &Named) -> Result<Arc<FunctionRow>, Fault> {
        self.by_arn(&named.arn).ok_or_else(|| named.not_found())
    }

    pub fn by_arn(&self, arn: &str) -> Option<Arc<FunctionRow>> {
        self.functions.read().get(arn).cloned()
    }

    /// All functions of an account and region, by name.
    pub fn list(&self, account: &str, region: &str) -> Vec<Arc<FunctionRow>> {
        let functions = self.functions.read();
        let mut list: Vec<_> =
            functions.values().filter(|f| f.account == account && f.region == region).cloned().collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Makes a function; a fault of `exists` when there is one of that ARN.
    pub async fn insert(
        &self,
        row: FunctionRow,
        code: Option<Bytes>,
        exists: impl FnOnce() -> Fault,
    ) -> Result<Arc<FunctionRow>, Fault> {
        self.expect_storage(&row.arn, row.latest.code_size)?;
        let row = Arc::new(row);
        let ticket = {
            let mut functions = self.functions.write();
            if functions.contains_key(&row.arn) {
                return Err(exists());
            }
            let ticket = self.platform.submit(self.batch(&row, code))?;
            functions.insert(row.arn.clone(), row.clone());
            ticket
        };
        ticket.await;
        Ok(row)
    }

    /// Changes a function under the lock and answers when that is durable.
    pub async fn change<T>(
        &self,
        named: &Named,
        code: Option<Bytes>,
        change: impl FnOnce(&mut FunctionRow) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if let Some(zip) = &code {
            self.expect_storage(&named.arn, i64::try_from(zip.len()).unwrap_or(i64::MAX))?;
        }
        let (ticket, answer, before) = {
            let mut functions = self.functions.write();
            let mut row = FunctionRow::clone(functions.get(&named.arn).ok_or_else(|| named.not_found())?);
            let answer = change(&mut row)?;
            let ticket = self.platform.submit(self.batch(&row, code))?;
            let before = functions.insert(row.arn.clone(), Arc::new(row));
            (ticket, answer, before)
        };
        if let (Some(before), Some(now)) = (before, self.by_arn(&named.arn)) {
            if before.kept_concurrency() != now.kept_concurrency() {
                self.count_kept(&named.arn);
            }
            if before.provisioned_by_version() != now.provisioned_by_version() {
                self.provision_soon(&named.arn);
            }
        }
        ticket.await;
        Ok(answer)
    }

    pub async fn remove(&self, named: &Named) -> Result<(), Fault> {
        let ticket = {
            let mut functions = self.functions.write();
            if !functions.contains_key(&named.arn) {
                return Err(named.not_found());
            }
            let mut batch = Batch::new(Partition::of(&named.arn));
            batch.delete(&FUNCTIONS, &named.arn);
            let ticket = self.platform.submit(batch)?;
            functions.remove(&named.arn);
            ticket
        };
        self.runner.forget(&named.arn);
        self.count_kept(&named.arn);
        self.provision_soon(&named.arn);
        self.forget_snapshots(&named.arn);
        ticket.await;
        Ok(())
    }

    fn batch(&self, row: &FunctionRow, code: Option<Bytes>) -> Batch {
        let mut batch = Batch::new(Partition::of(&row.arn));
        batch.put(&FUNCTIONS, &row.arn, row);
        if let Some(code) = code {
            let sha = &row.latest.code_sha256;
            batch.put_in(Partition::of(sha), &CODE, sha, &code);
        }
        batch
    }

    /// The zip of this hash.
    pub fn code(&self, sha256: &str) -> Result<Bytes, Fault> {
        let found = self
            .platform
            .store
            .get(&CODE, Partition::of(sha256), &sha256.to_string())
            .map_err(Fault::internal)?;
        found
            .map(|found| found.value)
            .ok_or_else(|| Fault::internal(format!("the code {sha256} is not in the store")))
    }
}

impl FunctionRow {
    /// The version a qualifier stands for, and its configuration. An alias with weights picks one by chance.
    pub fn resolve(
        &self,
        qualifier: Option<&str>,
        random: &tidemill_platform::Random,
    ) -> Option<(String, &Configuration)> {
        let version = match qualifier {
            None | Some("$LATEST") => return Some(("$LATEST".into(), &self.latest)),
            Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => number.to_string(),
            Some(alias) => self.aliases.get(alias)?.pick(random),
        };
        if version == "$LATEST" {
            return Some((version, &self.latest));
        }
        let configuration = self.versions.get(&version.parse().ok()?)?;
        Some((version, configuration))
    }

    /// Whether a qualifier names something.
    pub fn has(&self, qualifier: Option<&str>) -> bool {
        self.resolve(qualifier, &tidemill_platform::Random::seeded(0)).is_some()
    }
}

impl AliasRow {
    fn pick(&self, random: &tidemill_platform::Random) -> String {
        let chance = random.below(1_000_000) as f64 / 1_000_000.0;
        let mut passed = 0.0;
        for (version, weight) in &self.weights {
            passed += weight;
            if chance < passed {
                return version.clone();
            }
        }
        self.version.clone()
    }
}

//! The service's memory. Decisions are made under one lock and become durable in one batch each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tidemill_platform::{Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Seq};

use crate::{
    enforcement::Compiled,
    faults::not_found,
    rows::{
        CONTENTS, DISCOVERERS, DiscovererRow, REGISTRIES, RegistryRow, SCHEMAS, SchemaRow, discoverer_arn,
        registry_arn, schema_arn,
    },
};

pub struct Schemas {
    pub platform: Arc<Platform>,
    kept: Mutex<Kept>,
    /// Whether any discoverer runs at all: what every event asks.
    pub any_watched: AtomicBool,
    /// Bus ARN → whether events of other accounts count.
    pub watched: RwLock<HashMap<String, bool>>,
    pub compiled: Compiled,
}

#[derive(Default)]
pub struct Kept {
    pub registries: BTreeMap<String, RegistryRow>,
    pub schemas: BTreeMap<String, SchemaRow>,
    pub discoverers: BTreeMap<String, DiscovererRow>,
    /// The last batch.
    last: Seq,
}

/// What a decision changes; `None` takes a row away.
#[derive(Default)]
pub struct Effects {
    pub registries: Vec<(String, Option<RegistryRow>)>,
    pub schemas: Vec<(String, Option<SchemaRow>)>,
    pub contents: Vec<((String, u64), Option<String>)>,
    pub discoverers: Vec<(String, Option<DiscovererRow>)>,
}

impl Schemas {
    pub fn open(platform: Arc<Platform>) -> Result<Arc<Schemas>, Damaged> {
        let mut kept = Kept::default();
        for partition in Partition::ALL {
            kept.registries.extend(platform.store.all(&REGISTRIES, partition)?);
            kept.schemas.extend(platform.store.all(&SCHEMAS, partition)?);
            kept.discoverers.extend(platform.store.all(&DISCOVERERS, partition)?);
        }
        let schemas = Schemas {
            platform,
            kept: Mutex::default(),
            any_watched: AtomicBool::new(false),
            watched: RwLock::default(),
            compiled: Compiled::default(),
        };
        schemas.watch(&kept);
        *schemas.kept.lock() = kept;
        Ok(Arc::new(schemas))
    }

    /// Looks at what is kept.
    pub fn read<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.kept.lock())
    }

    /// The same for what callers see: answers when it is durable.
    pub async fn show<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        let (seq, answer) = {
            let kept = self.kept.lock();
            (kept.last, look(&kept))
        };
        self.platform.store.durable(seq).await;
        answer
    }

    /// Decides under the lock; answers when what was decided, and what the decision saw, is durable.
    pub async fn decide<T>(
        &self,
        decide: impl FnOnce(&Kept, &mut Effects) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (seq, answer) = {
            let mut kept = self.kept.lock();
            let mut effects = Effects::default();
            let answer = decide(&kept, &mut effects)?;
            let batch = effects.batch();
            if !batch.is_empty() {
                kept.last = self.platform.submit(batch)?.seq();
                self.remember(&mut kept, effects);
            }
            (kept.last, answer)
        };
        self.platform.store.durable(seq).await;
        Ok(answer)
    }

    fn remember(&self, kept: &mut Kept, effects: Effects) {
        take_over(&mut kept.registries, effects.registries);
        take_over(&mut kept.schemas, effects.schemas);
        if !effects.discoverers.is_empty() {
            take_over(&mut kept.discoverers, effects.discoverers);
            self.watch(kept);
        }
    }

    fn watch(&self, kept: &Kept) {
        let running = kept.discoverers.values().filter(|row| row.started);
        let watched: HashMap<_, _> = running.map(|row| (row.source_arn.clone(), row.cross_account)).collect();
        self.any_watched.store(!watched.is_empty(), Ordering::Release);
        *self.watched.write() = watched;
    }

    /// The text of a version.
    pub fn content(&self, arn: &str, number: u64) -> Result<String, Fault> {
        let found = self.platform.store.get(&CONTENTS, Partition::of(arn), &(arn.to_string(), number));
        Ok(found.map_err(Fault::internal)?.map(|found| found.value).unwrap_or_default())
    }
}

fn take_over<V>(kept: &mut BTreeMap<String, V>, changes: Vec<(String, Option<V>)>) {
    for (arn, row) in changes {
        match row {
            Some(row) => drop(kept.insert(arn, row)),
            None => drop(kept.remove(&arn)),
        }
    }
}

impl Effects {
    fn batch(&self) -> Batch {
        let mut batch = Batch::new(Partition::FIRST);
        write(&mut batch, &REGISTRIES, &self.registries);
        write(&mut batch, &SCHEMAS, &self.schemas);
        write(&mut batch, &DISCOVERERS, &self.discoverers);
        for (key, content) in &self.contents {
            match content {
                Some(text) => batch.put_in(Partition::of(&key.0), &CONTENTS, key, text),
                None => batch.delete_in(Partition::of(&key.0), &CONTENTS, key),
            };
        }
        batch
    }

    /// Takes a schema away with all its versions.
    pub fn remove_schema(&mut self, row: &SchemaRow) {
        self.schemas.push((row.arn.clone(), None));
        self.contents.extend(row.versions.iter().map(|one| ((row.arn.clone(), one.number), None)));
    }
}

fn write<V: serde::Serialize>(
    batch: &mut Batch,
    table: &tidemill_store::Table<String, V>,
    changes: &[(String, Option<V>)],
) {
    for (arn, row) in changes {
        match row {
            Some(row) => batch.put_in(Partition::of(arn), table, arn, row),
            None => batch.delete_in(Partition::of(arn), table, arn),
        };
    }
}

impl Kept {
    pub fn registry(&self, cx: &Cx, name: &str) -> Result<&RegistryRow, Fault> {
        let found = self.registries.get(&registry_arn(cx, name));
        found.ok_or_else(|| not_found(format!("Registry with name {name} does not exist.")))
    }

    pub fn schema(&self, cx: &Cx, registry: &str, name: &str) -> Result<&SchemaRow, Fault> {
        self.registry(cx, registry)?;
        let found = self.schemas.get(&schema_arn(cx, registry, name));
        found.ok_or_else(|| not_found(format!("Schema with name {name} does not exist.")))
    }

    pub fn discoverer(&self, cx: &Cx, id: &str) -> Result<&DiscovererRow, Fault> {
        let found = self.discoverers.get(&discoverer_arn(cx, id));
        found.ok_or_else(|| not_found(format!("Discoverer with id {id} does not exist.")))
    }

    /// The schemas of a registry, in the order of their names.
    pub fn schemas_of<'a>(
        &'a self,
        cx: &Cx,
        registry: &str,
    ) -> impl Iterator<Item = &'a SchemaRow> + use<'a> {
        below(&self.schemas, schema_arn(cx, registry, ""))
    }
}

/// The rows whose ARNs begin like this, in order.
pub fn below<V>(rows: &BTreeMap<String, V>, prefix: String) -> impl Iterator<Item = &V> {
    let range = rows.range(prefix.clone()..);
    range.take_while(move |(arn, _)| arn.starts_with(&prefix)).map(|(_, row)| row)
}

/// How many a page of a list holds.
pub fn limit(asked: Option<i32>) -> Result<usize, Fault> {
    match asked {
        None => Ok(100),
        Some(number @ 1..=100) => Ok(usize::try_from(number).unwrap_or(100)),
        Some(_) => Err(crate::faults::bad_request("Limit must be between 1 and 100.")),
    }
}

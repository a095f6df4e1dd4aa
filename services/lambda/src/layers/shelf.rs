//! Layers as they are kept, one row a layer with its versions, and how a function's list of layers is read.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tidemill_platform::{Arn, Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Table};

use super::policy;
use crate::{Lambda, api::InvalidParameterValueException, state::CODE};

/// Layer ARN → layer. In the ARN's partition.
const LAYERS: Table<String, LayerRow> = Table::new("lambda.layer");
/// Layers of one function (Lambda's limit).
const MOST_LAYERS: usize = 5;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LayerRow {
    /// Without a version.
    pub arn: String,
    pub name: String,
    pub account: String,
    pub region: String,
    /// Numbers are not used again when versions are deleted.
    pub last_version: u64,
    pub versions: BTreeMap<u64, VersionRow>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VersionRow {
    pub description: String,
    pub license: Option<String>,
    pub runtimes: Vec<String>,
    pub architectures: Vec<String>,
    /// Of the zip, in hex.
    pub code_sha256: String,
    pub code_size: i64,
    pub unpacked_size: u64,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Statement id → statement as JSON text.
    pub statements: BTreeMap<String, String>,
    pub policy_revision: String,
}

/// A layer as a function uses it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Use {
    /// With the version.
    pub arn: String,
    /// Of the zip, in hex.
    pub code_sha256: String,
    pub code_size: i64,
    pub unpacked_size: u64,
}

/// All layers, by ARN.
pub struct Layers(RwLock<HashMap<String, Arc<LayerRow>>>);

impl Layers {
    pub fn load(platform: &Platform) -> Result<Layers, Damaged> {
        let mut all = HashMap::new();
        for partition in Partition::ALL {
            for (arn, row) in platform.store.all(&LAYERS, partition)? {
                all.insert(arn, Arc::new(row));
            }
        }
        Ok(Layers(RwLock::new(all)))
    }

    pub fn get(&self, arn: &str) -> Option<Arc<LayerRow>> {
        self.0.read().get(arn).cloned()
    }

    /// All layers of an account and region, by name.
    pub fn list(&self, account: &str, region: &str) -> Vec<Arc<LayerRow>> {
        let layers = self.0.read();
        let mut list: Vec<_> =
            layers.values().filter(|row| row.account == account && row.region == region).cloned().collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// What an account's layers take in a region, zipped, in bytes.
    pub fn size(&self, account: &str, region: &str) -> i64 {
        let layers = self.0.read();
        let mine = layers.values().filter(|row| row.account == account && row.region == region);
        mine.flat_map(|row| row.versions.values()).map(|version| version.code_size).sum()
    }

    /// Adds a version and answers its number when it is durable.
    pub async fn publish(
        &self,
        platform: &Platform,
        arn: &str,
        version: VersionRow,
        zip: Bytes,
    ) -> Result<u64, Fault> {
        let (ticket, number) = {
            let mut layers = self.0.write();
            let mut row = match layers.get(arn) {
                Some(row) => LayerRow::clone(row),
                None => fresh(arn)?,
            };
            row.last_version += 1;
            let number = row.last_version;
            let sha = version.code_sha256.clone();
            row.versions.insert(number, version);
            let mut batch = Batch::new(Partition::of(arn));
            batch.put(&LAYERS, &row.arn, &row);
            batch.put_in(Partition::of(&sha), &CODE, &sha, &zip);
            let ticket = platform.submit(batch)?;
            layers.insert(row.arn.clone(), Arc::new(row));
            (ticket, number)
        };
        ticket.await;
        Ok(number)
    }

    /// Changes a layer under the lock and answers when that is durable; `absent` answers for one that is not there.
    pub async fn change<T>(
        &self,
        platform: &Platform,
        arn: &str,
        absent: impl FnOnce() -> Result<T, Fault>,
        change: impl FnOnce(&mut LayerRow) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let (ticket, answer) = {
            let mut layers = self.0.write();
            let Some(row) = layers.get(arn) else { return absent() };
            let mut row = LayerRow::clone(row);
            let answer = change(&mut row)?;
            let mut batch = Batch::new(Partition::of(arn));
            batch.put(&LAYERS, &row.arn, &row);
            let ticket = platform.submit(batch)?;
            layers.insert(row.arn.clone(), Arc::new(row));
            (ticket, answer)
        };
        ticket.await;
        Ok(answer)
    }
}

fn fresh(arn: &str) -> Result<LayerRow, Fault> {
    let parsed: Arn = arn.parse().map_err(|_| Fault::validation(format!("Invalid layer name: {arn}")))?;
    let name = parsed.resource.strip_prefix("layer:").unwrap_or(&parsed.resource).to_string();
    let row = LayerRow {
        arn: arn.into(),
        name,
        account: parsed.account,
        region: parsed.region,
        ..LayerRow::default()
    };
    Ok(row)
}

/// An ARN with a version, told apart.
pub fn split(arn: &str) -> Option<(&str, u64)> {
    let (arn, number) = arn.rsplit_once(':')?;
    Some((arn, number.parse().ok()?))
}

/// The layers that a function names, in its order; later ones win under `/opt`.
pub fn wanted(lambda: &Lambda, cx: &Cx, arns: &[String]) -> Result<Vec<Use>, Fault> {
    let invalid = |sentence: String| Fault::from(InvalidParameterValueException::new(sentence));
    if arns.len() > MOST_LAYERS {
        return Err(invalid(format!("Cannot reference more than {MOST_LAYERS} layers.")));
    }
    let mut uses: Vec<Use> = Vec::new();
    for arn in arns {
        let missing = || invalid(format!("Layer version {arn} does not exist."));
        let (layer, number) = split(arn).ok_or_else(missing)?;
        if let Some(twin) = uses.iter().find(|other| split(&other.arn).is_some_and(|(of, _)| of == layer)) {
            return Err(invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {} and {arn}.",
                twin.arn
            )));
        }
        if arn.split(':').nth(3) != Some(cx.region()) {
            return Err(invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                cx.region()
            )));
        }
        let row = lambda.layers.get(layer).ok_or_else(missing)?;
        let version = row.versions.get(&number).ok_or_else(missing)?;
        policy::may_read(cx, &row, number, version)?;
        uses.push(Use {
            arn: arn.clone(),
            code_sha256: version.code_sha256.clone(),
            code_size: version.code_size,
            unpacked_size: version.unpacked_size,
        });
    }
    Ok(uses)
}

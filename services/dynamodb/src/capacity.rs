//! Consumed capacity, as DynamoDB counts it. Source: "Read/write capacity mode".

use std::collections::BTreeMap;

use crate::api::{Capacity, ConsumedCapacity, ReturnConsumedCapacity};

/// Read units: half a unit for each 4 KB, a whole one when the read is consistent, two in a transaction.
pub fn read_units(bytes: usize, consistent: bool) -> f64 {
    let blocks = bytes.div_ceil(4096).max(1) as f64;
    if consistent { blocks } else { blocks / 2.0 }
}

/// Write units: one for each KB.
pub fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

/// What a request used, if it asked.
#[derive(Debug, Clone, Default)]
pub struct Used {
    pub table: f64,
    /// Index name → (global, units)
    pub indexes: BTreeMap<String, (bool, f64)>,
}

impl Used {
    pub fn add(&mut self, other: &Used) {
        self.table += other.table;
        for (name, (global, units)) in &other.indexes {
            self.indexes.entry(name.clone()).or_insert((*global, 0.0)).1 += units;
        }
    }

    pub fn wire(&self, table: &str, asked: Option<&ReturnConsumedCapacity>) -> Option<ConsumedCapacity> {
        let detailed = match asked {
            Some(ReturnConsumedCapacity::Total) => false,
            Some(ReturnConsumedCapacity::Indexes) => true,
            _ => return None,
        };
        let units = |n: f64| Capacity { capacity_units: Some(n), ..Capacity::default() };
        let of = |global: bool| -> Option<BTreeMap<String, Capacity>> {
            let chosen: BTreeMap<_, _> = self
                .indexes
                .iter()
                .filter(|(_, (g, _))| *g == global)
                .map(|(name, (_, n))| (name.clone(), units(*n)))
                .collect();
            (detailed && !chosen.is_empty()).then_some(chosen)
        };
        Some(ConsumedCapacity {
            table_name: Some(table.to_string()),
            capacity_units: Some(self.table + self.indexes.values().map(|(_, n)| n).sum::<f64>()),
            table: detailed.then(|| units(self.table)),
            local_secondary_indexes: of(false),
            global_secondary_indexes: of(true),
            ..ConsumedCapacity::default()
        })
    }
}

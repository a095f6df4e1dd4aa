//! Client request tokens of transactions: for ten minutes the same token with the same writes happens once.
//! What was said is kept in the transaction's own batch, so that the promise holds across a crash.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidemill_platform::{Cx, Fault};
use tidemill_store::{Batch, Damaged, Partition, Seq, Store, Table};

use crate::api::{IdempotentParameterMismatchException, TransactWriteItem};

/// (account and region, token) → what it was said with. In the partition of the transaction's first table.
const SAID: Table<Key, SaidRow> = Table::new("dynamodb.token");

/// Milliseconds that a token is remembered.
const KEPT_MS: i64 = 600_000;
/// Expired tokens that a new one takes away.
const PRUNED: usize = 4;

type Key = (String, String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SaidRow {
    /// SHA-256 of the writes.
    writes: [u8; 32],
    /// Milliseconds since 1970.
    at: i64,
}

/// The tokens of the last ten minutes.
#[derive(Default)]
pub struct Tokens {
    said: HashMap<Key, (SaidRow, Seq)>,
    /// In order of time.
    order: VecDeque<(Key, Partition)>,
}

/// A token with the writes it came with.
pub struct Token {
    key: Key,
    writes: [u8; 32],
}

impl Token {
    pub fn new(cx: &Cx, token: String, writes: &[TransactWriteItem]) -> Token {
        let scope = format!("{}/{}", cx.account(), cx.region());
        Token { key: (scope, token), writes: Sha256::digest(format!("{writes:?}")).into() }
    }
}

impl Tokens {
    pub fn open(store: &Store) -> Result<Tokens, Damaged> {
        let mut all = Vec::new();
        for partition in Partition::ALL {
            all.extend(store.all(&SAID, partition)?.into_iter().map(|(key, row)| (row, key, partition)));
        }
        all.sort_by_key(|(row, ..)| row.at);
        let mut tokens = Tokens::default();
        for (row, key, partition) in all {
            tokens.order.push_back((key.clone(), partition));
            tokens.said.insert(key, (row, Seq::ZERO));
        }
        Ok(tokens)
    }

    /// The sequence in which the transaction happened already; `None` when it has not.
    pub fn happened(&self, cx: &Cx, token: &Token) -> Result<Option<Seq>, Fault> {
        let Some((row, seq)) = self.said.get(&token.key) else { return Ok(None) };
        if row.at + KEPT_MS <= cx.now().millis() {
            return Ok(None);
        }
        if row.writes != token.writes {
            return Err(IdempotentParameterMismatchException::new(
                "DynamoDB rejected the request because you retried a request with a different payload but with an idempotent token that was already used.",
            )
            .into());
        }
        Ok(Some(*seq))
    }

    /// Puts the token into the batch of its transaction, and takes some expired ones away.
    pub fn put(&self, cx: &Cx, token: &Token, batch: &mut Batch, partition: Partition) {
        let now = cx.now().millis();
        for (key, partition) in self.expired(now) {
            batch.delete_in(*partition, &SAID, key);
        }
        batch.put_in(partition, &SAID, &token.key, &SaidRow { writes: token.writes, at: now });
    }

    /// The batch was submitted with this sequence.
    pub fn submitted(&mut self, cx: &Cx, token: Token, partition: Partition, seq: Seq) {
        let now = cx.now().millis();
        for _ in 0..self.expired(now).count() {
            if let Some((key, _)) = self.order.pop_front() {
                self.said.remove(&key);
            }
        }
        self.order.push_back((token.key.clone(), partition));
        self.said.insert(token.key, (SaidRow { writes: token.writes, at: now }, seq));
    }

    fn expired(&self, now: i64) -> impl Iterator<Item = &(Key, Partition)> {
        let ended = move |key: &Key| self.said.get(key).is_none_or(|(row, _)| row.at + KEPT_MS <= now);
        self.order.iter().take(PRUNED).take_while(move |(key, _)| ended(key))
    }
}

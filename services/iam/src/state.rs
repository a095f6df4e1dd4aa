//! What IAM keeps: per account roles, users, managed policies and access keys, in memory and in the store.
//!
//! Changes go through [`Iam::change`]: decided under the lock, written as one batch, answered when durable.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tidemill_platform::{Cx, Fault, Platform};
use tidemill_store::{Batch, Damaged, Partition, Table};

/// (account, name) → role, and so on. All in the account's partition.
const ROLES: Table<(String, String), Role> = Table::new("iam.role");
const USERS: Table<(String, String), User> = Table::new("iam.user");
/// (account, ARN) → managed policy.
const POLICIES: Table<(String, String), Policy> = Table::new("iam.policy");
/// (account, access key id) → key.
const KEYS: Table<(String, String), Key> = Table::new("iam.key");
/// `sealing` → the secret behind temporary credentials. In the first partition.
const SECRETS: Table<String, Vec<u8>> = Table::new("iam.secret");

/// A role as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    pub path: String,
    pub id: String,
    pub arn: String,
    pub created_at: i64,
    pub trust_policy: String,
    pub description: Option<String>,
    pub max_session_s: i32,
    pub tags: BTreeMap<String, String>,
    pub policies: Policies,
}

/// A user as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub path: String,
    pub id: String,
    pub arn: String,
    pub created_at: i64,
    pub tags: BTreeMap<String, String>,
    pub policies: Policies,
}

/// What a role or user may do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policies {
    /// Inline documents by name.
    pub inline: BTreeMap<String, String>,
    /// Attached managed policies: ARN → name.
    pub attached: BTreeMap<String, String>,
}

/// A customer-managed policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub path: String,
    pub id: String,
    pub arn: String,
    pub description: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub tags: BTreeMap<String, String>,
    pub versions: BTreeMap<u32, Version>,
    pub default_version: u32,
    pub last_version: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub document: String,
    pub created_at: i64,
}

/// A user's long-lived key.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub user: String,
    pub active: bool,
    pub created_at: i64,
}

/// Everything of one account.
#[derive(Default)]
pub struct Account {
    pub roles: BTreeMap<String, Role>,
    pub users: BTreeMap<String, User>,
    pub policies: BTreeMap<String, Policy>,
    pub keys: BTreeMap<String, Key>,
}

pub struct Iam {
    pub platform: Arc<Platform>,
    pub accounts: RwLock<BTreeMap<String, Account>>,
    /// Seals temporary credentials; made once and kept.
    pub sealing_secret: Vec<u8>,
}

/// A changed thing, to be written back.
pub enum Change {
    Role(Role),
    NoRole(String),
    User(User),
    NoUser(String),
    Policy(Policy),
    NoPolicy(String),
    Key(Key),
    NoKey(String),
}

impl Iam {
    pub fn open(platform: Arc<Platform>) -> Result<Iam, Damaged> {
        let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
        let store = &platform.store;
        for partition in Partition::ALL {
            for ((account, name), role) in store.all(&ROLES, partition)? {
                accounts.entry(account).or_default().roles.insert(name, role);
            }
            for ((account, name), user) in store.all(&USERS, partition)? {
                accounts.entry(account).or_default().users.insert(name, user);
            }
            for ((account, arn), policy) in store.all(&POLICIES, partition)? {
                accounts.entry(account).or_default().policies.insert(arn, policy);
            }
            for ((account, id), key) in store.all(&KEYS, partition)? {
                accounts.entry(account).or_default().keys.insert(id, key);
            }
        }
        let sealing_secret = sealing_secret(&platform)?;
        Ok(Iam { platform, accounts: RwLock::new(accounts), sealing_secret })
    }

    /// Reads the account's state.
    pub fn read<T>(&self, account: &str, look: impl FnOnce(&Account) -> T) -> T {
        let accounts = self.accounts.read();
        match accounts.get(account) {
            Some(account) => look(account),
            None => look(&Account::default()),
        }
    }

    /// Decides on a change under the lock, applies it, and answers when it is durable.
    pub async fn change<T>(
        &self,
        cx: &Cx,
        decide: impl FnOnce(&Account) -> Result<(Vec<Change>, T), Fault>,
    ) -> Result<T, Fault> {
        let (ticket, answer) = {
            let mut accounts = self.accounts.write();
            let account = accounts.entry(cx.account().to_string()).or_default();
            let (changes, answer) = decide(account)?;
            let batch = self.batch(cx.account(), &changes);
            let ticket = self.platform.submit(batch)?;
            changes.into_iter().for_each(|change| account.apply(change));
            (ticket, answer)
        };
        ticket.await;
        Ok(answer)
    }

    fn batch(&self, account: &str, changes: &[Change]) -> Batch {
        let mut batch = Batch::new(Partition::of(account));
        let key = |name: &String| (account.to_string(), name.clone());
        for change in changes {
            match change {
                Change::Role(role) => batch.put(&ROLES, &key(&role.name), role),
                Change::NoRole(name) => batch.delete(&ROLES, &key(name)),
                Change::User(user) => batch.put(&USERS, &key(&user.name), user),
                Change::NoUser(name) => batch.delete(&USERS, &key(name)),
                Change::Policy(policy) => batch.put(&POLICIES, &key(&policy.arn), policy),
                Change::NoPolicy(arn) => batch.delete(&POLICIES, &key(arn)),
                Change::Key(held) => batch.put(&KEYS, &key(&held.id), held),
                Change::NoKey(id) => batch.delete(&KEYS, &key(id)),
            };
        }
        batch
    }
}

impl Account {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Role(role) => drop(self.roles.insert(role.name.clone(), role)),
            Change::NoRole(name) => drop(self.roles.remove(&name)),
            Change::User(user) => drop(self.users.insert(user.name.clone(), user)),
            Change::NoUser(name) => drop(self.users.remove(&name)),
            Change::Policy(policy) => drop(self.policies.insert(policy.arn.clone(), policy)),
            Change::NoPolicy(arn) => drop(self.policies.remove(&arn)),
            Change::Key(key) => drop(self.keys.insert(key.id.clone(), key)),
            Change::NoKey(id) => drop(self.keys.remove(&id)),
        }
    }

    /// How many roles and users a managed policy is attached to.
    pub fn attachment_count(&self, arn: &str) -> usize {
        let roles = self.roles.values().map(|role| &role.policies);
        roles
            .chain(self.users.values().map(|user| &user.policies))
            .filter(|policies| policies.attached.contains_key(arn))
            .count()
    }
}

/// Made at the first start. It is not waited for: credentials sealed with it are checked by the same process or, after
/// a restart, only if the log kept it, and it is the first thing in the log.
fn sealing_secret(platform: &Platform) -> Result<Vec<u8>, Damaged> {
    let name = "sealing".to_string();
    if let Some(found) = platform.store.get(&SECRETS, Partition::FIRST, &name)? {
        return Ok(found.value);
    }
    let secret = platform.random.bytes::<32>().to_vec();
    let mut batch = Batch::new(Partition::FIRST);
    batch.put(&SECRETS, &name, &secret);
    if let Err(refused) = platform.store.submit(batch) {
        // The next start makes another; credentials given out until then end with this process.
        eprintln!("tidemill: temporary credentials will not outlive this process: {refused}");
    }
    Ok(secret)
}

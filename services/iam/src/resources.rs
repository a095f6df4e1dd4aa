//! `AWS::IAM::Role`, `AWS::IAM::ManagedPolicy` and `AWS::IAM::Policy` for CloudFormation.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, number, text},
};

use crate::{
    Iam, attachments, documents,
    state::{Change, Policies, Policy, Role, Version},
};

pub struct Resources(pub Arc<Iam>);

const ROLE: &str = "AWS::IAM::Role";
const MANAGED: &str = "AWS::IAM::ManagedPolicy";
const INLINE: &str = "AWS::IAM::Policy";

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &[ROLE, MANAGED, INLINE]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            match wanted.resource_type {
                ROLE => self.put_role(cx, &wanted, None).await,
                MANAGED => self.put_managed(cx, &wanted, None).await,
                _ => self.put_inline(cx, &wanted, &Value::Null).await,
            }
        }
        .boxed()
    }

    fn update<'a>(
        &'a self,
        cx: &'a Cx,
        physical_id: &'a str,
        old: &'a Value,
        wanted: Wanted<'a>,
    ) -> BoxFuture<'a, Result<Updated, Fault>> {
        async move {
            let renamed = ["RoleName", "ManagedPolicyName", "Path"]
                .iter()
                .any(|name| old.get(name) != wanted.properties.get(name));
            if renamed {
                return Ok(Updated::Replace);
            }
            let provided = match wanted.resource_type {
                ROLE => self.put_role(cx, &wanted, Some(physical_id)).await?,
                MANAGED => self.put_managed(cx, &wanted, Some(physical_id)).await?,
                _ => self.put_inline(cx, &wanted, old).await?,
            };
            Ok(Updated::InPlace(provided))
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        resource_type: &'a str,
        physical_id: &'a str,
        properties: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            match resource_type {
                ROLE => self.delete_role(cx, physical_id).await,
                MANAGED => self.delete_managed(cx, physical_id).await,
                _ => self.delete_inline(cx, properties).await,
            }
        }
        .boxed()
    }
}

impl Resources {
    async fn put_role(
        &self,
        cx: &Cx,
        wanted: &Wanted<'_>,
        existing: Option<&str>,
    ) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        refuse(properties, &["PermissionsBoundary"])?;
        let name = existing
            .map(str::to_string)
            .or_else(|| text(properties, "RoleName"))
            .unwrap_or_else(|| wanted.generated_name.chars().take(64).collect());
        let trust_policy = document(properties, "AssumeRolePolicyDocument")?;
        let path = text(properties, "Path").unwrap_or_else(|| "/".into());
        let mut role = Role {
            arn: format!("arn:aws:iam::{}:role{path}{name}", cx.account()),
            id: format!("AROA{}", cx.random().base32(17)),
            path,
            created_at: cx.now().secs(),
            trust_policy,
            description: text(properties, "Description"),
            max_session_s: number(properties, "MaxSessionDuration")
                .and_then(|n| i32::try_from(n).ok())
                .unwrap_or(3600),
            tags: tags(properties, wanted.tags),
            policies: Policies { inline: inline_policies(properties)?, attached: BTreeMap::new() },
            name,
        };
        let managed = texts(properties, "ManagedPolicyArns");
        self.0
            .change(cx, |account| {
                match (account.roles.get(&role.name), existing) {
                    (Some(known), Some(_)) => {
                        (role.id, role.created_at) = (known.id.clone(), known.created_at)
                    }
                    (Some(_), None) => return Err(documents::exists("Role", &role.name)),
                    (None, _) => {}
                }
                for arn in managed {
                    role.policies.attached.insert(arn.clone(), attachments::name_of(account, &arn)?);
                }
                let attributes = [("Arn", &role.arn), ("RoleId", &role.id)];
                let provided = Provided {
                    physical_id: role.name.clone(),
                    attributes: attributes.map(|(k, v)| (k.to_string(), v.clone().into())).into(),
                };
                Ok((vec![Change::Role(role)], provided))
            })
            .await
    }

    async fn delete_role(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        self.0
            .change(cx, |account| {
                let gone = account.roles.contains_key(name).then(|| Change::NoRole(name.to_string()));
                Ok((gone.into_iter().collect(), ()))
            })
            .await
    }

    async fn put_managed(
        &self,
        cx: &Cx,
        wanted: &Wanted<'_>,
        existing: Option<&str>,
    ) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        refuse(properties, &["Groups"])?;
        let document = document(properties, "PolicyDocument")?;
        let name = text(properties, "ManagedPolicyName").unwrap_or_else(|| wanted.generated_name.into());
        let path = text(properties, "Path").unwrap_or_else(|| "/".into());
        let now = cx.now().secs();
        let policy = Policy {
            arn: existing
                .map_or_else(|| format!("arn:aws:iam::{}:policy{path}{name}", cx.account()), str::to_string),
            id: format!("ANPA{}", cx.random().base32(17)),
            name,
            path,
            description: text(properties, "Description"),
            created_at: now,
            updated_at: now,
            tags: BTreeMap::new(),
            versions: [(1, Version { document, created_at: now })].into(),
            default_version: 1,
            last_version: 1,
        };
        let (roles, users) = (texts(properties, "Roles"), texts(properties, "Users"));
        self.0
            .change(cx, |account| {
                if existing.is_none() && account.policies.contains_key(&policy.arn) {
                    return Err(documents::exists("Policy", &policy.name));
                }
                let mut changes = Vec::new();
                for name in &roles {
                    let mut role = crate::roles::find(account, name)?.clone();
                    role.policies.attached.insert(policy.arn.clone(), policy.name.clone());
                    changes.push(Change::Role(role));
                }
                for name in &users {
                    let mut user = crate::users::find(account, name)?.clone();
                    user.policies.attached.insert(policy.arn.clone(), policy.name.clone());
                    changes.push(Change::User(user));
                }
                let attributes = [("PolicyArn", &policy.arn), ("PolicyId", &policy.id)];
                let provided = Provided {
                    physical_id: policy.arn.clone(),
                    attributes: attributes.map(|(k, v)| (k.to_string(), v.clone().into())).into(),
                };
                changes.push(Change::Policy(policy));
                Ok((changes, provided))
            })
            .await
    }

    async fn delete_managed(&self, cx: &Cx, arn: &str) -> Result<(), Fault> {
        self.0
            .change(cx, |account| {
                let mut changes: Vec<Change> = account
                    .policies
                    .contains_key(arn)
                    .then(|| Change::NoPolicy(arn.to_string()))
                    .into_iter()
                    .collect();
                for role in account.roles.values().filter(|role| role.policies.attached.contains_key(arn)) {
                    let mut role = role.clone();
                    role.policies.attached.remove(arn);
                    changes.push(Change::Role(role));
                }
                Ok((changes, ()))
            })
            .await
    }

    async fn put_inline(&self, cx: &Cx, wanted: &Wanted<'_>, old: &Value) -> Result<Provided, Fault> {
        let properties = wanted.properties;
        refuse(properties, &["Groups"])?;
        let document = document(properties, "PolicyDocument")?;
        let name = text(properties, "PolicyName").unwrap_or_else(|| wanted.generated_name.into());
        let (roles, users) = (texts(properties, "Roles"), texts(properties, "Users"));
        self.delete_inline(cx, old).await?;
        self.0
            .change(cx, |account| {
                let mut changes = Vec::new();
                for holder in &roles {
                    let mut role = crate::roles::find(account, holder)?.clone();
                    role.policies.inline.insert(name.clone(), document.clone());
                    changes.push(Change::Role(role));
                }
                for holder in &users {
                    let mut user = crate::users::find(account, holder)?.clone();
                    user.policies.inline.insert(name.clone(), document.clone());
                    changes.push(Change::User(user));
                }
                Ok((
                    changes,
                    Provided { physical_id: wanted.generated_name.to_string(), attributes: BTreeMap::new() },
                ))
            })
            .await
    }

    async fn delete_inline(&self, cx: &Cx, properties: &Value) -> Result<(), Fault> {
        let Some(name) = text(properties, "PolicyName") else { return Ok(()) };
        let (roles, users) = (texts(properties, "Roles"), texts(properties, "Users"));
        self.0
            .change(cx, |account| {
                let mut changes = Vec::new();
                for role in roles.iter().filter_map(|holder| account.roles.get(holder)) {
                    let mut role = role.clone();
                    role.policies.inline.remove(&name);
                    changes.push(Change::Role(role));
                }
                for user in users.iter().filter_map(|holder| account.users.get(holder)) {
                    let mut user = user.clone();
                    user.policies.inline.remove(&name);
                    changes.push(Change::User(user));
                }
                Ok((changes, ()))
            })
            .await
    }
}

fn refuse(properties: &Value, names: &[&str]) -> Result<(), Fault> {
    match names.iter().find(|name| properties.get(name).is_some()) {
        Some(name) => Err(Fault::not_implemented(format!("the property {name} of IAM resources"))),
        None => Ok(()),
    }
}

/// A policy document, written as an object or as its text.
fn document(properties: &Value, name: &str) -> Result<String, Fault> {
    let document = match properties.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(object @ Value::Object(_)) => object.to_string(),
        _ => return Err(Fault::validation(format!("Property {name} cannot be empty."))),
    };
    documents::check(&document)?;
    Ok(document)
}

fn inline_policies(properties: &Value) -> Result<BTreeMap<String, String>, Fault> {
    let policies = properties.get("Policies").and_then(Value::as_array).into_iter().flatten();
    policies
        .map(|policy| {
            Ok((text(policy, "PolicyName").unwrap_or_default(), document(policy, "PolicyDocument")?))
        })
        .collect()
}

fn texts(properties: &Value, name: &str) -> Vec<String> {
    let list = properties.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|value| value.as_str().map(str::to_string)).collect()
}

fn tags(properties: &Value, of_stack: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = of_stack.clone();
    for tag in properties.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(key), Some(value)) = (text(tag, "Key"), text(tag, "Value")) {
            tags.insert(key, value);
        }
    }
    tags
}

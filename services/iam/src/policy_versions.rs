//! Versions of customer-managed policies: at most five, one of them the default.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, Timestamp};

use crate::{
    Iam,
    api::{
        CreatePolicyVersionRequest, CreatePolicyVersionResponse, DeleteConflictException,
        DeletePolicyVersionRequest, GetPolicyVersionRequest, GetPolicyVersionResponse,
        LimitExceededException, ListPolicyVersionsRequest, ListPolicyVersionsResponse, NoSuchEntityException,
        PolicyVersion, SetDefaultPolicyVersionRequest,
    },
    documents::{check, encode},
    policies::find,
    roles::page,
    state::{Change, Policy, Version},
};

const MOST_VERSIONS: usize = 5;

pub async fn create_policy_version(
    iam: &Iam,
    cx: &Cx,
    input: CreatePolicyVersionRequest,
) -> Result<CreatePolicyVersionResponse, Fault> {
    check(&input.policy_document)?;
    let now = cx.now().secs();
    iam.change(cx, |account| {
        let mut policy = find(account, &input.policy_arn)?.clone();
        if policy.versions.len() >= MOST_VERSIONS {
            let sentence = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.";
            return Err(LimitExceededException::new(sentence).into());
        }
        policy.last_version += 1;
        let number = policy.last_version;
        policy.versions.insert(number, Version { document: input.policy_document, created_at: now });
        if input.set_as_default == Some(true) {
            policy.default_version = number;
        }
        policy.updated_at = now;
        let answer = PolicyVersion { document: None, ..wire(&policy, number) };
        Ok((vec![Change::Policy(policy)], CreatePolicyVersionResponse { policy_version: Some(answer) }))
    })
    .await
}

pub async fn get_policy_version(
    iam: &Iam,
    cx: &Cx,
    input: GetPolicyVersionRequest,
) -> Result<GetPolicyVersionResponse, Fault> {
    iam.read(cx.account(), |account| {
        let policy = find(account, &input.policy_arn)?;
        let number = number(policy, &input.version_id)?;
        Ok(GetPolicyVersionResponse { policy_version: Some(wire(policy, number)) })
    })
}

pub async fn list_policy_versions(
    iam: &Iam,
    cx: &Cx,
    input: ListPolicyVersionsRequest,
) -> Result<ListPolicyVersionsResponse, Fault> {
    let page = iam.read(cx.account(), |account| {
        let policy = find(account, &input.policy_arn)?;
        let versions = policy.versions.keys().map(|number| {
            (format!("{number:010}"), PolicyVersion { document: None, ..wire(policy, *number) })
        });
        page(versions, input.marker.as_deref(), input.max_items)
    })?;
    let versions = Some(page.items.into_iter().map(|(_, version)| version).collect());
    Ok(ListPolicyVersionsResponse {
        versions,
        is_truncated: Some(page.next_token.is_some()),
        marker: page.next_token,
    })
}

pub async fn delete_policy_version(
    iam: &Iam,
    cx: &Cx,
    input: DeletePolicyVersionRequest,
) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut policy = find(account, &input.policy_arn)?.clone();
        let number = number(&policy, &input.version_id)?;
        if number == policy.default_version {
            return Err(DeleteConflictException::new("Cannot delete the default version of a policy.").into());
        }
        policy.versions.remove(&number);
        Ok((vec![Change::Policy(policy)], Unit))
    })
    .await
}

pub async fn set_default_policy_version(
    iam: &Iam,
    cx: &Cx,
    input: SetDefaultPolicyVersionRequest,
) -> Result<Unit, Fault> {
    iam.change(cx, |account| {
        let mut policy = find(account, &input.policy_arn)?.clone();
        policy.default_version = number(&policy, &input.version_id)?;
        Ok((vec![Change::Policy(policy)], Unit))
    })
    .await
}

fn number(policy: &Policy, version_id: &str) -> Result<u32, Fault> {
    let number = version_id.strip_prefix('v').and_then(|number| number.parse().ok());
    number.filter(|number| policy.versions.contains_key(number)).ok_or_else(|| {
        let sentence =
            format!("Policy {} version {version_id} does not exist or is not attachable.", policy.arn);
        NoSuchEntityException::new(sentence).into()
    })
}

fn wire(policy: &Policy, number: u32) -> PolicyVersion {
    let version = policy.versions.get(&number);
    PolicyVersion {
        document: version.map(|version| encode(&version.document)),
        version_id: Some(format!("v{number}")),
        is_default_version: Some(number == policy.default_version),
        create_date: version.map(|version| Timestamp::from_secs(version.created_at)),
    }
}

//! AWS Identity and Access Management: roles, users, policies and keys, kept durably. Policies are not enforced yet.
//!
//! `state` holds everything of an account; each noun has its file. `identity` is the door through which the gateway
//! learns who holds a key and Lambda gets credentials for a role; `resources` provides the CloudFormation types.

mod access_keys;
pub mod api;
mod attachments;
mod documents;
mod identity;
mod inline;
mod policies;
mod policy_versions;
mod resources;
mod roles;
mod state;
mod users;

use std::sync::Arc;

use tidemill_platform::{Platform, Service};
use tidemill_store::Damaged;

use api::op;
pub use state::Iam;

/// Opens the service over the platform's store, hangs in the identity door and provides the CloudFormation types.
pub fn service(platform: &Arc<Platform>) -> Result<Service, Damaged> {
    let iam = Arc::new(Iam::open(platform.clone())?);
    platform.doors.identity.hang(iam.clone());
    platform.doors.provide(Arc::new(resources::Resources(iam.clone())));
    Ok(table(iam))
}

fn table(iam: Arc<Iam>) -> Service {
    let store = iam.platform.store.clone();
    Service::new(&api::SERVICE, iam)
        .settled_in(&store)
        .on::<op::CreateRole>(roles::create_role)
        .on::<op::GetRole>(roles::get_role)
        .on::<op::ListRoles>(roles::list_roles)
        .on::<op::DeleteRole>(roles::delete_role)
        .on::<op::UpdateRole>(roles::update_role)
        .on::<op::UpdateAssumeRolePolicy>(roles::update_assume_role_policy)
        .on::<op::TagRole>(roles::tag_role)
        .on::<op::UntagRole>(roles::untag_role)
        .on::<op::ListRoleTags>(roles::list_role_tags)
        .on::<op::PutRolePolicy>(inline::put_role_policy)
        .on::<op::GetRolePolicy>(inline::get_role_policy)
        .on::<op::ListRolePolicies>(inline::list_role_policies)
        .on::<op::DeleteRolePolicy>(inline::delete_role_policy)
        .on::<op::PutUserPolicy>(inline::put_user_policy)
        .on::<op::GetUserPolicy>(inline::get_user_policy)
        .on::<op::ListUserPolicies>(inline::list_user_policies)
        .on::<op::DeleteUserPolicy>(inline::delete_user_policy)
        .on::<op::AttachRolePolicy>(attachments::attach_role_policy)
        .on::<op::DetachRolePolicy>(attachments::detach_role_policy)
        .on::<op::ListAttachedRolePolicies>(attachments::list_attached_role_policies)
        .on::<op::AttachUserPolicy>(attachments::attach_user_policy)
        .on::<op::DetachUserPolicy>(attachments::detach_user_policy)
        .on::<op::ListAttachedUserPolicies>(attachments::list_attached_user_policies)
        .on::<op::CreatePolicy>(policies::create_policy)
        .on::<op::GetPolicy>(policies::get_policy)
        .on::<op::ListPolicies>(policies::list_policies)
        .on::<op::DeletePolicy>(policies::delete_policy)
        .on::<op::CreatePolicyVersion>(policy_versions::create_policy_version)
        .on::<op::GetPolicyVersion>(policy_versions::get_policy_version)
        .on::<op::ListPolicyVersions>(policy_versions::list_policy_versions)
        .on::<op::DeletePolicyVersion>(policy_versions::delete_policy_version)
        .on::<op::SetDefaultPolicyVersion>(policy_versions::set_default_policy_version)
        .on::<op::CreateUser>(users::create_user)
        .on::<op::GetUser>(users::get_user)
        .on::<op::ListUsers>(users::list_users)
        .on::<op::DeleteUser>(users::delete_user)
        .on::<op::CreateAccessKey>(access_keys::create_access_key)
        .on::<op::ListAccessKeys>(access_keys::list_access_keys)
        .on::<op::UpdateAccessKey>(access_keys::update_access_key)
        .on::<op::DeleteAccessKey>(access_keys::delete_access_key)
        .build()
}

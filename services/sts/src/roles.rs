//! Credentials for a role.

use tidemill_platform::{Arn, Cx, Fault};

use crate::{
    Sts,
    api::{AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser},
    caller::wire_credentials,
};

const DEFAULT_SESSION_S: i32 = 3600;
/// Seconds a session may last that another role's session asks for.
const LONGEST_CHAINED_S: i64 = 3600;

/// The role must exist. Its trust policy is kept by IAM and not yet enforced; session policies and tags, which would
/// narrow what the credentials may do, are refused rather than dropped.
pub async fn assume_role(_: &Sts, cx: &Cx, input: AssumeRoleRequest) -> Result<AssumeRoleResponse, Fault> {
    refuse_unhonoured(&input)?;
    let denied = || {
        Fault::new(
            "AccessDenied",
            format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {}",
                cx.request().principal.arn,
                input.role_arn
            ),
        )
        .with_status(403)
    };
    let role: Arn = input
        .role_arn
        .parse()
        .map_err(|_| Fault::new("ValidationError", format!("{} is invalid", input.role_arn)))?;
    let name = role.resource.rsplit('/').next().unwrap_or_default();
    if !role.resource.starts_with("role/") {
        return Err(Fault::new("ValidationError", format!("{} is invalid", input.role_arn)));
    }
    let identity = cx.platform().doors.identity.ask("IAM")?;
    let role_id = identity.role_id(&input.role_arn).ok_or_else(denied)?;
    let seconds = i64::from(input.duration_seconds.unwrap_or(DEFAULT_SESSION_S));
    check_length(cx, seconds, identity.longest_session_s(&input.role_arn).unwrap_or(seconds))?;
    let credentials = identity.assume(cx, &input.role_arn, &input.role_session_name, seconds)?;
    let user = AssumedRoleUser {
        assumed_role_id: format!("{role_id}:{}", input.role_session_name),
        arn: format!("arn:aws:sts::{}:assumed-role/{name}/{}", role.account, input.role_session_name),
    };
    Ok(AssumeRoleResponse {
        credentials: Some(wire_credentials(credentials)),
        assumed_role_user: Some(user),
        source_identity: input.source_identity,
        ..AssumeRoleResponse::default()
    })
}

fn check_length(cx: &Cx, seconds: i64, longest: i64) -> Result<(), Fault> {
    let refused = |limit: &str| {
        Err(Fault::new("ValidationError", format!("The requested DurationSeconds exceeds the {limit}")))
    };
    if seconds > LONGEST_CHAINED_S && cx.request().principal.arn.contains(":assumed-role/") {
        return refused("1 hour session limit for roles assumed by role chaining.");
    }
    if seconds > longest {
        return refused("MaxSessionDuration set for this role.");
    }
    Ok(())
}

fn refuse_unhonoured(input: &AssumeRoleRequest) -> Result<(), Fault> {
    let asked = [
        ("Policy", input.policy.is_some()),
        ("PolicyArns", input.policy_arns.is_some()),
        ("Tags", input.tags.is_some()),
        ("TransitiveTagKeys", input.transitive_tag_keys.is_some()),
        ("SerialNumber", input.serial_number.is_some()),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(Fault::not_implemented(format!("AssumeRole with {name}"))),
        None => Ok(()),
    }
}

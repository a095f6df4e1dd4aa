//! Recursive loops: their configuration, and finding them by the lineage that the trace header carries.
//!
//! Each function a chain of events passes adds itself to `Lineage`, as hash and count; the SDKs hand the header on. As on AWS,
//! chains through queues, topics, buckets and invocations are counted, those through streams and event buses are not.
//! Source: "Use Lambda recursive loop detection to prevent infinite loops" in the Lambda developer guide.

use sha2::{Digest, Sha256};
use tidemill_platform::{Cx, Fault, Trace};

use crate::{
    Lambda,
    api::{
        GetFunctionRecursionConfigRequest, GetFunctionRecursionConfigResponse,
        PutFunctionRecursionConfigRequest, PutFunctionRecursionConfigResponse, RecursiveInvocationException,
        RecursiveLoop,
    },
    names::Named,
    state::FunctionRow,
};

/// How often a chain may pass a function.
const MOST_PASSES: u32 = 16;
/// Functions a lineage names; a chain through more is not followed further.
const MOST_NAMED: usize = 8;
const FIELD: &str = "Lineage=";

/// The header for an invocation, one pass further. A fault where the function's chain is a loop and loops are not allowed.
pub fn pass(row: &FunctionRow, trace: &Trace, chained: bool) -> Result<Option<String>, Fault> {
    if trace.root.is_empty() {
        return Ok(None);
    }
    let header = trace.to_string();
    let (lineage, others): (Vec<&str>, Vec<&str>) =
        header.split(';').partition(|field| field.starts_with(FIELD));
    let lineage = lineage.first().and_then(|field| field.strip_prefix(FIELD)).filter(|_| chained);
    let (lineage, passes) = extend(lineage.unwrap_or_default(), &row.arn);
    if passes > MOST_PASSES && !row.recursion_allowed {
        let mut error = RecursiveInvocationException::new(
            "Lambda has detected your function being invoked in a recursive loop with other AWS resources and stopped your function's invocation.",
        );
        error.r#type = Some("User".into());
        return Err(error.into());
    }
    Ok(Some(format!("{};{FIELD}{lineage}", others.join(";"))))
}

/// The lineage with this function in it once more, and how often that makes.
fn extend(lineage: &str, arn: &str) -> (String, u32) {
    let mine = hex::encode(&Sha256::digest(arn.as_bytes())[..4]);
    let mut passes = 1;
    let mut named = Vec::new();
    for (hash, count) in lineage.split('|').filter_map(|entry| entry.split_once(':')) {
        let count: u32 = count.parse().unwrap_or(0);
        if hash == mine {
            passes = count.saturating_add(1);
        } else if hash.len() == 8 && named.len() + 1 < MOST_NAMED {
            named.push(format!("{hash}:{count}"));
        }
    }
    named.push(format!("{mine}:{passes}"));
    (named.join("|"), passes)
}

pub async fn put_function_recursion_config(
    lambda: &Lambda,
    cx: &Cx,
    input: PutFunctionRecursionConfigRequest,
) -> Result<PutFunctionRecursionConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let allowed = input.recursive_loop == RecursiveLoop::Allow;
    lambda
        .change(&named, None, |row| {
            row.recursion_allowed = allowed;
            Ok(PutFunctionRecursionConfigResponse { recursive_loop: Some(input.recursive_loop) })
        })
        .await
}

pub async fn get_function_recursion_config(
    lambda: &Lambda,
    cx: &Cx,
    input: GetFunctionRecursionConfigRequest,
) -> Result<GetFunctionRecursionConfigResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let allowed = lambda.get(&named)?.recursion_allowed;
    let recursive_loop = Some(if allowed { RecursiveLoop::Allow } else { RecursiveLoop::Terminate });
    Ok(GetFunctionRecursionConfigResponse { recursive_loop })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_counts_each_function() {
        let (one, passes) = extend("", "arn:a");
        assert_eq!(passes, 1);
        let (both, passes) = extend(&one, "arn:b");
        assert_eq!((passes, both.matches('|').count()), (1, 1));
        let (again, passes) = extend(&both, "arn:a");
        assert_eq!((passes, again.matches('|').count()), (2, 1));
    }

    #[test]
    fn a_lineage_stays_short_and_survives_nonsense() {
        let mut lineage = "x|:|zzzzzzzz:not|12345678:4294967295".to_string();
        for n in 0..100 {
            lineage = extend(&lineage, &format!("arn:{n}")).0;
        }
        assert!(lineage.matches('|').count() < MOST_NAMED);
    }
}

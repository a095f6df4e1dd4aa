//! Reserved concurrency.

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault};

use crate::{
    Lambda,
    api::{
        Concurrency, DeleteFunctionConcurrencyRequest, GetFunctionConcurrencyRequest,
        GetFunctionConcurrencyResponse, InvalidParameterValueException, PutFunctionConcurrencyRequest,
    },
    names::Named,
};

/// What must stay for functions without a reservation.
pub const UNRESERVED: i32 = 100;

pub async fn put_function_concurrency(
    lambda: &Lambda,
    cx: &Cx,
    input: PutFunctionConcurrencyRequest,
) -> Result<Concurrency, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    let wanted = input.reserved_concurrent_executions;
    let others: i32 = lambda
        .list(cx.account(), cx.region())
        .iter()
        .filter(|f| f.arn != named.arn)
        .map(|f| f.kept_concurrency())
        .sum();
    if others.saturating_add(wanted) > lambda.quotas.concurrency - UNRESERVED {
        let sentence = format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
        );
        return Err(InvalidParameterValueException::new(sentence).into());
    }
    lambda
        .change(&named, None, |row| {
            let provisioned = row.provisioned_total();
            if wanted < provisioned {
                return Err(InvalidParameterValueException::new(format!("ReservedConcurrentExecutions {wanted} should not be lower than function's total provisioned concurrency [{provisioned}].")).into());
            }
            row.reserved_concurrency = Some(wanted);
            Ok(Concurrency { reserved_concurrent_executions: Some(wanted) })
        })
        .await
}

pub async fn get_function_concurrency(
    lambda: &Lambda,
    cx: &Cx,
    input: GetFunctionConcurrencyRequest,
) -> Result<GetFunctionConcurrencyResponse, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    Ok(GetFunctionConcurrencyResponse {
        reserved_concurrent_executions: lambda.get(&named)?.reserved_concurrency,
    })
}

pub async fn delete_function_concurrency(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteFunctionConcurrencyRequest,
) -> Result<Unit, Fault> {
    let named = Named::read(cx, &input.function_name, None)?;
    lambda
        .change(&named, None, |row| {
            row.reserved_concurrency = None;
            Ok(Unit)
        })
        .await
}

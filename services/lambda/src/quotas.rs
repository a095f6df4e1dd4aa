//! Quotas that AWS raises for an account when asked, and here the command line; all others are fixed as on AWS.

use tidemill_platform::{Cx, Fault};

use crate::{
    Lambda,
    api::{
        AccountLimit, AccountUsage, CodeStorageExceededException, GetAccountSettingsRequest,
        GetAccountSettingsResponse,
    },
    code,
    names::home,
};

/// An account's quotas in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Invocations at the same time.
    pub concurrency: i32,
    /// What functions, their versions and layers may take together, zipped, in bytes.
    pub code_storage: i64,
}

impl Default for Quotas {
    /// Lambda's defaults: 1,000 and 75 GB.
    fn default() -> Quotas {
        Quotas { concurrency: 1000, code_storage: 80_530_636_800 }
    }
}

impl Lambda {
    /// What functions and layers of the account and region of `arn` take, zipped, in bytes.
    fn stored_code(&self, arn: &str) -> i64 {
        let home = home(arn);
        let mut parts = home.split(':').skip(3);
        let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let functions = self.list(account, region);
        let sizes = functions
            .iter()
            .flat_map(|row| row.versions.values().chain([&row.latest]))
            .map(|configuration| configuration.code_size);
        sizes.sum::<i64>() + self.layers.size(account, region)
    }

    /// Whether there is room for `more` bytes of zipped code where `arn` is.
    pub fn expect_storage(&self, arn: &str, more: i64) -> Result<(), Fault> {
        if self.stored_code(arn).saturating_add(more) <= self.quotas.code_storage {
            return Ok(());
        }
        Err(CodeStorageExceededException::new("Code storage limit exceeded.").into())
    }
}

pub async fn get_account_settings(
    lambda: &Lambda,
    cx: &Cx,
    _: GetAccountSettingsRequest,
) -> Result<GetAccountSettingsResponse, Fault> {
    let functions = lambda.list(cx.account(), cx.region());
    let kept: i32 = functions.iter().map(|f| f.kept_concurrency()).sum();
    let Quotas { concurrency, code_storage } = lambda.quotas;
    let home = format!("arn:aws:lambda:{}:{}", cx.region(), cx.account());
    Ok(GetAccountSettingsResponse {
        account_limit: Some(AccountLimit {
            total_code_size: Some(code_storage),
            code_size_unzipped: i64::try_from(code::MOST_UNPACKED).ok(),
            code_size_zipped: i64::try_from(code::MOST_DIRECT).ok(),
            concurrent_executions: Some(concurrency),
            unreserved_concurrent_executions: Some(concurrency - kept),
        }),
        account_usage: Some(AccountUsage {
            total_code_size: Some(lambda.stored_code(&home)),
            function_count: i64::try_from(functions.len()).ok(),
        }),
    })
}

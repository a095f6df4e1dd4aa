//! The SMS sandbox: phone numbers that prove they can be reached by repeating a code. Accounts here are not in the
//! sandbox, so every number can be published to; its operations work all the same.

use serde::{Deserialize, Serialize};
use tidemill_platform::{Cx, Fault, page};
use tidemill_store::{Batch, Partition, Table};

use crate::{
    Sns,
    api::{
        CreateSMSSandboxPhoneNumberInput, CreateSMSSandboxPhoneNumberResult,
        DeleteSMSSandboxPhoneNumberInput, DeleteSMSSandboxPhoneNumberResult, GetSMSSandboxAccountStatusInput,
        GetSMSSandboxAccountStatusResult, ListSMSSandboxPhoneNumbersInput, ListSMSSandboxPhoneNumbersResult,
        OptedOutException, ResourceNotFoundException, SMSSandboxPhoneNumber,
        SMSSandboxPhoneNumberVerificationStatus, UserErrorException, VerificationException,
        VerifySMSSandboxPhoneNumberInput, VerifySMSSandboxPhoneNumberResult,
    },
    phone,
    provider::Parcel,
    state::invalid,
};

/// (account, number) → how far it is proved, in the first partition.
const SANDBOX: Table<(String, String), SandboxRow> = Table::new("sns.sandbox");

/// Numbers of one account.
const MOST_NUMBERS: usize = 10;
/// How long a code counts.
const CODE_MS: i64 = 900_000;
/// Codes that may be tried.
const MOST_TRIES: u32 = 5;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SandboxRow {
    code: String,
    /// Milliseconds since 1970.
    code_until: i64,
    tries: u32,
    is_verified: bool,
}

pub async fn get_sms_sandbox_account_status(
    _: &Sns,
    _: &Cx,
    _: GetSMSSandboxAccountStatusInput,
) -> Result<GetSMSSandboxAccountStatusResult, Fault> {
    Ok(GetSMSSandboxAccountStatusResult { is_in_sandbox: false })
}

/// Adds a number and sends it a code; a number that is there gets a new one.
pub async fn create_sms_sandbox_phone_number(
    sns: &Sns,
    cx: &Cx,
    input: CreateSMSSandboxPhoneNumberInput,
) -> Result<CreateSMSSandboxPhoneNumberResult, Fault> {
    let number = input.phone_number;
    if !phone::is_number(&number) {
        return Err(invalid("PhoneNumber Reason: input incorrectly formatted"));
    }
    if sns.is_opted_out(cx.account(), &number) {
        return Err(OptedOutException::new("The phone number is opted out.").into());
    }
    let code = format!("{:06}", cx.random().below(1_000_000));
    let row = SandboxRow {
        code: code.clone(),
        code_until: cx.now().millis() + CODE_MS,
        tries: 0,
        is_verified: false,
    };
    let ticket = {
        let _deciding = sns.registry.lock();
        let (there, _) = sns.numbers(&SANDBOX, cx.account(), None, MOST_NUMBERS)?;
        match there.iter().find(|(known, _)| *known == number) {
            Some((_, known)) if known.is_verified => {
                return Err(UserErrorException::new("The phone number is verified already.").into());
            }
            None if there.len() >= MOST_NUMBERS => {
                return Err(UserErrorException::new(
                    "The account has as many sandbox phone numbers as it can.",
                )
                .into());
            }
            _ => {}
        }
        let mut batch = Batch::new(Partition::FIRST);
        batch.put(&SANDBOX, &(cx.account().into(), number.clone()), &row);
        sns.platform.submit(batch)?
    };
    ticket.await;
    let text = format!("{code} is your verification code for the SMS sandbox of account {}.", cx.account());
    sns.send_sms(cx, Parcel { protocol: "sms".into(), to: number, text, ..Parcel::default() }).await?;
    Ok(CreateSMSSandboxPhoneNumberResult {})
}

pub async fn verify_sms_sandbox_phone_number(
    sns: &Sns,
    cx: &Cx,
    input: VerifySMSSandboxPhoneNumberInput,
) -> Result<VerifySMSSandboxPhoneNumberResult, Fault> {
    let key = (cx.account().to_string(), input.phone_number);
    let (ticket, is_right) = {
        let _deciding = sns.registry.lock();
        let found = sns.platform.store.get(&SANDBOX, Partition::FIRST, &key).map_err(Fault::internal)?;
        let mut row = found.ok_or_else(no_number)?.value;
        row.tries += 1;
        let counts = row.is_verified || (row.code_until > cx.now().millis() && row.tries <= MOST_TRIES);
        let is_right = counts && row.code == input.one_time_password;
        row.is_verified |= is_right;
        let mut batch = Batch::new(Partition::FIRST);
        batch.put(&SANDBOX, &key, &row);
        (sns.platform.submit(batch)?, is_right)
    };
    ticket.await;
    if is_right {
        return Ok(VerifySMSSandboxPhoneNumberResult {});
    }
    Err(VerificationException {
        message: "The one-time password is not valid.".into(),
        status: "Failed".into(),
    }
    .into())
}

pub async fn list_sms_sandbox_phone_numbers(
    sns: &Sns,
    cx: &Cx,
    input: ListSMSSandboxPhoneNumbersInput,
) -> Result<ListSMSSandboxPhoneNumbersResult, Fault> {
    let token = input.next_token.as_deref();
    let after = token.map(|token| page::decode(token).ok_or_else(|| invalid("NextToken"))).transpose()?;
    let limit = usize::try_from(input.max_results.unwrap_or(100)).unwrap_or(100);
    let (numbers, next_token) = sns.numbers(&SANDBOX, cx.account(), after, limit)?;
    let status = |row: &SandboxRow| {
        if row.is_verified {
            SMSSandboxPhoneNumberVerificationStatus::Verified
        } else {
            SMSSandboxPhoneNumberVerificationStatus::Pending
        }
    };
    let phone_numbers = numbers.into_iter().map(|(number, row)| SMSSandboxPhoneNumber {
        status: Some(status(&row)),
        phone_number: Some(number),
    });
    Ok(ListSMSSandboxPhoneNumbersResult { phone_numbers: phone_numbers.collect(), next_token })
}

pub async fn delete_sms_sandbox_phone_number(
    sns: &Sns,
    cx: &Cx,
    input: DeleteSMSSandboxPhoneNumberInput,
) -> Result<DeleteSMSSandboxPhoneNumberResult, Fault> {
    let key = (cx.account().to_string(), input.phone_number);
    let ticket = {
        let _deciding = sns.registry.lock();
        let found = sns.platform.store.get(&SANDBOX, Partition::FIRST, &key).map_err(Fault::internal)?;
        found.ok_or_else(no_number)?;
        let mut batch = Batch::new(Partition::FIRST);
        batch.delete(&SANDBOX, &key);
        sns.platform.submit(batch)?
    };
    ticket.await;
    Ok(DeleteSMSSandboxPhoneNumberResult {})
}

fn no_number() -> Fault {
    ResourceNotFoundException::new("The phone number does not exist in the SMS sandbox.").into()
}

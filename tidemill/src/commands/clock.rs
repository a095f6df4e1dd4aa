//! `tidemill clock`: what time the platform has, and turning it.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::{
    cli::{Clock, Output},
    client::Client,
};

pub async fn run(client: &Client, action: Clock, output: Output) -> Result<()> {
    let clock = match action {
        Clock::Show => client.get("/_tidemill/clock").await?,
        Clock::Advance { by } => {
            client
                .send(Method::POST, &format!("/_tidemill/clock/advance/{}", millis(&by)?), Bytes::new())
                .await?
        }
    };
    match output {
        Output::Json => println!("{clock}"),
        Output::Text => println!("{}", shown(&clock)),
    }
    Ok(())
}

fn shown(clock: &Value) -> String {
    let now = jiff::Timestamp::from_millisecond(clock["now_ms"].as_i64().unwrap_or(0)).unwrap_or_default();
    let ahead = clock["ahead_ms"].as_i64().unwrap_or(0) / 1000;
    match ahead {
        0 => format!("{now}, the time of this machine"),
        ahead => format!(
            "{now}, {}h {:02}m {:02}s ahead of this machine",
            ahead / 3600,
            ahead / 60 % 60,
            ahead % 60
        ),
    }
}

/// `90s`, `15m`, `2h`, `1d`, or several of them in a row.
fn millis(text: &str) -> Result<u64> {
    let mut total = 0_u64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits]
            .parse()
            .with_context(|| format!("`{text}` is no length of time; say for example 90s, 15m, 2h or 1d"))?;
        let unit = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(&rest[digits..], |end| &rest[digits..digits + end]);
        let factor = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => bail!("`{text}` lacks a unit; say for example 90s, 15m, 2h or 1d"),
        };
        total = total.saturating_add(number.saturating_mul(factor));
        rest = &rest[digits + unit.len()..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn lengths_of_time_are_read() {
        for (text, expected) in [
            ("90s", 90_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
        ] {
            assert_eq!(millis(text).unwrap(), expected, "{text}");
        }
        assert!(millis("soon").is_err() && millis("5").is_err());
    }
}

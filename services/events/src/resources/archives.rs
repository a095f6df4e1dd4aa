//! `AWS::Events::Archive`.

use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, number, text},
};

use super::{
    Resources,
    connections::{gone, needed, refuse},
    provided,
};
use crate::{
    api::{CreateArchiveRequest, DeleteArchiveRequest, UpdateArchiveRequest},
    archives,
    archives::ArchiveRow,
};

pub const ARCHIVE: &str = "AWS::Events::Archive";

impl Resources {
    pub async fn create_archive(&self, cx: &Cx, name: &str, properties: &Value) -> Result<Provided, Fault> {
        refuse(properties, &["KmsKeyIdentifier"], ARCHIVE)?;
        let input = CreateArchiveRequest {
            archive_name: name.into(),
            event_source_arn: needed(properties, "SourceArn")?,
            description: text(properties, "Description"),
            event_pattern: pattern(properties),
            retention_days: retention(properties)?,
            ..CreateArchiveRequest::default()
        };
        let made = archives::create_archive(&self.0, cx, input).await?;
        Ok(provided(name.into(), &[("Arn", &made.archive_arn.unwrap_or_default()), ("ArchiveName", name)]))
    }

    pub async fn update_archive(&self, cx: &Cx, name: &str, properties: &Value) -> Result<Provided, Fault> {
        refuse(properties, &["KmsKeyIdentifier"], ARCHIVE)?;
        let input = UpdateArchiveRequest {
            archive_name: name.into(),
            description: text(properties, "Description"),
            event_pattern: pattern(properties),
            retention_days: Some(retention(properties)?.unwrap_or(0)),
            ..UpdateArchiveRequest::default()
        };
        let made = archives::update_archive(&self.0, cx, input).await?;
        // An update keeps what it does not name; a template that no longer names it takes it away.
        let (bridge, arn) = (&self.0, archives::key(cx, name));
        let exact = bridge.archives.change(&bridge.platform, &arn, |row| {
            let (description, pattern) = (text(properties, "Description"), pattern(properties));
            Ok((row.map(|row| ArchiveRow { description, pattern, ..row.clone() }), ()))
        });
        exact.await?;
        bridge.use_archive(&arn)?;
        Ok(provided(name.into(), &[("Arn", &made.archive_arn.unwrap_or_default()), ("ArchiveName", name)]))
    }

    pub async fn delete_archive(&self, cx: &Cx, name: &str) -> Result<(), Fault> {
        let input = DeleteArchiveRequest { archive_name: name.into() };
        gone(archives::delete_archive(&self.0, cx, input).await.map(drop))
    }
}

/// A pattern as text; templates write it as an object too.
pub fn pattern(properties: &Value) -> Option<String> {
    properties.get("EventPattern").map(|pattern| match pattern {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

fn retention(properties: &Value) -> Result<Option<i32>, Fault> {
    const NAME: &str = "RetentionDays";
    if properties.get(NAME).is_none() {
        return Ok(None);
    }
    match number(properties, NAME).and_then(|days| i32::try_from(days).ok()).filter(|days| *days >= 0) {
        Some(days) => Ok(Some(days)),
        None => Err(Fault::validation(format!("{NAME} must be a whole number of at least 0."))),
    }
}

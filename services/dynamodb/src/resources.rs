//! `AWS::DynamoDB::Table` for CloudFormation.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use tidemill_platform::{
    Cx, Fault,
    provider::{Provided, ResourceProvider, Updated, Wanted, boolean, number, text},
};

use crate::{
    DynamoDb,
    api::{
        self, AttributeDefinition, BillingMode, CreateTableInput, GlobalSecondaryIndex, KeySchemaElement,
        LocalSecondaryIndex, Projection, ProvisionedThroughput, StreamSpecification, Tag,
        TimeToLiveSpecification, UpdateTableInput, UpdateTimeToLiveInput,
    },
    expiry::update_time_to_live,
    tables::{create_table, update_table},
};

pub struct Resources(pub Arc<DynamoDb>);

impl ResourceProvider for Resources {
    fn types(&self) -> &'static [&'static str] {
        &["AWS::DynamoDB::Table"]
    }

    fn create<'a>(&'a self, cx: &'a Cx, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Provided, Fault>> {
        async move {
            refuse(wanted.properties)?;
            let name =
                text(wanted.properties, "TableName").unwrap_or_else(|| wanted.generated_name.to_string());
            let input = create_request(&name, wanted.properties, wanted.tags);
            create_table(&self.0, cx, input).await?;
            self.set_time_to_live(cx, &name, &Value::Null, wanted.properties).await?;
            self.provided(cx, &name)
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
            refuse(wanted.properties)?;
            let fixed = ["TableName", "KeySchema", "LocalSecondaryIndexes"];
            if fixed.iter().any(|name| old.get(name) != wanted.properties.get(name)) {
                return Ok(Updated::Replace);
            }
            if old.get("GlobalSecondaryIndexes") != wanted.properties.get("GlobalSecondaryIndexes") {
                return Err(Fault::not_implemented("updating GlobalSecondaryIndexes of a table in a stack"));
            }
            let request = create_request(physical_id, wanted.properties, wanted.tags);
            let stream = |properties: &Value| {
                properties.get("StreamSpecification").and_then(|spec| text(spec, "StreamViewType"))
            };
            let (before, after) = (stream(old), stream(wanted.properties));
            if before != after && before.is_some() {
                let off = StreamSpecification { stream_enabled: false, stream_view_type: None };
                update_table(
                    &self.0,
                    cx,
                    UpdateTableInput {
                        table_name: physical_id.into(),
                        stream_specification: Some(off),
                        ..UpdateTableInput::default()
                    },
                )
                .await?;
            }
            let input = UpdateTableInput {
                table_name: physical_id.into(),
                billing_mode: request.billing_mode,
                provisioned_throughput: request.provisioned_throughput,
                stream_specification: request.stream_specification.filter(|_| before != after),
                deletion_protection_enabled: request.deletion_protection_enabled,
                table_class: request.table_class,
                ..UpdateTableInput::default()
            };
            update_table(&self.0, cx, input).await?;
            self.set_time_to_live(cx, physical_id, old, wanted.properties).await?;
            Ok(Updated::InPlace(self.provided(cx, physical_id)?))
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        cx: &'a Cx,
        _: &'a str,
        physical_id: &'a str,
        _: &'a Value,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        async move {
            match self.0.delete(cx, physical_id).await {
                Err(fault) if fault.code() == "ResourceNotFoundException" => Ok(()),
                other => other.map(drop),
            }
        }
        .boxed()
    }
}

impl Resources {
    /// Ends the time to live that was and begins the one that is wanted, where they differ.
    async fn set_time_to_live(&self, cx: &Cx, name: &str, old: &Value, new: &Value) -> Result<(), Fault> {
        let (before, after) = (time_to_live(old), time_to_live(new));
        if before == after {
            return Ok(());
        }
        for (attribute_name, enabled) in
            before.map(|name| (name, false)).into_iter().chain(after.map(|name| (name, true)))
        {
            let asked = TimeToLiveSpecification { enabled, attribute_name };
            let input = UpdateTimeToLiveInput { table_name: name.into(), time_to_live_specification: asked };
            update_time_to_live(&self.0, cx, input).await?;
        }
        Ok(())
    }

    fn provided(&self, cx: &Cx, name: &str) -> Result<Provided, Fault> {
        let row = self.0.table(cx, name)?.row();
        let mut attributes: BTreeMap<String, Value> = [("Arn".to_string(), row.arn.clone().into())].into();
        if let Some(stream) = &row.stream {
            attributes.insert("StreamArn".into(), stream.arn.clone().into());
        }
        Ok(Provided { physical_id: name.to_string(), attributes })
    }
}

/// The attribute of an enabled time to live.
fn time_to_live(properties: &Value) -> Option<String> {
    let asked = properties.get("TimeToLiveSpecification")?;
    boolean(asked, "Enabled").filter(|on| *on).and_then(|_| text(asked, "AttributeName"))
}

fn refuse(properties: &Value) -> Result<(), Fault> {
    let unknown = [
        "ImportSourceSpecification",
        "KinesisStreamSpecification",
        "ResourcePolicy",
        "ContributorInsightsSpecification",
    ];
    if let Some(name) = unknown.into_iter().find(|name| properties.get(name).is_some()) {
        return Err(Fault::not_implemented(format!("the property {name} of AWS::DynamoDB::Table")));
    }
    let recovery = properties.pointer("/PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled");
    if recovery.is_some_and(|on| on == true || on == "true") {
        return Err(Fault::not_implemented("PointInTimeRecoverySpecification of AWS::DynamoDB::Table"));
    }
    let encrypted =
        properties.pointer("/SSESpecification/SSEEnabled").is_some_and(|on| on == true || on == "true");
    // SAM's SimpleTable asks for encryption with AWS's key; what is kept here is kept as every table is.
    let with_key = properties.pointer("/SSESpecification/KMSMasterKeyId").is_some();
    if encrypted && with_key {
        Err(Fault::not_implemented("SSESpecification with a KMS key"))
    } else {
        Ok(())
    }
}

fn create_request(name: &str, properties: &Value, of_stack: &BTreeMap<String, String>) -> CreateTableInput {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let keys = |of: &Value| -> Vec<KeySchemaElement> {
        let element = |key: &Value| KeySchemaElement {
            attribute_name: text(key, "AttributeName").unwrap_or_default(),
            key_type: text(key, "KeyType").unwrap_or_default().into(),
        };
        list(of, "KeySchema").iter().map(element).collect()
    };
    let projection = |of: &Value| Projection {
        projection_type: of.pointer("/Projection/ProjectionType").and_then(Value::as_str).map(Into::into),
        non_key_attributes: of
            .pointer("/Projection/NonKeyAttributes")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(|n| n.as_str().map(str::to_string)).collect()),
    };
    let throughput = |of: &Value| {
        let of = of.get("ProvisionedThroughput")?;
        Some(ProvisionedThroughput {
            read_capacity_units: number(of, "ReadCapacityUnits")?,
            write_capacity_units: number(of, "WriteCapacityUnits")?,
        })
    };
    let definitions = list(properties, "AttributeDefinitions");
    let definitions = definitions.iter().map(|of| AttributeDefinition {
        attribute_name: text(of, "AttributeName").unwrap_or_default(),
        attribute_type: text(of, "AttributeType").unwrap_or_default().into(),
    });
    let local = list(properties, "LocalSecondaryIndexes");
    let local = local.iter().map(|of| LocalSecondaryIndex {
        index_name: text(of, "IndexName").unwrap_or_default(),
        key_schema: keys(of),
        projection: projection(of),
    });
    let global = list(properties, "GlobalSecondaryIndexes");
    let global = global.iter().map(|of| GlobalSecondaryIndex {
        index_name: text(of, "IndexName").unwrap_or_default(),
        key_schema: keys(of),
        projection: projection(of),
        provisioned_throughput: throughput(of),
        ..GlobalSecondaryIndex::default()
    });
    let mut tags = of_stack.clone();
    tags.extend(
        list(properties, "Tags").iter().filter_map(|tag| Some((text(tag, "Key")?, text(tag, "Value")?))),
    );
    let view = properties.get("StreamSpecification").and_then(|spec| text(spec, "StreamViewType"));
    CreateTableInput {
        table_name: name.to_string(),
        attribute_definitions: Some(definitions.collect()),
        key_schema: Some(keys(properties)),
        local_secondary_indexes: Some(local.collect()),
        global_secondary_indexes: Some(global.collect()),
        billing_mode: text(properties, "BillingMode").map(|mode| BillingMode::from(mode.as_str())),
        provisioned_throughput: throughput(properties),
        stream_specification: view
            .map(|view| StreamSpecification { stream_enabled: true, stream_view_type: Some(view.into()) }),
        tags: Some(tags.into_iter().map(|(key, value)| Tag { key, value }).collect()),
        table_class: text(properties, "TableClass").map(|class| api::TableClass::from(class.as_str())),
        deletion_protection_enabled: boolean(properties, "DeletionProtectionEnabled"),
        ..CreateTableInput::default()
    }
}

//! Layers: zips with versions that functions find under `/opt`. Here is the API; `shelf` keeps them and finds the ones a
//! function names, `policy` says who else may use them.
//!
//! A function keeps the hash of each layer it uses: it goes on when the layer's version is deleted, as on Lambda.

mod policy;
pub mod resources;
mod shelf;

use tidemill_api::Unit;
use tidemill_platform::{Cx, Fault, page::page};

use crate::{
    Lambda,
    api::{
        Architecture, DeleteLayerVersionRequest, GetLayerVersionByArnRequest, GetLayerVersionRequest,
        GetLayerVersionResponse, InvalidParameterValueException, LayerVersionContentOutput,
        LayerVersionsListItem, LayersListItem, ListLayerVersionsRequest, ListLayerVersionsResponse,
        ListLayersRequest, ListLayersResponse, PublishLayerVersionRequest, PublishLayerVersionResponse,
        ResourceNotFoundException, Runtime,
    },
    code::{self, Source},
    configuration::{base64_of_hex, modified},
};

pub use policy::{add_layer_version_permission, get_layer_version_policy, remove_layer_version_permission};
use shelf::{LayerRow, VersionRow};
pub use shelf::{Layers, Use, wanted};

pub async fn publish_layer_version(
    lambda: &Lambda,
    cx: &Cx,
    input: PublishLayerVersionRequest,
) -> Result<PublishLayerVersionResponse, Fault> {
    let arn = layer_arn(cx, &input.layer_name);
    let zip = code::read(
        cx,
        Source {
            zip: input.content.zip_file,
            bucket: input.content.s3_bucket.as_deref(),
            key: input.content.s3_key.as_deref(),
            version: input.content.s3_object_version.as_deref(),
        },
    )
    .await?;
    lambda.expect_storage(&arn, i64::try_from(zip.len()).unwrap_or(i64::MAX))?;
    let version = VersionRow {
        description: input.description.unwrap_or_default(),
        license: input.license_info,
        runtimes: input.compatible_runtimes.into_iter().flatten().map(|r| r.to_string()).collect(),
        architectures: input.compatible_architectures.into_iter().flatten().map(|a| a.to_string()).collect(),
        code_sha256: code::sha256(&zip),
        code_size: i64::try_from(zip.len()).unwrap_or(i64::MAX),
        unpacked_size: code::unpacked_size(&zip),
        created_at: cx.now().millis(),
        statements: Default::default(),
        policy_revision: String::new(),
    };
    let number = lambda.layers.publish(&lambda.platform, &arn, version.clone(), zip).await?;
    let described = describe(cx, &arn, number, &version);
    Ok(PublishLayerVersionResponse {
        content: described.content,
        layer_arn: described.layer_arn,
        layer_version_arn: described.layer_version_arn,
        description: described.description,
        created_date: described.created_date,
        version: described.version,
        compatible_runtimes: described.compatible_runtimes,
        license_info: described.license_info,
        compatible_architectures: described.compatible_architectures,
    })
}

pub async fn get_layer_version(
    lambda: &Lambda,
    cx: &Cx,
    input: GetLayerVersionRequest,
) -> Result<GetLayerVersionResponse, Fault> {
    version(lambda, cx, &layer_arn(cx, &input.layer_name), number(input.version_number)?)
}

pub async fn get_layer_version_by_arn(
    lambda: &Lambda,
    cx: &Cx,
    input: GetLayerVersionByArnRequest,
) -> Result<GetLayerVersionResponse, Fault> {
    let (arn, number) = shelf::split(&input.arn).ok_or_else(none)?;
    version(lambda, cx, arn, number)
}

fn version(lambda: &Lambda, cx: &Cx, arn: &str, number: u64) -> Result<GetLayerVersionResponse, Fault> {
    let row = lambda.layers.get(arn).ok_or_else(none)?;
    let version = row.versions.get(&number).ok_or_else(none)?;
    policy::may_read(cx, &row, number, version)?;
    Ok(describe(cx, arn, number, version))
}

fn describe(cx: &Cx, arn: &str, number: u64, version: &VersionRow) -> GetLayerVersionResponse {
    let item = item(arn, number, version);
    GetLayerVersionResponse {
        content: Some(LayerVersionContentOutput {
            location: Some(code::location(cx, &version.code_sha256)),
            code_sha256: Some(base64_of_hex(&version.code_sha256)),
            code_size: Some(version.code_size),
            ..LayerVersionContentOutput::default()
        }),
        layer_arn: Some(arn.to_string()),
        layer_version_arn: item.layer_version_arn,
        description: item.description,
        created_date: item.created_date,
        version: item.version,
        compatible_runtimes: item.compatible_runtimes,
        license_info: item.license_info,
        compatible_architectures: item.compatible_architectures,
    }
}

fn item(arn: &str, number: u64, version: &VersionRow) -> LayerVersionsListItem {
    let runtimes: Vec<Runtime> = version.runtimes.iter().map(|name| name.as_str().into()).collect();
    let architectures: Vec<Architecture> =
        version.architectures.iter().map(|name| name.as_str().into()).collect();
    LayerVersionsListItem {
        layer_version_arn: Some(format!("{arn}:{number}")),
        version: i64::try_from(number).ok(),
        description: Some(version.description.clone()),
        created_date: Some(modified(version.created_at)),
        compatible_runtimes: (!runtimes.is_empty()).then_some(runtimes),
        license_info: version.license.clone(),
        compatible_architectures: (!architectures.is_empty()).then_some(architectures),
    }
}

pub async fn list_layers(
    lambda: &Lambda,
    cx: &Cx,
    input: ListLayersRequest,
) -> Result<ListLayersResponse, Fault> {
    let (runtime, architecture) = (input.compatible_runtime, input.compatible_architecture);
    let layers = lambda.layers.list(cx.account(), cx.region());
    let items = layers.iter().filter_map(|row| {
        let mut matching = row.versions.iter().rev();
        let (number, version) =
            matching.find(|(_, version)| suits(version, runtime.as_ref(), architecture.as_ref()))?;
        Some(LayersListItem {
            layer_name: Some(row.name.clone()),
            layer_arn: Some(row.arn.clone()),
            latest_matching_version: Some(item(&row.arn, *number, version)),
        })
    });
    let name = |item: &LayersListItem| item.layer_name.clone().unwrap_or_default();
    let page = page(items, name, input.marker.as_deref(), most(input.max_items)).ok_or_else(bad_marker)?;
    Ok(ListLayersResponse { layers: Some(page.items), next_marker: page.next_token })
}

pub async fn list_layer_versions(
    lambda: &Lambda,
    cx: &Cx,
    input: ListLayerVersionsRequest,
) -> Result<ListLayerVersionsResponse, Fault> {
    let (runtime, architecture) = (input.compatible_runtime, input.compatible_architecture);
    let row: Option<std::sync::Arc<LayerRow>> = lambda.layers.get(&layer_arn(cx, &input.layer_name));
    let mut items = Vec::new();
    for row in row.iter().filter(|row| row.account == cx.account()) {
        let newest_first = row.versions.iter().rev();
        let suiting =
            newest_first.filter(|(_, version)| suits(version, runtime.as_ref(), architecture.as_ref()));
        items.extend(suiting.map(|(number, version)| item(&row.arn, *number, version)));
    }
    // Pages are cut in ascending order of their key.
    let key = |item: &LayerVersionsListItem| {
        format!("{:020}", u64::MAX - u64::try_from(item.version.unwrap_or(0)).unwrap_or(0))
    };
    let page = page(items, key, input.marker.as_deref(), most(input.max_items)).ok_or_else(bad_marker)?;
    Ok(ListLayerVersionsResponse { layer_versions: Some(page.items), next_marker: page.next_token })
}

/// Deleting what is not there succeeds.
pub async fn delete_layer_version(
    lambda: &Lambda,
    cx: &Cx,
    input: DeleteLayerVersionRequest,
) -> Result<Unit, Fault> {
    let number = number(input.version_number)?;
    let change = |row: &mut LayerRow| {
        row.versions.remove(&number);
        Ok(())
    };
    let arn = layer_arn(cx, &input.layer_name);
    lambda.layers.change(&lambda.platform, &arn, || Ok(()), change).await?;
    Ok(Unit)
}

fn suits(version: &VersionRow, runtime: Option<&Runtime>, architecture: Option<&Architecture>) -> bool {
    let among = |list: &[String], wanted: Option<String>| wanted.is_none_or(|wanted| list.contains(&wanted));
    among(&version.runtimes, runtime.map(ToString::to_string))
        && among(&version.architectures, architecture.map(ToString::to_string))
}

/// A layer's ARN from its name, or the ARN itself.
fn layer_arn(cx: &Cx, name: &str) -> String {
    if name.starts_with("arn:") {
        name.to_string()
    } else {
        cx.arn("lambda", format!("layer:{name}")).to_string()
    }
}

fn number(number: i64) -> Result<u64, Fault> {
    u64::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| InvalidParameterValueException::new("Layer Version Cannot be less than 1.").into())
}

fn most(wanted: Option<i32>) -> usize {
    usize::try_from(wanted.unwrap_or(50).clamp(1, 50)).unwrap_or(50)
}

fn none() -> Fault {
    ResourceNotFoundException::new("The resource you requested does not exist.").into()
}

fn bad_marker() -> Fault {
    InvalidParameterValueException::new("Invalid Marker").into()
}

//! Templates: read back, summed up, checked.

use tidemill_cfn_template::{Parameter, Template};
use tidemill_platform::{Cx, Fault};

use crate::{
    CloudFormation,
    api::{
        GetTemplateInput, GetTemplateOutput, GetTemplateSummaryInput, GetTemplateSummaryOutput,
        ParameterConstraints, ParameterDeclaration, ResourceIdentifierSummary, TemplateParameter,
        ValidateTemplateInput, ValidateTemplateOutput,
    },
    definition::{check_transforms, expand, needed, wrong},
    state::validation,
};

pub async fn get_template(
    cf: &CloudFormation,
    cx: &Cx,
    input: GetTemplateInput,
) -> Result<GetTemplateOutput, Fault> {
    let definition = match (&input.stack_name, &input.change_set_name) {
        (stack, Some(set)) => cf.change_set(cx, stack.as_deref(), set)?.1.definition,
        (Some(stack), None) => cf.find(cx, stack)?.look(|state| state.current.clone()),
        (None, None) => return Err(validation("Either StackName or ChangeSetName must be specified.")),
    };
    let processed = input.template_stage.is_some_and(|stage| stage.as_str() == "Processed");
    Ok(GetTemplateOutput {
        template_body: Some(if processed { definition.processed } else { definition.template }),
        stages_available: Some(vec!["Original".into(), "Processed".into()]),
    })
}

pub async fn validate_template(
    cf: &CloudFormation,
    cx: &Cx,
    input: ValidateTemplateInput,
) -> Result<ValidateTemplateOutput, Fault> {
    let text = cf.template_text(cx, input.template_body, input.template_url.as_deref()).await?;
    let (template, transforms) = typed(&text)?;
    let parameter = |(name, declared): (&String, &Parameter)| TemplateParameter {
        parameter_key: Some(name.clone()),
        default_value: declared.default.clone(),
        no_echo: Some(declared.no_echo),
        description: declared.description.clone(),
    };
    let (capabilities, capabilities_reason) = capabilities(&template, &transforms);
    Ok(ValidateTemplateOutput {
        parameters: Some(template.parameters.iter().map(parameter).collect()),
        description: template.description.clone(),
        capabilities: capabilities.map(|names| names.into_iter().map(Into::into).collect()),
        capabilities_reason,
        declared_transforms: (!transforms.is_empty()).then_some(transforms),
    })
}

pub async fn get_template_summary(
    cf: &CloudFormation,
    cx: &Cx,
    input: GetTemplateSummaryInput,
) -> Result<GetTemplateSummaryOutput, Fault> {
    if input.stack_set_name.is_some() {
        return Err(Fault::not_implemented("GetTemplateSummary of a stack set"));
    }
    let text = match &input.stack_name {
        Some(stack) => cf.find(cx, stack)?.look(|state| state.current.template.clone()),
        None => cf.template_text(cx, input.template_body, input.template_url.as_deref()).await?,
    };
    let (template, transforms) = typed(&text)?;
    let parameter = |(name, declared): (&String, &Parameter)| ParameterDeclaration {
        parameter_key: Some(name.clone()),
        default_value: declared.default.clone(),
        parameter_type: Some(declared.parameter_type.clone()),
        no_echo: Some(declared.no_echo),
        description: declared.description.clone(),
        parameter_constraints: Some(ParameterConstraints {
            allowed_values: (!declared.allowed_values.is_empty()).then(|| declared.allowed_values.clone()),
        }),
    };
    let mut types: Vec<String> = template.resources.values().map(|one| one.resource_type.clone()).collect();
    types.sort_unstable();
    types.dedup();
    let summaries = types.iter().map(|kind| ResourceIdentifierSummary {
        resource_type: Some(kind.clone()),
        logical_resource_ids: Some(
            template
                .resources
                .iter()
                .filter(|(_, one)| one.resource_type == *kind)
                .map(|(name, _)| name.clone())
                .collect(),
        ),
        resource_identifiers: None,
    });
    let summaries = summaries.collect();
    let (capabilities, capabilities_reason) = capabilities(&template, &transforms);
    Ok(GetTemplateSummaryOutput {
        parameters: Some(template.parameters.iter().map(parameter).collect()),
        description: template.description.clone(),
        capabilities: capabilities.map(|names| names.into_iter().map(Into::into).collect()),
        capabilities_reason,
        resource_types: Some(types),
        version: Some("2010-09-09".into()),
        metadata: template.metadata.as_ref().map(ToString::to_string),
        declared_transforms: (!transforms.is_empty()).then_some(transforms),
        resource_identifier_summaries: Some(summaries),
        ..GetTemplateSummaryOutput::default()
    })
}

/// The template with its transforms done: what they make may need capabilities.
fn typed(text: &str) -> Result<(Template, Vec<String>), Fault> {
    let source = tidemill_cfn_template::read(text).map_err(wrong)?;
    let transforms = Template::transforms(&source).map_err(wrong)?;
    check_transforms(&transforms)?;
    let packed = with_packed_code(source, !transforms.is_empty());
    let expanded = expand(&packed, &transforms, &Default::default())?;
    Ok((Template::parse(&expanded).map_err(wrong)?, transforms))
}

/// A template that is only looked at may still name code on somebody's disk.
fn with_packed_code(mut source: serde_json::Value, is_sam: bool) -> serde_json::Value {
    if is_sam {
        for artifact in tidemill_sam_transform::local_artifacts(&source) {
            tidemill_sam_transform::replace(&mut source, &artifact, "bucket", "key");
        }
    }
    source
}

fn capabilities(template: &Template, transforms: &[String]) -> (Option<Vec<&'static str>>, Option<String>) {
    let (capability, kinds) = needed(template);
    let reason =
        capability.map(|_| format!("The following resource(s) require capabilities: [{}]", kinds.join(", ")));
    let mut all: Vec<&'static str> = capability.into_iter().collect();
    if !transforms.is_empty() {
        all.push("CAPABILITY_AUTO_EXPAND");
    }
    ((!all.is_empty()).then_some(all), reason)
}

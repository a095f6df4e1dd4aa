//! `AWS::Serverless::Function`: the function, its role, version and alias, its asynchronous configuration and URL.

use serde_json::{Map, Value, json};

use crate::{
    SamError, events,
    made::{Made, Passed, content_id, get_att, tag_list},
    policies::Policies,
};

/// Properties that Lambda has under the same name.
const KEPT: &[&str] = &[
    "FunctionName",
    "Handler",
    "Runtime",
    "Description",
    "MemorySize",
    "Timeout",
    "Environment",
    "VpcConfig",
    "KmsKeyArn",
    "Layers",
    "FileSystemConfigs",
    "Architectures",
    "EphemeralStorage",
    "SnapStart",
    "ReservedConcurrentExecutions",
    "RuntimeManagementConfig",
    "LoggingConfig",
    "RecursiveLoop",
    "CodeSigningConfigArn",
];
const OWN: &[&str] = &[
    "CodeUri",
    "InlineCode",
    "Role",
    "Policies",
    "PermissionsBoundary",
    "AssumeRolePolicyDocument",
    "RolePath",
    "Tags",
    "PropagateTags",
    "Tracing",
    "DeadLetterQueue",
    "Events",
    "EventInvokeConfig",
    "FunctionUrlConfig",
    "AutoPublishAlias",
    "AutoPublishCodeSha256",
    "AutoPublishAliasAllProperties",
    "VersionDescription",
    "VersionDeletionPolicy",
    "ProvisionedConcurrencyConfig",
    "PackageType",
];
/// Properties of SAM that are known and not translated.
const REFUSED: &[&str] = &["DeploymentPreference", "ImageUri", "ImageConfig"];

/// A function in the making.
pub(crate) struct Function<'a> {
    pub name: &'a str,
    pub properties: &'a Value,
    pub passed: Passed,
    /// Logical id of the alias that is published, if one is.
    pub alias: Option<String>,
    pub alias_name: Option<String>,
    pub policies: Policies,
}

impl Function<'_> {
    /// What permissions and mappings name: the function, or its alias.
    pub fn reference(&self) -> Value {
        json!({"Ref": self.alias.as_deref().unwrap_or(self.name)})
    }

    /// The ARN of the function, or of its alias.
    pub fn arn(&self) -> Value {
        match &self.alias {
            Some(alias) => json!({"Ref": alias}),
            None => get_att(self.name, "Arn"),
        }
    }

    /// Tags that are passed on to what a function brings with it, where it asks for that.
    pub fn propagated(&self) -> Option<Value> {
        let wanted = self.properties.get("PropagateTags") == Some(&Value::Bool(true));
        let tags = tag_list(self.properties.get("Tags"));
        (wanted && !tags.is_empty()).then_some(Value::Array(tags))
    }

    /// A queue or topic that a property asks for without naming one.
    pub fn resource(&self, kind: &str) -> Value {
        let properties = match self.propagated() {
            Some(tags) => json!({"Tags": tags}),
            None => json!({}),
        };
        self.passed.resource(kind, properties)
    }
}

pub(crate) fn translate(made: &mut Made, name: &str, resource: &Value) -> Result<(), SamError> {
    let properties = &resource["Properties"];
    check(name, properties)?;
    let role = format!("{name}Role");
    let alias_name = match properties.get("AutoPublishAlias") {
        None => None,
        Some(value) => Some(made.text(value).ok_or_else(|| {
            SamError::new(name, "'AutoPublishAlias' must be a string or a Ref to a template parameter")
        })?),
    };
    let mut function = Function {
        name,
        properties,
        passed: Passed::of(resource),
        alias: alias_name.as_ref().map(|alias| format!("{name}Alias{alias}")),
        alias_name,
        policies: Policies::read(name, &role, properties.get("Policies"))?,
    };
    let plain = plain(name, properties, properties.get("Role").is_none().then(|| get_att(&role, "Arn")))?;
    put_function(made, name, resource, &plain);
    publish(made, &function, &plain)?;
    asynchronous(made, &mut function)?;
    url(made, &function)?;
    events::translate(made, &mut function)?;
    put_role(made, &mut function, &role);
    Ok(())
}

fn check(name: &str, properties: &Value) -> Result<(), SamError> {
    if let Some(refused) = REFUSED.iter().find(|refused| properties.get(**refused).is_some()) {
        return Err(SamError::not_translated(name, format_args!("Property {refused}")));
    }
    if properties.get("PackageType").is_some_and(|kind| kind == "Image") {
        return Err(SamError::not_translated(name, "PackageType Image"));
    }
    let known: Vec<&str> = KEPT.iter().chain(OWN).copied().collect();
    check_known(name, "AWS::Serverless::Function", properties, &known)?;
    if let Some(missing) = ["Handler", "Runtime"].iter().find(|key| properties.get(**key).is_none()) {
        return Err(SamError::new(name, format!("Missing required property '{missing}'.")));
    }
    Ok(())
}

/// Refuses properties that a resource type does not have.
pub(crate) fn check_known(
    name: &str,
    kind: &str,
    properties: &Value,
    known: &[&str],
) -> Result<(), SamError> {
    let unknown =
        properties.as_object().into_iter().flatten().find(|(key, _)| !known.contains(&key.as_str()));
    match unknown {
        Some((key, _)) => {
            Err(SamError::new(name, format!("property {key} not defined for resource of type {kind}")))
        }
        None => Ok(()),
    }
}

/// The properties of the plain function.
fn plain(name: &str, properties: &Value, made_role: Option<Value>) -> Result<Value, SamError> {
    let mut plain = Map::new();
    plain.insert("Code".into(), code(name, properties)?);
    for key in KEPT {
        if let Some(value) = properties.get(*key) {
            plain.insert((*key).into(), value.clone());
        }
    }
    // A new digest alone has to change the function, or Lambda would publish no version.
    if let Some(digest) = properties.get("AutoPublishCodeSha256").and_then(Value::as_str) {
        let said = properties.get("Description").and_then(Value::as_str).unwrap_or_default();
        plain.insert("Description".into(), json!(format!("{said} {digest}").trim_start()));
    }
    if let Some(role) = made_role.or_else(|| properties.get("Role").cloned()) {
        plain.insert("Role".into(), role);
    }
    if let Some(queue) = properties.get("DeadLetterQueue") {
        let target = queue.get("TargetArn").filter(|_| queue.get("Type").is_some()).ok_or_else(|| {
            SamError::new(name, "'DeadLetterQueue' requires Type and TargetArn properties to be specified.")
        })?;
        plain.insert("DeadLetterConfig".into(), json!({"TargetArn": target}));
    }
    match properties.get("Tracing").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some(mode) => drop(plain.insert("TracingConfig".into(), json!({"Mode": mode}))),
    }
    plain.insert("Tags".into(), Value::Array(tags(properties)));
    Ok(Value::Object(plain))
}

fn tags(properties: &Value) -> Vec<Value> {
    let own = tag_list(properties.get("Tags"));
    if properties.get("PropagateTags") == Some(&Value::Bool(true)) {
        return own;
    }
    std::iter::once(json!({"Key": "lambda:createdBy", "Value": "SAM"})).chain(own).collect()
}

fn code(name: &str, properties: &Value) -> Result<Value, SamError> {
    match (properties.get("InlineCode"), properties.get("CodeUri")) {
        (Some(text), None) => Ok(json!({"ZipFile": text})),
        (_, Some(uri)) => code_location(name, "CodeUri", uri),
        (None, None) => Err(SamError::new(name, "Either 'InlineCode' or 'CodeUri' must be set.")),
    }
}

/// `s3://bucket/key`, or a map of bucket, key and version, as Lambda names it.
pub(crate) fn code_location(name: &str, property: &str, uri: &Value) -> Result<Value, SamError> {
    let bad = || {
        SamError::new(
            name,
            format!(
                "'{property}' is not a valid S3 Uri of the form 's3://bucket/key' with optional versionId query parameter."
            ),
        )
    };
    match uri {
        Value::String(text) => {
            let (bucket, key) =
                text.strip_prefix("s3://").and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
            let (key, version) = match key.split_once("?versionId=") {
                Some((key, version)) => (key, Some(version)),
                None => (key, None),
            };
            if bucket.is_empty() || key.is_empty() {
                return Err(bad());
            }
            let mut location = json!({"S3Bucket": bucket, "S3Key": key});
            if let Some(version) = version {
                location["S3ObjectVersion"] = json!(version);
            }
            Ok(location)
        }
        Value::Object(parts) => {
            let mut location = Map::new();
            for (from, to) in [("Bucket", "S3Bucket"), ("Key", "S3Key"), ("Version", "S3ObjectVersion")] {
                if let Some(value) = parts.get(from) {
                    location.insert(to.into(), value.clone());
                }
            }
            if location.get("S3Bucket").is_none() || location.get("S3Key").is_none() {
                return Err(SamError::new(
                    name,
                    format!("'{property}' requires Bucket and Key properties to be specified."),
                ));
            }
            Ok(Value::Object(location))
        }
        _ => Err(bad()),
    }
}

/// The function keeps what the template wrote beside its type and properties.
fn put_function(made: &mut Made, name: &str, resource: &Value, plain: &Value) {
    let mut function = resource.clone();
    function["Type"] = json!("AWS::Lambda::Function");
    function["Properties"] = plain.clone();
    made.put(name, function);
}

/// A version whose id tells the code, and the alias that points at it.
fn publish(made: &mut Made, function: &Function, plain: &Value) -> Result<(), SamError> {
    let (Some(alias), Some(alias_name)) = (&function.alias, &function.alias_name) else {
        return match function.properties.get("ProvisionedConcurrencyConfig") {
            Some(_) => Err(SamError::new(
                function.name,
                "To set ProvisionedConcurrencyConfig AutoPublishALias must be defined on the function",
            )),
            None => Ok(()),
        };
    };
    let version = format!("{}Version{}", function.name, version_id(function.properties, plain));
    let mut properties = json!({"FunctionName": {"Ref": function.name}});
    if let Some(description) = function.properties.get("VersionDescription") {
        properties["Description"] = description.clone();
    }
    let mut resource = function.passed.resource("AWS::Lambda::Version", properties);
    resource["DeletionPolicy"] =
        function.properties.get("VersionDeletionPolicy").cloned().unwrap_or_else(|| json!("Retain"));
    made.put(&version, resource);
    let mut properties = json!({
        "Name": alias_name,
        "FunctionName": {"Ref": function.name},
        "FunctionVersion": get_att(&version, "Version"),
    });
    if let Some(config) = function.properties.get("ProvisionedConcurrencyConfig") {
        properties["ProvisionedConcurrencyConfig"] = config.clone();
    }
    made.put(alias, function.passed.resource("AWS::Lambda::Alias", properties));
    made.rename(format!("{}.Alias", function.name), alias);
    made.rename(format!("{}.Version", function.name), version);
    Ok(())
}

fn version_id(properties: &Value, plain: &Value) -> String {
    if let Some(digest) = properties.get("AutoPublishCodeSha256").and_then(Value::as_str) {
        return digest.chars().take(10).collect();
    }
    if properties.get("AutoPublishAliasAllProperties") == Some(&Value::Bool(true)) {
        let mut all = plain.clone();
        if let Some(members) = all.as_object_mut() {
            members.shift_remove("Role");
        }
        return content_id(&all);
    }
    let mut content = plain["Code"].clone();
    if let Some(variables) = plain["Environment"].get("Variables") {
        content["Variables"] = variables.clone();
    }
    for key in ["MemorySize", "SnapStart"] {
        if let Some(value) = plain.get(key) {
            content[key] = value.clone();
        }
    }
    content_id(&content)
}

fn asynchronous(made: &mut Made, function: &mut Function) -> Result<(), SamError> {
    let properties = function.properties;
    let Some(config) = properties.get("EventInvokeConfig") else { return Ok(()) };
    let name = format!("{}EventInvokeConfig", function.name);
    let known = ["MaximumEventAgeInSeconds", "MaximumRetryAttempts", "DestinationConfig"];
    check_known(function.name, "EventInvokeConfig", config, &known)?;
    let mut plain = json!({
        "FunctionName": {"Ref": function.name},
        "Qualifier": function.alias_name.as_deref().unwrap_or("$LATEST"),
    });
    for key in ["MaximumEventAgeInSeconds", "MaximumRetryAttempts"] {
        if let Some(value) = config.get(key) {
            plain[key] = value.clone();
        }
    }
    let mut destinations = Map::new();
    for condition in ["OnSuccess", "OnFailure"] {
        if let Some(wanted) = config.get("DestinationConfig").and_then(|config| config.get(condition)) {
            let target = destination(made, function, &name, condition, wanted)?;
            destinations.insert(condition.into(), json!({"Destination": target}));
        }
    }
    if !destinations.is_empty() {
        plain["DestinationConfig"] = Value::Object(destinations);
    }
    let mut resource = function.passed.resource("AWS::Lambda::EventInvokeConfig", plain);
    if let Some(alias) = &function.alias {
        resource["DependsOn"] = json!([alias]);
    }
    made.put(name, resource);
    Ok(())
}

/// The ARN results go to; a queue or topic is made where none is named.
fn destination(
    made: &mut Made,
    function: &mut Function,
    config: &str,
    condition: &str,
    wanted: &Value,
) -> Result<Value, SamError> {
    let kind = wanted.get("Type").and_then(|kind| made.text(kind)).ok_or_else(|| {
        SamError::new(
            function.name,
            "'Type: one of [SQS, SNS, EventBridge, Lambda, S3Bucket]' is required in DestinationConfig.",
        )
    })?;
    let target = match (kind.as_str(), wanted.get("Destination")) {
        (_, Some(target)) => target.clone(),
        ("SQS", None) => {
            let id = format!("{config}{condition}Queue");
            made.put(&id, function.resource("AWS::SQS::Queue"));
            made.rename(format!("{}.Destination{condition}Queue", function.name), &id);
            get_att(&id, "Arn")
        }
        ("SNS", None) => {
            let id = format!("{config}{condition}Topic");
            made.put(&id, function.resource("AWS::SNS::Topic"));
            json!({"Ref": id})
        }
        _ => {
            return Err(SamError::new(function.name, "Destination is required if Type is not SNS or SQS"));
        }
    };
    let action = match kind.as_str() {
        "SQS" => "sqs:SendMessage",
        "SNS" => "sns:publish",
        "EventBridge" => "events:PutEvents",
        "Lambda" => "lambda:InvokeFunction",
        _ => {
            return Err(SamError::not_translated(
                function.name,
                format_args!("A destination of type {kind}"),
            ));
        }
    };
    function.policies.allow(format!("{config}{condition}{kind}Policy"), action, &target);
    Ok(target)
}

fn url(made: &mut Made, function: &Function) -> Result<(), SamError> {
    let Some(config) = function.properties.get("FunctionUrlConfig") else { return Ok(()) };
    check_known(function.name, "FunctionUrlConfig", config, &["AuthType", "Cors", "InvokeMode"])?;
    let auth = config.get("AuthType").cloned().ok_or_else(|| {
        SamError::new(function.name, "AuthType is required to configure function property `FunctionUrlConfig`. Please provide either AWS_IAM or NONE.")
    })?;
    let mut properties = json!({"TargetFunctionArn": {"Ref": function.name}, "AuthType": auth});
    for key in ["Cors", "InvokeMode"] {
        if let Some(value) = config.get(key) {
            properties[key] = value.clone();
        }
    }
    if let Some(alias) = &function.alias {
        properties["TargetFunctionArn"] = json!({"Ref": alias});
    }
    let passed = &function.passed;
    made.put(format!("{}Url", function.name), passed.resource("AWS::Lambda::Url", properties));
    if auth == "NONE" {
        let permission = |action: &str, key: &str, value: Value| {
            let properties =
                json!({"Action": action, "FunctionName": function.reference(), "Principal": "*", key: value});
            passed.resource("AWS::Lambda::Permission", properties)
        };
        let by_url = permission("lambda:InvokeFunctionUrl", "FunctionUrlAuthType", auth);
        made.put(format!("{}UrlPublicPermissions", function.name), by_url);
        let invoked = permission("lambda:InvokeFunction", "InvokedViaFunctionUrl", Value::Bool(true));
        made.put(format!("{}URLInvokeAllowPublicAccess", function.name), invoked);
    }
    Ok(())
}

fn put_role(made: &mut Made, function: &mut Function, id: &str) {
    let properties = function.properties;
    if properties.get("Role").is_some() {
        return;
    }
    let mut managed = vec![json!(crate::policies::arn("AWSLambdaBasicExecutionRole"))];
    if matches!(properties.get("Tracing").and_then(Value::as_str), Some(mode) if mode != "Disabled") {
        managed.push(json!(crate::policies::arn("AWSXrayWriteOnlyAccess")));
    }
    if properties.get("VpcConfig").is_some() {
        managed.push(json!(crate::policies::arn("AWSLambdaVPCAccessExecutionRole")));
    }
    for policy in std::mem::take(&mut function.policies.managed) {
        if !managed.contains(&policy) {
            managed.push(policy);
        }
    }
    let mut role = json!({
        "AssumeRolePolicyDocument": properties.get("AssumeRolePolicyDocument").cloned().unwrap_or_else(trust),
        "ManagedPolicyArns": managed,
        "Tags": tags(properties),
    });
    let mut inline = dead_letter_policy(properties);
    inline.append(&mut function.policies.inline);
    if !inline.is_empty() {
        role["Policies"] = Value::Array(inline);
    }
    for (from, to) in [("RolePath", "Path"), ("PermissionsBoundary", "PermissionsBoundary")] {
        if let Some(value) = properties.get(from) {
            role[to] = value.clone();
        }
    }
    made.put(id, function.passed.resource("AWS::IAM::Role", role));
}

fn trust() -> Value {
    trust_of("lambda.amazonaws.com")
}

/// The document by which a service may assume a role.
pub(crate) fn trust_of(service: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Action": ["sts:AssumeRole"], "Effect": "Allow", "Principal": {"Service": [service]}}],
    })
}

fn dead_letter_policy(properties: &Value) -> Vec<Value> {
    let Some(queue) = properties.get("DeadLetterQueue") else { return Vec::new() };
    let action = if queue["Type"] == "SNS" { "sns:Publish" } else { "sqs:SendMessage" };
    let statement = json!([{"Action": action, "Resource": queue["TargetArn"], "Effect": "Allow"}]);
    vec![
        json!({"PolicyName": "DeadLetterQueuePolicy", "PolicyDocument": {"Version": "2012-10-17", "Statement": statement}}),
    ]
}

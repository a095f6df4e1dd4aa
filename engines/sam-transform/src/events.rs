//! What triggers a function: buckets, streams, queues, topics, rules, schedules, log groups.

use serde_json::{Map, Value, json};

use crate::{
    SamError,
    function::{Function, check_known, trust_of},
    made::{Made, get_att, referenced},
};

/// Properties of event source mappings that Lambda has under the same name.
const MAPPING: &[&str] = &[
    "BatchSize",
    "BisectBatchOnFunctionError",
    "Enabled",
    "FilterCriteria",
    "FunctionResponseTypes",
    "KmsKeyArn",
    "MaximumBatchingWindowInSeconds",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "MetricsConfig",
    "ParallelizationFactor",
    "ScalingConfig",
    "StartingPosition",
    "StartingPositionTimestamp",
    "TumblingWindowInSeconds",
];

pub(crate) fn translate(made: &mut Made, function: &mut Function) -> Result<(), SamError> {
    let events = function.properties.get("Events").and_then(Value::as_object);
    for (name, event) in events.into_iter().flatten() {
        let kind = event.get("Type").and_then(Value::as_str).unwrap_or_default();
        let properties = event.get("Properties").unwrap_or(&Value::Null);
        let mut one = Event { id: format!("{}{name}", function.name), name, properties, made, function };
        match kind {
            "S3" => one.s3(),
            "DynamoDB" => one.mapping("Stream", "AWSLambdaDynamoDBExecutionRole"),
            "Kinesis" => one.mapping("Stream", "AWSLambdaKinesisExecutionRole"),
            "SQS" => one.mapping("Queue", "AWSLambdaSQSQueueExecutionRole"),
            "SNS" => one.sns(),
            "Schedule" => one.schedule(),
            "ScheduleV2" => one.scheduler(),
            "EventBridgeRule" | "CloudWatchEvent" => one.rule(kind),
            "CloudWatchLogs" => one.logs(),
            other => Err(SamError::not_translated(
                function.name,
                format_args!("Event [{name}]: an event of type {other}"),
            )),
        }?;
    }
    Ok(())
}

struct Event<'a, 'm, 'f, 'p> {
    /// Logical id of what is made: function and event.
    id: String,
    name: &'a str,
    properties: &'a Value,
    made: &'a mut Made<'m>,
    function: &'f mut Function<'p>,
}

impl Event<'_, '_, '_, '_> {
    fn wrong(&self, what: &str) -> SamError {
        SamError::new(self.function.name, format!("Event with id [{}] is invalid. {what}", self.name))
    }

    fn check(&self, known: &[&str]) -> Result<(), SamError> {
        check_known(self.function.name, self.name, self.properties, known)
    }

    fn required(&self, key: &str) -> Result<Value, SamError> {
        let found = self.properties.get(key).cloned();
        found.ok_or_else(|| self.wrong(&format!("Missing required property '{key}'.")))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.properties.get(key).and_then(|value| self.made.text(value))
    }

    fn put(&mut self, suffix: &str, kind: &str, properties: Value) {
        let resource = self.function.passed.resource(kind, properties);
        self.made.put(format!("{}{suffix}", self.id), resource);
    }

    fn permission(&mut self, principal: &str, key: &str, source: Value) {
        let properties = json!({
            "Action": "lambda:InvokeFunction",
            "FunctionName": self.function.reference(),
            "Principal": principal,
            key: source,
        });
        self.put("Permission", "AWS::Lambda::Permission", properties);
    }

    /// Copies properties that keep their names.
    fn copy(&self, into: &mut Value, keys: &[&str]) {
        for key in keys {
            if let Some(value) = self.properties.get(*key) {
                into[*key] = value.clone();
            }
        }
    }

    fn s3(&mut self) -> Result<(), SamError> {
        self.check(&["Bucket", "Events", "Filter"])?;
        let bucket = self.required("Bucket")?;
        let known = referenced(&bucket).map(String::from);
        let known = known
            .filter(|name| self.made.get_mut(name).is_some_and(|found| found["Type"] == "AWS::S3::Bucket"));
        let bucket =
            known.ok_or_else(|| self.wrong("S3 events must reference an S3 bucket in the same template."))?;
        let events = match self.required("Events")? {
            Value::Array(events) => events,
            one => vec![one],
        };
        self.permission("s3.amazonaws.com", "SourceAccount", json!({"Ref": "AWS::AccountId"}));
        let mut configurations = Vec::new();
        for event in events {
            let mut configuration = json!({"Function": self.function.arn(), "Event": event});
            self.copy(&mut configuration, &["Filter"]);
            if let Some(condition) = &self.function.passed.condition {
                configuration = json!({"Fn::If": [condition, configuration, {"Ref": "AWS::NoValue"}]});
            }
            configurations.push(configuration);
        }
        let (permission, condition) =
            (format!("{}Permission", self.id), self.function.passed.condition.clone());
        match self.made.get_mut(&bucket) {
            Some(bucket) => notify(bucket, configurations, &permission, condition).ok_or_else(|| {
                SamError::new(self.function.name, "The bucket's notifications or tags cannot be extended.")
            }),
            None => Ok(()),
        }
    }

    fn mapping(&mut self, source: &str, role: &str) -> Result<(), SamError> {
        let known: Vec<&str> = MAPPING.iter().copied().chain([source, "DestinationConfig"]).collect();
        self.check(&known)?;
        let arn = self.required(source)?;
        if source == "Stream" {
            self.required("StartingPosition")?;
        }
        let mut properties = json!({"EventSourceArn": arn, "FunctionName": self.function.reference()});
        self.copy(&mut properties, MAPPING);
        if let Some(wanted) =
            self.properties.get("DestinationConfig").and_then(|config| config.get("OnFailure"))
        {
            let target = wanted
                .get("Destination")
                .cloned()
                .ok_or_else(|| self.wrong("'Destination' is required in DestinationConfig.OnFailure."))?;
            let kind = wanted.get("Type").and_then(Value::as_str).unwrap_or("SQS");
            let action = if kind == "SNS" { "sns:publish" } else { "sqs:SendMessage" };
            self.function.policies.allow(format!("{}{kind}Policy", self.id), action, &target);
            properties["DestinationConfig"] = json!({"OnFailure": {"Destination": target}});
        }
        self.function.policies.manage(json!(crate::policies::arn(role)));
        self.put("", "AWS::Lambda::EventSourceMapping", properties);
        Ok(())
    }

    fn sns(&mut self) -> Result<(), SamError> {
        let kept = ["FilterPolicy", "FilterPolicyScope", "Region", "RedrivePolicy"];
        let known: Vec<&str> = kept.iter().copied().chain(["Topic", "SqsSubscription"]).collect();
        self.check(&known)?;
        let topic = self.required("Topic")?;
        let (protocol, endpoint) = match self.properties.get("SqsSubscription") {
            None | Some(Value::Bool(false)) => {
                self.permission("sns.amazonaws.com", "SourceArn", topic.clone());
                ("lambda", self.function.arn())
            }
            Some(wanted) => ("sqs", self.queue_between(&topic, wanted)),
        };
        let mut properties = json!({"Endpoint": endpoint, "Protocol": protocol, "TopicArn": topic});
        self.copy(&mut properties, &kept);
        self.put("", "AWS::SNS::Subscription", properties);
        Ok(())
    }

    /// A queue between topic and function; gives its ARN.
    fn queue_between(&mut self, topic: &Value, wanted: &Value) -> Value {
        let queue = format!("{}Queue", self.id);
        let (arn, url) = match (wanted.get("QueueArn"), wanted.get("QueueUrl")) {
            (Some(arn), Some(url)) => (arn.clone(), url.clone()),
            _ => {
                self.put("Queue", "AWS::SQS::Queue", json!({}));
                (get_att(&queue, "Arn"), json!({"Ref": queue}))
            }
        };
        let policy = queue_policy(json!("*"), &arn, topic.clone(), url);
        match wanted.get("QueuePolicyLogicalId").and_then(Value::as_str) {
            Some(name) => {
                let resource = self.function.passed.resource("AWS::SQS::QueuePolicy", policy);
                self.made.put(name, resource);
            }
            None => self.put("QueuePolicy", "AWS::SQS::QueuePolicy", policy),
        }
        let mapping = json!({
            "BatchSize": wanted.get("BatchSize").cloned().unwrap_or_else(|| json!(10)),
            "Enabled": wanted.get("Enabled").cloned().unwrap_or_else(|| json!(true)),
            "EventSourceArn": arn,
            "FunctionName": self.function.reference(),
        });
        self.function.policies.manage(json!(crate::policies::arn("AWSLambdaSQSQueueExecutionRole")));
        self.put("EventSourceMapping", "AWS::Lambda::EventSourceMapping", mapping);
        arn
    }

    fn schedule(&mut self) -> Result<(), SamError> {
        self.check(&[
            "Schedule",
            "Input",
            "Enabled",
            "State",
            "Name",
            "Description",
            "DeadLetterConfig",
            "RetryPolicy",
        ])?;
        let mut rule = json!({"ScheduleExpression": self.required("Schedule")?});
        self.copy(&mut rule, &["Name", "Description", "State"]);
        if let Some(enabled) = self.properties.get("Enabled") {
            let is_on = enabled == &Value::Bool(true) || enabled == "true";
            rule["State"] = json!(if is_on { "ENABLED" } else { "DISABLED" });
        }
        let mut target = json!({"Arn": self.function.arn(), "Id": format!("{}LambdaTarget", self.id)});
        self.copy(&mut target, &["Input", "RetryPolicy"]);
        self.dead_letters(&mut target, true)?;
        rule["Targets"] = json!([target]);
        self.put("", "AWS::Events::Rule", rule);
        self.permission("events.amazonaws.com", "SourceArn", get_att(&self.id, "Arn"));
        Ok(())
    }

    fn rule(&mut self, kind: &str) -> Result<(), SamError> {
        let input = ["Input", "InputPath", "InputTransformer", "RetryPolicy"];
        let own = ["Pattern", "EventBusName", "State", "Enabled", "Target", "DeadLetterConfig", "RuleName"];
        let known: Vec<&str> = own.into_iter().chain(input).collect();
        self.check(&known)?;
        if kind == "CloudWatchEvent" && self.properties.get("RuleName").is_some() {
            return Err(self.wrong("property RuleName not defined for resource of type CloudWatchEvent"));
        }
        let mut rule = json!({"EventPattern": self.required("Pattern")?});
        self.copy(&mut rule, &["EventBusName", "State"]);
        if let Some(name) = self.properties.get("RuleName") {
            rule["Name"] = name.clone();
        }
        if let Some(enabled) = self.properties.get("Enabled") {
            rule["State"] = json!(if enabled == &Value::Bool(true) { "ENABLED" } else { "DISABLED" });
        }
        let id = self.properties.get("Target").and_then(|target| target.get("Id")).cloned();
        let id = id.unwrap_or_else(|| json!(format!("{}LambdaTarget", self.id)));
        let mut target = json!({"Arn": self.function.arn(), "Id": id});
        self.copy(&mut target, &input);
        self.dead_letters(&mut target, true)?;
        rule["Targets"] = json!([target]);
        self.put("", "AWS::Events::Rule", rule);
        self.permission("events.amazonaws.com", "SourceArn", get_att(&self.id, "Arn"));
        Ok(())
    }

    /// The queue that undeliverable events go to; made where `Type: SQS` asks for one.
    fn dead_letters(&mut self, target: &mut Value, needs_policy: bool) -> Result<(), SamError> {
        let Some(config) = self.properties.get("DeadLetterConfig") else { return Ok(()) };
        if let Some(arn) = config.get("Arn") {
            target["DeadLetterConfig"] = json!({"Arn": arn});
            return Ok(());
        }
        if config.get("Type").is_none_or(|kind| kind != "SQS") {
            return Err(self
                .wrong("'Type' property should be 'SQS' or 'Arn' should be provided in DeadLetterConfig."));
        }
        let queue = config.get("QueueLogicalId").and_then(Value::as_str).map(String::from);
        let queue = queue.unwrap_or_else(|| format!("{}Queue", self.id));
        let resource = self.function.resource("AWS::SQS::Queue");
        self.made.put(&queue, resource);
        if needs_policy {
            let principal = json!({"Service": "events.amazonaws.com"});
            let rule = get_att(&self.id, "Arn");
            let policy = queue_policy(principal, &get_att(&queue, "Arn"), rule, json!({"Ref": queue}));
            self.put("QueuePolicy", "AWS::SQS::QueuePolicy", policy);
        }
        target["DeadLetterConfig"] = json!({"Arn": get_att(&queue, "Arn")});
        Ok(())
    }

    fn scheduler(&mut self) -> Result<(), SamError> {
        let kept = [
            "ScheduleExpression",
            "FlexibleTimeWindow",
            "Name",
            "State",
            "Description",
            "StartDate",
            "EndDate",
            "ScheduleExpressionTimezone",
            "GroupName",
            "KmsKeyArn",
        ];
        let own = ["Input", "RoleArn", "RetryPolicy", "DeadLetterConfig", "PermissionsBoundary", "OmitName"];
        let known: Vec<&str> = kept.into_iter().chain(own).collect();
        self.check(&known)?;
        let mut schedule = json!({"FlexibleTimeWindow": {"Mode": "OFF"}});
        if self.properties.get("OmitName") != Some(&Value::Bool(true)) {
            schedule["Name"] = json!(self.id);
        }
        self.copy(&mut schedule, &kept);
        schedule["ScheduleExpression"] = self.required("ScheduleExpression")?;
        let role = match self.properties.get("RoleArn") {
            Some(role) => role.clone(),
            None => self.scheduler_role(),
        };
        let mut target = json!({"Arn": self.function.arn(), "RoleArn": role});
        self.copy(&mut target, &["Input", "RetryPolicy"]);
        self.dead_letters(&mut target, false)?;
        schedule["Target"] = target;
        self.put("", "AWS::Scheduler::Schedule", schedule);
        Ok(())
    }

    fn scheduler_role(&mut self) -> Value {
        let statement =
            json!([{"Action": "lambda:InvokeFunction", "Effect": "Allow", "Resource": self.function.arn()}]);
        let mut policies = vec![
            json!({"PolicyName": format!("{}LambdaPolicy", self.id), "PolicyDocument": {"Statement": statement}}),
        ];
        if let Some(config) = self.properties.get("DeadLetterConfig") {
            let queue = config.get("QueueLogicalId").and_then(Value::as_str).map(String::from);
            let made = get_att(&queue.unwrap_or_else(|| format!("{}Queue", self.id)), "Arn");
            let arn = config.get("Arn").unwrap_or(&made);
            let statement = json!([{"Action": "sqs:SendMessage", "Effect": "Allow", "Resource": arn}]);
            policies.push(json!({"PolicyName": format!("{}SQSPolicy", self.id), "PolicyDocument": {"Statement": statement}}));
        }
        let mut role = json!({
            "AssumeRolePolicyDocument": trust_of("scheduler.amazonaws.com"),
            "Policies": policies,
        });
        self.copy(&mut role, &["PermissionsBoundary"]);
        if let Some(tags) = self.function.propagated() {
            role["Tags"] = tags;
        }
        self.put("Role", "AWS::IAM::Role", role);
        get_att(&format!("{}Role", self.id), "Arn")
    }

    fn logs(&mut self) -> Result<(), SamError> {
        self.check(&["LogGroupName", "FilterPattern"])?;
        let group = self.required("LogGroupName")?;
        let mut filter = json!({"LogGroupName": group, "DestinationArn": self.function.arn()});
        filter["FilterPattern"] = self.required("FilterPattern")?;
        let text = self.text("LogGroupName").map_or(group, Value::String);
        let arn = "arn:aws:logs:${AWS::Region}:${AWS::AccountId}:log-group:${__LogGroupName__}:*";
        self.permission(
            "logs.amazonaws.com",
            "SourceArn",
            json!({"Fn::Sub": [arn, {"__LogGroupName__": text}]}),
        );
        let mut resource = self.function.passed.resource("AWS::Logs::SubscriptionFilter", filter);
        resource["DependsOn"] = json!([format!("{}Permission", self.id)]);
        self.made.put(&self.id, resource);
        Ok(())
    }
}

fn queue_policy(principal: Value, queue: &Value, source: Value, url: Value) -> Value {
    json!({
        "PolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [{
                "Action": "sqs:SendMessage",
                "Effect": "Allow",
                "Principal": principal,
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": source}},
            }],
        },
        "Queues": [url],
    })
}

/// Puts notifications on a bucket of the template, which then waits for the permission. A permission that may not exist
/// cannot be waited for; a tag that refers to it under the same condition does instead.
fn notify(
    bucket: &mut Value,
    configurations: Vec<Value>,
    permission: &str,
    condition: Option<Value>,
) -> Option<()> {
    let members = bucket.as_object_mut()?;
    let properties = members.entry("Properties").or_insert_with(|| json!({})).as_object_mut()?;
    let notifications =
        properties.entry("NotificationConfiguration").or_insert_with(|| json!({})).as_object_mut()?;
    let functions =
        notifications.entry("LambdaConfigurations").or_insert_with(|| json!([])).as_array_mut()?;
    functions.extend(configurations);
    match condition {
        Some(condition) => {
            let tags = properties.entry("Tags").or_insert_with(|| json!([])).as_array_mut()?;
            tags.push(json!({
                "Key": format!("sam:ConditionalDependsOn:{permission}"),
                "Value": {"Fn::If": [condition, {"Ref": permission}, "no dependency"]},
            }));
        }
        None => wait_for(members, permission),
    }
    Some(())
}

fn wait_for(members: &mut Map<String, Value>, permission: &str) {
    let already = match members.remove("DependsOn") {
        Some(Value::Array(all)) => all,
        Some(Value::String(one)) => vec![Value::String(one)],
        _ => Vec::new(),
    };
    let all: Vec<Value> = already.into_iter().chain([json!(permission)]).collect();
    members.insert("DependsOn".into(), Value::Array(all));
}

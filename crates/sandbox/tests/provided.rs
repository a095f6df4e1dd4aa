//! `provided` functions: an executable `bootstrap` that speaks the Runtime API.

mod support;

use std::sync::Arc;

use serde_json::json;
use support::*;
use tidemill_sandbox::{FunctionSpec, Invocation};

/// A runtime in bash alone: one request a connection, answers `{"event": ..., "headers": ...}`. `$1` of the event chooses what else it does.
const BOOTSTRAP: &str = r#"#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API#*:}
base=/2018-06-01/runtime
post() {
  exec 5<>/dev/tcp/$host/$port
  printf 'POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s' "$1" "${#2}" "$3" "$2" >&5
  answer=$(cat <&5); exec 5>&-
}
[ "$_HANDLER" = init.fails ] && { post $base/init/error '{"errorType": "Mine", "errorMessage": "at init"}' $'Lambda-Runtime-Function-Error-Type: Runtime.Mine\r\n'; exit 1; }
echo started
while true; do
  exec 5<>/dev/tcp/$host/$port
  printf 'GET %s/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' $base >&5
  headers='' length=0
  while IFS= read -r line <&5; do
    line=${line%$'\r'}; [ -z "$line" ] && break
    case "${line,,}" in
      lambda-runtime-aws-request-id:*) id=${line#*: } ;;
      content-length:*) length=${line#*: } ;;
    esac
    case "${line,,}" in lambda-runtime-*) headers="$headers${line,,};" ;; esac
  done
  IFS= read -r -N "$length" event <&5; exec 5>&-
  echo "got $event"
  case "$event" in
    '"exit"') exit 7 ;;
    '"error"') post $base/invocation/$id/error '{"errorType": "Bad", "errorMessage": "as told", "stackTrace": []}' ;;
    '"wrong"') post $base/invocation/not-$id/response 1; wrong=${answer##*$'\n'}; post $base/invocation/$id/response "$wrong" ;;
    *) post $base/invocation/$id/response "{\"event\": $event, \"headers\": \"${headers//\"/\'}\"}" ;;
  esac
done
"#;

fn function(house: &House, name: &str) -> FunctionSpec {
    house.function(name, "provided.al2023", &[("bootstrap", BOOTSTRAP)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_is_served_invocations_with_their_headers() {
    let house = house().await;
    let function = Arc::new(function(&house, "echo"));
    let invocation = Invocation {
        trace_header: Some("Root=1-2-3".into()),
        client_context: Some("{}".into()),
        ..Invocation::new(ID, r#"{"n":1}"#)
    };
    let outcome = house.executor.invoke(&function, invocation).await.unwrap();
    let answer = success(&outcome);
    assert_eq!(answer["event"], json!({"n": 1}));
    let headers = answer["headers"].as_str().unwrap();
    for expected in [
        format!("lambda-runtime-aws-request-id: {ID};"),
        format!("lambda-runtime-invoked-function-arn: {};", function.arn.to_lowercase()),
        "lambda-runtime-trace-id: root=1-2-3;".into(),
        "lambda-runtime-client-context: {};".into(),
        "lambda-runtime-deadline-ms: 1".into(),
    ] {
        assert!(headers.contains(&expected), "{expected} in {headers}");
    }
    let again = house.invoke(&function, "2").await;
    assert!(!again.cold);
    assert_eq!(success(&again)["event"], json!(2));
    let lines = house.sink.after_reports("echo", 2).await;
    assert_eq!(lines[1], "started\n");
    assert!(lines.contains(&"got {\"n\":1}\n".to_owned()), "{lines:?}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_exits_and_wrong_ids_are_answered_as_lambda_does() {
    let house = house().await;
    let function = Arc::new(function(&house, "errors"));
    let outcome = house.invoke(&function, "\"error\"").await;
    assert_eq!(json(&outcome)["errorMessage"], "as told");
    assert_eq!(outcome.error_type.as_deref(), Some("Bad"));
    assert_eq!(
        success(&house.invoke(&function, "\"wrong\"").await),
        json!({"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"})
    );
    let outcome = house.invoke(&function, "\"exit\"").await;
    assert_eq!(
        json(&outcome),
        json!({"errorType": "Runtime.ExitError", "errorMessage": format!("RequestId: {ID} Error: Runtime exited with error: exit status 7")})
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_started_is_said_as_lambda_says_it() {
    let house = house().await;
    let mut fails = function(&house, "initfails");
    fails.handler = "init.fails".into();
    let outcome = house.invoke(&Arc::new(fails), "{}").await;
    assert_eq!(
        (json(&outcome)["errorMessage"].as_str(), outcome.error_type.as_deref()),
        (Some("at init"), Some("Runtime.Mine"))
    );
    let none = house.function("none", "provided.al2", &[("other", "")]);
    let message = format!(
        "RequestId: {ID} Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    );
    assert_eq!(
        json(&house.invoke(&Arc::new(none), "{}").await),
        json!({"errorType": "Runtime.InvalidEntrypoint", "errorMessage": message})
    );
    let garbage = house.function("garbage", "provided.al2", &[("bootstrap", "\0\0not a program")]);
    let message = format!("RequestId: {ID} Error: fork/exec /var/task/bootstrap: exec format error");
    assert_eq!(
        json(&house.invoke(&Arc::new(garbage), "{}").await),
        json!({"errorType": "Runtime.InvalidEntrypoint", "errorMessage": message})
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_may_bring_the_bootstrap() {
    let house = house().await;
    let mut function = house.function("layered", "provided", &[("data", "")]);
    function.layers =
        vec![house.folder("runtime", &[("bootstrap", BOOTSTRAP)]), house.folder("more", &[("lib/x", "")])];
    assert_eq!(success(&house.invoke(&Arc::new(function), "1").await)["event"], json!(1));
    house.close().await;
}

//! Node.js functions see what they see on Lambda: modules of both kinds, the context, callbacks, console lines, errors.

mod support;

use std::sync::Arc;

use serde_json::json;
use support::*;
use tidemill_sandbox::{FunctionSpec, Invocation};

const RUNTIME: &str = "nodejs20.x";

fn function(house: &House, name: &str, files: &[(&str, &str)]) -> FunctionSpec {
    house.function(name, RUNTIME, files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_every_kind_answer() {
    let house = house().await;
    if !available(&house, RUNTIME).await {
        return;
    }
    let cases: [(&str, &[(&str, &str)]); 7] = [
        ("async", &[("app.js", "exports.handler = async (event) => ({ got: event });")]),
        (
            "callback",
            &[(
                "app.js",
                "exports.handler = (event, context, callback) => setTimeout(() => callback(null, { got: event }), 5);",
            )],
        ),
        (
            "done",
            &[(
                "app.js",
                "exports.handler = (event, context) => { setTimeout(() => context.succeed({ got: event }), 5); };",
            )],
        ),
        ("module", &[("app.mjs", "export const handler = async (event) => ({ got: event });")]),
        (
            "typed",
            &[
                ("app.js", "export const handler = async (event) => ({ got: event });"),
                ("package.json", r#"{"type": "module"}"#),
            ],
        ),
        (
            "cjs",
            &[
                ("app.cjs", "exports.handler = async (event) => ({ got: event });"),
                ("package.json", r#"{"type": "module"}"#),
            ],
        ),
        (
            "packed",
            &[
                ("app.js", "const m = require('mine'); exports.handler = async (event) => m(event);"),
                ("node_modules/mine/index.js", "module.exports = (event) => ({ got: event });"),
            ],
        ),
    ];
    for (name, files) in cases {
        let function = Arc::new(function(&house, name, files));
        for event in [json!({"n": 1}), json!("é")] {
            assert_eq!(
                success(&house.invoke(&function, &event.to_string()).await),
                json!({ "got": event }),
                "{name}"
            );
        }
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_and_the_environment_are_lambdas() {
    let house = house().await;
    if !available(&house, RUNTIME).await {
        return;
    }
    let code = "exports.handler = async (event, context) => ({ context, remaining: context.getRemainingTimeInMillis(), env: process.env, cwd: process.cwd(), zone: new Date().getTimezoneOffset() });";
    let mut spec = function(&house, "context", &[("app.js", code)]);
    spec.env.insert("MINE".into(), "yes".into());
    let function = Arc::new(spec);
    let invocation = Invocation {
        client_context: Some(r#"{"custom": {"k": "v"}}"#.into()),
        trace_header: Some("Root=1-5759e988-bd862e3fe1be46a994272793".into()),
        ..Invocation::new(ID, "{}")
    };
    let outcome = house.executor.invoke(&function, invocation).await.unwrap();
    let answer = success(&outcome);
    assert_eq!(
        answer["context"],
        json!({
            "callbackWaitsForEmptyEventLoop": true, "functionVersion": "$LATEST", "functionName": "context", "memoryLimitInMB": "256",
            "logGroupName": "/aws/lambda/context", "logStreamName": outcome.log_stream, "clientContext": {"custom": {"k": "v"}},
            "invokedFunctionArn": function.arn, "awsRequestId": ID,
        })
    );
    assert!((1..=10_000).contains(&answer["remaining"].as_i64().unwrap()));
    let env = &answer["env"];
    assert_eq!(
        (&env["MINE"], &env["_X_AMZN_TRACE_ID"]),
        (&json!("yes"), &json!("Root=1-5759e988-bd862e3fe1be46a994272793"))
    );
    assert_eq!(env["AWS_EXECUTION_ENV"], "AWS_Lambda_nodejs20.x");
    assert_eq!(
        env["NODE_PATH"],
        "/opt/nodejs/node20/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
    );
    assert!(env["HOME"].is_null() && env["CARGO"].is_null());
    assert_eq!((&answer["cwd"], &answer["zone"]), (&json!("/var/task"), &json!(0)));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn console_lines_have_time_request_id_and_level() {
    let house = house().await;
    if !available(&house, RUNTIME).await {
        return;
    }
    let code = "exports.handler = async () => { console.log('a %s', 'b', { c: 1 }); console.warn('two\\nlines'); process.stdout.write('plain\\n'); console.error('e'); };";
    let function = Arc::new(function(&house, "console", &[("app.js", code)]));
    let outcome = house.invoke(&function, "{}").await;
    assert_eq!(success(&outcome), json!(null));
    let lines = house.sink.after_reports("console", 1).await;
    let of = |level: &str| {
        lines
            .iter()
            .find(|line| line.contains(&format!("\t{ID}\t{level}\t")))
            .unwrap_or_else(|| panic!("{level}: {lines:?}"))
    };
    assert!(of("INFO").ends_with("Z\t8f507cfc-3c8a-4a0f-9d1c-0123456789ab\tINFO\ta b { c: 1 }\n"));
    assert!(of("WARN").ends_with("\tWARN\ttwo\nlines\n"));
    assert!(of("ERROR").ends_with("\tERROR\te\n"));
    assert!(lines.contains(&"plain\n".to_owned()));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_lambdas_types_and_words() {
    let house = house().await;
    if !available(&house, RUNTIME).await {
        return;
    }
    let cases = [
        (
            "throws",
            "exports.handler = async () => { throw new TypeError('no good'); };",
            "TypeError",
            "no good",
            false,
        ),
        (
            "fails",
            "exports.handler = (e, c, callback) => callback(new RangeError('failed'));",
            "RangeError",
            "failed",
            false,
        ),
        (
            "text",
            "exports.handler = (e, c, callback) => callback('just text');",
            "string",
            "just text",
            false,
        ),
        (
            "missing",
            "exports.other = 1;",
            "Runtime.HandlerNotFound",
            "app.handler is undefined or not exported",
            true,
        ),
        (
            "syntax",
            "exports.handler = (;",
            "Runtime.UserCodeSyntaxError",
            "SyntaxError: Unexpected token ';'",
            true,
        ),
        ("init", "throw new Error('at init');", "Error", "at init", true),
        (
            "rejects",
            "exports.handler = () => { Promise.reject(new Error('lost')); return new Promise(() => setTimeout(() => {}, 1000)); };",
            "Runtime.UnhandledPromiseRejection",
            "Error: lost",
            false,
        ),
        (
            "uncaught",
            "exports.handler = () => new Promise(() => setTimeout(() => { throw new Error('late'); }, 1));",
            "Error",
            "late",
            false,
        ),
    ];
    for (name, code, kind, message, at_init) in cases {
        let function = Arc::new(function(&house, name, &[("app.js", code)]));
        let outcome = house.invoke(&function, "{}").await;
        let answer = json(&outcome);
        assert_eq!(
            (answer["errorType"].as_str(), answer["errorMessage"].as_str()),
            (Some(kind), Some(message)),
            "{name}: {}",
            tail(&outcome)
        );
        assert!(answer["trace"].is_array(), "{name}: {answer}");
        assert_eq!(tail(&outcome).contains("INIT_REPORT"), at_init, "{name}: {}", tail(&outcome));
        assert!(tail(&outcome).contains("\tERROR\t"), "{name}: {}", tail(&outcome));
    }
    let outcome =
        house.invoke(&Arc::new(function(&house, "import", &[("app.js", "require('nothere');")])), "{}").await;
    let answer = json(&outcome);
    assert_eq!(answer["errorType"], "Runtime.ImportModuleError");
    assert!(
        answer["errorMessage"]
            .as_str()
            .unwrap()
            .starts_with("Error: Cannot find module 'nothere'\nRequire stack:\n- /var/task/app.js"),
        "{answer}"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_waits_for_the_event_loop_unless_told_otherwise() {
    let house = house().await;
    if !available(&house, RUNTIME).await {
        return;
    }
    let code = "let ended = false; exports.handler = (event, context, callback) => { context.callbackWaitsForEmptyEventLoop = event.waits; const before = ended; setTimeout(() => { ended = true; }, 50); callback(null, before); };";
    let function = Arc::new(function(&house, "waits", &[("app.js", code)]));
    let waited = house.invoke(&function, r#"{"waits": true}"#).await;
    assert_eq!(success(&waited), json!(false));
    assert!(waited.duration.as_millis() >= 50, "{:?}", waited.duration);
    assert_eq!(success(&house.invoke(&function, r#"{"waits": false}"#).await), json!(true));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exiting_ends_the_sandbox_and_never_answering_gives_null() {
    let house = house().await;
    if !available(&house, RUNTIME).await {
        return;
    }
    let function = Arc::new(function(
        &house,
        "exits",
        &[("app.js", "exports.handler = (event) => { if (event.exit) process.exit(3); };")],
    ));
    assert_eq!(success(&house.invoke(&function, "{}").await), json!(null));
    let outcome = house.invoke(&function, r#"{"exit": true}"#).await;
    assert_eq!(
        json(&outcome),
        json!({"errorType": "Runtime.ExitError", "errorMessage": format!("RequestId: {ID} Error: Runtime exited with error: exit status 3")})
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_options_and_layers_reach_the_function() {
    let house = house().await;
    if !available(&house, RUNTIME).await {
        return;
    }
    let mut spec = function(
        &house,
        "options",
        &[(
            "app.js",
            "exports.handler = async () => [process.execArgv.length, require('v8').getHeapStatistics().heap_size_limit < 200e6, require('layered')];",
        )],
    );
    spec.env.insert("NODE_OPTIONS".into(), "--max-old-space-size=100".into());
    spec.layers.push(
        house.folder(
            "layer",
            &[("nodejs/node_modules/layered/index.js", "module.exports = 'from the layer';")],
        ),
    );
    assert_eq!(success(&house.invoke(&Arc::new(spec), "{}").await), json!([0, true, "from the layer"]));
    house.close().await;
}

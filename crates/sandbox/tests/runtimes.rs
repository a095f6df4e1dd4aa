//! Finding interpreters, and installing SDKs (only when asked for: that test needs the package registries).

mod support;

use std::sync::Arc;

use serde_json::json;
use support::*;
use tidemill_sandbox::runtimes::{Kind, PrepareError, detect, prepare};

#[test]
fn interpreters_are_found_with_their_versions() {
    let found = detect(None).interpreters;
    for interpreter in &found {
        assert!(interpreter.path.is_file(), "{interpreter:?}");
        let prefix = if interpreter.kind == Kind::Python { "python3." } else { "nodejs" };
        assert!(interpreter.runtime.starts_with(prefix), "{interpreter:?}");
        assert_eq!(
            interpreter.sdk.is_none(),
            interpreter.missing.iter().any(|text| text.contains("doctor --install")),
            "{interpreter:?}"
        );
    }
    assert!(found.iter().any(|interpreter| interpreter.kind == Kind::Python), "the tests need a Python");
}

#[test]
fn preparing_for_a_missing_interpreter_is_refused() {
    let refused = prepare("python3.99", std::path::Path::new("/nonexistent"), &mut |_| {});
    assert!(matches!(refused, Err(PrepareError::NoInterpreter(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "installs from npm and PyPI"]
async fn prepared_sdks_are_what_functions_import() {
    let dir =
        std::env::var_os("PREPARE_INTO").map_or_else(|| tempfile::tempdir().unwrap().keep(), Into::into);
    for runtime in ["nodejs20.x", "python3.11"] {
        prepare(runtime, &dir, &mut |line| println!("{line}")).unwrap();
        // Complete installations are left alone.
        prepare(runtime, &dir, &mut |line| panic!("installed again: {line}")).unwrap();
    }
    let into = dir.clone();
    let house = house_with(|config| config.runtimes_dir = Some(into)).await;
    let required = house.function("required", "nodejs20.x", &[("app.js", "const { S3Client } = require('@aws-sdk/client-s3'); exports.handler = async () => typeof S3Client;")]);
    assert_eq!(success(&house.invoke(&Arc::new(required), "{}").await), json!("function"));
    let imported = house.function("imported", "nodejs20.x", &[("app.mjs", "import { SQSClient } from '@aws-sdk/client-sqs'; export const handler = async () => typeof SQSClient;")]);
    assert_eq!(success(&house.invoke(&Arc::new(imported), "{}").await), json!("function"));
    let packed = house.function(
        "packed",
        "nodejs20.x",
        &[
            ("app.js", "exports.handler = async () => require('@aws-sdk/client-s3');"),
            ("node_modules/@aws-sdk/client-s3/index.js", "module.exports = 'packed';"),
        ],
    );
    assert_eq!(success(&house.invoke(&Arc::new(packed), "{}").await), json!("packed"));
    let mut layered = house.function("layered", "nodejs20.x", &[("app.js", "exports.handler = async () => [require('@aws-sdk/client-s3'), typeof require('@aws-sdk/client-sns').SNSClient];")]);
    layered.layers.push(house.folder(
        "layer",
        &[("nodejs/node_modules/@aws-sdk/client-s3/index.js", "module.exports = 'layered';")],
    ));
    assert_eq!(success(&house.invoke(&Arc::new(layered), "{}").await), json!(["layered", "function"]));
    let python = house.python("python", "import boto3, sys\ndef handler(event, context):\n    return [boto3.__file__, any('site-packages' in p for p in sys.path if not p.startswith('/opt'))]\n");
    assert_eq!(
        success(&house.invoke(&Arc::new(python), "{}").await),
        json!(["/var/runtime/python/boto3/__init__.py", false])
    );
    house.close().await;
}

//! Python functions see what they see on Lambda: context, environment, logging, errors.

mod support;

use std::sync::Arc;

use serde_json::json;
use support::*;
use tidemill_sandbox::Invocation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_python_of_this_machine_runs_functions() {
    let house = house().await;
    for runtime in ["python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14"] {
        if !available(&house, runtime).await {
            continue;
        }
        let code = "import sys\ndef handler(event, context):\n    return {'event': event, 'version': 'python%d.%d' % sys.version_info[:2], 'prefix': sys.prefix}\n";
        let function = Arc::new(house.function(&runtime.replace('.', ""), runtime, &[("app.py", code)]));
        let cold = house.invoke(&function, r#"{"a": "é\u0000"}"#).await;
        let answer = success(&cold);
        assert_eq!(answer["event"], json!({"a": "é\0"}));
        assert_eq!(answer["version"], runtime);
        assert!(cold.cold && cold.init.is_some());
        let warm = house.invoke(&function, "{}").await;
        assert!(!warm.cold && warm.init.is_none());
        assert_eq!(warm.log_stream, cold.log_stream);
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_has_every_member() {
    let house = house().await;
    let code = "
def handler(event, context):
    return {
        'name': context.function_name, 'version': context.function_version, 'arn': context.invoked_function_arn,
        'memory': context.memory_limit_in_mb, 'id': context.aws_request_id, 'group': context.log_group_name,
        'stream': context.log_stream_name, 'remaining': context.get_remaining_time_in_millis(),
        'identity': context.identity.cognito_identity_id, 'pool': context.identity.cognito_identity_pool_id,
        'custom': context.client_context.custom, 'title': context.client_context.client.app_title, 'repr': repr(context)[:15],
    }
";
    let function = Arc::new(house.python("context", code));
    let invocation = Invocation {
        invoked_arn: Some(format!("{}:prod", function.arn)),
        client_context: Some(r#"{"custom": {"k": "v"}, "client": {"app_title": "t"}, "env": {}}"#.into()),
        cognito_identity: Some(r#"{"cognitoIdentityId": "who", "cognitoIdentityPoolId": "pool"}"#.into()),
        ..Invocation::new(ID, "{}")
    };
    let outcome = house.executor.invoke(&function, invocation).await.unwrap();
    let mut answer = success(&outcome);
    let remaining = answer["remaining"].take().as_u64().unwrap();
    assert!((1..=10_000).contains(&remaining), "{remaining}");
    assert_eq!(
        answer,
        json!({
            "name": "context", "version": "$LATEST", "arn": "arn:aws:lambda:us-east-1:000000000000:function:context:prod", "memory": "256", "id": ID,
            "group": "/aws/lambda/context", "stream": outcome.log_stream, "remaining": null, "identity": "who", "pool": "pool",
            "custom": {"k": "v"}, "title": "t", "repr": "LambdaContext([",
        })
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_is_lambdas_and_nothing_of_the_hosts() {
    let house = house().await;
    let mut function = house.python("environment", "import os, sys, time\ndef handler(event, context):\n    return {'env': dict(os.environ), 'cwd': os.getcwd(), 'path': sys.path[:4], 'zone': time.tzname[0], 'argv': sys.argv}\n");
    function.env.insert("MINE".into(), "yes".into());
    function.env.insert("AWS_REGION".into(), "mars".into());
    let function = Arc::new(function);
    let invocation = Invocation {
        trace_header: Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1".into()),
        ..Invocation::new(ID, "{}")
    };
    let outcome = house.executor.invoke(&function, invocation).await.unwrap();
    let answer = success(&outcome);
    let env = &answer["env"];
    for (name, value) in [
        ("MINE", "yes"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_LAMBDA_FUNCTION_NAME", "environment"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/environment"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", &outcome.log_stream),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
        ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
        ("_HANDLER", "app.handler"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        ("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    for name in ["HOME", "USER", "CARGO", "TIDEMILL_SDK", "TIDEMILL_SECCOMP", "AWS_CONFIG_FILE"] {
        assert!(env[name].is_null(), "{name}");
    }
    assert_eq!(answer["cwd"], "/var/task");
    assert_eq!(answer["zone"], "UTC");
    assert_eq!(
        answer["path"],
        json!(["/var/task", "/opt/python/lib/python3.11/site-packages", "/opt/python", "/var/runtime"])
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_lines_are_those_of_lambda() {
    let house = house().await;
    let code = "
import logging, sys
logging.getLogger().setLevel(logging.INFO)
print('at init')
def handler(event, context):
    print('one')
    logging.getLogger('mine').info('two\\nlines')
    print('three', file=sys.stderr)
    logging.debug('not shown')
    sys.stdout.write('no newline')
    return 1
";
    let function = Arc::new(house.python("logs", code));
    let outcome = house.invoke(&function, "{}").await;
    let lines = house.sink.after_reports("logs", 1).await;
    assert!(lines[0].starts_with("INIT_START Runtime Version: python:3.11."), "{lines:?}");
    assert_eq!(lines[1], "at init\n");
    assert_eq!(lines[2], format!("START RequestId: {ID} Version: $LATEST\n"));
    assert_eq!(lines[3], "one\n");
    assert!(
        lines[4].starts_with("[INFO]\t20") && lines[4].ends_with(&format!("Z\t{ID}\ttwo\nlines\n")),
        "{:?}",
        lines[4]
    );
    assert_eq!(lines[5], "three\n");
    assert_eq!(lines[6], "no newline");
    assert_eq!(lines[7], format!("END RequestId: {ID}\n"));
    assert!(lines[8].starts_with(&format!("REPORT RequestId: {ID}\tDuration: ")), "{:?}", lines[8]);
    assert!(
        lines[8].contains("\tMemory Size: 256 MB\tMax Memory Used: ")
            && lines[8].contains("\tInit Duration: "),
        "{:?}",
        lines[8]
    );
    assert_eq!(lines.len(), 9);
    assert_eq!(tail(&outcome), lines.concat());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_error_is_answered_and_logged() {
    let house = house().await;
    let function = Arc::new(house.python(
        "raises",
        "def inner():\n    raise ValueError('no good')\ndef handler(event, context):\n    inner()\n",
    ));
    let outcome = house.invoke(&function, "{}").await;
    assert_eq!(outcome.function_error.unwrap().as_str(), "Unhandled");
    assert_eq!(
        json(&outcome),
        json!({
            "errorMessage": "no good", "errorType": "ValueError", "requestId": ID,
            "stackTrace": ["  File \"/var/task/app.py\", line 4, in handler\n    inner()\n", "  File \"/var/task/app.py\", line 2, in inner\n    raise ValueError('no good')\n"],
        })
    );
    // The log indents with no-break spaces.
    let expected = "[ERROR] ValueError: no good\nTraceback (most recent call last):\n  File \"/var/task/app.py\", line 4, in handler\n    inner()\n  File \"/var/task/app.py\", line 2, in inner\n    raise ValueError('no good')\n".replace("  ", "\u{a0}\u{a0}");
    assert!(house.sink.after_reports("raises", 1).await.contains(&expected));
    // The sandbox lives on, as on Lambda.
    assert!(!house.invoke(&function, "{}").await.cold);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_init_phase_have_lambdas_types_and_words() {
    let house = house().await;
    let cases = [
        (
            "importmodule",
            "app.handler",
            "import nothere\n",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothere'",
        ),
        (
            "nomodule",
            "other.handler",
            "",
            "Runtime.ImportModuleError",
            "Unable to import module 'other': No module named 'other'",
        ),
        (
            "nohandler",
            "app.missing",
            "",
            "Runtime.HandlerNotFound",
            "Handler 'missing' missing on module 'app'",
        ),
        (
            "malformed",
            "app",
            "",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "syntax",
            "app.handler",
            "def broken(:\n",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': invalid syntax (app.py, line 1)",
        ),
        ("initraises", "app.handler", "raise KeyError('x')\n", "KeyError", "'x'"),
    ];
    for (name, handler, code, kind, message) in cases {
        let mut function = house.python(name, code);
        function.handler = handler.into();
        let outcome = house.invoke(&Arc::new(function), "{}").await;
        let answer = json(&outcome);
        assert_eq!(
            (answer["errorType"].as_str(), answer["errorMessage"].as_str()),
            (Some(kind), Some(message)),
            "{name}"
        );
        assert_eq!(outcome.error_type.as_deref(), Some(kind));
        let log = tail(&outcome);
        assert!(log.contains(&format!("[ERROR] {kind}: {message}")), "{log}");
        assert!(
            log.contains("INIT_REPORT Init Duration: ")
                && log.contains(&format!("Phase: init\tStatus: error\tError Type: {kind}")),
            "{log}"
        );
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_json_cannot_hold_is_a_marshal_error() {
    let house = house().await;
    let function = Arc::new(house.python("marshal", "def handler(event, context):\n    return {'n': {1}}\n"));
    let answer = json(&house.invoke(&function, "{}").await);
    assert_eq!(answer["errorType"], "Runtime.MarshalError");
    assert_eq!(
        answer["errorMessage"],
        "Unable to marshal response: Object of type set is not JSON serializable"
    );
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exiting_inside_the_handler_is_an_exit_error_and_the_next_start_is_cold() {
    let house = house().await;
    let function = Arc::new(house.python("exits", "import os, sys\ndef handler(event, context):\n    if event['how'] == 'kill':\n        os.kill(os.getpid(), 11)\n    sys.exit(event['how'])\n"));
    for (event, message) in [
        (r#"{"how": 1}"#, "Runtime exited with error: exit status 1"),
        (r#"{"how": 0}"#, "Runtime exited without providing a reason"),
        (r#"{"how": "kill"}"#, "Runtime exited with error: signal: segmentation fault"),
    ] {
        let outcome = house.invoke(&function, event).await;
        assert!(outcome.cold);
        assert_eq!(
            json(&outcome),
            json!({"errorType": "Runtime.ExitError", "errorMessage": format!("RequestId: {ID} Error: {message}")})
        );
        assert!(
            tail(&outcome).contains(&format!(
                "RequestId: {ID} Error: {message}\nRuntime.ExitError\nEND RequestId: {ID}\n"
            )),
            "{}",
            tail(&outcome)
        );
        assert!(tail(&outcome).contains("\tStatus: error\tError Type: Runtime.ExitError\t\n"));
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_in_folders_and_layers_are_found() {
    let house = house().await;
    let mut function = house.function(
        "nested",
        "python3.11",
        &[
            (
                "src/pkg/main.py",
                "import one, two\ndef run(event, context):\n    return [one.NAME, two.NAME]\n",
            ),
            ("src/__init__.py", ""),
        ],
    );
    function.handler = "src/pkg/main.run".into();
    let first =
        house.folder("layer1", &[("python/one.py", "NAME = 'first'"), ("python/two.py", "NAME = 'first'")]);
    let second = house.folder("layer2", &[("python/two.py", "NAME = 'second'")]);
    function.layers = vec![first, second];
    assert_eq!(success(&house.invoke(&Arc::new(function), "{}").await), json!(["first", "second"]));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_is_there_and_a_packed_one_wins() {
    let house = house().await;
    let code = "import boto3\nclient = boto3.client('s3')\ndef handler(event, context):\n    return [client.meta.endpoint_url, client.meta.region_name, client._request_signer._credentials.access_key, boto3.Session().client('sqs').meta.endpoint_url]\n";
    let function = Arc::new(house.python("sdk", code));
    assert_eq!(
        success(&house.invoke(&function, "{}").await),
        json!(["http://127.0.0.1:4566", "us-east-1", "AKIDTEST", "http://127.0.0.1:4566"])
    );
    let packed = house.function(
        "packed",
        "python3.11",
        &[
            ("app.py", "import boto3\ndef handler(event, context):\n    return boto3.MINE\n"),
            ("boto3/__init__.py", "MINE = 'packed'\n"),
        ],
    );
    assert_eq!(success(&house.invoke(&Arc::new(packed), "{}").await), json!("packed"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_of_one_interpreter_do_not_share_randomness() {
    let house = house().await;
    let code = "import random, uuid, secrets, ssl\nA = [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex(8), ssl.RAND_bytes(8).hex()]\ndef handler(event, context):\n    return A\n";
    let mut seen = std::collections::HashSet::new();
    for round in 0..3 {
        let function = Arc::new(house.python(&format!("random{round}"), code));
        for value in success(&house.invoke(&function, "{}").await).as_array().unwrap() {
            assert!(seen.insert(value.to_string()), "{value}");
        }
    }
    house.close().await;
}

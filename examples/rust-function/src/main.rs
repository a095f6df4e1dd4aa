//! A function in Rust on `provided.al2023`: adds numbers up and says who called. `{"stream": n}` gets an answer in n pieces,
//! `{"fail": "why"}` an error.

use lambda_runtime::{
    Error, FunctionResponse, LambdaEvent, run, service_fn,
    streaming::{Body, Response, channel},
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    numbers: Vec<i64>,
    #[serde(default)]
    stream: usize,
    fail: Option<String>,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
    request_id: String,
    function: String,
    memory_mb: i32,
    arn: String,
    deadline_ahead: bool,
    traced: bool,
    greeting: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Request>) -> Result<FunctionResponse<Sum, Body>, Error> {
    let (request, context) = event.into_parts();
    println!("adding {} numbers", request.numbers.len());
    if let Some(why) = request.fail {
        return Err(why.into());
    }
    if request.stream > 0 {
        return Ok(FunctionResponse::StreamingResponse(Response::from(in_pieces(request.stream))));
    }
    Ok(FunctionResponse::BufferedResponse(Sum {
        sum: request.numbers.iter().sum(),
        deadline_ahead: context.deadline > 0,
        traced: context.xray_trace_id.is_some(),
        request_id: context.request_id,
        function: context.env_config.function_name.clone(),
        memory_mb: context.env_config.memory,
        arn: context.invoked_function_arn,
        greeting: std::env::var("GREETING").ok(),
    }))
}

fn in_pieces(count: usize) -> Body {
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        for number in 1..=count {
            if sender.send_data(format!("piece {number}\n").into()).await.is_err() {
                return;
            }
        }
    });
    body
}

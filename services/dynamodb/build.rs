//! Types from both contracts.

fn main() {
    tidemill_codegen::build("dynamodb");
    tidemill_codegen::build_into("dynamodbstreams", "streams_api.rs");
}

//! Cases that do not apply to a server, or that botocore itself passes over, each with the reason.

/// Why a case is expected to fail; `None` when it must pass.
pub fn reason(file: &str, side: &str, id: &str) -> Option<&'static str> {
    let found = EXEMPT.iter().find(|(in_file, on_side, ids, _)| {
        *on_side == side && ids.contains(&id) && (*in_file == file || in_file.is_empty())
    });
    found.map(|(_, _, _, reason)| *reason)
}

/// File (empty: any), side, cases, reason.
const EXEMPT: &[(&str, &str, &[&str], &str)] = &[
    (
        "",
        "input",
        &[
            "SDKAppliedContentEncoding_awsJson1_0",
            "SDKAppliedContentEncoding_awsJson1_1",
            "SDKAppliedContentEncoding_awsQuery",
            "SDKAppliedContentEncoding_restJson1",
            "SDKAppliedContentEncoding_restXml",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1",
            "SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsQuery",
            "SDKAppendedGzipAfterProvidedEncoding_restJson1",
            "SDKAppendedGzipAfterProvidedEncoding_restXml",
        ],
        "the case holds no body; content encodings are undone before the codec",
    ),
    (
        "",
        "input",
        &["AwsJson10EndpointTrait", "AwsJson10EndpointTraitWithHostLabel"],
        "about the host a client calls: the request holds neither target nor body",
    ),
    (
        "",
        "input",
        &["AwsJson10HostWithPath", "RestJsonHostWithPath"],
        "the client's endpoint has a path of its own in front",
    ),
    (
        "",
        "input",
        &[
            "QueryProtocolIdempotencyTokenAutoFill",
            "RestJsonQueryIdempotencyTokenAutoFill",
            "QueryIdempotencyTokenAutoFill",
        ],
        "the client fills in a token that the parameters lack",
    ),
    (
        "",
        "input",
        &[
            "QueryEmptyQueryMaps",
            "RestJsonHttpPrefixHeadersAreNotPresent",
            "HttpPrefixHeadersAreNotPresent",
            "RestJsonOmitsEmptyListQueryValues",
        ],
        "an empty collection is not sent, so it reads as absent",
    ),
    (
        "",
        "input",
        &["RestJsonHttpWithEmptyStructurePayload", "RestJsonHttpWithHeadersButNoPayload"],
        "an absent payload is sent as an empty object, so it reads as one",
    ),
    (
        "",
        "input",
        &["RestJsonQueryPrecedence", "RestXmlQueryPrecedence"],
        "the client drops a parameter that the path's own member overrides",
    ),
    (
        "",
        "input",
        &["RestJsonQueryParamsStringListMap", "RestXmlQueryParamsStringListMap"],
        "a server's map of parameters holds those bound to members too",
    ),
    (
        "rest-xml",
        "input",
        &[
            "AllQueryStringTypes",
            "RestXmlQueryStringEscaping",
            "RestXmlSupportsNaNFloatQueryValues",
            "RestXmlSupportsInfinityFloatQueryValues",
            "RestXmlSupportsNegativeInfinityFloatQueryValues",
            "RestXmlZeroAndFalseQueryValues",
        ],
        "a server's map of parameters holds those bound to members too",
    ),
    (
        "",
        "output",
        &["AwsJson11IntEnums", "parses_the_request_id_from_the_response"],
        "the case wants a header of its own making",
    ),
    (
        "",
        "output",
        &[
            "RestJsonFooErrorUsingXAmznErrorTypeWithUri",
            "RestJsonFooErrorUsingXAmznErrorTypeWithUriAndNamespace",
        ],
        "longer forms of the error's name that clients must put up with",
    ),
    (
        "",
        "output",
        &[
            "AwsJson10FooErrorUsingXAmznErrorType",
            "AwsJson10FooErrorUsingXAmznErrorTypeWithUri",
            "AwsJson10FooErrorUsingXAmznErrorTypeWithUriAndNamespace",
            "AwsJson11FooErrorUsingXAmznErrorType",
            "AwsJson11FooErrorUsingXAmznErrorTypeWithUri",
            "AwsJson11FooErrorUsingXAmznErrorTypeWithUriAndNamespace",
        ],
        "other places for the error's name; awsJson has it in the body",
    ),
    (
        "",
        "output",
        &["QueryCompatibleAwsJson10CustomCodeError", "QueryCompatibleRpcV2CborCustomCodeError"],
        "the status is that of the model, which the case contradicts",
    ),
    (
        "",
        "output",
        &["HttpPrefixHeadersResponse"],
        "the empty prefix catches the request id, which every answer of ours carries",
    ),
    (
        "",
        "output",
        &["NoOutputClientAllowsEmptyCbor", "NoOutputClientAllowsEmptyBody"],
        "a body where there is no output: clients put up with it, we do not send it",
    ),
    ("", "output", &["RpcV2CborPayloadWithUnsetUnion"], "lengths are written by the HTTP server"),
    ("", "output", &["RestXmlHttpResponseCode"], "a content type for a body that is empty"),
    (
        "",
        "output",
        &[
            "QueryComplexError",
            "QueryXmlLists",
            "XmlLists",
            "BodyWithXmlName",
            "RestJsonHttpPayloadTraitsWithNoBlobBody",
            "HttpPayloadTraitsWithNoBlobBody",
            "RestJsonHttpPayloadWithUnsetUnion",
            "RestXmlHttpPayloadWithUnsetUnion",
            "RestJsonInputAndOutputWithQuotedStringHeaders",
            "RestJsonInputAndOutputWithTimestampHeaders",
            "InputAndOutputWithTimestampHeaders",
            "MediaTypeHeaderOutputBase64",
        ],
        "botocore's parser fails here too (its protocol-tests-ignore-list.json)",
    ),
];

package com.amazonaws.services.lambda.runtime;

/** What a handler may know of its invocation, its function and where it runs. */
public interface Context {
    String getAwsRequestId();

    String getLogGroupName();

    String getLogStreamName();

    String getFunctionName();

    String getFunctionVersion();

    String getInvokedFunctionArn();

    /** {@code null} unless an identity was given. */
    CognitoIdentity getIdentity();

    /** {@code null} unless the client sent one. */
    ClientContext getClientContext();

    /** Milliseconds left until the invocation times out. */
    int getRemainingTimeInMillis();

    /** The function's memory size in MB. */
    int getMemoryLimitInMB();

    LambdaLogger getLogger();

    default String getTenantId() {
        return null;
    }

    default String getXrayTraceId() {
        return null;
    }
}

package com.amazonaws.services.lambda.runtime;

/** The logger, for code that has no {@link Context} at hand. */
public final class LambdaRuntime {
    private LambdaRuntime() {}

    public static LambdaLogger getLogger() {
        return tidemill.runtime.FunctionLog.shared();
    }
}

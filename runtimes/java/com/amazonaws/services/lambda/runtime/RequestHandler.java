package com.amazonaws.services.lambda.runtime;

/** A handler of events of type {@code I} that answers with {@code O}. */
public interface RequestHandler<I, O> {
    O handleRequest(I input, Context context);
}

package com.amazonaws.services.lambda.runtime.logging;

/** How a function's log is written. */
public enum LogFormat {
    JSON,
    TEXT;

    public static LogFormat fromString(String format) {
        for (LogFormat one : values()) {
            if (one.name().equalsIgnoreCase(format)) return one;
        }
        throw new IllegalArgumentException("Invalid log format: '" + format + "' expected one of [JSON, TEXT]");
    }
}

package com.amazonaws.services.lambda.runtime.logging;

/** How grave a message is. {@code UNDEFINED} is what was logged without a level; it is never filtered. */
public enum LogLevel {
    UNDEFINED,
    TRACE,
    DEBUG,
    INFO,
    WARN,
    ERROR,
    FATAL;

    public static LogLevel fromString(String level) {
        for (LogLevel one : values()) {
            if (one.name().equalsIgnoreCase(level)) return one;
        }
        throw new IllegalArgumentException(
            "Invalid log level: '" + level + "' expected one of [TRACE, DEBUG, INFO, WARN, ERROR, FATAL]");
    }
}

package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;

public class Logs {
    public String handle(String event, Context context) {
        System.out.println("plain é " + event);
        System.err.print("unended");
        System.err.println();
        LambdaLogger logger = context.getLogger();
        logger.log("two\nlines\n");
        logger.log("bytes\n".getBytes());
        logger.log("of level\n", LogLevel.WARN);
        logger.log("too low\n", LogLevel.DEBUG);
        logger.log("x".repeat(10000) + "\n");
        return event;
    }
}

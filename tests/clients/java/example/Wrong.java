package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** What can go wrong. */
public class Wrong {
    public static class Oops extends Exception {
        public Oops(String message, Throwable cause) { super(message, cause); }
    }

    public static class Unmakeable implements RequestHandler<String, String> {
        public Unmakeable() { throw new IllegalStateException("no connection"); }

        @Override
        public String handleRequest(String event, Context context) { return event; }
    }

    public static class Closed implements RequestHandler<String, String> {
        public Closed(String needed) {}

        @Override
        public String handleRequest(String event, Context context) { return event; }
    }

    public static class Initialiser implements RequestHandler<String, String> {
        static {
            if (true) throw new IllegalArgumentException("never ready");
        }

        @Override
        public String handleRequest(String event, Context context) { return event; }
    }

    public static class Nameless {
        private final String value;

        public Nameless(String value) { this.value = value; }

        public String getValue() { return value; }
    }

    public static class Cyclic {
        public Cyclic getOther() { return new Cyclic(); }
    }

    public String fail(String how) throws Oops {
        switch (how) {
            case "checked":
                throw new Oops("as asked", new IllegalStateException("the cause"));
            case "silent":
                throw new NullPointerException();
            case "error":
                throw new AssertionError("no way on");
            case "exit":
                System.exit(3);
            case "deep":
                return deeper(how);
            default:
                return how;
        }
    }

    private String deeper(String how) { return deeper(how) + how; }

    public int slow(int seconds) throws InterruptedException {
        Thread.sleep(1000L * seconds);
        return seconds;
    }

    public int memory(int megabytes) {
        List<byte[]> kept = new ArrayList<>();
        for (int at = 0; at < megabytes; at++) {
            byte[] one = new byte[1 << 20];
            java.util.Arrays.fill(one, (byte) 1);
            kept.add(one);
        }
        return kept.size();
    }

    public String large(int bytes) { return "x".repeat(bytes); }

    public Object endless(String event) { return new Cyclic(); }

    public String object(Nameless event) { return event.getValue(); }

    public Map<String, String> texts(Map<String, String> event) { return event; }
}

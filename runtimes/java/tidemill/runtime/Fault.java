package tidemill.runtime;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import tidemill.runtime.json.JsonWriter;

/** A failure as it is answered and as it is logged. */
final class Fault extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final String OWN = Fault.class.getPackage().getName() + ".";

    final String type;
    final String trace;
    /** Whether no handler can be called in this process. */
    final boolean fatal;

    private Fault(String message, String type, String trace, boolean fatal) {
        super(message, null, false, false);
        this.type = type;
        this.trace = trace;
        this.fatal = fatal;
    }

    /** Something that is wrong with the function's code, without an exception of its own. */
    static Fault of(String message) {
        return new Fault(message, null, null, false);
    }

    static Fault of(Throwable thrown, boolean fatal) {
        return new Fault(message(thrown), thrown.getClass().getName(), trace(thrown), fatal);
    }

    static Fault classNotFound(Throwable thrown, String name) {
        return new Fault("Class not found: " + name, thrown.getClass().getName(), trace(thrown), false);
    }

    static Fault method(Throwable thrown, String name, Class<?> found) {
        String message = "Error loading method " + name + " on class " + found.getName();
        return new Fault(message, thrown.getClass().getName(), trace(thrown), false);
    }

    static Fault loading(Throwable thrown, String name) {
        String why = thrown.getMessage() == null ? "" : ": " + thrown.getMessage();
        return new Fault("Error loading class " + name + why, thrown.getClass().getName(), trace(thrown), true);
    }

    /** One event of the log. */
    String logged() {
        if (type == null && trace == null) return getMessage() + "\n";
        return getMessage() + ": " + (type == null ? "" : type) + "\n" + (trace == null ? "" : trace) + "\n";
    }

    /** The answer for a fault of the code: without a stack. */
    byte[] answer() {
        return answer(getMessage(), type, null);
    }

    /** The answer for what a handler threw. */
    static byte[] answer(Throwable thrown) {
        StackTraceElement[] frames = trim(thrown).getStackTrace();
        String[] lines = new String[frames.length];
        for (int at = 0; at < frames.length; at++) lines[at] = frames[at].toString();
        return answer(message(thrown), thrown.getClass().getName(), lines);
    }

    private static byte[] answer(String message, String type, String[] lines) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("errorMessage", message);
        if (type != null) answer.put("errorType", type);
        if (lines != null) answer.put("stackTrace", lines);
        return JsonWriter.bytes(answer);
    }

    private static String message(Throwable thrown) {
        String said = thrown.getLocalizedMessage();
        return said == null ? thrown.getClass().getName() : said;
    }

    private static String trace(Throwable thrown) {
        StringWriter text = new StringWriter();
        trim(thrown).printStackTrace(new PrintWriter(text));
        return text.toString();
    }

    /** Cuts this runtime's own calls off the stacks of an exception and of those it came from. */
    static <T extends Throwable> T trim(T thrown) {
        trim(thrown, Collections.newSetFromMap(new IdentityHashMap<>()));
        return thrown;
    }

    private static void trim(Throwable thrown, Set<Throwable> seen) {
        if (thrown == null || !seen.add(thrown)) return;
        StackTraceElement[] frames = thrown.getStackTrace();
        for (int at = 0; at < frames.length; at++) {
            if (frames[at].getClassName().startsWith(OWN)) {
                thrown.setStackTrace(java.util.Arrays.copyOf(frames, at));
                break;
            }
        }
        trim(thrown.getCause(), seen);
        for (Throwable other : thrown.getSuppressed()) trim(other, seen);
    }

    /** Throws what may be checked where nothing is declared. */
    @SuppressWarnings("unchecked")
    static <T extends Throwable> RuntimeException raise(Throwable thrown) throws T {
        throw (T) thrown;
    }
}

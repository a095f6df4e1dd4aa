package tidemill.runtime;

import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.Map;
import tidemill.runtime.json.JsonWriter;

/**
 * The logger of functions. Each message is one event of the log however many lines it has: it goes framed into the pipe that stdout and
 * stderr share, in chunks the kernel never mixes with other writes.
 */
public final class FunctionLog implements LambdaLogger {
    private static final FunctionLog SHARED = new FunctionLog();
    private static final int MAGIC = 0xA55A0003;
    private static final int MORE = 1 << 31;
    private static final int HEADER = 16;
    private static final int CHUNK = 4096 - HEADER;

    private final FileOutputStream pipe = new FileOutputStream(FileDescriptor.out);
    private DateTimeFormatter time;
    private boolean json;
    private LogLevel lowest = LogLevel.UNDEFINED;
    private volatile String requestId;

    private FunctionLog() {}

    public static FunctionLog shared() {
        return SHARED;
    }

    /** Makes stdout and stderr write through, so that nothing stays behind in a frozen sandbox. */
    static void unbuffer() throws IOException {
        System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), false, "UTF-8"));
        System.setErr(new PrintStream(new FileOutputStream(FileDescriptor.err), false, "UTF-8"));
    }

    void configure(Map<String, String> env) {
        json = "JSON".equals(env.get("AWS_LAMBDA_LOG_FORMAT"));
        String level = env.get("AWS_LAMBDA_LOG_LEVEL");
        lowest = json && level != null ? LogLevel.fromString(level) : LogLevel.UNDEFINED;
    }

    void invoked(String id) {
        requestId = id;
    }

    /** A failure, as the runtime tells it. */
    void fault(Fault fault) {
        log(fault.logged(), json ? LogLevel.ERROR : LogLevel.UNDEFINED);
    }

    @Override
    public void log(String message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(byte[] message) {
        if (json) log(new String(message, StandardCharsets.UTF_8));
        else event(message);
    }

    @Override
    public void log(String message, LogLevel level) {
        if (level != LogLevel.UNDEFINED && level.compareTo(lowest) < 0) return;
        String text = json ? structured(message, level) : level == LogLevel.UNDEFINED ? message : "[" + level + "] " + message;
        event(String.valueOf(text).getBytes(StandardCharsets.UTF_8));
    }

    private String structured(String message, LogLevel level) {
        if (time == null) time = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("timestamp", time.format(Instant.now()));
        entry.put("message", message);
        entry.put("level", level);
        if (requestId != null) entry.put("AWSRequestId", requestId);
        return JsonWriter.text(entry) + "\n";
    }

    private synchronized void event(byte[] text) {
        long now = System.currentTimeMillis() * 1000;
        int at = 0;
        do {
            int size = Math.min(text.length - at, CHUNK);
            boolean last = at + size == text.length;
            ByteBuffer chunk = ByteBuffer.allocate(HEADER + size).order(ByteOrder.LITTLE_ENDIAN);
            chunk.putInt(MAGIC).putInt(last ? size : size | MORE).putLong(now).put(text, at, size);
            try {
                pipe.write(chunk.array());
            } catch (IOException nobodyReads) {
                return;
            }
            at += size;
        } while (at < text.length);
    }
}

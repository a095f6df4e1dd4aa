package tidemill.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaRuntimeInternal;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/**
 * A small function loaded and called in a process nobody waits for yet: what every function needs of Java and of this runtime is then loaded,
 * and lies in the archive of classes. It leaves nothing behind.
 */
public final class Rehearsal {
    private static final String NOWHERE = "/var/runtime/nowhere";

    private Rehearsal() {}

    static void run() throws Exception {
        Environment environment = new Environment();
        // Often enough for Java to make the quicker way of calling by reflection.
        for (int time = 0; time < 20; time++) environment.set("REHEARSED", "yes");
        environment.set("REHEARSED", null);
        Class.forName(NativeEnvironment.class.getName());
        Class.forName(LambdaRuntimeInternal.class.getName());
        // A function's own code may be there already.
        ClassLoader code = new CodeLoader(NOWHERE, Collections.singletonList(NOWHERE));
        Handlers handlers = new Handlers(Payloads.of(code));
        for (String name : new String[] {"", "::handle", "::count", "::copy"}) {
            handlers.load(Sample.class.getName() + name, code).handle(new Invocation(reply()), new Handler.Output());
        }
        loadFromJar();
    }

    private static RuntimeApi.Reply reply() {
        RuntimeApi.Reply reply = new RuntimeApi.Reply();
        reply.headers.put("lambda-runtime-aws-request-id", "rehearsal");
        reply.headers.put("lambda-runtime-deadline-ms", "0");
        reply.headers.put("lambda-runtime-client-context", "{\"custom\":{}}");
        reply.body = "{\"Records\":[{\"a\":1,\"b\":[1.5,true,null,\"\\u00e9\"],\"c\":\"2026\"}],\"number\":12}".getBytes(StandardCharsets.UTF_8);
        return reply;
    }

    /** Once more from this runtime's own jar, as a function's classes come out of theirs. */
    private static void loadFromJar() throws Exception {
        URL own = Rehearsal.class.getProtectionDomain().getCodeSource().getLocation();
        try (URLClassLoader loader = new URLClassLoader(new URL[] {own}, ClassLoader.getSystemClassLoader().getParent())) {
            loader.loadClass("tidemill.runtime.json.JsonException");
        }
    }

    /** What the small function takes and gives. */
    public static final class Sample implements RequestHandler<Map<String, Object>, List<String>>, RequestStreamHandler {
        public long number;
        private List<Map<String, Object>> records;

        public List<Map<String, Object>> getRecords() {
            return records;
        }

        public void setRecords(List<Map<String, Object>> records) {
            this.records = records;
        }

        public static Sample handle(Sample event) {
            event.setRecords(Collections.singletonList(Collections.singletonMap("a", "b")));
            return event;
        }

        public Map<String, Integer> count(Map<String, Object> event, Context context) {
            return Collections.singletonMap(context.getAwsRequestId(), event.size());
        }

        public void copy(InputStream in, OutputStream out) {}

        @Override
        public List<String> handleRequest(Map<String, Object> event, Context context) {
            return Collections.singletonList(context.getAwsRequestId());
        }

        @Override
        public void handleRequest(InputStream in, OutputStream out, Context context) {}
    }
}

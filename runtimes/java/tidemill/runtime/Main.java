package tidemill.runtime;

import com.amazonaws.services.lambda.runtime.LambdaRuntimeInternal;
import java.io.IOException;
import java.io.IOError;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tidemill.runtime.json.JsonReader;

/**
 * Runs Java functions: waits for a function, loads its handler, then serves invocations, behaving as Lambda's runtime does. Started with the
 * address of the Runtime API, which also tells what the function is; {@code --rehearse} only loads classes, for an archive of them.
 */
public final class Main {
    private static final String TRACE_PROPERTY = "com.amazonaws.xray.traceHeader";
    private static final String CODE = "Runtime.BadFunctionCode";
    private static final String USER = "Runtime.UserException";

    private final RuntimeApi api;
    private final Environment environment;
    private final FunctionLog log = FunctionLog.shared();
    /** Before Java 17 the trace is told in the environment too. */
    private boolean traceInEnvironment;
    private Method log4j;

    private Main(RuntimeApi api) throws ReflectiveOperationException {
        this.api = api;
        environment = new Environment();
    }

    public static void main(String[] arguments) throws Throwable {
        if (arguments[0].equals("--rehearse")) {
            Rehearsal.run();
            return;
        }
        if (System.getenv(NativeEnvironment.ROOM) != null) Rehearsal.run();
        rememberFailedNames("1");
        FunctionLog.unbuffer();
        Main main = new Main(new RuntimeApi(arguments[0]));
        try {
            main.serve(main.load());
        } catch (IOException platformIsGone) {
            Runtime.getRuntime().halt(1);
        }
    }

    /** Becomes the function the platform names. */
    private Handler load() throws Exception {
        Map<?, ?> start = (Map<?, ?>) JsonReader.read(api.start());
        Map<String, String> env = new LinkedHashMap<>();
        for (Map.Entry<?, ?> one : ((Map<?, ?>) start.get("env")).entrySet()) env.put((String) one.getKey(), (String) one.getValue());
        environment.replace(env);
        log.configure(env);
        String runtime = env.get("AWS_EXECUTION_ENV");
        traceInEnvironment = runtime.endsWith("java8.al2") || runtime.endsWith("java11");
        rememberFailedNames(env.get("AWS_LAMBDA_JAVA_NETWORKADDRESS_CACHE_NEGATIVE_TTL"));
        List<String> layers = new ArrayList<>();
        for (Object root : (List<?>) start.get("opt_roots")) layers.add((String) root);
        ClassLoader code = new CodeLoader((String) start.get("task_root"), layers);
        Thread.currentThread().setContextClassLoader(code);
        try {
            return new Handlers(Payloads.of(code)).load((String) start.get("handler"), code);
        } catch (Fault fault) {
            log.fault(fault);
            api.failInit(CODE, fault.answer());
            System.exit(1);
            throw fault;
        }
    }

    /** For how many seconds a name that was not found is not asked for again. */
    private static void rememberFailedNames(String seconds) {
        if (seconds != null) java.security.Security.setProperty("networkaddress.cache.negative.ttl", seconds);
    }

    private void serve(Handler handler) throws Exception {
        Handler.Output output = new Handler.Output();
        boolean last = false;
        while (!last) {
            Invocation invocation = new Invocation(api.next());
            announce(invocation);
            output.reset();
            try {
                handler.handle(invocation, output);
                Thread.interrupted();
            } catch (Fault fault) {
                log.fault(fault);
                last = fault.fatal;
                api.fail(invocation.id, CODE, fault.answer(), last);
                continue;
            } catch (Throwable thrown) {
                byte[] answer = Fault.answer(thrown);
                log.fault(Fault.of(thrown, false));
                last = thrown instanceof VirtualMachineError || thrown instanceof IOError;
                api.fail(invocation.id, USER, answer, last);
                continue;
            }
            api.respond(invocation.id, output.buffer(), output.size());
            if (output.size() > 1 << 20) output = new Handler.Output();
        }
        System.exit(1);
    }

    /** Tells whoever asks besides the handler which invocation this is. */
    private void announce(Invocation invocation) throws ReflectiveOperationException {
        if (invocation.trace == null) System.clearProperty(TRACE_PROPERTY);
        else System.setProperty(TRACE_PROPERTY, invocation.trace);
        if (traceInEnvironment) environment.set("_X_AMZN_TRACE_ID", invocation.trace);
        log.invoked(invocation.id);
        if (!LambdaRuntimeInternal.getUseLog4jAppender()) return;
        try {
            if (log4j == null) {
                Class<?> context = Class.forName("org.apache.logging.log4j.ThreadContext", true, Thread.currentThread().getContextClassLoader());
                log4j = context.getMethod("put", String.class, String.class);
            }
            log4j.invoke(null, "AWSRequestId", invocation.id);
        } catch (ReflectiveOperationException none) {
            // Log4j without its core: nobody asks for the id.
        }
    }
}

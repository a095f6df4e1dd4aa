package tidemill.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import java.io.ByteArrayInputStream;
import java.lang.reflect.Type;
import java.util.Iterator;
import java.util.ServiceLoader;
import tidemill.runtime.json.Binder;
import tidemill.runtime.json.JsonReader;
import tidemill.runtime.json.JsonWriter;

/** Events to objects and answers to JSON, by the function's own serializer if it brings one. */
final class Payloads {
    private static final byte[] NULL = {'n', 'u', 'l', 'l'};

    private final CustomPojoSerializer custom;

    private Payloads(CustomPojoSerializer custom) {
        this.custom = custom;
    }

    /** @throws Fault when the function brings several serializers */
    static Payloads of(ClassLoader code) {
        if (code.getResource("META-INF/services/" + CustomPojoSerializer.class.getName()) == null) return new Payloads(null);
        Iterator<CustomPojoSerializer> found = ServiceLoader.load(CustomPojoSerializer.class, code).iterator();
        CustomPojoSerializer first = found.hasNext() ? found.next() : null;
        if (found.hasNext()) {
            throw Fault.of(new IllegalStateException("Too many serializers provided inside the META-INF/services folder"), true);
        }
        return new Payloads(first);
    }

    /** A handler of objects. */
    interface Call {
        Object with(Object event, Context context) throws Exception;
    }

    /** @param input null for a handler that takes no event */
    Handler handler(Type input, Type output, Call call) {
        boolean answers = output != void.class && output != Void.class;
        return (invocation, out) -> {
            Object event = input == null ? null : read(invocation.event, input);
            Object answer = call.with(event, invocation);
            write(answer, answers ? output : null, out);
        };
    }

    private Object read(byte[] event, Type type) {
        try {
            if (custom != null) return custom.fromJson(new ByteArrayInputStream(event), type);
            return Binder.bind(JsonReader.read(event), type);
        } catch (Throwable unreadable) {
            throw new RuntimeException("An error occurred during JSON parsing", Fault.trim(unreadable));
        }
    }

    private void write(Object answer, Type type, Handler.Output out) {
        try {
            if (type == null) out.write(NULL, 0, NULL.length);
            else if (custom != null) custom.toJson(answer, out, type);
            else {
                byte[] text = JsonWriter.bytes(answer);
                out.write(text, 0, text.length);
            }
        } catch (Throwable unwritable) {
            throw new RuntimeException("An error occurred during JSON serialization of response", unwritable);
        }
    }
}

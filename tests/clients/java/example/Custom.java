package example;

import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.lang.reflect.Type;

/** A serializer of the function's own: every event is a greeting. */
public class Custom implements CustomPojoSerializer {
    @Override
    @SuppressWarnings("unchecked")
    public <T> T fromJson(InputStream input, Type type) { return (T) ("hello " + type.getTypeName()); }

    @Override
    public <T> T fromJson(String input, Type type) { return fromJson((InputStream) null, type); }

    @Override
    public <T> void toJson(T value, OutputStream output, Type type) {
        try {
            output.write(("{\"said\":\"" + value + "\"}").getBytes());
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
    }

    public static String handle(String event) { return event; }
}

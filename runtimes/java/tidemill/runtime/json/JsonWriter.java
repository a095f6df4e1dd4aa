package tidemill.runtime.json;

import java.lang.reflect.Array;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Iterator;
import java.util.Map;
import java.util.Optional;

/**
 * Values to JSON text: maps, collections, arrays, text, numbers, dates, enums, records and beans. Nothing is written for members that are
 * null, as on Lambda.
 */
public final class JsonWriter {
    private final StringBuilder out = new StringBuilder();
    /** Whether dates are seconds: AWS's own event classes write them so. */
    private boolean seconds;

    private JsonWriter() {}

    public static byte[] bytes(Object value) {
        return text(value).getBytes(StandardCharsets.UTF_8);
    }

    public static String text(Object value) {
        JsonWriter writer = new JsonWriter();
        writer.value(value);
        return writer.out.toString();
    }

    private void value(Object value) {
        if (value == null) out.append("null");
        else if (value instanceof CharSequence || value instanceof Character) string(value.toString());
        else if (value instanceof Boolean) out.append(value);
        else if (value instanceof Number) number((Number) value);
        else if (value instanceof Enum) string(((Enum<?>) value).name());
        else if (value instanceof Map) map((Map<?, ?>) value);
        else if (value instanceof Iterable && !(value instanceof java.nio.file.Path)) list(((Iterable<?>) value).iterator());
        else if (value instanceof Iterator) list((Iterator<?>) value);
        else if (value instanceof Optional) value(((Optional<?>) value).orElse(null));
        else if (value instanceof ByteBuffer) string(base64((ByteBuffer) value));
        else if (value.getClass().isArray()) array(value);
        else other(value);
    }

    private void other(Object value) {
        String plain = Dates.json(value, seconds);
        if (plain != null) out.append(plain);
        else if (Scalars.isText(value.getClass())) string(value instanceof Class ? ((Class<?>) value).getName() : value.toString());
        else bean(value);
    }

    private void number(Number number) {
        if (number instanceof Double && !Double.isFinite((Double) number)
            || number instanceof Float && !Float.isFinite((Float) number)) string(number.toString());
        else out.append(number);
    }

    private void map(Map<?, ?> map) {
        out.append('{');
        boolean first = true;
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            if (entry.getValue() == null) continue;
            if (entry.getKey() == null) throw new JsonException("Null key for a Map not allowed in JSON");
            first = name(key(entry.getKey()), first);
            value(entry.getValue());
        }
        out.append('}');
    }

    private static String key(Object key) {
        return key instanceof Enum ? ((Enum<?>) key).name() : key.toString();
    }

    private void list(Iterator<?> values) {
        out.append('[');
        while (values.hasNext()) {
            value(values.next());
            if (values.hasNext()) out.append(',');
        }
        out.append(']');
    }

    private void array(Object array) {
        if (array instanceof byte[]) {
            string(Base64.getEncoder().encodeToString((byte[]) array));
            return;
        }
        if (array instanceof char[]) {
            string(new String((char[]) array));
            return;
        }
        out.append('[');
        int length = Array.getLength(array);
        for (int at = 0; at < length; at++) {
            if (at > 0) out.append(',');
            value(Array.get(array, at));
        }
        out.append(']');
    }

    private void bean(Object value) {
        Bean bean = Bean.of(value.getClass());
        boolean before = seconds;
        seconds = bean.isEvent();
        out.append('{');
        boolean first = true;
        for (Bean.Getter getter : bean.getters()) {
            Object member = getter.get(value);
            if (member == null) continue;
            if (member == value) throw new JsonException("Direct self-reference leading to cycle");
            first = name(getter.name, first);
            value(member);
        }
        out.append('}');
        seconds = before;
    }

    private boolean name(String name, boolean first) {
        if (!first) out.append(',');
        string(name);
        out.append(':');
        return false;
    }

    private static String base64(ByteBuffer buffer) {
        return StandardCharsets.ISO_8859_1.decode(Base64.getEncoder().encode(buffer.duplicate())).toString();
    }

    private void string(String text) {
        out.append('"');
        for (int at = 0; at < text.length(); at++) {
            char next = text.charAt(at);
            if (next == '"' || next == '\\') out.append('\\').append(next);
            else if (next >= ' ') out.append(next);
            else control(next);
        }
        out.append('"');
    }

    private void control(char next) {
        int known = "\b\f\n\r\t".indexOf(next);
        if (known >= 0) out.append('\\').append("bfnrt".charAt(known));
        else out.append(String.format("\\u%04X", (int) next));
    }
}

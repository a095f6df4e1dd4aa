package tidemill.runtime;

import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.Map;
import java.util.TimeZone;

/**
 * The environment of a process that was started before its function was known. Java reads the real one once; what it remembers is
 * replaced; {@link NativeEnvironment} does the same below Java.
 */
final class Environment {
    private final Map<Object, Object> remembered;
    private final Method variable;
    private final Method value;

    @SuppressWarnings("unchecked")
    Environment() throws ReflectiveOperationException {
        Field field = Class.forName("java.lang.ProcessEnvironment").getDeclaredField("theEnvironment");
        field.setAccessible(true);
        remembered = (Map<Object, Object>) field.get(null);
        variable = valueOf("Variable");
        value = valueOf("Value");
    }

    private static Method valueOf(String kind) throws ReflectiveOperationException {
        Method method = Class.forName("java.lang.ProcessEnvironment$" + kind).getDeclaredMethod("valueOf", String.class);
        method.setAccessible(true);
        return method;
    }

    void replace(Map<String, String> wanted) throws IOException, ReflectiveOperationException {
        if (System.getenv(NativeEnvironment.ROOM) != null) NativeEnvironment.replace(wanted);
        remembered.clear();
        for (Map.Entry<String, String> one : wanted.entrySet()) set(one.getKey(), one.getValue());
        zone(wanted.get("TZ"));
    }

    /** Sets a variable, or removes it. */
    void set(String name, String text) throws ReflectiveOperationException {
        Object key = variable.invoke(null, name);
        if (text == null) remembered.remove(key);
        else remembered.put(key, value.invoke(null, text));
    }

    private static void zone(String name) {
        if (name == null || name.isEmpty() || name.equals(":UTC")) return;
        TimeZone.setDefault(TimeZone.getTimeZone(name.startsWith(":") ? name.substring(1) : name));
    }
}

package tidemill.runtime.json;

import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.lang.reflect.Type;
import java.util.Map;

/** The components of a record. By reflection: this is compiled for versions of Java that have no records, too. */
final class RecordShape {
    final String[] names;
    final Type[] types;
    private final Method[] readers;
    private final Constructor<?> constructor;

    private RecordShape(Class<?> raw, Object[] components) throws ReflectiveOperationException {
        names = new String[components.length];
        types = new Type[components.length];
        readers = new Method[components.length];
        Class<?>[] parameters = new Class<?>[components.length];
        for (int at = 0; at < components.length; at++) {
            names[at] = (String) ask(components[at], "getName");
            types[at] = (Type) ask(components[at], "getGenericType");
            parameters[at] = (Class<?>) ask(components[at], "getType");
            readers[at] = (Method) ask(components[at], "getAccessor");
        }
        constructor = raw.getDeclaredConstructor(parameters);
        constructor.setAccessible(true);
    }

    /** Null when the class is no record. */
    static RecordShape of(Class<?> raw) {
        Class<?> above = raw.getSuperclass();
        if (above == null || !above.getName().equals("java.lang.Record")) return null;
        try {
            return new RecordShape(raw, (Object[]) ask(raw, "getRecordComponents"));
        } catch (ReflectiveOperationException failed) {
            throw new JsonException("The record " + raw.getName() + " cannot be used", failed);
        }
    }

    private static Object ask(Object whom, String what) throws ReflectiveOperationException {
        return whom.getClass().getMethod(what).invoke(whom);
    }

    void readers(Map<String, Method> reading) {
        for (int at = 0; at < names.length; at++) reading.put(names[at], readers[at]);
    }

    Object make(Object[] values) {
        try {
            return constructor.newInstance(values);
        } catch (java.lang.reflect.InvocationTargetException thrown) {
            throw new JsonException("Cannot construct instance of `" + constructor.getDeclaringClass().getName() + "`: "
                + thrown.getCause().getMessage(), thrown.getCause());
        } catch (ReflectiveOperationException failed) {
            throw new JsonException(constructor + " cannot be called", failed);
        }
    }
}

package tidemill.runtime.json;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Member;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What a class has for JSON: getters and public fields to write, setters and public fields to read, named as the JavaBeans specification
 * names them (`getURL` is `URL`). Names are matched exactly, except for AWS's event classes: these were never written for one rule.
 */
final class Bean {
    /** The classes of aws-lambda-java-events and those of the SDK it once used. */
    private static final String[] EVENTS = {
        "com.amazonaws.services.lambda.runtime.events.", "com.amazonaws.services.s3.event.", "com.amazonaws.services.dynamodbv2.model.",
        "com.amazonaws.services.kinesis.model."
    };
    private static final Map<Class<?>, Bean> KNOWN = new ConcurrentHashMap<>();

    private final Class<?> raw;
    private final boolean event;
    private final Map<String, Getter> getters = new LinkedHashMap<>();
    private final Map<String, Setter> setters = new LinkedHashMap<>();
    private Constructor<?> constructor;
    private final RecordShape record;

    static Bean of(Class<?> raw) {
        return KNOWN.computeIfAbsent(raw, Bean::new);
    }

    private Bean(Class<?> raw) {
        this.raw = raw;
        event = Arrays.stream(EVENTS).anyMatch(raw.getName()::startsWith);
        record = RecordShape.of(raw);
        List<Class<?>> classes = new ArrayList<>();
        for (Class<?> one = raw; one != null && one != Object.class && one != Record(); one = one.getSuperclass()) classes.add(0, one);
        // Members come in the order of the fields they are named after.
        Map<String, Field> fields = new LinkedHashMap<>();
        for (Class<?> one : classes) {
            for (Field field : one.getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers()) && !field.isSynthetic()) fields.put(field.getName(), field);
            }
        }
        Map<String, Method> reading = new LinkedHashMap<>();
        for (Class<?> one : classes) methods(one, reading);
        interfaces(raw, reading);
        if (record != null) record.readers(reading);
        for (Field field : fields.values()) member(field, reading);
        reading.forEach((name, method) -> getters.put(name, new Getter(name, method)));
    }

    private static Class<?> Record() {
        try {
            return Class.forName("java.lang.Record");
        } catch (ClassNotFoundException old) {
            return null;
        }
    }

    private void methods(Class<?> one, Map<String, Method> reading) {
        Method[] methods = one.getDeclaredMethods();
        Arrays.sort(methods, Comparator.comparing(Method::getName));
        for (Method method : methods) {
            if (Modifier.isStatic(method.getModifiers()) || method.isBridge() || method.isSynthetic()) continue;
            String written = written(method);
            if (written != null) addSetter(written, method);
            String read = read(method);
            if (read != null) reading.put(read, method);
        }
    }

    /** Getters that an interface has by default. */
    private static void interfaces(Class<?> raw, Map<String, Method> reading) {
        for (Method method : raw.getMethods()) {
            String name = method.isDefault() ? read(method) : null;
            if (name != null) reading.putIfAbsent(name, method);
        }
    }

    private void member(Field field, Map<String, Method> reading) {
        String name = field.getName();
        Method method = event ? ignoringCase(reading, name) : reading.get(name);
        if (method != null) {
            String named = read(method) == null || record != null ? name : read(method);
            reading.remove(named);
            getters.put(named, new Getter(named, method));
        } else if (Modifier.isPublic(field.getModifiers()) && !Modifier.isTransient(field.getModifiers())) {
            getters.put(name, new Getter(name, field));
        }
        boolean open = Modifier.isPublic(field.getModifiers()) || event;
        if (open && (event ? ignoringCase(setters, name) : setters.get(name)) == null) setters.put(name, new Setter(field));
    }

    private void addSetter(String name, Method method) {
        Setter there = setters.get(name);
        // Of overloads the one that takes what the getter gives, or the last class's.
        if (there != null && there.owner() == method.getDeclaringClass()) {
            if (!type(method.getDeclaringClass(), name).equals(method.getParameterTypes()[0])) return;
        }
        setters.put(name, new Setter(method));
    }

    private static Class<?> type(Class<?> owner, String name) {
        String upper = name.substring(0, 1).toUpperCase(Locale.ROOT) + name.substring(1);
        for (String getter : new String[] {"get" + upper, "is" + upper}) {
            try {
                return owner.getMethod(getter).getReturnType();
            } catch (NoSuchMethodException other) {
                // The next one.
            }
        }
        return void.class;
    }

    private static String written(Method method) {
        String name = method.getName();
        return name.length() > 3 && name.startsWith("set") && method.getParameterCount() == 1 ? property(name.substring(3)) : null;
    }

    private static String read(Method method) {
        String name = method.getName();
        Class<?> type = method.getReturnType();
        if (!Modifier.isPublic(method.getModifiers()) || method.getParameterCount() > 0 || type == void.class) return null;
        if (name.length() > 3 && name.startsWith("get") && !name.equals("getClass")) return property(name.substring(3));
        boolean truth = type == boolean.class || type == Boolean.class;
        return truth && name.length() > 2 && name.startsWith("is") ? property(name.substring(2)) : null;
    }

    private static String property(String name) {
        boolean acronym = name.length() > 1 && Character.isUpperCase(name.charAt(0)) && Character.isUpperCase(name.charAt(1));
        return acronym ? name : Character.toLowerCase(name.charAt(0)) + name.substring(1);
    }

    private static <T> T ignoringCase(Map<String, T> among, String name) {
        T exact = among.get(name);
        if (exact != null) return exact;
        for (Map.Entry<String, T> one : among.entrySet()) {
            if (one.getKey().equalsIgnoreCase(name)) return one.getValue();
        }
        return null;
    }

    boolean isEvent() {
        return event;
    }

    RecordShape record() {
        return record;
    }

    Collection<Getter> getters() {
        return getters.values();
    }

    /** Null where the class has no such property: what is not known is passed over. */
    Setter setter(String name) {
        return event ? ignoringCase(setters, name) : setters.get(name);
    }

    Object make() {
        if (raw.isInterface() || Modifier.isAbstract(raw.getModifiers())) {
            throw new JsonException("Cannot construct instance of `" + raw.getName() + "`: abstract types have no instances");
        }
        try {
            if (constructor == null) constructor = constructor();
            return constructor.newInstance();
        } catch (NoSuchMethodException none) {
            throw new JsonException("Cannot construct instance of `" + raw.getName() + "` (no Creators, like default constructor, exist)");
        } catch (InvocationTargetException thrown) {
            throw new JsonException("Cannot construct instance of `" + raw.getName() + "`", thrown.getCause());
        } catch (ReflectiveOperationException failed) {
            throw new JsonException("Cannot construct instance of `" + raw.getName() + "`", failed);
        }
    }

    private Constructor<?> constructor() throws ReflectiveOperationException {
        try {
            Constructor<?> plain = raw.getDeclaredConstructor();
            plain.setAccessible(true);
            return plain;
        } catch (NoSuchMethodException none) {
            if (!event) throw none;
            return withoutConstructor();
        }
    }

    /** Some event classes have only a constructor of everything; their fields are set one by one. */
    private Constructor<?> withoutConstructor() throws ReflectiveOperationException {
        Class<?> factories = Class.forName("sun.reflect.ReflectionFactory");
        Object factory = factories.getMethod("getReflectionFactory").invoke(null);
        Method make = factories.getMethod("newConstructorForSerialization", Class.class, Constructor.class);
        return (Constructor<?>) make.invoke(factory, raw, Object.class.getConstructor());
    }

    /** Where a value comes from. */
    static final class Getter {
        final String name;
        private final Member member;

        Getter(String name, Member member) {
            this.name = name;
            this.member = member;
            open(member);
        }

        Object get(Object from) {
            try {
                return member instanceof Method ? ((Method) member).invoke(from) : ((Field) member).get(from);
            } catch (InvocationTargetException thrown) {
                throw new JsonException("(through reference chain: " + member.getDeclaringClass().getName() + "[\"" + name + "\"])", thrown.getCause());
            } catch (IllegalAccessException failed) {
                throw new JsonException(member + " cannot be read", failed);
            }
        }
    }

    /** Where a value goes. */
    static final class Setter {
        private final Member member;

        Setter(Member member) {
            this.member = member;
            open(member);
        }

        Class<?> owner() {
            return member.getDeclaringClass();
        }

        java.lang.reflect.Type type() {
            return member instanceof Method ? ((Method) member).getGenericParameterTypes()[0] : ((Field) member).getGenericType();
        }

        void set(Object on, Object value) {
            try {
                if (member instanceof Method) ((Method) member).invoke(on, value);
                else ((Field) member).set(on, value);
            } catch (InvocationTargetException thrown) {
                throw new JsonException(thrown.getCause().getMessage(), thrown.getCause());
            } catch (IllegalAccessException failed) {
                throw new JsonException(member + " cannot be set", failed);
            }
        }
    }

    private static void open(Member member) {
        try {
            ((java.lang.reflect.AccessibleObject) member).setAccessible(true);
        } catch (RuntimeException closed) {
            // A class of a module that is not open: what is public still works.
        }
    }
}

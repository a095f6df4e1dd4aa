package tidemill.runtime.json;

import java.lang.reflect.Array;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

/**
 * What {@link JsonReader} read as a value of a Java type. It is as lenient as Lambda: properties nobody knows are passed over, one value
 * stands for a list of one, an empty string or list for no object.
 */
public final class Binder {
    private Binder() {}

    public static Object bind(Object json, Type type) {
        return bind(json, type, false);
    }

    private static Object bind(Object json, Type type, boolean seconds) {
        Class<?> raw = Types.raw(type);
        if (raw == Optional.class) return Optional.ofNullable(json == null ? null : bind(json, argument(type, Optional.class, 0), seconds));
        if (json == null) return raw.isPrimitive() ? Array.get(Array.newInstance(raw, 1), 0) : null;
        if (raw == Object.class || raw == java.io.Serializable.class) return json;
        if (Scalars.isScalar(raw) && !(raw == byte[].class && json instanceof List)) return scalar(json, raw, seconds);
        if (raw.isArray()) return array(json, type, seconds);
        if (Collection.class.isAssignableFrom(raw) || raw == Iterable.class) return collection(json, type, raw, seconds);
        if (Map.class.isAssignableFrom(raw)) return map(json, type, raw, seconds);
        return object(json, type, raw);
    }

    private static Object scalar(Object json, Class<?> raw, boolean seconds) {
        Object value = json;
        if (json instanceof List && ((List<?>) json).size() == 1 && raw != byte[].class) value = ((List<?>) json).get(0);
        if (value instanceof Map || value instanceof List) throw new JsonException(Scalars.mismatch(json, raw));
        return value == null ? bind(null, raw, seconds) : Scalars.convert(value, raw, seconds);
    }

    private static Object array(Object json, Type type, boolean seconds) {
        Type element = Types.component(type);
        List<?> values = json instanceof List ? (List<?>) json : Collections.singletonList(json);
        Object array = Array.newInstance(Types.raw(element), values.size());
        for (int at = 0; at < values.size(); at++) Array.set(array, at, bind(values.get(at), element, seconds));
        return array;
    }

    @SuppressWarnings("unchecked")
    private static Object collection(Object json, Type type, Class<?> raw, boolean seconds) {
        Collection<Object> collection = (Collection<Object>) (Modifier.isAbstract(raw.getModifiers()) ? standard(raw) : Bean.of(raw).make());
        Type element = raw == Iterable.class ? argument(type, Iterable.class, 0) : argument(type, Collection.class, 0);
        List<?> values = json instanceof List ? (List<?>) json : Collections.singletonList(json);
        for (Object value : values) collection.add(bind(value, element, seconds));
        return collection;
    }

    private static Collection<?> standard(Class<?> raw) {
        if (raw.isAssignableFrom(ArrayList.class)) return new ArrayList<>();
        if (raw.isAssignableFrom(HashSet.class)) return new HashSet<>();
        if (raw.isAssignableFrom(TreeSet.class)) return new TreeSet<>();
        if (raw.isAssignableFrom(ArrayDeque.class)) return new ArrayDeque<>();
        throw new JsonException("Cannot construct instance of `" + raw.getName() + "`: abstract types have no instances");
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Object map(Object json, Type type, Class<?> raw, boolean seconds) {
        if ("".equals(json)) return null;
        if (!(json instanceof Map)) throw new JsonException(Scalars.mismatch(json, raw));
        Type key = argument(type, Map.class, 0);
        Type value = argument(type, Map.class, 1);
        Map<Object, Object> map;
        if (raw.isAssignableFrom(LinkedHashMap.class)) map = new LinkedHashMap<>();
        else if (raw.isAssignableFrom(TreeMap.class)) map = new TreeMap<>();
        else if (raw.isAssignableFrom(ConcurrentHashMap.class)) map = new ConcurrentHashMap<>();
        else if (raw == java.util.EnumMap.class) map = new java.util.EnumMap(Types.raw(key));
        else map = (Map<Object, Object>) Bean.of(raw).make();
        ((Map<?, ?>) json).forEach((name, one) -> map.put(bind(name, key, seconds), bind(one, value, seconds)));
        return map;
    }

    private static Object object(Object json, Type type, Class<?> raw) {
        Object given = json;
        if (given instanceof List && ((List<?>) given).size() == 1) given = ((List<?>) given).get(0);
        if ("".equals(given) || given instanceof List && ((List<?>) given).isEmpty()) return null;
        if (!(given instanceof Map)) throw new JsonException(Scalars.mismatch(json, raw));
        Map<?, ?> members = (Map<?, ?>) given;
        Bean bean = Bean.of(raw);
        if (bean.record() != null) return record(members, type, raw, bean.record());
        Object object = bean.make();
        members.forEach((name, value) -> {
            Bean.Setter setter = bean.setter((String) name);
            if (setter != null) setter.set(object, within(raw, name, value, Types.member(setter.type(), setter.owner(), type), bean.isEvent()));
        });
        return object;
    }

    private static Object record(Map<?, ?> members, Type type, Class<?> raw, RecordShape record) {
        Object[] values = new Object[record.names.length];
        for (int at = 0; at < values.length; at++) {
            Type wanted = Types.member(record.types[at], raw, type);
            values[at] = within(raw, record.names[at], members.get(record.names[at]), wanted, false);
        }
        return record.make(values);
    }

    /** Says of a member that does not fit where it is. */
    private static Object within(Class<?> raw, Object name, Object value, Type type, boolean seconds) {
        try {
            return bind(value, type, seconds);
        } catch (JsonException unfit) {
            throw new JsonException(unfit.getMessage() + " (through reference chain: " + raw.getName() + "[\"" + name + "\"])", unfit.getCause());
        }
    }

    private static Type argument(Type type, Class<?> target, int at) {
        Type[] arguments = Types.arguments(type, target);
        return arguments == null ? Object.class : arguments[at];
    }
}

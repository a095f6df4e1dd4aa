package tidemill.runtime.json;

import java.lang.reflect.Array;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Generic types resolved: what {@code List<T>} is in a class that says what its T is. */
public final class Types {
    private Types() {}

    /** The class of a type; of a variable that is not bound, its upper bound's. */
    public static Class<?> raw(Type type) {
        if (type instanceof Class) return (Class<?>) type;
        if (type instanceof ParameterizedType) return (Class<?>) ((ParameterizedType) type).getRawType();
        if (type instanceof GenericArrayType) return arrayOf(raw(((GenericArrayType) type).getGenericComponentType()));
        if (type instanceof WildcardType) return raw(((WildcardType) type).getUpperBounds()[0]);
        if (type instanceof TypeVariable) return raw(((TypeVariable<?>) type).getBounds()[0]);
        return Object.class;
    }

    private static Class<?> arrayOf(Class<?> element) {
        return Array.newInstance(element, 0).getClass();
    }

    public static Type component(Type array) {
        return array instanceof GenericArrayType ? ((GenericArrayType) array).getGenericComponentType() : raw(array).getComponentType();
    }

    /** The type arguments `target`, a class or interface above `type`, has there; null when nobody said. */
    public static Type[] arguments(Type type, Class<?> target) {
        Class<?> raw = raw(type);
        if (raw == target) return type instanceof ParameterizedType ? ((ParameterizedType) type).getActualTypeArguments() : null;
        Map<TypeVariable<?>, Type> bound = bindings(type);
        List<Type> above = new ArrayList<>(Arrays.asList(raw.getGenericInterfaces()));
        if (raw.getGenericSuperclass() != null) above.add(raw.getGenericSuperclass());
        for (Type upper : above) {
            if (target.isAssignableFrom(raw(upper))) return arguments(substitute(upper, bound), target);
        }
        return null;
    }

    /** What the variables of a parameterised type stand for. */
    static Map<TypeVariable<?>, Type> bindings(Type type) {
        Map<TypeVariable<?>, Type> bound = new HashMap<>();
        if (!(type instanceof ParameterizedType)) return bound;
        TypeVariable<?>[] variables = raw(type).getTypeParameters();
        Type[] values = ((ParameterizedType) type).getActualTypeArguments();
        for (int at = 0; at < variables.length; at++) bound.put(variables[at], values[at]);
        return bound;
    }

    /** The type of a member that `declaring` has, in the eyes of `type`, which is it or extends it. */
    static Type member(Type member, Class<?> declaring, Type type) {
        if (member instanceof Class || declaring.getTypeParameters().length == 0) return member;
        Type[] values = arguments(type, declaring);
        if (values == null) return member;
        return substitute(member, bindings(new Parameterized(declaring, values)));
    }

    private static Type substitute(Type type, Map<TypeVariable<?>, Type> bound) {
        if (bound.isEmpty() || type instanceof Class) return type;
        if (type instanceof TypeVariable) return bound.getOrDefault(type, type);
        if (type instanceof WildcardType) return substitute(((WildcardType) type).getUpperBounds()[0], bound);
        if (type instanceof GenericArrayType) {
            return arrayType(substitute(((GenericArrayType) type).getGenericComponentType(), bound));
        }
        Type[] values = ((ParameterizedType) type).getActualTypeArguments().clone();
        for (int at = 0; at < values.length; at++) values[at] = substitute(values[at], bound);
        return new Parameterized(raw(type), values);
    }

    private static Type arrayType(Type element) {
        if (element instanceof Class) return arrayOf((Class<?>) element);
        return (GenericArrayType) () -> element;
    }

    private static final class Parameterized implements ParameterizedType {
        private final Class<?> raw;
        private final Type[] values;

        Parameterized(Class<?> raw, Type[] values) {
            this.raw = raw;
            this.values = values;
        }

        @Override
        public Type[] getActualTypeArguments() {
            return values.clone();
        }

        @Override
        public Type getRawType() {
            return raw;
        }

        @Override
        public Type getOwnerType() {
            return raw.getDeclaringClass();
        }

        @Override
        public boolean equals(Object other) {
            if (!(other instanceof ParameterizedType)) return false;
            ParameterizedType that = (ParameterizedType) other;
            return raw == that.getRawType() && Arrays.equals(values, that.getActualTypeArguments());
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(values) ^ raw.hashCode();
        }
    }
}

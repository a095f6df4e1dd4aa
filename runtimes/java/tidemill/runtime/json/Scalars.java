package tidemill.runtime.json;

import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.Base64;
import java.util.Date;
import java.util.Locale;
import java.util.UUID;

/** Values that JSON has as one string, number or boolean, and the conversions between these that Lambda allows. */
final class Scalars {
    private Scalars() {}

    static boolean isText(Class<?> raw) {
        return raw == UUID.class || raw == Locale.class || raw == Class.class || raw == java.net.URI.class || raw == java.net.URL.class
            || java.nio.file.Path.class.isAssignableFrom(raw) || raw == java.io.File.class || raw == java.util.regex.Pattern.class
            || raw == java.util.Currency.class || java.util.TimeZone.class.isAssignableFrom(raw)
            || raw.getName().startsWith("java.time.") || raw.getName().startsWith("org.joda.time.")
            || StringBuilder.class == raw || StringBuffer.class == raw;
    }

    static boolean isScalar(Class<?> raw) {
        return raw.isPrimitive() || raw.isEnum() || raw == String.class || raw == CharSequence.class || raw == Boolean.class
            || raw == Character.class || Number.class.isAssignableFrom(raw) || raw == byte[].class || raw == char[].class
            || ByteBuffer.class.isAssignableFrom(raw) || Date.class.isAssignableFrom(raw)
            || java.util.Calendar.class.isAssignableFrom(raw) || isText(raw);
    }

    static Object convert(Object value, Class<?> raw, boolean seconds) {
        try {
            return converted(value, raw, seconds);
        } catch (JsonException said) {
            throw said;
        } catch (Exception failed) {
            throw new JsonException(mismatch(value, raw), failed);
        }
    }

    private static Object converted(Object value, Class<?> raw, boolean seconds) throws Exception {
        if (raw == String.class || raw == CharSequence.class) return value.toString();
        if (raw == boolean.class || raw == Boolean.class) return bool(value, raw);
        if (raw == char.class || raw == Character.class) return character(value, raw);
        if (raw.isPrimitive() || Number.class.isAssignableFrom(raw)) return number(value, raw);
        if (raw.isEnum()) return constant(value, raw);
        if (Date.class.isAssignableFrom(raw)) return date(value, raw, seconds);
        if (java.util.Calendar.class.isAssignableFrom(raw)) {
            java.util.Calendar calendar = java.util.Calendar.getInstance();
            calendar.setTime((Date) date(value, Date.class, seconds));
            return calendar;
        }
        if (value instanceof Number) return fromSeconds((Number) value, raw);
        String text = value.toString();
        if (raw == byte[].class) return Base64.getDecoder().decode(text);
        if (raw == char[].class) return text.toCharArray();
        if (ByteBuffer.class.isAssignableFrom(raw)) return ByteBuffer.wrap(Base64.getDecoder().decode(text));
        if (text.isEmpty() && !raw.getName().startsWith("java.lang.")) return null;
        return fromText(text, raw);
    }

    private static Object bool(Object value, Class<?> raw) {
        if (value instanceof Boolean) return value;
        if (value instanceof Number) return ((Number) value).intValue() != 0;
        String text = value.toString().trim();
        if (text.isEmpty()) return raw.isPrimitive() ? Boolean.FALSE : null;
        if (text.equalsIgnoreCase("true")) return true;
        if (text.equalsIgnoreCase("false")) return false;
        throw new JsonException(mismatch(value, raw));
    }

    private static Object character(Object value, Class<?> raw) {
        if (value instanceof Number) return (char) ((Number) value).intValue();
        String text = value.toString();
        if (text.isEmpty()) return raw.isPrimitive() ? (Object) '\0' : null;
        if (text.length() > 1) throw new JsonException(mismatch(value, raw));
        return text.charAt(0);
    }

    private static Object number(Object value, Class<?> raw) {
        if (value instanceof Boolean) throw new JsonException(mismatch(value, raw));
        Object given = value instanceof String ? ((String) value).trim() : value;
        if ("".equals(given)) return raw.isPrimitive() ? number(0, raw) : null;
        if (raw == double.class || raw == Double.class) return Double.valueOf(given.toString());
        if (raw == float.class || raw == Float.class) return Float.valueOf(given.toString());
        if (raw == Number.class) return given instanceof Number ? given : new BigDecimal(given.toString());
        if (raw == BigDecimal.class) return new BigDecimal(given.toString());
        BigInteger whole = given instanceof Double || given instanceof String ? new BigDecimal(given.toString()).toBigInteger()
            : new BigInteger(given.toString());
        if (raw == BigInteger.class) return whole;
        if (raw == int.class || raw == Integer.class) return whole.intValueExact();
        if (raw == long.class || raw == Long.class) return whole.longValueExact();
        if (raw == short.class || raw == Short.class) return whole.shortValueExact();
        if (raw == byte.class || raw == Byte.class) return whole.byteValueExact();
        if (raw == java.util.concurrent.atomic.AtomicInteger.class) return new java.util.concurrent.atomic.AtomicInteger(whole.intValueExact());
        if (raw == java.util.concurrent.atomic.AtomicLong.class) return new java.util.concurrent.atomic.AtomicLong(whole.longValueExact());
        throw new JsonException(mismatch(value, raw));
    }

    /** A constant by its name or its place; null for what there is none. */
    private static Object constant(Object value, Class<?> raw) {
        Object[] constants = raw.getEnumConstants();
        if (value instanceof Integer) {
            int place = (Integer) value;
            return place >= 0 && place < constants.length ? constants[place] : null;
        }
        String name = value.toString().trim();
        for (Object constant : constants) {
            if (((Enum<?>) constant).name().equals(name)) return constant;
        }
        return null;
    }

    private static Object date(Object value, Class<?> raw, boolean seconds) throws Exception {
        if ("".equals(value)) return null;
        Date date = value instanceof Number ? Dates.date((Number) value, seconds) : Dates.date(value.toString());
        return raw == Date.class ? date : raw.getConstructor(long.class).newInstance(date.getTime());
    }

    private static Object fromSeconds(Number value, Class<?> raw) {
        BigDecimal[] parts = Dates.secondsAndNanos(value);
        long nanos = parts[1].movePointRight(9).longValue();
        if (raw == Duration.class) return Duration.ofSeconds(parts[0].longValue(), nanos);
        Instant instant = Instant.ofEpochSecond(parts[0].longValue(), nanos);
        if (raw == Instant.class) return instant;
        if (raw == OffsetDateTime.class) return instant.atOffset(ZoneOffset.UTC);
        if (raw == ZonedDateTime.class) return instant.atZone(ZoneOffset.UTC);
        throw new JsonException(mismatch(value, raw));
    }

    private static Object fromText(String text, Class<?> raw) throws Exception {
        if (raw == Locale.class) return Locale.forLanguageTag(text.replace('_', '-'));
        if (raw == Class.class) throw new JsonException(mismatch(text, raw));
        if (java.nio.file.Path.class.isAssignableFrom(raw)) return java.nio.file.Paths.get(text);
        if (java.util.TimeZone.class.isAssignableFrom(raw)) return java.util.TimeZone.getTimeZone(text);
        for (String name : new String[] {"parse", "fromString", "getInstance", "compile", "of"}) {
            for (Class<?> from : new Class<?>[] {CharSequence.class, String.class}) {
                Method method = find(raw, name, from);
                if (method != null) return method.invoke(null, text);
            }
        }
        Constructor<?> constructor = raw.getConstructor(String.class);
        return constructor.newInstance(text);
    }

    private static Method find(Class<?> raw, String name, Class<?> from) {
        try {
            Method method = raw.getMethod(name, from);
            boolean fits = java.lang.reflect.Modifier.isStatic(method.getModifiers()) && raw.isAssignableFrom(method.getReturnType());
            return fits ? method : null;
        } catch (NoSuchMethodException none) {
            return null;
        }
    }

    static String mismatch(Object value, Class<?> raw) {
        String what = value instanceof java.util.Map ? "Object value" : value instanceof java.util.List ? "Array value"
            : value instanceof String ? "String \"" + value + "\"" : value instanceof Boolean ? "Boolean value" : "Number value (" + value + ")";
        return "Cannot deserialize value of type `" + raw.getTypeName() + "` from " + what;
    }
}

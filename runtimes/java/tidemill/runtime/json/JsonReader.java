package tidemill.runtime.json;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON text to maps, lists, strings, numbers (the smallest of Integer, Long, BigInteger; Double), booleans and null. */
public final class JsonReader {
    private static final int DEEPEST = 1000;

    private final String text;
    private int at;
    private int depth;

    private JsonReader(String text) {
        this.text = text;
    }

    public static Object read(byte[] text) {
        return read(new String(text, StandardCharsets.UTF_8));
    }

    public static Object read(String text) {
        JsonReader reader = new JsonReader(text);
        Object value = reader.value();
        reader.space();
        if (reader.at < text.length()) throw reader.unexpected();
        return value;
    }

    private Object value() {
        space();
        if (at == text.length()) throw new JsonException("No content to map due to end-of-input");
        char first = text.charAt(at);
        switch (first) {
            case '{':
                return object();
            case '[':
                return array();
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> object() {
        enter();
        Map<String, Object> object = new LinkedHashMap<>();
        if (!closes('}')) {
            do {
                space();
                if (at == text.length() || text.charAt(at) != '"') throw unexpected();
                String name = string();
                expect(':');
                object.put(name, value());
            } while (continues('}'));
        }
        depth--;
        return object;
    }

    private List<Object> array() {
        enter();
        List<Object> array = new ArrayList<>();
        if (!closes(']')) {
            do array.add(value()); while (continues(']'));
        }
        depth--;
        return array;
    }

    private void enter() {
        if (++depth > DEEPEST) throw new JsonException("Document nesting depth exceeds the maximum allowed (" + DEEPEST + ")");
        at++;
    }

    private boolean closes(char end) {
        space();
        if (at == text.length() || text.charAt(at) != end) return false;
        at++;
        return true;
    }

    private boolean continues(char end) {
        space();
        if (at == text.length()) throw unexpected();
        char next = text.charAt(at);
        if (next != ',' && next != end) throw unexpected();
        at++;
        return next == ',';
    }

    private void expect(char wanted) {
        space();
        if (at == text.length() || text.charAt(at) != wanted) throw unexpected();
        at++;
    }

    private String string() {
        int begin = ++at;
        while (at < text.length()) {
            char next = text.charAt(at);
            if (next == '"') return text.substring(begin, at++);
            if (next == '\\') return escaped(begin);
            at++;
        }
        throw unexpected();
    }

    private String escaped(int begin) {
        StringBuilder string = new StringBuilder().append(text, begin, at);
        while (at < text.length()) {
            char next = text.charAt(at++);
            if (next == '"') return string.toString();
            string.append(next == '\\' ? escape() : next);
        }
        throw unexpected();
    }

    private char escape() {
        if (at == text.length()) throw unexpected();
        char kind = text.charAt(at++);
        switch (kind) {
            case 'n':
                return '\n';
            case 't':
                return '\t';
            case 'r':
                return '\r';
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'u':
                if (at + 4 > text.length()) throw unexpected();
                int code = 0;
                for (int end = at + 4; at < end; at++) {
                    int digit = Character.digit(text.charAt(at), 16);
                    if (digit < 0) throw unexpected();
                    code = code << 4 | digit;
                }
                return (char) code;
            default:
                return kind;
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) throw unexpected();
        at += word.length();
        return value;
    }

    private Object number() {
        int begin = at;
        boolean whole = true;
        while (at < text.length()) {
            char next = text.charAt(at);
            if (next == '.' || next == 'e' || next == 'E') whole = false;
            else if ((next < '0' || next > '9') && next != '-' && next != '+') break;
            at++;
        }
        if (begin == at) throw unexpected();
        String digits = text.substring(begin, at);
        try {
            if (!whole) return Double.valueOf(digits);
            if (digits.length() > 18) return large(new BigInteger(digits));
            long number = Long.parseLong(digits);
            if (number == (int) number) return (int) number;
            return number;
        } catch (NumberFormatException malformed) {
            at = begin;
            throw unexpected();
        }
    }

    private static Object large(BigInteger number) {
        return number.bitLength() < 64 ? (Object) number.longValue() : number;
    }

    private void space() {
        while (at < text.length() && text.charAt(at) <= ' ') at++;
    }

    private JsonException unexpected() {
        if (at >= text.length()) return new JsonException("Unexpected end-of-input");
        return new JsonException("Unexpected character ('" + text.charAt(at) + "') at character " + (at + 1));
    }
}

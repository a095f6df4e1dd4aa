package tidemill.runtime.json;

import java.math.BigDecimal;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZonedDateTime;
import java.util.Calendar;
import java.util.Date;

/** Dates as Lambda writes them: numbers, milliseconds for {@link Date}, seconds for instants; parts of local ones in an array. */
final class Dates {
    private Dates() {}

    /** JSON text, or null when it is no date. */
    static String json(Object value, boolean seconds) {
        if (value instanceof Date) return ofDate((Date) value, seconds);
        if (value instanceof Calendar) return ofDate(((Calendar) value).getTime(), seconds);
        if (value instanceof Instant) return decimal(((Instant) value).getEpochSecond(), ((Instant) value).getNano());
        if (value instanceof OffsetDateTime) return json(((OffsetDateTime) value).toInstant(), seconds);
        if (value instanceof ZonedDateTime) return json(((ZonedDateTime) value).toInstant(), seconds);
        if (value instanceof Duration) return decimal(((Duration) value).getSeconds(), ((Duration) value).getNano());
        if (value instanceof LocalDate) return "[" + parts((LocalDate) value) + "]";
        if (value instanceof LocalTime) return "[" + parts((LocalTime) value) + "]";
        if (!(value instanceof LocalDateTime)) return null;
        LocalDateTime both = (LocalDateTime) value;
        return "[" + parts(both.toLocalDate()) + "," + parts(both.toLocalTime()) + "]";
    }

    private static String ofDate(Date date, boolean seconds) {
        return seconds ? Double.toString(date.getTime() / 1000.0) : Long.toString(date.getTime());
    }

    private static String decimal(long seconds, int nanos) {
        return BigDecimal.valueOf(seconds).add(BigDecimal.valueOf(nanos, 9)).toPlainString();
    }

    private static String parts(LocalDate date) {
        return date.getYear() + "," + date.getMonthValue() + "," + date.getDayOfMonth();
    }

    private static String parts(LocalTime time) {
        String parts = time.getHour() + "," + time.getMinute();
        if (time.getSecond() == 0 && time.getNano() == 0) return parts;
        return parts + "," + time.getSecond() + (time.getNano() == 0 ? "" : "," + time.getNano());
    }

    static Date date(Number number, boolean seconds) {
        return new Date(seconds ? (long) (number.doubleValue() * 1000) : number.longValue());
    }

    /** ISO 8601, with or without a time and a zone. */
    static Date date(String text) {
        if (text.matches("-?[0-9]+")) return new Date(Long.parseLong(text));
        if (text.length() == 10) return Date.from(LocalDate.parse(text).atStartOfDay(java.time.ZoneOffset.UTC).toInstant());
        boolean zoned = text.endsWith("Z") || text.lastIndexOf('+') > 10 || text.lastIndexOf('-') > 10;
        if (!zoned) return Date.from(LocalDateTime.parse(text).toInstant(java.time.ZoneOffset.UTC));
        String colon = text.matches(".*[+-][0-9]{4}") ? text.substring(0, text.length() - 2) + ":" + text.substring(text.length() - 2) : text;
        return Date.from(OffsetDateTime.parse(colon).toInstant());
    }

    /** An instant or a duration from seconds. */
    static BigDecimal[] secondsAndNanos(Number number) {
        return new BigDecimal(number.toString()).divideAndRemainder(BigDecimal.ONE);
    }
}

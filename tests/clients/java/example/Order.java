package example;

import java.time.Instant;
import java.util.Date;
import java.util.List;
import java.util.Map;

/** An event of many types. */
public class Order<T> {
    public enum State { OPEN, SHIPPED }

    public static class Line {
        private String article;
        private int count;

        public String getArticle() { return article; }

        public void setArticle(String article) { this.article = article; }

        public int getCount() { return count; }

        public void setCount(int count) { this.count = count; }
    }

    public String id;
    public transient String secret = "not told";
    private List<Line> lines;
    private Map<String, T> extras;
    private State state;
    private boolean paid;
    private Date placed;
    private Instant seen;
    private double total;
    private byte[] raw;
    private String URL;

    public List<Line> getLines() { return lines; }

    public void setLines(List<Line> lines) { this.lines = lines; }

    public Map<String, T> getExtras() { return extras; }

    public void setExtras(Map<String, T> extras) { this.extras = extras; }

    public State getState() { return state; }

    public void setState(State state) { this.state = state; }

    public boolean isPaid() { return paid; }

    public void setPaid(boolean paid) { this.paid = paid; }

    public Date getPlaced() { return placed; }

    public void setPlaced(Date placed) { this.placed = placed; }

    public Instant getSeen() { return seen; }

    public void setSeen(Instant seen) { this.seen = seen; }

    public double getTotal() { return total; }

    public void setTotal(double total) { this.total = total; }

    public byte[] getRaw() { return raw; }

    public void setRaw(byte[] raw) { this.raw = raw; }

    public String getURL() { return URL; }

    public void setURL(String URL) { this.URL = URL; }
}

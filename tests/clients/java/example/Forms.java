package example;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** A method for each form a handler may have. */
public class Forms {
    public record Point(int x, int y, String name) {}

    public static String shout(String text) { return text.toUpperCase(); }

    public int length(List<Integer> numbers) { return numbers.stream().mapToInt(Integer::intValue).sum(); }

    public long large(long number) { return number + 1; }

    public Map<String, Object> map(Map<String, Object> event, Context context) {
        event.put("request", context.getAwsRequestId());
        event.put("nothing", null);
        return event;
    }

    public Point swap(Point point) { return new Point(point.y(), point.x(), point.name()); }

    public Order<Integer> order(Order<Integer> order) {
        int sum = 0;
        for (int one : order.getExtras().values()) sum += one;
        order.getExtras().put("sum", sum);
        order.getLines().get(0).setCount(order.getLines().get(0).getCount() + 1);
        return order;
    }

    public Set<Order.State> states(Set<Order.State> states) { return new TreeSet<>(states); }

    public Object anything(Object event) { return event.getClass().getSimpleName(); }

    public void nothing(String event) { System.out.println("told " + event); }

    public String contextOnly(Context context) { return context.getFunctionVersion(); }

    public boolean alone() { return true; }

    public int[] array(int[] numbers) {
        for (int at = 0; at < numbers.length; at++) numbers[at] *= 2;
        return numbers;
    }

    public void streams(InputStream in, OutputStream out) throws IOException { out.write(in.readAllBytes()); }

    public void streamsWithContext(InputStream in, OutputStream out, Context context) throws IOException {
        out.write(("\"" + context.getFunctionVersion() + " " + in.readAllBytes().length + "\"").getBytes());
    }

    public void outOnly(OutputStream out, Context context) throws IOException { out.write("[1]".getBytes()); }

    public String overloaded(String event) { return "shorter"; }

    public String overloaded(String event, Context context) { return "longer"; }

    public String tooMany(String one, String two, String three) { return ""; }
}

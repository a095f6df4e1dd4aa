package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.List;

/** A handler whose types only its subclass says. */
public abstract class Base<A, B> implements RequestHandler<List<A>, B> {
    abstract B first(A one);

    @Override
    public B handleRequest(List<A> events, Context context) { return first(events.get(0)); }

    /** What the subclass of a framework looks like. */
    public static class Doubled extends Base<Forms.Point, Integer> {
        @Override
        Integer first(Forms.Point point) { return 2 * point.x(); }
    }
}

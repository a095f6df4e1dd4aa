package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.events.ObjectsEvent;
import com.amazonaws.services.lambda.runtime.events.QueueEvent;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Handlers of what services send. */
public class Events {
    /** One rule for names holds for a function's own classes: this field is named as it is in the event. */
    public static class Own {
        public List<Map<String, Object>> Records;
        private List<Object> records;

        public List<Object> getRecords() { return records; }

        public void setRecords(List<Object> records) { this.records = records; }
    }

    public void objects(ObjectsEvent event, Context context) {
        for (ObjectsEvent.Record record : event.getRecords()) {
            System.out.println(record.getEventName() + " " + record.getS3().getBucket().getName() + " " + record.getS3().getObject().getKey()
                + " " + record.getS3().getObject().geteTag() + " " + record.getAwsRegion() + " " + (record.getEventTime().getEpochSecond() > 0));
        }
    }

    public Map<String, Object> queue(QueueEvent event) {
        List<String> bodies = new ArrayList<>();
        event.getRecords().forEach(one -> bodies.add(one.getMessageId() + " " + one.getBody() + " " + one.getEventSourceArn()));
        return Map.of("bodies", bodies, "first", event.getRecords().get(0));
    }

    public String own(Own event) { return (event.Records == null ? "no" : event.Records.size()) + " " + event.getRecords(); }
}

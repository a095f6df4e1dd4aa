package com.amazonaws.services.lambda.runtime.events;

import java.time.Instant;
import java.util.List;

/** Shaped as the event class for S3 is: nothing but constructors and getters. */
public class ObjectsEvent {
    private final List<Record> records;

    public ObjectsEvent(List<Record> records) { this.records = records; }

    public List<Record> getRecords() { return records; }

    public static class Record {
        private final String awsRegion;
        private final String eventName;
        private final Instant eventTime;
        private final Parts s3;

        public Record(String awsRegion, String eventName, Instant eventTime, Parts s3) {
            this.awsRegion = awsRegion;
            this.eventName = eventName;
            this.eventTime = eventTime;
            this.s3 = s3;
        }

        public String getAwsRegion() { return awsRegion; }

        public String getEventName() { return eventName; }

        public Instant getEventTime() { return eventTime; }

        public Parts getS3() { return s3; }
    }

    public static class Parts {
        private Named bucket;
        private Thing object;

        public Named getBucket() { return bucket; }

        public void setBucket(Named bucket) { this.bucket = bucket; }

        public Thing getObject() { return object; }

        public void setObject(Thing object) { this.object = object; }
    }

    public static class Named {
        private String name;

        public String getName() { return name; }

        public void setName(String name) { this.name = name; }
    }

    public static class Thing {
        private String key;
        private String eTag;

        public String getKey() { return key; }

        public void setKey(String key) { this.key = key; }

        public String geteTag() { return eTag; }

        public void seteTag(String eTag) { this.eTag = eTag; }
    }
}

package com.amazonaws.services.lambda.runtime.events;

import java.util.Date;
import java.util.List;

/** Named as AWS names its event classes: setters and JSON seldom agree in their letters' cases. */
public class QueueEvent {
    private List<Message> records;

    public List<Message> getRecords() { return records; }

    public void setRecords(List<Message> records) { this.records = records; }

    public static class Message {
        private String messageId;
        private String body;
        private String eventSourceArn;
        private Date sent;

        public String getMessageId() { return messageId; }

        public void setMessageId(String messageId) { this.messageId = messageId; }

        public String getBody() { return body; }

        public void setBody(String body) { this.body = body; }

        public String getEventSourceArn() { return eventSourceArn; }

        public void setEventSourceArn(String eventSourceArn) { this.eventSourceArn = eventSourceArn; }

        public Date getSent() { return sent; }

        public void setSent(Date sent) { this.sent = sent; }
    }
}

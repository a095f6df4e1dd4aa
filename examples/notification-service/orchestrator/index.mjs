// Decides by which channels a customer hears of a confirmed order, and publishes one notification for each.
import { PublishBatchCommand, SNSClient } from "@aws-sdk/client-sns";

const sns = new SNSClient({});
// From this total on, a customer with a phone gets a text message as well.
const HIGH_VALUE = 500;

export const handler = async ({ id, detail: { orderId, total, customer } }) => {
  const notices = [{ channel: "email", to: customer.email, text: `Your order ${orderId} over ${total} is confirmed.` }];
  if (total >= HIGH_VALUE && customer.phone) {
    notices.push({ channel: "sms", to: customer.phone, text: `Order ${orderId} is confirmed.` });
  }
  const entries = notices.map((notice) => ({
    Id: notice.channel,
    Message: JSON.stringify({ id: `${id}/${notice.channel}`, orderId, ...notice }),
    MessageAttributes: { channel: { DataType: "String", StringValue: notice.channel } },
  }));
  const { Failed } = await sns.send(new PublishBatchCommand({ TopicArn: process.env.TOPIC, PublishBatchRequestEntries: entries }));
  if (Failed?.length) throw new Error(`${Failed.length} of ${entries.length} notifications were refused`);
  console.log(`${orderId}: ${notices.map((notice) => notice.channel).join(", ")}`);
};

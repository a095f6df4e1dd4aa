// The AWS SDK for JavaScript v3 as a caller: prints one JSON object of what happened.
import { CreateTableCommand, DynamoDBClient, waitUntilTableExists } from '@aws-sdk/client-dynamodb';
import { EventBridgeClient, PutEventsCommand, PutRuleCommand, PutTargetsCommand } from '@aws-sdk/client-eventbridge';
import {
  CreateFunctionCommand, GetFunctionCommand, InvokeCommand, InvokeWithResponseStreamCommand, LambdaClient, PublishVersionCommand,
  UpdateFunctionConfigurationCommand, paginateListFunctions, paginateListVersionsByFunction, waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2, waitUntilPublishedVersionActive,
} from '@aws-sdk/client-lambda';
import { CreateBucketCommand, GetObjectCommand, HeadObjectCommand, S3Client, paginateListObjectsV2 } from '@aws-sdk/client-s3';
import { CreateTopicCommand, PublishCommand, SNSClient, SubscribeCommand } from '@aws-sdk/client-sns';
import { CreateQueueCommand, DeleteMessageBatchCommand, GetQueueAttributesCommand, ReceiveMessageCommand, SQSClient, SendMessageBatchCommand } from '@aws-sdk/client-sqs';
import { DynamoDBDocumentClient, PutCommand, QueryCommand, TransactWriteCommand, UpdateCommand, paginateScan } from '@aws-sdk/lib-dynamodb';
import { Upload } from '@aws-sdk/lib-storage';
import { Readable } from 'node:stream';

const name = process.argv[2];
const zip = Buffer.from(process.env.FUNCTION_ZIP, 'base64');
const settings = { endpoint: process.env.AWS_ENDPOINT_URL, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
const waiting = (client) => ({ client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 });

async function functions() {
  const lambda = new LambdaClient(settings);
  const missing = await lambda.send(new GetFunctionCommand({ FunctionName: `${name}-none` })).catch((error) => [error.name, error.$metadata.httpStatusCode]);
  await lambda.send(new CreateFunctionCommand({ FunctionName: name, Runtime: 'python3.11', Handler: 'app.handler', Role: 'arn:aws:iam::000000000000:role/any', Code: { ZipFile: zip } }));
  const active = await waitUntilFunctionActiveV2(waiting(lambda), { FunctionName: name });
  await lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: name, Environment: { Variables: { GREETING: 'hello' } } }));
  const updated = await waitUntilFunctionUpdatedV2(waiting(lambda), { FunctionName: name });
  const { Version } = await lambda.send(new PublishVersionCommand({ FunctionName: name }));
  const published = await waitUntilPublishedVersionActive(waiting(lambda), { FunctionName: name, Qualifier: Version });
  const invoked = await lambda.send(new InvokeCommand({ FunctionName: name, Qualifier: Version, Payload: JSON.stringify({ n: 1 }), LogType: 'Tail' }));
  const failed = await lambda.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify({ fail: true }) }));
  const streamed = await lambda.send(new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: JSON.stringify({ n: 2 }) }));
  let pieces = '';
  for await (const event of streamed.EventStream) pieces += event.PayloadChunk ? Buffer.from(event.PayloadChunk.Payload).toString() : '';
  const listed = [];
  for await (const page of paginateListFunctions({ client: lambda, pageSize: 1 }, {})) listed.push(...page.Functions.map((one) => one.FunctionName));
  const versions = [];
  for await (const page of paginateListVersionsByFunction({ client: lambda, pageSize: 1 }, { FunctionName: name })) versions.push(...page.Versions.map((one) => one.Version));
  return {
    missing, versions, pieces: JSON.parse(pieces), listed: listed.includes(name), waited: [active.state, updated.state, published.state],
    invoked: [invoked.StatusCode, invoked.ExecutedVersion, JSON.parse(invoked.Payload.transformToString())],
    failed: [failed.FunctionError, JSON.parse(failed.Payload.transformToString()).errorType],
    tail: Buffer.from(invoked.LogResult, 'base64').toString().includes('REPORT RequestId'),
  };
}

async function objects() {
  const s3 = new S3Client({ ...settings, forcePathStyle: true });
  await s3.send(new CreateBucketCommand({ Bucket: name }));
  const piece = Buffer.alloc(1024 * 1024, 'x');
  const Body = Readable.from((function* () { for (let n = 0; n < 12; n += 1) yield piece; })());
  const done = await new Upload({ client: s3, params: { Bucket: name, Key: 'large file', Body }, partSize: 5 * 1024 * 1024 }).done();
  await new Upload({ client: s3, params: { Bucket: name, Key: 'small', Body: 'text' } }).done();
  const head = await s3.send(new HeadObjectCommand({ Bucket: name, Key: 'large file' }));
  const part = await s3.send(new GetObjectCommand({ Bucket: name, Key: 'large file', Range: 'bytes=5-9' }));
  const keys = [];
  for await (const page of paginateListObjectsV2({ client: s3, pageSize: 1 }, { Bucket: name })) keys.push(...(page.Contents ?? []).map((one) => one.Key));
  return { parts: done.ETag.endsWith('-3"'), size: head.ContentLength, part: await part.Body.transformToString(), keys };
}

async function documents() {
  const client = new DynamoDBClient(settings);
  const tables = DynamoDBDocumentClient.from(client, { marshallOptions: { removeUndefinedValues: true } });
  await client.send(new CreateTableCommand({
    TableName: name, BillingMode: 'PAY_PER_REQUEST',
    AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }, { AttributeName: 'at', AttributeType: 'N' }],
    KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }, { AttributeName: 'at', KeyType: 'RANGE' }],
  }));
  await waitUntilTableExists(waiting(client), { TableName: name });
  for (const at of [1, 2, 3]) await tables.send(new PutCommand({ TableName: name, Item: { id: 'a', at, tags: new Set(['x', 'y']), nested: { list: [1, 'two', null, true] }, none: undefined } }));
  const updated = await tables.send(new UpdateCommand({ TableName: name, Key: { id: 'a', at: 1 }, UpdateExpression: 'SET #n = :n', ExpressionAttributeNames: { '#n': 'name' }, ExpressionAttributeValues: { ':n': 'first' }, ReturnValues: 'ALL_NEW' }));
  const found = await tables.send(new QueryCommand({ TableName: name, KeyConditionExpression: 'id = :id AND #at > :at', ExpressionAttributeNames: { '#at': 'at' }, ExpressionAttributeValues: { ':id': 'a', ':at': 1 } }));
  const refused = await tables.send(new TransactWriteCommand({ TransactItems: [{ Put: { TableName: name, Item: { id: 'a', at: 1 }, ConditionExpression: 'attribute_not_exists(id)' } }] }))
    .catch((error) => [error.name, error.CancellationReasons.map((reason) => reason.Code)]);
  let scanned = 0;
  for await (const page of paginateScan({ client: tables, pageSize: 2 }, { TableName: name })) scanned += page.Count;
  const { tags, nested } = updated.Attributes;
  return { name: updated.Attributes.name, tags: [...tags].sort(), nested, found: found.Items.map((item) => item.at), refused, scanned };
}

async function receive(sqs, QueueUrl, count) {
  const bodies = [];
  while (bodies.length < count) {
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: ['All'] }));
    if (!Messages.length) break;
    bodies.push(...Messages.map((message) => message.Body));
    await sqs.send(new DeleteMessageBatchCommand({ QueueUrl, Entries: Messages.map(({ ReceiptHandle }, n) => ({ Id: `${n}`, ReceiptHandle })) }));
  }
  return bodies;
}

async function messages() {
  const [sqs, sns, events] = [new SQSClient(settings), new SNSClient(settings), new EventBridgeClient(settings)];
  const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: name }));
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }));
  const sent = await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries: [1, 2].map((n) => ({ Id: `${n}`, MessageBody: `body ${n}`, MessageAttributes: { n: { DataType: 'Number', StringValue: `${n}` } } })) }));
  const first = (await receive(sqs, QueueUrl, 2)).sort();
  const { TopicArn } = await sns.send(new CreateTopicCommand({ Name: name }));
  await sns.send(new SubscribeCommand({ TopicArn, Protocol: 'sqs', Endpoint: Attributes.QueueArn, Attributes: { RawMessageDelivery: 'true' } }));
  await sns.send(new PublishCommand({ TopicArn, Message: 'told' }));
  const told = await receive(sqs, QueueUrl, 1);
  await events.send(new PutRuleCommand({ Name: name, EventPattern: JSON.stringify({ source: [name] }) }));
  await events.send(new PutTargetsCommand({ Rule: name, Targets: [{ Id: 'q', Arn: Attributes.QueueArn, InputPath: '$.detail' }] }));
  const put = await events.send(new PutEventsCommand({ Entries: [{ Source: name, DetailType: 'any', Detail: '{"k":1}' }] }));
  return { sent: sent.Successful.length, first, told, put: put.FailedEntryCount, matched: await receive(sqs, QueueUrl, 1) };
}

Promise.all([functions(), objects(), documents(), messages()])
  .then(([lambda, s3, dynamodb, queues]) => console.log(JSON.stringify({ lambda, s3, dynamodb, queues })));

// The AWS SDK for JavaScript v2, with callbacks, promises and waiters: a function, and a script when started with a name.
'use strict';
const DynamoDB = require('aws-sdk/clients/dynamodb');
const Lambda = require('aws-sdk/clients/lambda');
const S3 = require('aws-sdk/clients/s3');
const SQS = require('aws-sdk/clients/sqs');

const settings = { endpoint: process.env.AWS_ENDPOINT_URL, region: 'us-east-1' };
const s3 = new S3({ ...settings, s3ForcePathStyle: true });
const sqs = new SQS(settings);
const lambda = new Lambda(settings);
const dynamodb = new DynamoDB(settings);
const documents = new DynamoDB.DocumentClient({ service: dynamodb });

const withCallback = (client, operation, parameters) => new Promise((resolve, reject) => {
  client[operation](parameters, (error, data) => (error ? reject(error) : resolve(data)));
});

exports.handler = async ({ name }) => {
  await withCallback(s3, 'createBucket', { Bucket: name });
  const uploaded = await s3.upload({ Bucket: name, Key: 'large', Body: Buffer.alloc(6 * 1024 * 1024) }, { partSize: 5 * 1024 * 1024 }).promise();
  const keys = [];
  await new Promise((resolve) => s3.listObjectsV2({ Bucket: name }).eachPage((error, page) => (page ? keys.push(...page.Contents.map((one) => one.Key)) : resolve())));
  await dynamodb.createTable({
    TableName: name, BillingMode: 'PAY_PER_REQUEST', AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }], KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
  }).promise();
  await documents.put({ TableName: name, Item: { id: 'a', set: documents.createSet([1, 2]), deep: { yes: true } } }).promise();
  const { Item } = await documents.get({ TableName: name, Key: { id: 'a' } }).promise();
  const again = await documents.put({ TableName: name, Item: { id: 'a' }, ConditionExpression: 'attribute_not_exists(id)' }).promise().catch((error) => [error.code, error.statusCode]);
  const { QueueUrl } = await sqs.createQueue({ QueueName: name }).promise();
  await sqs.sendMessage({ QueueUrl, MessageBody: 'hello' }).promise();
  const { Messages } = await sqs.receiveMessage({ QueueUrl, WaitTimeSeconds: 5 }).promise();
  const missing = await lambda.getFunction({ FunctionName: `${name}-none` }).promise().catch((error) => [error.code, error.statusCode]);
  return { parts: uploaded.ETag.endsWith('-2"'), keys, deep: Item.deep, set: Item.set.values, again, body: Messages[0].Body, missing };
};

if (process.argv[2]) exports.handler({ name: process.argv[2] }).then((said) => console.log(JSON.stringify(said)));

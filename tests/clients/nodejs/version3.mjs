// A function that uses what nodejs18.x and later bring: the AWS SDK for JavaScript v3, loaded while it begins (top-level await).
const { S3Client, CreateBucketCommand, PutObjectCommand, GetObjectCommand } = await import('@aws-sdk/client-s3');
const { DynamoDBClient } = await import('@aws-sdk/client-dynamodb');
const { DynamoDBDocumentClient, ScanCommand } = await import('@aws-sdk/lib-dynamodb');

const s3 = new S3Client({});
const tables = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export const handler = async ({ name }, context) => {
  await s3.send(new CreateBucketCommand({ Bucket: name }));
  await s3.send(new PutObjectCommand({ Bucket: name, Key: context.awsRequestId, Body: 'from inside' }));
  const object = await s3.send(new GetObjectCommand({ Bucket: name, Key: context.awsRequestId }));
  const missing = await tables.send(new ScanCommand({ TableName: `${name}-none` })).catch((error) => error.name);
  return { body: await object.Body.transformToString(), missing };
};

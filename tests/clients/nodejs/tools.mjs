// Powertools for AWS Lambda (TypeScript) and the X-Ray SDK, a path each; `event.path` says which.
import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { DynamoDBPersistenceLayer } from '@aws-lambda-powertools/idempotency/dynamodb';
import { Logger } from '@aws-lambda-powertools/logger';
import { MetricUnit, Metrics } from '@aws-lambda-powertools/metrics';
import { Tracer } from '@aws-lambda-powertools/tracer';
import { S3Client, ListBucketsCommand } from '@aws-sdk/client-s3';
import xray from 'aws-xray-sdk-core';

const logger = new Logger({ serviceName: 'shop' });
const metrics = new Metrics({ namespace: 'shop', serviceName: 'shop' });
const tracer = new Tracer({ serviceName: 'shop' });
const s3 = tracer.captureAWSv3Client(new S3Client({ forcePathStyle: true }));
let paid = 0;

const pay = makeIdempotent(async (order) => ({ order: order.id, payment: (paid += 1) }), {
  persistenceStore: new DynamoDBPersistenceLayer({ tableName: process.env.TABLE }),
  config: new IdempotencyConfig({ eventKeyJmesPath: 'id' }),
});

const paths = {
  log(event, context) {
    logger.addContext(context);
    logger.appendKeys({ customer: 'c1' });
    logger.info('an order came', { order: 7 });
    logger.error('it went wrong', new TypeError('no price'));
    return 'logged';
  },

  measure() {
    metrics.addDimension('shop', 'north');
    metrics.addMetric('orders', MetricUnit.Count, 2);
    metrics.publishStoredMetrics();
    return 'measured';
  },

  async pay(event) {
    return [await pay(event.order), await pay(event.order)];
  },

  async trace() {
    const parent = tracer.getSegment();
    const below = parent.addNewSubsegment('### work');
    tracer.setSegment(below);
    tracer.putAnnotation('order', 7);
    tracer.putMetadata('basket', { items: 3 });
    await s3.send(new ListBucketsCommand({}));
    below.close();
    tracer.setSegment(parent);
    const plain = xray.getSegment();
    return { traced: tracer.isTracingEnabled(), root: tracer.getRootXrayTraceId(), same: plain.trace_id === parent.trace_id, sampled: tracer.isTraceSampled() };
  },
};

export const handler = async (event, context) => {
  if (event.Records) {
    const kind = event.Records[0].eventSource === 'aws:sqs' ? EventType.SQS : EventType.DynamoDBStreams;
    const judge = (record) => {
      const word = record.body ?? record.dynamodb.NewImage.word.S;
      logger.info('record', { word });
      if (word === 'bad') throw new Error('a bad record');
    };
    return processPartialResponse(event, judge, new BatchProcessor(kind), { context, throwOnFullBatchFailure: false });
  }
  return paths[event.path](event, context);
};

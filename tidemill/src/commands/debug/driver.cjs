// Runs one invocation of a Node.js function for `tidemill invoke --debug`: waits for an inspector, loads the handler, calls it,
// writes what came of it. Takes the event's file and the file for the outcome. The clock of the function stands.
'use strict';

const fs = require('node:fs');
const inspector = require('node:inspector');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const [eventFile, outcomeFile, port] = process.argv.slice(2);
const task = process.env.LAMBDA_TASK_ROOT;
const asked = JSON.parse(fs.readFileSync(eventFile, 'utf8'));

const context = {
  awsRequestId: asked.request_id,
  invokedFunctionArn: asked.arn,
  functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
  functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
  memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
  logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
  logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
  callbackWaitsForEmptyEventLoop: true,
  getRemainingTimeInMillis: () => asked.timeout_ms,
};

async function load(name) {
  const at = name.lastIndexOf('.');
  const file = path.resolve(task, name.slice(0, at));
  const found = ['', '.js', '.mjs', '.cjs'].map((ending) => file + ending).find((one) => fs.existsSync(one) && fs.statSync(one).isFile());
  if (!found) throw new Error(`Cannot find module '${path.relative(task, file)}'`);
  const module = await import(pathToFileURL(found));
  const handler = module[name.slice(at + 1)] ?? module.default?.[name.slice(at + 1)];
  if (typeof handler !== 'function') throw new Error(`${name} is undefined or not exported`);
  return handler;
}

function call(handler) {
  return new Promise((resolve, reject) => {
    const back = (error, result) => (error ? reject(error) : resolve(result));
    const returned = handler(asked.event, context, back);
    if (typeof returned?.then === 'function') returned.then(resolve, reject);
    else if (handler.length < 3) resolve(returned);
  });
}

async function main() {
  process.chdir(task);
  // Listening and waiting at once: a debugger that is there early is not missed.
  inspector.open(Number(port), '127.0.0.1', true);
  try {
    const result = await call(await load(process.env._HANDLER));
    return { payload: JSON.stringify(result ?? null) };
  } catch (error) {
    console.error(error);
    return { error: { errorType: error?.name ?? 'Error', errorMessage: error?.message ?? String(error), trace: String(error?.stack ?? error).split('\n') } };
  }
}

main().then((outcome) => {
  fs.writeFileSync(outcomeFile, JSON.stringify(outcome));
  process.exit(0);
});

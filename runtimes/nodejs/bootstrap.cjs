// Runs Node.js functions: waits for a function, loads its handler, then serves invocations, behaving as Lambda's runtime does.
//
// It speaks a private channel (length-prefixed frames on descriptor 3), not HTTP: see crates/sandbox/src/channel.rs for the other end.
// Processes of it are started before anybody needs them and wait, with the SDK's most used clients loaded.
'use strict';

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const stream = require('node:stream');
const util = require('node:util');
const { pathToFileURL } = require('node:url');
const Module = require('node:module');

const CHANNEL_FD = 3;
const LOG_FD = 1;
const LOG_MAGIC = 0xa55a0003;
const LOG_CHUNK_MAX = 4096 - 16;
const EXTENSIONS = ['', '.js', '.mjs', '.cjs'];
const PRELOADED = ['@aws-sdk/client-s3', '@aws-sdk/client-dynamodb', '@aws-sdk/lib-dynamodb', '@aws-sdk/client-sqs', '@aws-sdk/client-sns'];

// Both in Lambda's words.
const NO_CALLBACKS = 'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';
const NEVER_SETTLED = 'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a Promise that was never settled. For more information, see https://nodejs.org/docs/latest/api/process.html#exit-codes';

class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

// ---- the channel -----------------------------------------------------------------------------------------------------------------

const channel = new net.Socket({ fd: CHANNEL_FD, readable: true, writable: true });
let received = Buffer.alloc(0);
let waitingForFrame = null;

channel.on('data', (chunk) => {
  received = received.length ? Buffer.concat([received, chunk]) : chunk;
  deliver();
});
channel.on('end', () => process.reallyExit(0));
channel.on('error', () => process.reallyExit(0));

function deliver() {
  if (!waitingForFrame || received.length < 8) return;
  const head = received.readUInt32LE(0);
  const end = 8 + head + received.readUInt32LE(4);
  if (received.length < end) return;
  const header = JSON.parse(received.toString('utf8', 8, 8 + head));
  const body = received.toString('utf8', 8 + head, end);
  received = received.subarray(end);
  const resolve = waitingForFrame;
  waitingForFrame = null;
  resolve({ header, body });
}

function nextFrame(handle) {
  channel.ref();
  waitingForFrame = handle;
  deliver();
}

function send(header, body, written) {
  const content = Buffer.from(body ?? '');
  const head = Buffer.from(JSON.stringify(header));
  const lengths = Buffer.alloc(8);
  lengths.writeUInt32LE(head.length, 0);
  lengths.writeUInt32LE(content.length, 4);
  channel.write(Buffer.concat([lengths, head, content]), written);
}

const peakKb = () => process.resourceUsage().maxRSS;

// ---- the log ---------------------------------------------------------------------------------------------------------------------

/** Writes one event of any number of lines; chunks up to PIPE_BUF are never mixed with other output. */
function logEvent(text) {
  let rest = Buffer.from(text);
  do {
    const chunk = rest.subarray(0, LOG_CHUNK_MAX);
    rest = rest.subarray(LOG_CHUNK_MAX);
    const header = Buffer.alloc(16);
    header.writeUInt32LE(LOG_MAGIC, 0);
    header.writeUInt32LE((chunk.length | (rest.length ? 0x80000000 : 0)) >>> 0, 4);
    header.writeBigInt64LE(BigInt(Date.now()) * 1000n, 8);
    writeAll(Buffer.concat([header, chunk]));
  } while (rest.length);
}

function writeAll(buffer) {
  for (let at = 0; at < buffer.length; ) {
    try {
      at += fs.writeSync(LOG_FD, buffer, at);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

let currentRequestId;
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];
const CONSOLE = { trace: 'TRACE', debug: 'DEBUG', info: 'INFO', log: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };

function patchConsole() {
  const json = process.env.AWS_LAMBDA_LOG_FORMAT === 'JSON';
  const lowest = json ? Math.max(LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL ?? 'INFO'), 0) : 0;
  for (const [name, level] of Object.entries(CONSOLE)) {
    const shown = LEVELS.indexOf(level) >= lowest;
    console[name] = shown ? (...args) => logEvent(json ? jsonLine(level, args) : textLine(level, args)) : () => {};
  }
}

function textLine(level, args) {
  return `${new Date().toISOString()}\t${currentRequestId ?? 'undefined'}\t${level}\t${util.format(...args)}\n`;
}

/** As Lambda does: a lone value is the message itself, several are formatted; the first error among them is told apart. */
function jsonLine(level, [message, ...rest]) {
  const entry = { timestamp: new Date().toISOString(), level, requestId: currentRequestId };
  if (rest.length) {
    entry.message = util.format(message, ...rest);
    const error = rest.find((one) => one instanceof Error);
    return `${JSON.stringify({ ...entry, ...(error ? errorMembers(error) : {}) })}\n`;
  }
  try {
    return `${JSON.stringify({ ...entry, message }, (_, value) => (value instanceof Error ? { ...errorMembers(value), ...value } : value))}\n`;
  } catch {
    return `${JSON.stringify({ ...entry, message: util.format(message) })}\n`;
  }
}

function errorMembers(error) {
  return { errorType: error.constructor?.name ?? 'UnknownError', errorMessage: error.message, stackTrace: typeof error.stack === 'string' ? error.stack.split('\n') : [] };
}

// ---- errors ----------------------------------------------------------------------------------------------------------------------

/** What a failed invocation answers: errorType, errorMessage, trace. */
function errorObject(error) {
  try {
    if (util.types.isNativeError(error) || error instanceof Error) {
      return {
        errorType: String(error.name).replaceAll('\x7f', '%7F'),
        errorMessage: String(error.message).replaceAll('\x7f', '%7F'),
        trace: String(error.stack).replaceAll('\x7f', '%7F').split('\n'),
      };
    }
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  } catch {
    return { errorType: 'handled', errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack' };
  }
}

/** An error with what else it carries, in the order Lambda prints it. */
function loggedError(error) {
  const withMembers = (_, value) => {
    if (!(value instanceof Error)) return value;
    const shown = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
    return typeof value.stack === 'string' ? { ...shown, stack: value.stack.split('\n') } : shown;
  };
  try {
    return JSON.stringify(error, withMembers);
  } catch {
    return JSON.stringify(errorObject(error));
  }
}

function logError(title, thrown) {
  const error = thrown instanceof Error ? thrown : new Error(thrown);
  if (process.env.AWS_LAMBDA_LOG_FORMAT === 'JSON') logEvent(jsonLine('ERROR', [error]));
  // The space before the tab is Lambda's.
  else logEvent(textLine('ERROR', [title, `\t${loggedError(error)}`]));
}

// ---- loading the handler ---------------------------------------------------------------------------------------------------------

async function loadHandler(root, name) {
  if (name.includes('..')) throw new RuntimeError('Runtime.MalformedHandlerName', `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  const base = path.basename(name);
  const dot = base.indexOf('.');
  if (dot < 0) throw new RuntimeError('Runtime.MalformedHandlerName', 'Bad handler');
  const moduleRoot = name.substring(0, name.length - base.length);
  const moduleName = base.substring(0, dot);
  const handlerPath = base.substring(dot + 1);
  const loaded = await loadModule(root, path.join(moduleRoot, moduleName));
  const within = (module) => handlerPath.split('.').reduce((nested, key) => nested?.[key], module);
  const handler = within(loaded) ?? (loaded?.default && within(loaded.default));
  if (!handler) throw new RuntimeError('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new RuntimeError('Runtime.HandlerNotFound', `${name} is not a function`);
  return handler;
}

async function loadModule(root, name) {
  const base = path.resolve(root, name);
  const file = EXTENSIONS.map((extension) => base + extension).find((candidate) => isFile(candidate));
  try {
    if (!file) return require(require.resolve(name, { paths: [root] }));
    if (isModule(file)) return await import(pathToFileURL(file).href);
    return require(file);
  } catch (error) {
    if (error instanceof SyntaxError) throw Object.assign(new RuntimeError('Runtime.UserCodeSyntaxError', String(error)), { stack: error.stack });
    // Lambda leaves what an import statement does not find (ERR_MODULE_NOT_FOUND) as Node.js says it.
    if (error?.code === 'MODULE_NOT_FOUND') {
      const shown = file ? error.message.replaceAll(__filename, '/var/runtime/index.mjs') : `Cannot find module '${name.replace(/^\.\//, '')}'\nRequire stack:\n- /var/runtime/index.mjs`;
      throw Object.assign(new RuntimeError('Runtime.ImportModuleError', `Error: ${shown}`), { stack: error.stack });
    }
    throw error;
  }
}

/** Refuses handlers of kinds that this runtime does not know. */
function expectHandler(loaded) {
  const streaming = loaded[STREAMING];
  if (streaming && streaming !== 'response') throw new RuntimeError('Runtime.MalformedStreamingHandler', 'Only response streaming is supported.');
  if (!knowsCallbacks && !streaming && loaded.length >= 3) throw new RuntimeError('Runtime.CallbackHandlerDeprecated', NO_CALLBACKS);
}

/** 24 of `AWS_Lambda_nodejs24.x`. */
function majorOf(environment) {
  return Number(/nodejs(\d+)/.exec(environment ?? '')?.[1] ?? 0);
}

function isFile(file) {
  return fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** Whether a file is an ES module by Node's own rules: its extension, then the nearest package.json. */
function isModule(file) {
  if (file.endsWith('.mjs')) return true;
  if (!file.endsWith('.js')) return false;
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    const description = path.join(dir, 'package.json');
    if (isFile(description)) return JSON.parse(fs.readFileSync(description, 'utf8')).type === 'module';
    if (dir === path.dirname(dir)) return false;
  }
}

// ---- streamed answers ------------------------------------------------------------------------------------------------------------

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const PIECE_MAX = 65536;

/** What a streaming handler writes to: each write goes to the platform, and waits while nobody reads. */
class ResponseStream extends stream.Writable {
  constructor(options) {
    super({ decodeStrings: true, ...options });
    this.contentType = 'application/octet-stream';
    this.begun = false;
  }

  setContentType(contentType) {
    if (this.begun) throw new RuntimeError('Runtime.InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.contentType = contentType;
  }

  write(chunk, ...rest) {
    const plain = typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.write(plain ? chunk : JSON.stringify(chunk), ...rest);
  }

  end(chunk, ...rest) {
    const plain = chunk === undefined || chunk === null || typeof chunk === 'function' || typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.end(plain ? chunk : JSON.stringify(chunk), ...rest);
  }

  _write(chunk, encoding, done) {
    this.begin();
    let at = 0;
    const next = (error) => {
      if (error || at >= chunk.length) return done(error);
      at += PIECE_MAX;
      send({ t: 'chunk' }, chunk.subarray(at - PIECE_MAX, at), next);
    };
    next();
  }

  _final(done) {
    if (!this.failed) this.begin();
    done();
  }

  /** Ends the stream with what was written so far, then goes on. */
  breakOff(then) {
    this.failed = true;
    if (this.destroyed || this.writableFinished) return then();
    let told = false;
    const once = () => !told && ((told = true), then());
    this.on('finish', once).on('close', once);
    if (!this.writableEnded) this.end();
  }

  /** The answer's type, and what HttpResponseStream puts before it. */
  begin() {
    if (this.begun) return;
    this.begun = true;
    send({ t: 'begin', content_type: String(this.contentType) });
    this._onBeforeFirstWrite?.((piece) => send({ t: 'chunk' }, piece));
  }
}

/** What functions find as the global `awslambda`. */
const awslambda = {
  streamifyResponse(handler, options) {
    handler[STREAMING] = 'response';
    if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = options.highWaterMark;
    return handler;
  },

  HttpResponseStream: class HttpResponseStream {
    /** The stream's answer gets this status, these headers and cookies. */
    static from(underlyingStream, prelude) {
      underlyingStream.setContentType('application/vnd.awslambda.http-integration-response');
      const metadata = JSON.stringify(prelude);
      underlyingStream._onBeforeFirstWrite = (write) => {
        write(metadata);
        write(new Uint8Array(8));
      };
      return underlyingStream;
    }
  },
};

/** Runs a streaming handler: the invocation is over when it has settled and its stream is finished. */
async function runStreaming(event, context, answer) {
  const responseStream = new ResponseStream(handler[HIGH_WATER_MARK] ? { highWaterMark: handler[HIGH_WATER_MARK] } : undefined);
  const finished = new Promise((resolve, reject) => responseStream.on('finish', resolve).on('error', reject).on('close', resolve));
  finished.catch(() => {});
  answer.responseStream = responseStream;
  try {
    const result = handler(event, responseStream, context);
    if (typeof result?.then !== 'function') throw 'Streaming does not support non-async handlers.';
    if ((await result) !== undefined) console.warn('Streaming handlers ignore return values.');
    await finished;
    if (!responseStream.writableFinished) throw 'Response stream is not finished.';
    answer.end();
  } catch (error) {
    answer.fail(error ?? new Error('Unknown reason'));
  }
}

// ---- invoking --------------------------------------------------------------------------------------------------------------------

function makeContext(request, answer) {
  const deadline = request.deadline_ms;
  const context = {
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: request.client ? JSON.parse(request.client) : undefined,
    identity: request.identity ? JSON.parse(request.identity) : undefined,
    invokedFunctionArn: request.arn,
    awsRequestId: request.id,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  if (!knowsCallbacks || handler[STREAMING]) return context;
  const done = (error, result) => answer.finish(error, result, context, true);
  const succeed = (result) => done(null, result);
  const fail = (error) => done(error ?? 'handled');
  return Object.assign(context, { callbackWaitsForEmptyEventLoop: true, done, succeed, fail });
}

/** Answers one invocation, once. */
class Answer {
  constructor(request) {
    this.request = request;
    this.sent = false;
  }

  /** A callback's result: an error at once, another when nothing is left to do. */
  finish(error, result, context, now = false) {
    if (this.sent || this.pending) return;
    const failed = error !== undefined && error !== null;
    this.pending = () => (failed ? this.fail(error) : this.succeed(result));
    if (failed || now || !context.callbackWaitsForEmptyEventLoop) this.release();
  }

  release() {
    const pending = this.pending;
    this.pending = undefined;
    pending?.();
  }

  succeed(result) {
    if (this.sent) return;
    let body;
    try {
      body = JSON.stringify(result === undefined ? null : result) ?? 'null';
    } catch {
      this.fail(new Error('Unable to stringify response body'));
      return;
    }
    this.sent = true;
    send({ t: 'response', rss: peakKb() }, body);
    awaitInvocation();
  }

  /** The end of a streamed answer. */
  end() {
    if (this.sent) return;
    this.sent = true;
    send({ t: 'response', rss: peakKb() });
    awaitInvocation();
  }

  fail(error) {
    if (this.sent) return;
    this.sent = true;
    logError('Invoke Error', error);
    const shape = errorObject(error);
    const tell = () => {
      send({ t: 'error', type: String(shape.errorType), rss: peakKb() }, JSON.stringify(shape));
      awaitInvocation();
    };
    if (this.responseStream) this.responseStream.breakOff(tell);
    else tell();
  }
}

let current;
let handler;
/** Whether handlers may call back, as they could up to nodejs22.x. */
let knowsCallbacks = true;

function awaitInvocation() {
  nextFrame(({ header, body }) => {
    // While a function runs, only its own work keeps the event loop alive.
    channel.unref();
    run(header, body);
  });
}

function run(request, body) {
  currentRequestId = request.id;
  if (request.trace) process.env._X_AMZN_TRACE_ID = request.trace;
  else delete process.env._X_AMZN_TRACE_ID;
  const answer = new Answer(request);
  current = answer;
  try {
    const event = JSON.parse(body);
    const context = makeContext(request, answer);
    if (handler[STREAMING]) {
      void runStreaming(event, context, answer);
      return;
    }
    const callback = knowsCallbacks ? [(error, result) => answer.finish(error, result, context)] : [];
    const result = handler(event, context, ...callback);
    // Up to Node.js 22 a handler answers with a promise or calls back; what it merely returns is nobody's answer.
    if (typeof result?.then === 'function') {
      result.then((value) => answer.succeed(value), (error) => answer.fail(error));
    } else if (!knowsCallbacks) {
      answer.succeed(result);
    }
  } catch (error) {
    answer.fail(error);
  }
}

// Nothing is left to do: a callback that waited for this is answered; a handler without a promise that never answered gives null.
process.on('beforeExit', () => {
  if (!current || current.sent) return;
  if (current.pending) current.release();
  else if (current.responseStream) current.fail('Response stream is not finished.');
  else if (knowsCallbacks && handler.constructor.name !== 'AsyncFunction') current.succeed(null);
  else current.fail(new RuntimeError('Runtime.NodeJsExit', NEVER_SETTLED));
});

function fatal(error) {
  logError('Uncaught Exception', error);
  report(error);
  setImmediate(() => channel.end(() => process.reallyExit(129)));
}

function report(error) {
  const shape = errorObject(error);
  if (current && !current.sent) {
    current.sent = true;
    send({ t: 'error', type: String(shape.errorType), rss: peakKb(), last: true }, JSON.stringify(shape));
  } else if (!handler) {
    send({ t: 'init_error', type: String(shape.errorType), rss: peakKb() }, JSON.stringify(shape));
  }
}

function unhandledRejection(reason, promise) {
  const error = new RuntimeError('Runtime.UnhandledPromiseRejection', String(reason));
  if (reason instanceof Error) error.stack = `Runtime.UnhandledPromiseRejection: ${error.message}\n    at process.<anonymous> (file:///var/runtime/index.mjs)\n${(reason.stack ?? '').split('\n').slice(1).join('\n')}`;
  error.reason = reason;
  error.promise = promise;
  logError('Unhandled Promise Rejection', error);
  report(error);
  setImmediate(() => channel.end(() => process.reallyExit(128)));
}

// ---- beginning -------------------------------------------------------------------------------------------------------------------

/** Loads what functions most often load, in a process nobody waits for. It is found again by its path; a packed SDK has another path and wins. */
function preload(near) {
  for (const name of PRELOADED) {
    try {
      require(require.resolve(name, { paths: [near] }));
    } catch {
      return;
    }
  }
}

function setUpEnvironment(start) {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, start.env);
  process.chdir(start.task_root);
  knowsCallbacks = majorOf(process.env.AWS_EXECUTION_ENV) < 24;
  Module._initPaths();
  globalThis.awslambda = awslambda;
  patchConsole();
}

async function begin({ header: start }) {
  try {
    setUpEnvironment(start);
    process.on('uncaughtException', fatal);
    process.on('unhandledRejection', unhandledRejection);
    const loaded = await loadHandler(start.task_root, start.handler);
    expectHandler(loaded);
    handler = loaded;
    send({ t: 'ready', rss: peakKb() });
    awaitInvocation();
  } catch (error) {
    logError(knowsCallbacks ? 'Uncaught Exception' : 'Init Error', error);
    const shape = errorObject(error);
    send({ t: 'init_error', type: String(shape.errorType), rss: peakKb() }, JSON.stringify(shape));
    channel.end(() => process.reallyExit(1));
  }
}

if (process.env.TIDEMILL_AHEAD) preload(process.env.TIDEMILL_AHEAD);
nextFrame(begin);

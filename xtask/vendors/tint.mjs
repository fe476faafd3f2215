// Compiles WGSL with Tint, through Dawn: a line of JSON in, { label, code, invocations }; a line out, { messages }.
//
// Dawn's null back end needs no driver and has every feature. What Tint and Dawn say of a module and of its pipeline are
// the messages, warnings too: a text of ours has none.

import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { create, globals } = await import(pathToFileURL(process.argv[2]).href);
Object.assign(globalThis, globals);

// node ends where its event loop is empty, even while Dawn still owes an answer.
const alive = setInterval(() => {}, 1000);

// Kept as long as the process lives: what is collected takes Dawn's instance with it, under the device's feet.
globalThis.gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
const wanted = ['shader-f16', 'subgroups'];
const missing = wanted.filter((feature) => !adapter?.features.has(feature));
if (missing.length > 0) {
  process.stderr.write(`Dawn's null back end lacks ${missing.join(', ')}\n`);
  process.exit(1);
}
const limits = {};
for (const limit of [
  'maxComputeInvocationsPerWorkgroup', 'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupStorageSize',
  'maxStorageBuffersPerShaderStage',
]) {
  limits[limit] = adapter.limits[limit];
}
const device = await adapter.requestDevice({ requiredFeatures: wanted, requiredLimits: limits });

const fail = (message) => {
  process.stderr.write(`${message}\n`);
  process.exit(1);
};
// A lost device finds no fault with anything.
device.lost.then(({ message }) => fail(`Dawn has lost its device: ${message}`));

// Of more invocations (256) or storage buffers (8) than the null back end offers a text gets no pipeline. That leaves out
// Dawn's check of limits; Tint has analyzed the text with the module.
const storageBuffers = (code) => code.match(/var<storage\b/g)?.length ?? 0;
const fits = (code, invocations) =>
  invocations <= limits.maxComputeInvocationsPerWorkgroup && storageBuffers(code) <= limits.maxStorageBuffersPerShaderStage;

const compile = async ({ label, code, invocations = 1 }) => {
  const messages = [];
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ label, code });
  for (const { type, lineNum, message } of (await module.getCompilationInfo()).messages) {
    messages.push(`${type}, line ${lineNum}: ${message}`);
  }
  if (messages.length === 0 && fits(code, invocations)) {
    device.createComputePipeline({ label, layout: 'auto', compute: { module, entryPoint: 'main' } });
  }
  const error = await device.popErrorScope();
  if (error && messages.length === 0) messages.push(error.message);
  return messages;
};

// What passes everything proves nothing: a barrier, and a subgroup operation, that only some invocations reach.
const refuses = async () => {
  const reached = (enable, only) => `${enable}
@group(0) @binding(0) var<storage, read_write> data: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) index: u32) {
  if (data[index] > 0.0) { ${only} }
}`;
  for (const code of [
    reached('', 'workgroupBarrier();'),
    reached('enable subgroups;', 'data[index] = subgroupAdd(data[index]);'),
  ]) {
    const messages = await compile({ label: 'not uniform', code });
    if (!messages.some((message) => message.includes('uniform'))) fail(`Tint takes what is not uniform: ${code}`);
  }
};

await refuses();
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify({ messages: await compile(JSON.parse(line)) })}\n`);
}
await refuses();
clearInterval(alive);
process.exit(0);

// Runs kernels that `layernorm emit` wrote, on Dawn in node: no Rust, and nothing known of the kernels but their
// descriptions.
//
//     node layer_norm.mjs KERNELS FIXTURE [FLAG FOR DAWN ...]
//
// KERNELS is a directory with forward.wgsl, backward.wgsl and reduce.wgsl (format `browser`) and their descriptions,
// FIXTURE the file of tests/fixtures. All 13 layer norms of the model in it are run forward and backward, and the
// results held against those that PyTorch computed in float64. The exit code is 0 if all are right.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, globals } from 'webgpu';

Object.assign(globalThis, globals);
// node ends where its event loop is empty, even while Dawn still owes an answer.
const alive = setInterval(() => {}, 1000);

const [kernels, fixture, ...flags] = process.argv.slice(2);
if (fixture === undefined) {
  console.error('usage: node layer_norm.mjs KERNELS FIXTURE [FLAG FOR DAWN ...]');
  process.exit(2);
}

// The tensors of a safetensors file, all of them f32 here: eight bytes of length, JSON, data.
function readTensors(path) {
  const file = readFileSync(path);
  const end = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, end));
  const tensors = new Map();
  for (const [name, { data_offsets: offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const bytes = Uint8Array.from(file.subarray(end + offsets[0], end + offsets[1]));
    tensors.set(name, new Float32Array(bytes.buffer));
  }
  return { tensors, metadata: header.__metadata__ };
}

// A formula of a description: "rows", a number, or [operation, a, b].
function evaluate(formula, rows) {
  if (formula === 'rows') return rows;
  if (typeof formula === 'number') return formula;
  const [operation, a, b] = [formula[0], evaluate(formula[1], rows), evaluate(formula[2], rows)];
  switch (operation) {
    case 'multiply': return a * b;
    case 'divide': return Math.floor(a / b);
    case 'divide_up': return Math.ceil(a / b);
    case 'min': return Math.min(a, b);
    case 'max': return Math.max(a, b);
    default: throw new Error(`a description with the operation ${operation}, which is not known here`);
  }
}

// The uniform of a dispatch, from the names of what stands in its fields.
function uniform({ uniform: { bytes, fields } }, values) {
  const view = new DataView(new ArrayBuffer(bytes));
  for (const { name, type, offset, value } of fields) {
    value.forEach((component, i) => {
      const number = typeof component === 'number' ? component : values[component];
      if (number === undefined) throw new Error(`${component}, which ${name} is to hold, is not known here`);
      if (type === 'f32') view.setFloat32(offset + 4 * i, number, true);
      else view.setUint32(offset + 4 * i, number, true);
    });
  }
  return view.buffer;
}

// Kept as long as the process lives: what is collected takes Dawn's instance with it.
globalThis.gpu = create(flags);
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error('Dawn finds no adapter');
console.log(`adapter: ${adapter.info.vendor} ${adapter.info.architecture} ${adapter.info.device}`);

function load(name) {
  const code = readFileSync(join(kernels, `${name}.wgsl`), 'utf8');
  return { code, ...JSON.parse(readFileSync(join(kernels, `${name}.json`), 'utf8')) };
}
const [forward, backward, reduce] = ['forward', 'backward', 'reduce'].map(load);
const requiredFeatures = [...new Set([forward, backward, reduce].flatMap((kernel) => kernel.needs.features))];
const requiredLimits = {};
for (const { needs } of [forward, backward, reduce]) {
  for (const [limit, value] of Object.entries(needs.limits)) {
    requiredLimits[limit] = Math.max(requiredLimits[limit] ?? 0, value, 1);
  }
}
for (const limit of Object.keys(requiredLimits)) {
  // Never below what every device has.
  requiredLimits[limit] = Math.max(requiredLimits[limit], Math.min(adapter.limits[limit], 256));
}
// Rows are dealt to subgroups of the sizes that a kernel was planned for.
const { subgroupMinSize = 0, subgroupMaxSize = Infinity } = adapter.info;
for (const { label, needs: { subgroup_sizes: sizes } } of [forward, backward, reduce]) {
  if (sizes && (subgroupMinSize < sizes[0] || subgroupMaxSize > sizes[1])) {
    const has = `${subgroupMinSize} to ${subgroupMaxSize}`;
    throw new Error(`${label} needs subgroups of ${sizes[0]} to ${sizes[1]} lanes, and the adapter has ${has}`);
  }
}
const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
for (const kernel of [forward, backward, reduce]) {
  const module = device.createShaderModule({ label: kernel.label, code: kernel.code });
  const compute = { module, entryPoint: kernel.entry_point };
  kernel.pipeline = await device.createComputePipelineAsync({ label: kernel.label, layout: 'auto', compute });
}

const usage = GPUBufferUsage;
function upload(data, use = usage.STORAGE) {
  const buffer = device.createBuffer({ size: data.byteLength, usage: use | usage.COPY_DST });
  device.queue.writeBuffer(buffer, 0, data);
  return buffer;
}
function output(bytes) {
  return device.createBuffer({ size: bytes, usage: usage.STORAGE | usage.COPY_SRC });
}

// Records one dispatch over buffers that hold `rows` dense rows each.
function dispatch(pass, kernel, rows, buffers, eps) {
  // More would be several dispatches over windows of the buffers: see "More rows" in docs/emit.md.
  const most = kernel.dispatch.most_rows;
  if (rows > most) throw new Error(`${rows} rows, where one dispatch of ${kernel.label} takes ${most} at most`);
  const workgroups = kernel.dispatch.workgroups.map((formula) => evaluate(formula, rows));
  const values = {
    rows, eps, eps_of_forward: eps, workgroups_x: workgroups[0], slot_rows: evaluate(kernel.dispatch.slot_rows, rows),
    earlier_partial_rows: 0,
  };
  for (const { name } of kernel.bindings) {
    values[`${name}.start`] = 0;
    values[`${name}.row_stride`] = name === "statistics" ? 2 : kernel.cols;
    values[`${name}.column_stride`] = 1;
  }
  const entries = [{
    binding: kernel.uniform.binding,
    resource: { buffer: upload(uniform(kernel, values), usage.UNIFORM) },
  }];
  for (const { binding, name } of kernel.bindings) entries.push({ binding, resource: { buffer: buffers[name] } });
  pass.setPipeline(kernel.pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: kernel.pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(...workgroups);
}

async function download(buffer) {
  const copy = device.createBuffer({ size: buffer.size, usage: usage.MAP_READ | usage.COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  return new Float32Array(copy.getMappedRange().slice(0));
}

const { tensors, metadata } = readTensors(fixture);
const eps = Number(metadata.eps);
const norms = [...tensors.keys()].filter((name) => name.endsWith('.x')).map((name) => name.slice(0, -2)).sort();
// Of the largest expected value of the tensor: four float32 roundings of it, and as many again for the statistics, which
// backward takes from forward here.
const allowed = 8 * 2 ** -24;
let [checked, wrong, worst] = [0, 0, 0];
for (const norm of norms) {
  const tensor = (name) => tensors.get(`${norm}.${name}`);
  const { cols } = forward;
  const rows = tensor('x').length / cols;
  if (tensor('gain').length !== cols) throw new Error(`${norm} has ${tensor('gain').length} columns, not ${cols}`);
  const partialRows = evaluate(backward.dispatch.partial_rows, rows);
  const buffers = {
    x: upload(tensor('x')),
    gain: upload(tensor('gain')),
    bias: upload(tensor('bias')),
    dy: upload(tensor('dy')),
    y: output(4 * rows * cols),
    statistics: output(4 * rows * 2),
    dx: output(4 * rows * cols),
    partials: output(evaluate(backward.scratch[0].bytes, rows)),
    dgain: output(4 * cols),
    dbias: output(4 * cols),
  };
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  dispatch(pass, forward, rows, buffers, eps);
  dispatch(pass, backward, rows, buffers, eps);
  dispatch(pass, reduce, partialRows, buffers, eps);
  pass.end();
  device.queue.submit([encoder.finish()]);
  for (const name of ['y', 'dx', 'dgain', 'dbias']) {
    const [has, expected] = [await download(buffers[name]), tensor(name)];
    const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    // Math.max keeps a NaN, as no comparison does.
    const error = has.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]) / scale), 0);
    checked += 1;
    worst = Math.max(worst, error);
    if (!(error <= allowed)) {
      wrong += 1;
      console.log(`${norm}.${name} is off by ${error} of its largest value, allowed are ${allowed}`);
    }
  }
}
console.log(`${checked} results of ${norms.length} norms, ${wrong} wrong; worst error ${worst.toExponential(2)}`);
clearInterval(alive);
process.exit(wrong === 0 && checked > 0 ? 0 : 1);

// The page: shows what the worker tells, in one of these states (the attribute data-state of <html>):
//
//     loading      the worker is asked for the adapter
//     ready        there is one, and something to run
//     running
//     done         everything that was asked for has run
//     stopped      a part of it has
//     unavailable  there is no WebGPU or no adapter
//     broken       something has failed that is no result

const element = (id) => document.getElementById(id);
const root = document.documentElement;

let worker;
let adapter;
let results;
// The text of the report of the last run, once it has ended.
let report = null;
let started;

// ---- States ----

function enter(state) {
  root.dataset.state = state;
  const running = state === "running";
  element("run").disabled = state === "loading" || state === "broken";
  element("controls").hidden = running || !adapter;
  element("progress").hidden = !running;
  element("keep").hidden = running || !report;
}

function trouble(state, title, text, hints = []) {
  element("trouble-title").textContent = title;
  element("trouble-text").textContent = text;
  element("trouble-hints").replaceChildren(...hints.map((hint) => make("li", {}, hint)));
  element("trouble").hidden = false;
  element("adapter").hidden = !adapter;
  enter(state);
}

const HINTS = [
  "Chrome and Edge have WebGPU on Windows, macOS and Android 12 or later; Safari from version 26 on; Firefox on Windows and recent Macs.",
  "On Linux, Chrome has it behind chrome://flags/#enable-unsafe-webgpu, and Firefox behind dom.webgpu.enabled in about:config.",
  "Browsers offer it only to pages from https:// or from this machine (localhost).",
];

function open() {
  if (!window.isSecureContext || !navigator.gpu) {
    trouble("unavailable", "This browser has no WebGPU here",
      "The kernels run through WebGPU, and this browser does not offer it to this page.", HINTS);
    return;
  }
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => HANDLERS[data.kind](data);
  // A script that cannot be loaded or that throws outside of a message.
  worker.onerror = (event) => broken({ message: event.message || "the worker could not be started", report: null });
  worker.postMessage({ kind: "open" });
}

async function broken({ message, report }) {
  worker.terminate();
  // What there is by now stays on the page, and can be saved.
  if (results) await finish("broken", report);
  trouble("broken", results ? "The run has broken off" : "The page could not start", message);
}

// ---- What the worker tells ----

const HANDLERS = {
  opened(opened) {
    adapter = opened.adapter;
    element("adapter-name").textContent = adapter.name || "An adapter that the browser does not name";
    element("adapter-facts").replaceChildren(...[
      ["Kind", opened.is_software ? "software, on the CPU" : "GPU"],
      ["16-bit floats", adapter.shader_f16 ? "yes" : "no: unpacked from words"],
      ["Threads a workgroup", adapter.max_invocations.toLocaleString("en")],
      ["Workgroup memory", size(adapter.max_workgroup_bytes)],
      ["Storage buffers", adapter.max_storage_buffers],
      ["Largest binding", size(adapter.max_binding_bytes)],
    ].map(([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, String(value)))));
    const [quick, all] = opened.cases;
    element("quick-text").textContent = `${quick} cases: every option and kind of data in each kernel`;
    element("all-text").textContent = `${all.toLocaleString("en")} cases: rows up to a million columns`;
    element("version").textContent = opened.crate_version;
    enter("ready");
  },

  unavailable({ message }) {
    trouble("unavailable", "WebGPU offers no adapter",
      `The browser has WebGPU, but no GPU that it opens to this page: ${message}.`, HINTS.slice(1, 2).concat(
        "A driver that the browser does not trust is left out: chrome://gpu or about:support says which and why."));
  },

  started({ cases, workloads }) {
    results = { cases: [], measurements: [], expected: cases + workloads, expectedCases: cases };
    report = null;
    started = performance.now();
    element("plots").replaceChildren();
    for (const id of ["trouble", "verdict", "failures", "kernels", "bench", "cases"]) element(id).hidden = true;
    element("bar").max = results.expected;
    enter("running");
    stayAwake();
    showProgress();
  },

  next({ name }) {
    element("current").textContent = name;
  },

  case({ result }) {
    results.cases.push(result);
    root.dataset.firstResult ??= Math.round(performance.now());
    showSoon();
  },

  measurement({ result, report }) {
    results.measurements.push(result);
    results.report = report;
    showSoon();
  },

  ended({ stopped, report }) {
    finish(stopped ? "stopped" : "done", report);
  },

  broken,
};

async function finish(state, text) {
  awake?.release();
  report = text;
  cancelAnimationFrame(frame);
  frame = 0;
  if (results) {
    show();
    showCases();
    if (results.report) await showPlots().catch((error) => console.error(error));
  }
  // Last: the state promises that all of it is on the page.
  enter(state);
}

// A phone that goes to sleep takes its GPU with it. Where it may not be kept awake, its user has to touch it.
let awake;

async function stayAwake() {
  awake = await navigator.wakeLock?.request("screen").catch(() => undefined);
}

// ---- Showing results ----

let frame = 0;

// Results may come faster than they can be drawn.
function showSoon() {
  frame ||= requestAnimationFrame(() => { frame = 0; show(); });
}

function show() {
  showProgress();
  showVerdict();
  showFailures();
  showKernels();
  showBench();
  if (results.report) showPlots().catch((error) => console.error(error));
}

function showProgress() {
  const done = results.cases.length + results.measurements.length;
  element("bar").value = done;
  element("progress-title").textContent =
    results.cases.length < results.expectedCases ? "Checking the kernels" : "Timing the kernels";
  element("done").textContent = `${done.toLocaleString("en")} of ${results.expected.toLocaleString("en")}`;
  const seconds = (performance.now() - started) / 1000;
  // The first cases compile most and say little about the rest.
  element("left").textContent =
    done >= 20 ? `about ${duration(seconds / done * (results.expected - done))} left` : "";
}

// Sentences on what is wrong with a case or a measurement.
function failures({ failures, failure }) {
  return failures ?? (failure && failure.kind !== "unsupported" ? [failure.message] : []);
}

const failed = (result) => failures(result).length > 0;

// Why the device could not run it.
const unsupported = ({ unsupported, failure }) =>
  unsupported ?? (failure?.kind === "unsupported" ? failure.message : null);

function showVerdict() {
  const { cases, measurements } = results;
  const failures = [...cases, ...measurements].filter(failed).length;
  const missing = cases.filter(unsupported).length;
  const passed = cases.filter((result) => !failed(result) && !unsupported(result)).length;
  const ran = passed + cases.filter(failed).length;
  const section = element("verdict");
  section.hidden = false;
  section.classList.toggle("bad", failures > 0);
  section.classList.toggle("good", failures === 0 && passed > 0);
  element("verdict-text").textContent = failures > 0
    ? `${plural(failures, "failure")}`
    : ran === 0 ? "No case has run yet" : `${passed.toLocaleString("en")} of ${plural(ran, "case")} passed`;
  const details = [];
  if (failures > 0) details.push(`${passed.toLocaleString("en")} of ${plural(ran, "case")} passed`);
  if (missing > 0) details.push(`${plural(missing, "case")} this device cannot run`);
  if (measurements.length > 0) {
    details.push(`${measurements.filter(({ clock }) => clock).length} of ${plural(measurements.length, "measurement")}`);
  }
  details.push(`${duration((performance.now() - started) / 1000)}`);
  element("verdict-detail").textContent = details.join(" · ");
}

function showFailures() {
  const all = [...results.cases, ...results.measurements].filter(failed);
  element("failures").hidden = all.length === 0;
  const MOST = 50;
  const items = all.slice(0, MOST).map((result) =>
    make("li", {}, make("code", {}, named(result)), ...failures(result).map((text) => make("p", {}, text))));
  if (all.length > MOST) items.push(make("li", {}, `and ${all.length - MOST} more: the report has all`));
  element("failure-list").replaceChildren(...items);
}

// Outputs that share a column of the table.
const CLASSES = [["y", "sum", "dx"], ["statistics", "dgain", "dbias"]];

function showKernels() {
  const groups = new Map();
  for (const result of results.cases) {
    const { mode, kernel, dtype } = result;
    const key = [kernel ?? "did not run", mode === "plain" ? `${dtype}, plain` : dtype].join("\n");
    if (!groups.has(key)) groups.set(key, { cases: 0, failed: 0, unsupported: 0, worst: CLASSES.map(() => null) });
    const group = groups.get(key);
    group.cases += 1;
    group.failed += failed(result);
    group.unsupported += unsupported(result) !== null;
    for (const { output, units, allowed } of result.errors) {
      const column = CLASSES.findIndex((outputs) => outputs.includes(output));
      const error = { units: units ?? Infinity, allowed };
      const worst = group.worst[column];
      if (!worst || error.units / error.allowed > worst.units / worst.allowed) group.worst[column] = error;
    }
  }
  const rows = [...groups.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, group]) => {
    const [kernel, dtype] = key.split("\n");
    return make("tr", {},
      make("td", {}, make("code", {}, kernel)),
      make("td", {}, dtype),
      ...group.worst.map((worst) => worst
        ? number(Number.isFinite(worst.units) ? worst.units.toPrecision(3) : "∞", worst.units > worst.allowed ? "bad" : "")
        : number("")),
      number(group.cases),
      number(group.failed, group.failed > 0 ? "bad" : ""),
      number(group.unsupported));
  });
  element("kernels").hidden = rows.length === 0;
  element("kernel-rows").replaceChildren(...rows);

  const reasons = new Map();
  for (const reason of results.cases.map(unsupported).filter(Boolean)) {
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  element("unsupported-list").replaceChildren(...[...reasons].map(([reason, count]) =>
    make("li", {}, `Not supported (${plural(count, "case")}): ${reason}`)));
}

function showBench() {
  const { measurements } = results;
  element("bench").hidden = measurements.length === 0;
  element("bench-rows").replaceChildren(...measurements.map((result) => {
    const { operation, dtype, rows, cols, kernel, gigabytes_per_second: rate } = result;
    const instead = failed(result) ? "failed" : unsupported(result) ? "not supported" : "";
    return make("tr", {},
      make("td", {}, `${operation} ${dtype}`),
      number(`${rows} × ${cols}`),
      number(instead || rate.toPrecision(3), instead && "bad"),
      number(instead ? "" : result.copy_gigabytes_per_second.toPrecision(3)),
      number(instead ? "" : result.copy_ratio.toFixed(2)),
      number(instead ? "" : time(result.median_seconds)),
      make("td", {}, kernel ? make("code", {}, kernel) : ""));
  }));
  const clocks = new Set(measurements.map(({ clock }) => clock).filter(Boolean));
  element("bench-note").textContent = clocks.has("wall")
    ? "Timed by the wall clock, which in browsers is coarse and includes the way to the GPU and back."
    : clocks.size > 0 ? "Timed by the GPU's own timestamps." : "";
}

// The module that draws the plots, here and not in the worker: it measures texts with the page's fonts.
let drawing;

async function showPlots() {
  drawing ??= import("./generated/layernorm_web.js").then(async (module) => {
    await module.default();
    return module;
  });
  const { plots } = await drawing;
  // Of the newest report, which may have come while the module was loaded.
  if (!results.report) return;
  // Rust drew them from numbers and names of our own.
  element("plots").innerHTML = plots(results.report).map((plot) => `<figure>${plot}</figure>`).join("");
}

function showCases() {
  const { cases } = results;
  element("cases").hidden = cases.length === 0;
  element("case-count").textContent = `(${cases.length.toLocaleString("en")})`;
  const order = (result) => (failed(result) ? 0 : unsupported(result) ? 1 : 2);
  const row = (result) => {
    const state = ["failed", "not supported", "passed"][order(result)];
    return make("tr", {},
      make("td", { class: ["bad", "", "good"][order(result)] }, state),
      make("td", {}, make("code", {}, named(result))),
      make("td", {}, result.kernel ?? ""),
      make("td", {}, result.errors.map(({ output, units }) => `${output} ${units?.toPrecision(3) ?? "∞"}`).join(", ")));
  };
  element("case-rows").replaceChildren(...[...cases].sort((a, b) => order(a) - order(b)).map(row));
}

// ---- The report ----

function save() {
  const link = make("a", { href: URL.createObjectURL(new Blob([report], { type: "application/json" })), download: "layernorm-browser.json" });
  link.click();
  // The download has its own hold on the data once it has started.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// ---- Small things ----

function make(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

// As in `layernorm verify`: plain is without what the adapter has beyond the least.
const named = ({ mode, name }) => (mode === "plain" ? `plain/${name}` : name);

const number = (value, kind = "") => make("td", { class: `n ${kind}`.trim() }, String(value));

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

const size = (bytes) => (bytes >= 2 ** 30 ? `${bytes / 2 ** 30} GiB` : bytes >= 2 ** 20 ? `${bytes / 2 ** 20} MiB` : `${bytes / 2 ** 10} KiB`);

const duration = (seconds) => (seconds < 60 ? `${Math.ceil(seconds)} s` : `${Math.floor(seconds / 60)} min ${Math.ceil(seconds % 60)} s`);

const time = (seconds) => (seconds < 1e-3 ? `${(seconds * 1e6).toPrecision(3)} µs` : `${(seconds * 1e3).toPrecision(3)} ms`);

element("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  // Until the worker has started: it runs one thing at a time.
  element("run").disabled = true;
  const form = new FormData(event.target);
  worker.postMessage({ kind: "run", all: form.get("cases") === "all", bench: form.has("bench") });
});
element("stop").addEventListener("click", () => worker.postMessage({ kind: "stop" }));
element("save").addEventListener("click", save);
element("reload").addEventListener("click", () => location.reload());

open();

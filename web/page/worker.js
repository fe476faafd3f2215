// Runs the kernels away from the page, which stays responsive: the reference that results are compared with computes for
// tenths of a second at a time. One message in, many out; see `page.js` for what each means.

import init, { Session } from "./generated/layernorm_web.js";

let session;
let stopping = false;

self.onmessage = async ({ data }) => {
  try {
    if (data.kind === "open") await open();
    if (data.kind === "run") await run(data);
    if (data.kind === "stop") stopping = true;
  } catch (error) {
    self.postMessage({ kind: "broken", message: `${error?.message ?? error}`, report: report() });
  }
};

async function open() {
  await init();
  try {
    session = await Session.open(await adapterName(), navigator.userAgent);
  } catch (error) {
    self.postMessage({ kind: "unavailable", message: error.message });
    return;
  }
  self.postMessage({ kind: "opened", ...JSON.parse(session.opened()) });
}

// wgpu passes on the description alone, which browsers leave empty unless the user has agreed to be known by it.
async function adapterName() {
  if (!navigator.gpu) throw new Error("it is not there for the workers of a page");
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("navigator.gpu.requestAdapter() has found none");
  const { vendor, architecture, device } = adapter.info ?? {};
  return [vendor, architecture, device].filter(Boolean).join(" ");
}

async function run({ all, bench }) {
  stopping = false;
  const [cases, workloads] = session.select(all, bench, Date.now());
  self.postMessage({ kind: "started", cases, workloads });
  for (let i = 0; i < cases + workloads && !stopping; i++) {
    self.postMessage({ kind: "next", name: session.name(i) });
    if (i < cases) {
      self.postMessage({ kind: "case", result: JSON.parse(await session.verify(i)) });
    } else {
      const result = JSON.parse(await session.measure(i - cases));
      self.postMessage({ kind: "measurement", result, report: report() });
    }
  }
  self.postMessage({ kind: "ended", stopped: stopping, report: report() });
}

// Nothing where the run broke off in a way that left no session to ask.
function report() {
  try {
    return session?.report() ?? null;
  } catch {
    return null;
  }
}

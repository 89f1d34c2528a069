// The lab without a kernel: `lab.js` draws as it does in JupyterLab, and a worker in this page answers in the kernel's
// place. build.py writes `COURSE`, the settings of the lab in Python, and `SCRIPT`, engine.js and worker.js as text, as
// a worker of its own file would not load from a file:// page.

function liveLab(element) {
  const script = new Blob([`"use strict"; const COURSE = ${JSON.stringify(COURSE)};\n${SCRIPT}`], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(script)), values = {}, listeners = {};
  const changed = (what) => listeners[what]?.forEach((listener) => listener());
  const model = {
    get: (key) => values[key],
    on: (event, listener) => (listeners[event] ??= new Set()).add(listener),
    off: (event, listener) => listeners[event]?.delete(listener),
    send: (message) => worker.postMessage(message),
  };
  worker.onmessage = ({ data: [name, value] }) => {
    if (name === "heard") return changed("msg:custom");
    values[name] = value;
    if (listeners["change:frame"]) return changed(`change:${name}`);
    if (values.scene && values.frame && values.status) window.lab.render({ model, el: element });
  };
  // A tab that nobody sees shall not compute; and furo's switch of light and dark is a change of the ground.
  document.addEventListener("visibilitychange", () => { if (document.hidden) model.send({ do: "pause" }); });
  const look = () => window.dispatchEvent(new Event("resize"));
  new MutationObserver(look).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", look);
}

for (const element of document.querySelectorAll("[data-live]")) liveLab(element);

// The lab without a kernel: `lab.js` draws as it does in JupyterLab, and a recording answers in the kernel's place.

const FRAME_MILLISECONDS = 80;

async function unzipped(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

async function recordedLab(name, { scene, status, frames: recorded, data }) {
  const element = document.querySelector(`[data-recording="${name}"]`), buffer = await unzipped(data);
  let start = 0, timer = null, shown = recorded.length - 1; // the page opens on the last frame, at rest
  const frames = recorded.map((fields, index) => {
    const frame = { ...fields, index, frames: recorded.length }; // it was the newest when it was made
    for (const [field, value] of Object.entries(fields)) {
      if (!Array.isArray(value)) continue;
      frame[field] = new DataView(buffer, start, value[0]);
      start += value[0];
    }
    return frame;
  });
  const values = { scene, status: { ...status, playing: false, message: "" }, recorded: true };
  const listeners = { "change:frame": [], "change:status": [] };
  const changed = (what) => listeners[what].forEach((listener) => listener());
  const play = (playing) => {
    clearInterval(timer);
    if (playing && shown === frames.length - 1) shown = -1;
    if (playing) timer = setInterval(() => {
      shown += 1;
      if (shown === frames.length - 1) play(false);
      changed("change:frame");
    }, FRAME_MILLISECONDS);
    values.status = { ...values.status, playing };
    changed("change:status");
  };
  const answers = {
    play: () => play(true),
    pause: () => play(false),
    look: ({ index }) => { play(false); shown = index; changed("change:frame"); },
  };
  window.lab.render({
    el: element,
    model: {
      get: (key) => (key === "frame" ? frames[Math.max(shown, 0)] : values[key]),
      send: (message) => answers[message.do]?.(message),
      on: (event, listener) => listeners[event]?.push(listener),
      off: () => {},
    },
  });
}

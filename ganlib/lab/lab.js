// The lab's view: controls, and a canvas that draws the newest frame when the browser has time for it.
// It holds no state of the run: everything shown comes from the traits `scene`, `status` and `frame`.

const BESIDE = 780; // from this width on the settings stand beside the picture
const PATIENCE = 5000; // milliseconds without an answer, after which the reader is told

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties))
    key.includes("-") ? node.setAttribute(key, value) : (node[key] = value);
  node.append(...children);
  return node;
}

// --- the view ---

function render({ model, el }) {
  let asked = null; // the clock that runs until the kernel answers
  const send = (message) => {
    if (el.classList.contains("lab-dead")) return; // nobody is there to be told
    model.send(message);
    if (["seen", "hello", "bye"].includes(message.do) || model.get("recorded")) return;
    asked ??= setTimeout(() => { asked = null; note(UNANSWERED); }, PATIENCE);
  };
  const answered = () => {
    clearTimeout(asked); asked = null;
    if (message.textContent === UNANSWERED) note(model.get("status").message);
  };
  const button = (label, title, message, colour) => {
    const node = element("button", { type: "button", textContent: label, title });
    if (colour) node.style.background = colour;
    node.addEventListener("click", () => send(message()));
    return node;
  };
  const group = (...nodes) => element("span", { className: "lab-group" }, ...nodes);
  const playing = () => model.get("status").playing;
  const play = button("▶ Play", "Train live, or stop", () => ({ do: playing() ? "pause" : "play" }));
  play.className = "lab-play";
  const buttons = element("div", { className: "lab-row", role: "toolbar" }, play,
    button("+10 rounds", "Ten rounds, then one picture", () => ({ do: "frame" })),
    group(button("D move", "One step of the discriminator alone", () => ({ do: "d_move" }), D),
      button("+10 D", "Ten steps of the discriminator alone", () => ({ do: "d_move", times: 10 }), D)),
    group(button("G move", "One step of the generator alone", () => ({ do: "g_move" }), G_TEXT),
      button("+10 G", "Ten steps of the generator alone", () => ({ do: "g_move", times: 10 }), G_TEXT)),
    button("Reset", "Start again from the seed", () => ({ do: "reset" })));
  const count = element("output", { className: "lab-count" });

  const scrub = element("input", { type: "range", min: 0, max: 0, step: 1, className: "lab-scrub" });
  scrub.setAttribute("aria-label", "look back through the frames of this run");
  scrub.addEventListener("input", () => send({ do: "look", index: +scrub.value }));
  const where = element("span", { className: "lab-where" });
  const switches = {}, slope = element("span", { className: "lab-slope" });
  const tick = (name, label) => {
    const box = switches[name] = element("input", { type: "checkbox" });
    box.addEventListener("change", () => send({ do: "set", name, value: box.checked }));
    return element("label", { className: "lab-switch" }, box, label);
  };
  const ticks = [tick("arrows", "gradient arrows"), slope, tick("grid", "latent grid")];
  const full = element("button", { type: "button", innerHTML: CORNERS, title: "Full screen, and back", className: "lab-full", "aria-label": "full screen" });
  full.addEventListener("click", () => (document.fullscreenElement === el ? document.exitFullscreen() : el.requestFullscreen()));
  full.hidden = !document.fullscreenEnabled;
  const above = element("div", { className: "lab-row" }, scrub, where, ...(model.get("recorded") ? [] : ticks));
  buttons.append(full, count);

  const fields = {}, settings = element("div", { className: "lab-settings", role: "group", "aria-label": "settings" });
  for (const { name, label, options } of model.get("scene").fields) {
    const input = options.length
      ? element("select", {}, ...options.map((o) => element("option", { value: o, textContent: o })))
      : element("input", { type: "text", inputMode: "decimal", size: 6 });
    input.setAttribute("aria-label", label);
    input.value = model.get("status").settings[name];
    const submit = () => {
      const { settings, errors } = model.get("status");
      if (input.value !== settings[name] || name in errors) send({ do: "set", name, value: input.value });
    };
    input.addEventListener("change", submit);
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") submit(); });
    fields[name] = input;
    settings.append(element("label", {}, label, input));
  }

  if (model.get("recorded")) // no kernel behind the page: nothing can be trained or set
    for (const node of [...buttons.querySelectorAll("button:not(.lab-play, .lab-full)"), ...Object.values(fields)]) node.disabled = true;
  const canvas = element("canvas", { className: "lab-canvas", role: "img", "aria-label": "The run, not drawn yet" });
  const view = element("div", { className: "lab-view" }, above, canvas);
  const body = element("div", { className: "lab-body" }, view, settings);
  // One click each: settings to look at, those of the start, and the present ones as a call to keep.
  const presets = element("div", { className: "lab-row lab-presets", role: "group", "aria-label": "presets" },
    ...model.get("scene").presets.map((name) => button(name, `A new run with settings for: ${name}`, () => ({ do: "preset", name }))));
  presets.hidden = !presets.children.length;
  const defaults = button("Defaults", "Start again with the settings that this lab was opened with", () => ({ do: "defaults" }));
  const copy = element("button", { type: "button", textContent: "Copy as code", title: "The call that opens a lab with these settings" });
  copy.addEventListener("click", async () => {
    const { call } = model.get("status");
    let how = "This opens a lab with these settings:";
    try { await navigator.clipboard.writeText(call); how = "Copied:"; } catch { /* not allowed here: to be copied by hand */ }
    note(`${how} ${call}`);
  });
  if (!model.get("recorded")) settings.append(group(defaults, copy));
  const message = element("div", { className: "lab-message", role: "status", "aria-live": "polite" });
  const note = (words) => { message.textContent = words; message.classList.remove("lab-error"); };
  el.classList.add("lab");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // keys pressed here are not JupyterLab's
  el.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(buttons, body, ...(model.get("recorded") ? [] : [presets]), message);

  // Drawing data: a stroke adds points, and its end sends them all.
  let stroke = null, points = [], blank = null; // blank: the scene whose data were cleared away
  const clear = button("Clear the drawing", "Forget the drawn points and draw new ones", () => ({ do: "pause" }));
  clear.className = "lab-clear";
  clear.addEventListener("click", () => {
    points = []; blank = model.get("scene");
    onFrame();
    note("Cleared. Draw on the square with the mouse or a finger: there is nothing to train on until you do.");
  });
  buttons.insertBefore(clear, count);
  const add = (event) => {
    const { box, extent: [lo, hi] } = canvas.plane, at = canvas.getBoundingClientRect();
    const x = lo + ((event.clientX - at.left - box.left) / box.width) * (hi - lo);
    const y = hi - ((event.clientY - at.top - box.top) / box.height) * (hi - lo);
    if (x < lo || x > hi || y < lo || y > hi || stroke.length + points.length >= 2000) return;
    stroke.push([x, y]);
    const c = canvas.getContext("2d");
    c.fillStyle = REAL; c.beginPath();
    c.arc(event.clientX - at.left, event.clientY - at.top, 4, 0, 6.2832); c.fill();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!model.get("scene").drawable || model.get("scene").runs > 1) return;
    canvas.setPointerCapture(event.pointerId);
    stroke = []; send({ do: "pause" }); add(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (stroke) add(event); });
  canvas.addEventListener("pointerup", () => {
    if (stroke?.length) { points = [...points, ...stroke]; send({ do: "points", points }); }
    stroke = null;
  });

  // How much room there is: the width of the page, and the height of the window, or of JupyterLab's notebook in it.
  const room = {};
  const measure = () => {
    const style = getComputedStyle(el), padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
    room.ground = style.backgroundColor;
    el.classList.toggle("lab-dark", themed(room.ground).ink === DARK.ink);
    el.classList.toggle("lab-beside", el.clientWidth - padding >= BESIDE);
    const whole = document.fullscreenElement === el, panel = !whole && el.closest(".jp-WindowedPanel-outer");
    const others = [...el.children].filter((node) => node !== body && node !== message).reduce((sum, n) => sum + n.offsetHeight + 6, 0);
    const free = (panel ? panel.clientHeight : window.innerHeight) - others - above.offsetHeight - 56;
    room.width = Math.floor(view.clientWidth);
    room.most = Math.max(240, whole ? free : Math.min(free, model.get("recorded") ? 500 : 600));
  };

  let waiting = false, told = 0;
  const paint = () => { // at most once per screen refresh, and only the newest frame
    waiting = false;
    if (stroke || !el.clientWidth) return; // the picture waits for the hand; a hidden page has no width
    const f = unpack(model.get("frame"));
    let scene = model.get("scene");
    play.disabled = blank === scene;
    if (blank === scene) scene = { ...scene, real: [] };
    for (const [name, input] of Object.entries(fields)) input.parentElement.hidden = scene.hidden.includes(name);
    for (const [name, box] of Object.entries(switches)) box.parentElement.hidden = !scene.extras.includes(name);
    slope.hidden = !f.arrows?.length;
    if (!slope.hidden) {
      const all = slopes(f, scene.kind === "plane" ? 2 : 1).sort((a, b) => a - b);
      slope.textContent = `(median ${all[all.length >> 1].toPrecision(2)})`;
    }
    clear.hidden = !scene.drawable || scene.runs > 1;
    if (room.scene !== scene.kind + scene.runs) { room.scene = scene.kind + scene.runs; room.width = 0; }
    if (!room.width) measure();
    draw(canvas, scene, f, room.width, room.most, room.ground);
    const newest = f.index === f.frames - 1;
    scrub.max = f.frames - 1;
    scrub.value = f.index;
    const looking = newest ? "" : `looking back: ${f.index + 1} of ${f.frames}`;
    const words = model.get("recorded") ? `frame ${f.index + 1} of ${f.frames}` : looking;
    if (where.textContent !== words) where.textContent = words;
    scrub.title = `Look back: at most ${scene.history} frames are kept, evenly spaced`;
    count.textContent = `step ${f.step} · D moved ${f.d_moves}×`;
    el.dataset.painted = 1 + +(el.dataset.painted || 0);
    el.dataset.step = f.step;
    const now = performance.now();
    if (now - told > 400) {
      told = now;
      send({ do: "seen", frame: f.id });
      scrub.setAttribute("aria-valuetext", `step ${f.step}`);
      canvas.setAttribute("aria-label", describe(scene, f));
    }
  };
  const onPaint = () => { if (!waiting) { waiting = true; requestAnimationFrame(paint); } };
  const onFrame = () => { answered(); onPaint(); };
  const onRoom = () => { room.width = 0; onPaint(); };
  let known = model.get("status");
  const onStatus = () => {
    answered();
    const status = model.get("status");
    play.textContent = status.playing ? "❚❚ Pause" : "▶ Play";
    el.dataset.playing = status.playing;
    message.textContent = status.message;
    message.classList.toggle("lab-error", status.error);
    for (const [name, box] of Object.entries(switches)) box.checked = status.settings[name] === "True";
    for (const [name, input] of Object.entries(fields)) {
      const wrong = name in status.errors;
      input.setAttribute("aria-invalid", wrong);
      // Only what has changed is written, so that an answer does not undo what is being typed.
      if (!wrong && (status.settings[name] !== known.settings[name] || name in known.errors)) input.value = status.settings[name];
    }
    known = status;
  };

  // A kernel that was restarted knows nothing of this lab.
  const lost = () => {
    if (el.classList.contains("lab-dead")) return;
    answered();
    el.classList.add("lab-dead");
    el.dataset.playing = false;
    for (const node of el.querySelectorAll("button, input, select")) node.disabled = true;
    note("The kernel was restarted, and this run is gone with it: run this cell again.");
  };
  const kernel = model.widget_manager?.kernel; // in JupyterLab
  const onKernel = (_, now) => { if (["restarting", "autorestarting", "dead"].includes(now)) lost(); };
  kernel?.statusChanged?.connect(onKernel);
  const resized = new ResizeObserver(onRoom);
  resized.observe(el);
  const look = new MutationObserver(onRoom); // JupyterLab's theme is changed
  look.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
  window.addEventListener("resize", onRoom);
  model.on("change:frame", onFrame);
  model.on("change:status", onStatus);
  model.on("msg:custom", answered);
  model.on("comm_live_update", lost);
  const bye = () => send({ do: "bye" });
  window.addEventListener("pagehide", bye); // the browser's tab is closed
  onStatus(); onFrame(); send({ do: "hello" });
  return () => { // the view is closed: its cell was run again, say
    window.removeEventListener("pagehide", bye);
    window.removeEventListener("resize", onRoom);
    kernel?.statusChanged?.disconnect(onKernel);
    for (const observer of [resized, look]) observer.disconnect();
    answered();
    model.off("change:frame", onFrame);
    model.off("change:status", onStatus);
    model.off("msg:custom", answered);
    model.off("comm_live_update", lost);
    bye();
  };
}

const CORNERS = `<svg width="15" height="15" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="2" aria-hidden="true">
  <path d="M1 6V1h5M10 1h5v5M15 10v5h-5M6 15H1v-5"/></svg>`;
const UNANSWERED = "The kernel does not answer. It may be busy with another cell; if it was restarted or has died, run this cell again.";

export default { render };

// The lab's view: controls, and a canvas that draws the newest frame when the browser has time for it.
// It holds no state of the run: everything shown comes from the traits `scene`, `status` and `frame`.

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties))
    key.includes("-") ? node.setAttribute(key, value) : (node[key] = value);
  node.append(...children);
  return node;
}

// --- the view ---

function render({ model, el }) {
  const send = (message) => model.send(message);
  const button = (label, title, message, colour) => {
    const node = element("button", { type: "button", textContent: label, title });
    if (colour) node.style.background = colour;
    node.addEventListener("click", () => send(message()));
    return node;
  };
  const playing = () => model.get("status").playing;
  const play = button("▶ Play", "Train live, or stop", () => ({ do: playing() ? "pause" : "play" }));
  play.className = "lab-play";
  const buttons = element("div", { className: "lab-row", role: "toolbar" }, play,
    button("+10 rounds", "Ten rounds, then one picture", () => ({ do: "frame" })),
    button("D move", "One step of the discriminator alone", () => ({ do: "d_move" }), D),
    button("G move", "One step of the generator alone", () => ({ do: "g_move" }), G_TEXT),
    button("Reset", "Start again from the seed", () => ({ do: "reset" })));
  const count = element("output", { className: "lab-count" });
  buttons.append(count);

  const scrub = element("input", { type: "range", min: 0, max: 0, step: 1, className: "lab-scrub" });
  scrub.setAttribute("aria-label", "look back through the frames of this run");
  scrub.addEventListener("input", () => send({ do: "look", index: +scrub.value }));
  const where = element("span", { className: "lab-where" });

  const fields = {}, settings = element("div", { className: "lab-row lab-settings" });
  const field = (name, label, input) => {
    input.setAttribute("aria-label", label);
    const submit = () => {
      const { settings, errors } = model.get("status");
      if (input.value !== settings[name] || name in errors) send({ do: "set", name, value: input.value });
    };
    input.addEventListener("change", submit);
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") submit(); });
    fields[name] = input;
    settings.append(element("label", {}, label, input));
  };
  const { menus, numbers } = model.get("scene");
  for (const [name, options] of Object.entries(menus))
    field(name, name, element("select", {}, ...options.map((o) => element("option", { value: o, textContent: o }))));
  for (const [name, label] of Object.entries(numbers))
    field(name, label, element("input", { type: "text", inputMode: "decimal", size: 6 }));

  if (model.get("recorded")) // no kernel behind the page: nothing can be trained or set
    for (const node of [...buttons.querySelectorAll("button:not(.lab-play)"), ...Object.values(fields)]) node.disabled = true;
  const canvas = element("canvas", { className: "lab-canvas", role: "img", "aria-label": "The run, not drawn yet" });
  const message = element("div", { className: "lab-message", role: "status", "aria-live": "polite" });
  el.classList.add("lab");
  el.setAttribute("data-lm-suppress-shortcuts", "true"); // keys pressed here are not JupyterLab's
  el.addEventListener("keydown", (event) => event.stopPropagation());
  el.append(buttons, element("div", { className: "lab-row" }, scrub, where), canvas, settings, message);

  // Drawing data: a stroke adds points, and its end sends them all.
  let stroke = null, points = [];
  const clear = button("Clear the drawing", "Forget the drawn points and draw new ones", () => ({ do: "pause" }));
  clear.className = "lab-clear";
  clear.addEventListener("click", () => { points = []; message.textContent = "Draw on the left square with the mouse."; });
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
    if (!model.get("scene").drawable) return;
    canvas.setPointerCapture(event.pointerId);
    stroke = []; send({ do: "pause" }); add(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (stroke) add(event); });
  canvas.addEventListener("pointerup", () => {
    if (stroke?.length) { points = [...points, ...stroke]; send({ do: "points", points }); }
    stroke = null;
  });

  let waiting = false, told = 0;
  const paint = () => { // at most once per screen refresh, and only the newest frame
    waiting = false;
    if (stroke) return; // the picture waits for the hand
    const scene = model.get("scene"), f = unpack(model.get("frame"));
    draw(canvas, scene, f);
    clear.hidden = !scene.drawable;
    for (const [name, input] of Object.entries(fields)) input.parentElement.hidden = scene.hidden.includes(name);
    const newest = f.index === f.frames - 1;
    scrub.max = f.frames - 1;
    scrub.value = f.index;
    const looking = newest ? "newest frame" : `looking back, frame ${f.index + 1} of ${f.frames}`;
    const words = model.get("recorded") ? `frame ${f.index + 1} of ${f.frames}` : `${looking} (at most ${scene.history} kept)`;
    if (where.textContent !== words) where.textContent = words;
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
  const onFrame = () => { if (!waiting) { waiting = true; requestAnimationFrame(paint); } };
  const onStatus = () => {
    const status = model.get("status");
    play.textContent = status.playing ? "❚❚ Pause" : "▶ Play";
    el.dataset.playing = status.playing;
    message.textContent = status.message;
    message.classList.toggle("lab-error", status.error);
    for (const [name, input] of Object.entries(fields)) {
      const wrong = name in status.errors;
      input.setAttribute("aria-invalid", wrong);
      if (!wrong && document.activeElement !== input || status.settings[name] !== input.value && !wrong)
        input.value = status.settings[name];
    }
  };
  const resized = new ResizeObserver(onFrame);
  resized.observe(el);
  model.on("change:frame", onFrame);
  model.on("change:status", onStatus);
  const bye = () => send({ do: "bye" });
  window.addEventListener("pagehide", bye); // the browser's tab is closed
  onStatus(); onFrame(); send({ do: "hello" });
  return () => { // the view is closed: its cell was run again, say
    window.removeEventListener("pagehide", bye);
    resized.disconnect();
    model.off("change:frame", onFrame);
    model.off("change:status", onStatus);
    bye();
  };
}

export default { render };

// The lab's picture: one frame of a run on a canvas. `Lab` joins this file and lab.js to one module.

const REAL = "#0173B2", FAKE = "#D55E00", D = "#333333", G = "#029E73", GREY = "#767676";
const FAKE_TEXT = "#8F3F00", G_TEXT = "#00674B"; // words, and grounds of white words, need more contrast

// A frame is `Run.frame` of run.py: numbers, and buffers of bytes (pixels) or of float32 (all others).
function unpack(frame) {
  const array = (name, { buffer, byteOffset, byteLength }) =>
    new (name === "pixels" ? Uint8Array : Float32Array)(buffer.slice(byteOffset, byteOffset + byteLength));
  return Object.fromEntries(Object.entries(frame).map(([name, value]) =>
    [name, ArrayBuffer.isView(value) ? array(name, value) : value]));
}

const modesNow = (scene, f) => Array.from(f.modes.slice(-scene.runs)); // that each run covers

// --- drawing: each function draws on the 2-D context x inside box = {left, top, width, height} ---

function belief(t) { // vermilion "fake", white 1/2, blue "real"
  const end = t < 0.5 ? [213, 94, 0] : [1, 115, 178], far = 0.5 * Math.abs(2 * t - 1);
  return end.map((c) => 255 + (c - 255) * far);
}

// One little-endian RGBA word for each of the 256 byte values.
const word = ([r, g, b]) => (255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r);
const BELIEF = Uint32Array.from({ length: 256 }, (_, i) => word(belief(i / 255)));
const GREYS = Uint32Array.from({ length: 256 }, (_, i) => word([i, i, i]));

function raster(x, box, pixels, side, table, smooth) {
  const small = raster.canvas ??= document.createElement("canvas");
  if (small.width !== side) small.width = small.height = side;
  const context = small.getContext("2d", { willReadFrequently: true }), image = context.createImageData(side, side);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) words[i] = table[pixels[i]];
  context.putImageData(image, 0, 0);
  x.imageSmoothingEnabled = smooth;
  x.drawImage(small, box.left, box.top, box.width, box.height);
}

function plane(x, box, scene, f) {
  const side = Math.round(Math.sqrt(f.pixels.length)), flipped = new Uint8Array(f.pixels.length);
  for (let row = 0; row < side; row++) // rows come from the bottom
    flipped.set(f.pixels.subarray(row * side, (row + 1) * side), (side - 1 - row) * side);
  raster(x, box, flipped, side, BELIEF, true);
  const [lo, hi] = scene.extent, scale = box.width / (hi - lo);
  const X = (v) => box.left + (v - lo) * scale, Y = (v) => box.top + (hi - v) * scale;
  x.save(); x.beginPath(); x.rect(box.left, box.top, box.width, box.height); x.clip();
  x.strokeStyle = REAL; x.lineWidth = 1.2; x.beginPath();
  const r = scene.small ? 2 : 3.5, c = scene.small ? 2 : 3;
  for (let i = 0; i < scene.real.length; i += scene.small ? 6 : 2) {
    x.moveTo(X(scene.real[i]) + r, Y(scene.real[i + 1]));
    x.arc(X(scene.real[i]), Y(scene.real[i + 1]), r, 0, 6.2832);
  }
  x.stroke();
  x.strokeStyle = FAKE; x.lineWidth = 1.6; x.beginPath();
  for (let i = 0; i < f.samples.length; i += 2) {
    const a = X(f.samples[i]), b = Y(f.samples[i + 1]);
    x.moveTo(a - c, b - c); x.lineTo(a + c, b + c); x.moveTo(a - c, b + c); x.lineTo(a + c, b - c);
  }
  x.stroke();
  x.restore();
  ticks(x, box, [lo, hi], [lo, hi], scene.small);
}

function line(x, box, scene, f) {
  const [lo, hi] = scene.extent, bins = 60, counts = new Array(bins).fill(0);
  for (const v of f.samples) if (v >= lo && v < hi) counts[Math.floor(((v - lo) / (hi - lo)) * bins)]++;
  const heights = counts.map((c) => (c / f.samples.length) * (bins / (hi - lo)));
  const top = 1.6 * Math.max(...scene.density, 0.6), Y = (v) => box.top + box.height * (1 - Math.min(v / top, 1));
  const X = (i, n) => box.left + (i / n) * box.width;
  x.fillStyle = FAKE; x.globalAlpha = 0.55;
  heights.forEach((v, i) => x.fillRect(X(i, bins), Y(v), box.width / bins - 1, box.top + box.height - Y(v)));
  x.globalAlpha = 1;
  const curve = (values, colour, dash, y) => path(x, values.map((v, i) => [X(i, values.length - 1), y(v)]), colour, dash);
  curve(scene.density, REAL, [], Y);
  curve(Array.from(f.pixels, (v) => v / 255), D, [], (v) => box.top + box.height * (1 - v));
  ticks(x, box, [lo, hi], [0, 1], scene.small);
}

function images(x, box, pixels) { // sixty-four, square
  const side = 8, size = Math.round(Math.sqrt(pixels.length)) / side, width = side * size, sheet = new Uint8Array(width * width);
  for (let n = 0; n < side * side; n++)
    for (let row = 0; row < size; row++)
      sheet.set(pixels.subarray((n * size + row) * size, (n * size + row + 1) * size),
        (Math.floor(n / side) * size + row) * width + (n % side) * size);
  raster(x, box, sheet, width, GREYS, false);
}

function path(x, points, colour, dash = []) {
  x.strokeStyle = colour; x.lineWidth = 2.4; x.setLineDash(dash); x.beginPath();
  let pen = false;
  for (const [a, b] of points) {
    if (!Number.isFinite(b)) { pen = false; continue; }
    pen ? x.lineTo(a, b) : x.moveTo(a, b);
    pen = true;
  }
  x.stroke(); x.setLineDash([]);
}

// Coloured words, one after another.
function key(x, entries, left, top) {
  for (const [words, colour] of entries) {
    text(x, words, left, top, { colour, bold: true });
    left += x.measureText(words).width + 14;
  }
}

function text(x, words, left, top, { colour = "#222222", align = "left", size = 15, bold = false } = {}) {
  x.font = `${bold ? "600 " : ""}${size}px system-ui, sans-serif`;
  x.fillStyle = colour; x.textAlign = align; x.textBaseline = "middle";
  x.strokeStyle = "#FFFFFF"; x.lineWidth = 4; x.strokeText(words, left, top); // stands out from a curve
  x.fillText(words, left, top);
}

function ticks(x, box, [x0, x1], [y0, y1], bare) {
  x.strokeStyle = GREY; x.lineWidth = 1; x.strokeRect(box.left, box.top, box.width, box.height);
  if (bare) return;
  const bottom = box.top + box.height, short = (v) => String(+v.toPrecision(Math.abs(v) < 0.1 ? 2 : Math.abs(v) < 1000 ? 3 : 9));
  text(x, short(x0), box.left, bottom + 12, { colour: "#555555" });
  text(x, short(x1), box.left + box.width, bottom + 12, { colour: "#555555", align: "right" });
  text(x, short(y0), box.left - 5, bottom - 8, { colour: "#555555", align: "right" });
  text(x, short(y1), box.left - 5, box.top + 8, { colour: "#555555", align: "right" });
}

function curves(x, box, scene, f) {
  const last = Math.max(f.step, 1);
  const seen = [scene.undecided, ...[...f.d_loss, ...f.g_loss].filter(Number.isFinite)];
  seen.sort((a, b) => a - b); // the axis shows the middle 98 %: one early spike must not flatten the rest
  const low = Math.min(0, seen[Math.floor(0.01 * seen.length)]);
  const high = Math.max(scene.undecided, seen[Math.floor(0.99 * (seen.length - 1))]);
  const span = (high - low) * 1.1 || 1, clamp = (v) => Math.min(Math.max(v, low), low + span);
  const X = (step) => box.left + (step / last) * box.width;
  const Y = (v) => box.top + box.height * (1 - (clamp(v) - low) / span);
  ticks(x, box, [0, last], [low, low + span]);
  path(x, [[box.left, Y(scene.undecided)], [box.left + box.width, Y(scene.undecided)]], GREY, [2, 4]);
  for (const [losses, colour, dash] of [[f.d_loss, D, []], [f.g_loss, G, [8, 5]]]) {
    const points = Array.from(losses, (v, i) => [X(f.steps[i]), Y(v)]).filter(([, y]) => Number.isFinite(y));
    path(x, points, colour, dash);
  }
  const log4 = Math.abs(scene.undecided - Math.log(4)) < 1e-4;
  text(x, log4 ? "log 4" : `undecided D: ${+scene.undecided.toPrecision(3)}`, box.left + box.width - 6,
    Y(scene.undecided) - 10, { colour: "#555555", align: "right" });
  key(x, [["loss: D (solid)", D], ["G (dashed)", G_TEXT]], box.left, box.top - 14);
  text(x, "generator moves", box.left + box.width / 2, box.top + box.height + 12, { colour: "#555555", align: "center" });
}

function modeCount(x, box, scene, f) {
  const last = Math.max(f.step, 1);
  ticks(x, box, [0, last], [0, scene.modes]);
  for (let run = 0; run < scene.runs; run++) {
    const points = Array.from(f.steps, (step, i) => [box.left + (step / last) * box.width,
      box.top + box.height * (1 - (0.94 * f.modes[i * scene.runs + run]) / scene.modes)]);
    x.globalAlpha = scene.runs > 1 ? 0.6 : 1;
    path(x, points, FAKE);
    x.globalAlpha = 1;
  }
  const count = scene.runs > 1 ? "modes, by seed" : `modes covered: ${modesNow(scene, f)} of ${scene.modes}`;
  text(x, count, box.left, box.top - 14, { colour: FAKE_TEXT, bold: true });
  const share = `${Math.round(100 * f.quality)} %`;
  const words = scene.runs > 1 || box.width < 350 ? `in 3 sigma: ${share}` : `within 3 sigma: ${share}`;
  text(x, words, box.left + box.width, box.top - 14, { align: "right" });
}

// One picture for each run, side by side, on the left square: run i has its share of the samples and of D's belief.
function everyRun(x, box, scene, f, drawOne) {
  if (scene.runs === 1) return drawOne(x, box, scene, f);
  const columns = Math.ceil(Math.sqrt(scene.runs)), rows = Math.ceil(scene.runs / columns);
  const size = Math.min(box.width / columns, box.height / rows);
  const part = (array, run) => array.subarray((run * array.length) / scene.runs, ((run + 1) * array.length) / scene.runs);
  for (let run = 0; run < scene.runs; run++) {
    const left = box.left + (run % columns) * size, top = box.top + Math.floor(run / columns) * size;
    const one = { left: left + 2, top: top + 2, width: size - 4, height: size - 4 };
    drawOne(x, one, { ...scene, small: true }, { ...f, samples: part(f.samples, run), pixels: part(f.pixels, run) });
    const modes = scene.modes > 1 ? ` · ${modesNow(scene, f)[run]} of ${scene.modes}` : "";
    x.fillStyle = "rgba(255, 255, 255, 0.85)"; x.fillRect(left + 3, top + 3, size - 6, 22);
    text(x, `seed ${scene.seed + run}${modes}`, left + 7, top + 14, { bold: true, size: 14 });
  }
}

const KEYS = {
  plane: [["○ real", REAL], ["✕ generated", FAKE_TEXT]],
  line: [["— real density", REAL], ["▮ generated", FAKE_TEXT], ["— D(x), 0 to 1", D]],
  images: [["generated, at fixed latents", "#222222"]],
  "critic plane": [["○ real", REAL], ["✕ generated", FAKE_TEXT], ["critic: blue is high", D]],
  "critic line": [["— real density", REAL], ["▮ generated", FAKE_TEXT], ["— critic, rescaled", D]],
};

function draw(canvas, scene, f) {
  const width = Math.max(560, Math.min(canvas.parentElement.clientWidth || 1000, 1200));
  const half = scene.runs > 1 ? 0.64 * width : width / 2; // many pictures need more room
  const size = width / 2 - 56, height = size + 66, ratio = Math.min(2, window.devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
  }
  const x = canvas.getContext("2d", { alpha: false });
  const left = { left: 40, top: 36, width: scene.runs > 1 ? half - 56 : size, height: size };
  x.setTransform(ratio, 0, 0, ratio, 0, 0);
  x.fillStyle = "#FFFFFF"; x.fillRect(0, 0, width, height);
  canvas.plane = { box: left, extent: scene.extent };
  canvas.style.cursor = scene.drawable ? "crosshair" : "";
  if (scene.kind === "plane") everyRun(x, left, scene, f, plane);
  if (scene.kind === "line") everyRun(x, left, scene, f, line);
  if (scene.kind === "images") images(x, left, f.pixels);
  key(x, scene.critic && KEYS[`critic ${scene.kind}`] || KEYS[scene.kind], left.left, 20);
  const right = { left: half + 46, top: 36, width: width - half - 60, height: size };
  if (scene.kind === "images") { // real digits above, losses below
    const real = { ...right, width: size * 0.45, height: size * 0.45 };
    text(x, "real", real.left, 20, { colour: REAL, bold: true });
    images(x, real, Uint8Array.from(scene.real));
    curves(x, { ...right, top: 36 + size * 0.58, height: size * 0.42 }, scene, f);
  } else if (scene.modes > 1) {
    curves(x, { ...right, height: size * 0.6 }, scene, f);
    modeCount(x, { ...right, top: 36 + size * 0.75, height: size * 0.25 }, scene, f);
  } else curves(x, right, scene, f);
}

function describe(scene, f) {
  const modes = scene.modes > 1 ? `, ${modesNow(scene, f).join(" ")} of ${scene.modes} modes covered` : "";
  return `Step ${f.step}: generated and real samples, what D believes, and both losses${modes}`;
}


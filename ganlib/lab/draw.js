// The lab's picture: one frame of a run on a canvas. `Lab` joins this file and lab.js to one module.

const REAL = "#0173B2", FAKE = "#D55E00", D = "#333333", G = "#029E73", GREY = "#767676";
const FAKE_TEXT = "#8F3F00", G_TEXT = "#00674B"; // words, and grounds of white words, need more contrast

// What is drawn on the page's own ground; on the plane and on images, which stay white, LIGHT is used in either theme.
const LIGHT = { ground: "#FFFFFF", ink: "#222222", quiet: "#555555", frame: GREY, real: REAL, fake: FAKE, d: D, g: G,
  realText: REAL, fakeText: FAKE_TEXT, gText: G_TEXT };
const DARK = { ground: "#111111", ink: "#EEEEEE", quiet: "#BBBBBB", frame: "#949494", real: "#56B4E9", fake: "#E8772E", d: "#E0E0E0",
  g: "#2CC295", realText: "#7CC8F0", fakeText: "#FFA061", gText: "#4DDDB4" };
let theme = LIGHT;

// The colours for a ground, a colour as CSS computes it.
function themed(ground) {
  const [r, g, b] = (ground.match(/[\d.]+/g) ?? [255, 255, 255]).map(Number);
  return { ...(0.3 * r + 0.6 * g + 0.1 * b < 128 ? DARK : LIGHT), ground };
}

// A frame is `Run.frame` of run.py: numbers, and buffers of bytes (pixels) or of float32 (all others).
function unpack(frame) {
  const array = (name, { buffer, byteOffset, byteLength }) =>
    new (name === "pixels" ? Uint8Array : Float32Array)(buffer.slice(byteOffset, byteOffset + byteLength));
  return Object.fromEntries(Object.entries(frame).map(([name, value]) =>
    [name, ArrayBuffer.isView(value) ? array(name, value) : value]));
}

const modesNow = (scene, f) => Array.from(f.modes.slice(-scene.runs)); // that each run covers

// --- where things stand: boxes {left, top, width, height} on a canvas of `width`, and its height of at most `most` ---

const MARGIN = { left: 40, top: 34, bottom: 28, right: 8, between: 58 }; // a title above, ticks below and left

function plan(width, most, scene) {
  const { left, top, bottom, right, between } = MARGIN, many = scene.runs > 1;
  const beside = width >= 540; // curves beside the square, or below it
  const curves = beside ? Math.max(180, 0.32 * width) : 0;
  const across = width - left - right - (curves && curves + between), down = most - top - bottom;
  const size = Math.max(160, many ? (beside ? down : 1.7 * across) : Math.min(across, down, beside ? Infinity : 440));
  const square = many ? tiled({ left, top, width: across, height: size }, scene.runs) : { left, top, width: size, height: size };
  const x = beside ? left + square.width + between : left, y = beside ? top : top + square.height + bottom + top;
  const column = { left: x, top: y, width: width - x - right, height: beside ? size : 150 };
  const boxes = { square, losses: column };
  if (scene.kind === "images") {
    const real = beside ? Math.min(column.width, 0.44 * size) : 150;
    boxes.real = { ...column, width: real, height: real };
    boxes.losses = { ...column, top: y + real + 44, height: beside ? size - real - 44 : 150 };
  } else if (scene.modes > 1) {
    if (beside) boxes.losses = { ...column, height: 0.58 * size };
    const below = boxes.losses.top + boxes.losses.height + bottom + top;
    boxes.modes = { ...column, top: below, height: beside ? y + size - below : 90 };
  }
  const lowest = boxes.modes ?? boxes.losses;
  return { ...boxes, height: Math.round((beside ? top + size : lowest.top + lowest.height) + bottom) };
}

// Of a box as much as `runs` pictures side by side need, as large as they fit: with their columns, size, and the height
// of a title above each.
function tiled(box, runs) {
  const band = 20, rows = (columns) => Math.ceil(runs / columns);
  const fit = (columns) => Math.min(box.width / columns, box.height / rows(columns) - band, 260);
  const columns = Array.from({ length: runs }, (_, i) => i + 1).reduce((best, n) => (fit(n) > fit(best) ? n : best));
  const size = Math.max(40, Math.floor(fit(columns)));
  return { ...box, width: columns * size, height: rows(columns) * (size + band), columns, size, band };
}

// --- drawing: each function draws on the 2-D context x inside a box ---

function belief(t) { // vermilion "fake", white 1/2, blue "real"
  const end = t < 0.5 ? [213, 94, 0] : [1, 115, 178], far = 0.5 * Math.abs(2 * t - 1);
  return end.map((c) => 255 + (c - 255) * far);
}

// One little-endian RGBA word for each of the 256 byte values.
const word = ([r, g, b]) => (255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r);
const BELIEF = Uint32Array.from({ length: 256 }, (_, i) => word(belief(i / 255)));
const GREYS = Uint32Array.from({ length: 256 }, (_, i) => word([i, i, i]));

function raster(x, box, pixels, side, table, smooth, rows = side) {
  const small = raster.canvas ??= document.createElement("canvas");
  if (small.width !== side || small.height !== rows) { small.width = side; small.height = rows; }
  const context = small.getContext("2d", { willReadFrequently: true }), image = context.createImageData(side, rows);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) words[i] = table[pixels[i]];
  context.putImageData(image, 0, 0);
  x.imageSmoothingEnabled = smooth;
  x.drawImage(small, box.left, box.top, box.width, box.height);
}

// Where the slope of G's cost sends samples: arrows from them, on one scale for all games.
function arrows(x, starts, steps, unit, colour) {
  x.strokeStyle = x.fillStyle = colour; x.lineWidth = 1.3; x.beginPath();
  const heads = [];
  starts.forEach(([a, b], i) => {
    const [u, v] = steps[i], slope = Math.hypot(u, v), length = (unit * slope) / (1 + slope);
    if (!(length > 0.5)) return;
    const p = (u / slope) * length, q = (v / slope) * length, head = Math.min(4, 0.4 * length) / length;
    x.moveTo(a, b); x.lineTo(a + p, b + q);
    heads.push([[a + p, b + q], [a + p - head * (1.6 * p - 0.8 * q), b + q - head * (1.6 * q + 0.8 * p)],
      [a + p - head * (1.6 * p + 0.8 * q), b + q - head * (1.6 * q - 0.8 * p)]]);
  });
  x.stroke(); x.beginPath();
  for (const [one, two, three] of heads) { x.moveTo(...one); x.lineTo(...two); x.lineTo(...three); x.closePath(); }
  x.fill();
}

const unitOf = (box) => 0.11 * box.width; // the length of an arrow of infinite slope

// An arrow of slope 1, in the lower left corner.
function arrowKey(x, box, colour) {
  const unit = unitOf(box), top = box.top + box.height - 14, words = "slope 1";
  x.fillStyle = "rgba(255, 255, 255, 0.85)";
  if (colour === LIGHT.ink) x.fillRect(box.left + 4, top - 10, unit / 2 + widthOf(x, words, 13, false) + 18, 20);
  arrows(x, [[box.left + 9, top]], [[1, 0]], unit, colour);
  font(x, 13, false); x.fillStyle = colour; x.textAlign = "left"; x.textBaseline = "middle";
  x.fillText(words, box.left + 15 + unit / 2, top);
}

const slopes = (f, d) => Array.from({ length: f.arrows.length / d }, (_, i) => Math.hypot(...f.arrows.subarray(d * i, d * i + d)));

// The image under G of a grid of latents.
function latentGrid(x, [, points], grid, X, Y) {
  x.strokeStyle = G_TEXT; x.lineWidth = 1.2; x.globalAlpha = 0.85; x.beginPath();
  for (let i = 0; i < grid.length / 2; i++)
    x[i % points ? "lineTo" : "moveTo"](X(grid[2 * i]), Y(grid[2 * i + 1]));
  x.stroke(); x.globalAlpha = 1;
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
  if (f.grid?.length) latentGrid(x, scene.grid, f.grid, X, Y);
  x.strokeStyle = FAKE; x.lineWidth = 1.6; x.beginPath();
  x.globalAlpha = f.grid?.length ? 0.5 : 1; // the lines show through
  for (let i = 0; i < f.samples.length; i += 2) {
    const a = X(f.samples[i]), b = Y(f.samples[i + 1]);
    x.moveTo(a - c, b - c); x.lineTo(a + c, b + c); x.moveTo(a - c, b + c); x.lineTo(a + c, b - c);
  }
  x.stroke();
  x.globalAlpha = 1;
  if (f.arrows?.length) {
    const pairs = (array) => Array.from({ length: f.arrows.length / 2 }, (_, i) => array.subarray(2 * i, 2 * i + 2));
    arrows(x, pairs(f.samples).map(([a, b]) => [X(a), Y(b)]), pairs(f.arrows).map(([u, v]) => [u, -v]), unitOf(box), LIGHT.ink);
    if (!scene.small) arrowKey(x, box, LIGHT.ink);
  }
  x.restore();
  ticks(x, box, [lo, hi], [lo, hi], scene.small);
}

function line(x, box, scene, f) {
  const [lo, hi] = scene.extent, bins = 60, counts = new Array(bins).fill(0);
  for (const v of f.samples) if (v >= lo && v < hi) counts[Math.floor(((v - lo) / (hi - lo)) * bins)]++;
  const heights = counts.map((c) => (c / f.samples.length) * (bins / (hi - lo)));
  const top = 1.6 * Math.max(...scene.density, 0.6), Y = (v) => box.top + box.height * (1 - Math.min(v / top, 1));
  const X = (i, n) => box.left + (i / n) * box.width;
  x.fillStyle = theme.fake; x.globalAlpha = 0.55;
  heights.forEach((v, i) => x.fillRect(X(i, bins), Y(v), box.width / bins - 1, box.top + box.height - Y(v)));
  x.globalAlpha = 1;
  const curve = (values, colour, y) => path(x, values.map((v, i) => [X(i, values.length - 1), y(v)]), colour);
  curve(scene.density, theme.real, Y);
  curve(Array.from(f.pixels, (v) => v / 255), theme.d, (v) => box.top + box.height * (1 - v));
  if (f.arrows?.length) { // at heights of their own, so that they do not lie on one another
    x.save(); x.beginPath(); x.rect(box.left, box.top, box.width, box.height); x.clip();
    const starts = Array.from(f.arrows, (_, i) => [X(f.samples[i] - lo, hi - lo), box.top + box.height * (0.08 + 0.84 * ((0.618 * i) % 1))]);
    arrows(x, starts, Array.from(f.arrows, (u) => [u, 0]), unitOf(box), theme.ink);
    if (!scene.small) arrowKey(x, box, theme.ink);
    x.restore();
  }
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

function path(x, points, colour, dash = [], width = 2.4) {
  x.strokeStyle = colour; x.lineWidth = width; x.setLineDash(dash); x.beginPath();
  let pen = false;
  for (const [a, b] of points) {
    if (!Number.isFinite(b)) { pen = false; continue; }
    pen ? x.lineTo(a, b) : x.moveTo(a, b);
    pen = true;
  }
  x.stroke(); x.setLineDash([]);
}

function font(x, size, bold) { x.font = `${bold ? "600 " : ""}${size}px system-ui, sans-serif`; }

function widthOf(x, words, size = 15, bold = true) {
  font(x, size, bold);
  return x.measureText(words).width;
}

// Coloured words, one after another; in smaller letters where they would not fit. Returns where they end.
function key(x, entries, left, top, width = Infinity) {
  const whole = (size) => entries.reduce((sum, [words]) => sum + widthOf(x, words, size) + 14, -14);
  const size = [15, 14, 13, 12].find((each) => whole(each) <= width) ?? 11;
  for (const [words, colour] of entries) {
    text(x, words, left, top, { colour, bold: true, size });
    left += widthOf(x, words, size) + 14;
  }
  return left;
}

// A title: words at the left, and the first of `right` that has room beside them.
function title(x, box, entries, right = []) {
  const top = box.top - 15, end = key(x, entries, box.left, top, box.width), room = box.left + box.width - end - 6;
  const fits = right.find((words) => widthOf(x, words, 14, false) <= room);
  if (fits) text(x, fits, box.left + box.width, top, { align: "right", size: 14 });
}

function text(x, words, left, top, { colour = theme.ink, align = "left", size = 15, bold = false } = {}) {
  font(x, size, bold);
  x.fillStyle = colour; x.textAlign = align; x.textBaseline = "middle"; x.lineJoin = "round";
  x.strokeStyle = theme.ground; x.lineWidth = 4; x.strokeText(words, left, top); // stands out from a curve
  x.fillText(words, left, top);
}

const short = (v) => String(+v.toPrecision(Math.abs(v) < 0.1 ? 2 : Math.abs(v) < 1000 ? 3 : 9));

function ticks(x, box, [x0, x1], [y0, y1], bare) {
  x.strokeStyle = theme.frame; x.lineWidth = 1; x.strokeRect(box.left, box.top, box.width, box.height);
  if (bare) return;
  const bottom = box.top + box.height, quiet = { colour: theme.quiet, size: 14 };
  text(x, short(x0), box.left, bottom + 13, quiet);
  text(x, short(x1), box.left + box.width, bottom + 13, { ...quiet, align: "right" });
  text(x, short(y0), box.left - 5, bottom - 8, { ...quiet, align: "right" });
  text(x, short(y1), box.left - 5, box.top + 8, { ...quiet, align: "right" });
}

// Which colour says what, between the ends of the axis below the square.
function legend(x, box, critic) {
  const [low, high] = critic ? ["critic low", "high"] : ["D(x): fake 0", "1 real"], bar = Math.min(90, 0.2 * box.width), size = 14;
  const before = widthOf(x, low, size, false), after = widthOf(x, high, size, false);
  if (before + after + bar + 90 > box.width) return;
  const start = box.left + (box.width - before - after - bar - 12) / 2, top = box.top + box.height + 13;
  text(x, low, start, top, { colour: theme.quiet, size });
  const scale = { left: start + before + 6, top: top - 6, width: bar, height: 12 };
  raster(x, scale, Uint8Array.from({ length: 64 }, (_, i) => 4 * i), 64, BELIEF, true, 1);
  x.strokeStyle = theme.frame; x.lineWidth = 1; x.strokeRect(scale.left, scale.top, scale.width, scale.height);
  text(x, high, scale.left + bar + 6, top, { colour: theme.quiet, size });
}

// The changes of settings: pairs of a time and words.
const changes = (f) => (f.marks || "").split("\n").filter(Boolean).map((each) => [parseFloat(each), each.slice(each.indexOf(" ") + 1)]);

// Where a setting was changed, with words at the last few.
function marks(x, box, f, X, silent = false) {
  changes(f).forEach(([time, words], i, all) => {
    path(x, [[X(time), box.top], [X(time), box.top + box.height]], theme.quiet, [3, 3], 1.2);
    if (silent || i < all.length - 3) return;
    const align = X(time) > box.left + box.width / 2 ? "right" : "left";
    text(x, words, X(time) + (align === "left" ? 4 : -4), box.top + box.height - 11 - 17 * (i % 3), { align, size: 13, colour: theme.quiet });
  });
}

const lastOf = (f) => Math.max(f.times.at(-1), 1); // the end of the axis, in rounds

function curves(x, box, scene, f) {
  const last = lastOf(f), seen = [scene.undecided, ...[...f.d_loss, ...f.g_loss].filter(Number.isFinite)];
  seen.sort((a, b) => a - b); // the axis shows the middle 98 %: one early spike must not flatten the rest
  const low = Math.min(0, seen[Math.floor(0.01 * seen.length)]);
  const high = Math.max(scene.undecided, seen[Math.floor(0.99 * (seen.length - 1))]);
  const span = (high - low) * 1.1 || 1, clamp = (v) => Math.min(Math.max(v, low), low + span);
  const X = (time) => box.left + (time / last) * box.width;
  const Y = (v) => box.top + box.height * (1 - (clamp(v) - low) / span);
  ticks(x, box, [0, last], [low, low + span]);
  path(x, [[box.left, Y(scene.undecided)], [box.left + box.width, Y(scene.undecided)]], theme.frame, [2, 4]);
  for (const [losses, colour, dash] of [[f.d_loss, theme.d, []], [f.g_loss, theme.g, [8, 5]]]) {
    const points = Array.from(losses, (v, i) => [X(f.times[i]), Y(v)]).filter(([, y]) => Number.isFinite(y));
    path(x, points, colour, dash);
  }
  marks(x, box, f, X);
  const log4 = Math.abs(scene.undecided - Math.log(4)) < 1e-4;
  text(x, log4 ? "log 4" : `undecided D: ${+scene.undecided.toPrecision(3)}`, box.left + box.width - 6,
    Y(scene.undecided) + (Y(scene.undecided) - 18 < box.top ? 11 : -10), { colour: theme.quiet, align: "right", size: 14 });
  const mean = scene.runs > 1 ? [`mean of ${scene.runs} seeds`, `mean of ${scene.runs}`] : [];
  title(x, box, [["loss: D (solid)", theme.d], ["G (dashed)", theme.gText]], mean);
  text(x, "rounds", box.left + box.width / 2, box.top + box.height + 13, { colour: theme.quiet, align: "center", size: 14 });
}

// The tone of a seed: from the colour of G's samples to the page's ink.
function tone(scene, run) {
  if (scene.runs === 1) return theme.fake;
  const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)), share = (0.85 * run) / (scene.runs - 1);
  const mixed = parts(theme.fake).map((c, i) => Math.round(c + (parts(theme.ink)[i] - c) * share));
  return `rgb(${mixed})`;
}

function modeCount(x, box, scene, f) {
  const last = lastOf(f), X = (time) => box.left + (time / last) * box.width;
  ticks(x, box, [0, last], [0, scene.modes]);
  for (let run = 0; run < scene.runs; run++) {
    const points = Array.from(f.times, (time, i) => [X(time),
      box.top + box.height * (1 - f.modes[i * scene.runs + run] / scene.modes)]);
    path(x, points, tone(scene, run), [], scene.runs > 1 ? 2 : 2.4);
  }
  marks(x, box, f, X, true);
  const now = modesNow(scene, f), mean = now.reduce((a, b) => a + b, 0) / scene.runs;
  const wide = widthOf(x, "modes, a tone a seed: mean 8.8 of 88") < box.width ? "modes, a tone a seed: mean" : "modes: mean";
  const count = scene.runs > 1 ? `${wide} ${mean.toFixed(1)} of ${scene.modes}` : `modes covered: ${now} of ${scene.modes}`;
  const share = `${Math.round(100 * f.quality)} %`;
  title(x, box, [[count, theme.fakeText]], [`within 3 sigma: ${share}`, `in 3 sigma: ${share}`, `3σ: ${share}`]);
}

// One picture for each run, side by side, on the left square: run i has its share of the samples and of D's belief.
function everyRun(x, box, scene, f, drawOne) {
  if (scene.runs === 1) return drawOne(x, box, scene, f);
  const { columns, size, band } = box;
  const part = (array, run) => array.subarray((run * array.length) / scene.runs, ((run + 1) * array.length) / scene.runs);
  for (let run = 0; run < scene.runs; run++) {
    const left = box.left + (run % columns) * size, top = box.top + Math.floor(run / columns) * (size + band);
    const one = { left: left + 2, top: top + band, width: size - 6, height: size - 6 };
    drawOne(x, one, { ...scene, small: true }, { ...f, samples: part(f.samples, run), pixels: part(f.pixels, run),
      arrows: part(f.arrows, run), grid: part(f.grid, run) });
    const modes = scene.modes > 1 ? `: ${modesNow(scene, f)[run]} of ${scene.modes}` : "";
    x.fillStyle = tone(scene, run); x.fillRect(left + 2, top + 4, 12, 12);
    const name = `seed ${scene.seed + run}${modes}`, letters = [14, 13, 12, 11].find((s) => widthOf(x, name, s) < size - 22);
    text(x, letters ? name : `${scene.seed + run}${modes}`, left + 18, top + 10, { bold: true, size: letters ?? 11 });
  }
}

const keyOf = (scene) => ({
  plane: [["○ real", theme.realText], ["✕ generated", theme.fakeText]],
  line: [["— real density", theme.realText], ["▮ generated", theme.fakeText],
    [scene.critic ? "— critic, rescaled" : "— D(x), 0 to 1", theme.d]],
  images: [["generated, at fixed latents", theme.ink]],
}[scene.kind]);

function outside(scene, f) { // how many samples the window does not show
  if (scene.kind === "images") return [];
  const [lo, hi] = scene.extent, d = scene.kind === "plane" ? 2 : 1;
  let count = 0;
  for (let i = 0; i < f.samples.length; i += d)
    if (!(f.samples[i] >= lo && f.samples[i] <= hi && f.samples[i + d - 1] >= lo && f.samples[i + d - 1] <= hi)) count++;
  const of = f.samples.length / d;
  return count ? [`${count} of ${of} outside the window`, `${count} of ${of} outside`, `${count} outside`] : [];
}

// Draws on a canvas that may be `width` wide and `most` high, on a page with that ground.
function draw(canvas, scene, f, width, most, ground) {
  theme = themed(ground);
  const at = plan(width, most, scene), ratio = Math.min(2, window.devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(at.height * ratio)) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(at.height * ratio);
    canvas.style.width = `${width}px`; canvas.style.height = `${at.height}px`;
  }
  const x = canvas.getContext("2d", { alpha: false });
  x.setTransform(ratio, 0, 0, ratio, 0, 0);
  x.fillStyle = ground; x.fillRect(0, 0, width, at.height);
  canvas.plane = { box: at.square, extent: scene.extent };
  canvas.style.cursor = scene.drawable ? "crosshair" : "";
  if (scene.kind === "plane") everyRun(x, at.square, scene, f, plane);
  if (scene.kind === "line") everyRun(x, at.square, scene, f, line);
  if (scene.kind === "images") images(x, at.square, f.pixels);
  if (scene.kind === "plane") legend(x, at.square, scene.critic);
  title(x, at.square, keyOf(scene), outside(scene, f));
  if (at.real) {
    title(x, at.real, [["real", theme.realText]]);
    images(x, at.real, Uint8Array.from(scene.real));
  }
  curves(x, at.losses, scene, f);
  if (at.modes) modeCount(x, at.modes, scene, f);
}

function describe(scene, f) {
  const modes = scene.modes > 1 ? `, ${modesNow(scene, f).join(" ")} of ${scene.modes} modes covered` : "";
  return `Step ${f.step}: generated and real samples, what D believes, and both losses${modes}`;
}


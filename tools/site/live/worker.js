// The lab's kernel in a worker: `engine.js` trains; this keeps the settings, the frames and the clock, as run.py and
// widget.py do in JupyterLab, with their words and numbers, which build.py writes into `COURSE`.

const N_SHOWN = 500, SIDE = 32, ON_LINE = 200, N_ARROWS = 128, BATCH = 64;
const FRAME_MILLISECONDS = 41, UNSEEN_FRAMES = 25;
const MOST = { width: 128, depth: 4, k: 20 }; // more would let a reader wait
const OFFERED = {
  data: COURSE.menus.data.filter((name) => name in DATA || name === COURSE.drawn),
  objective: Object.keys(COURSE.games).filter((name) => COURSE.games[name].objective in OBJECTIVES),
  activation: COURSE.menus.activation.filter((name) => name in ACTIVATIONS),
};
const possible = (settings) => Object.entries(settings).every(([name, value]) => !OFFERED[name] || OFFERED[name].includes(value));
const PRESETS = Object.fromEntries(Object.entries(COURSE.presets).filter(([, settings]) => possible(settings)));
const NAMES = COURSE.order.filter((name) => name in COURSE.plain); // of the settings, in the order in which they are shown
const linspace = (low, high, n) => Array.from({ length: n }, (_, i) => low + ((high - low) * i) / (n - 1));
const label = (name) => COURSE.numbers[name]?.[0] ?? name;

// ---- a run: a match, and what was seen of it ---------------------------------------------------------------------

class Run {
  constructor(settings, points) {
    const { objective } = COURSE.games[settings.objective], { width, depth, activation, seed } = settings;
    const data = settings.data === COURSE.drawn ? drawn(points) : DATA[settings.data];
    this.match = new Match({ data, objective, activation, width, depth, seed, latents: settings.latent_dim, n: BATCH });
    this.follow(settings);
    this.critic = objective === "wasserstein";
    // What the run is looked at with is drawn from streams of its own: looking changes nothing.
    this.z = this.match.z(N_SHOWN, new Random(seed + 1));
    this.real = this.match.real(N_SHOWN, new Random(seed + 2));
    const ticks = linspace(...data.extent, data.dim === 1 ? ON_LINE : SIDE);
    this.points = Float64Array.from(data.dim === 1 ? ticks : ticks.flatMap((y) => ticks.flatMap((x) => [x, y])));
    this.lines = data.dim === 1 ? [] : this.latentGrid(settings.latent_dim, new Random(seed + 3));
    Object.assign(this, { step: 0, moves: 0, time: 0, marks: [], losses: { D: [], G: [] }, kept: [], stride: 1, count: 0 });
    this.draw(settings);
  }

  follow({ lr_d, lr_g, k, c, objective }) { // settings that take effect while the run goes on
    Object.assign(this.match, { rateD: lr_d, rateG: lr_g, k, c: COURSE.games[objective].clips ? c : Infinity });
  }

  // Lines of latents: of the first two numbers of z one stands at a tick, the other runs from -2 to 2.
  latentGrid(size, rng) {
    const rest = Array.from({ length: size }, () => rng.normal()), run = linspace(-2, 2, 33);
    if (size === 1) return [run.map((v) => [v])];
    return [0, 1].flatMap((way) => linspace(-2, 2, 9).map((tick) => run.map((v) =>
      rest.map((each, i) => (i === way ? tick : i === 1 - way ? v : each)))));
  }

  moveD() { this.losses.D.push(this.match.moveD()); this.moves += 1; this.time += 0.5 / this.match.k; }
  moveG() { this.losses.G.push(this.match.moveG()); this.step += 1; this.time += 0.5; }
  round() { for (let i = 0; i < this.match.k; i++) this.moveD(); this.moveG(); }

  // The players' costs and D's mean answers on samples that are always the same.
  verdict() {
    const { G, D, objective } = this.match, mean = (values, f) => values.reduce((sum, t) => sum + f(t), 0) / values.length;
    const real = D.forward(this.real, N_SHOWN).slice(0, N_SHOWN), fake = D.forward(G.forward(this.z, N_SHOWN), N_SHOWN).slice(0, N_SHOWN);
    const says = this.critic ? (t) => t : sigmoid;
    return { d_loss: mean(real, objective.real[0]) + mean(fake, objective.fake[0]), g_loss: mean(fake, objective.G[0]),
      real: mean(real, says), fake: mean(fake, says) };
  }

  draw(settings) { // keep the present as the newest frame
    const losses = Object.fromEntries(Object.entries(this.losses).map(([name, all]) => [name, all.reduce((a, b) => a + b, 0) / all.length]));
    for (const name of ["D", "G"])
      if (this.losses[name].length && !Number.isFinite(losses[name]))
        throw new Error(`${name}'s loss is not finite at step ${this.step}: the run has diverged. Try a smaller learning rate, or clipping that keeps D's slope bounded.`);
    this.losses = { D: [], G: [] };
    const { G, data: { dim } } = this.match;
    this.fake = Float32Array.from(G.forward(this.z, N_SHOWN).subarray(0, N_SHOWN * dim));
    this.latest = { step: this.step, time: this.time, d_moves: this.moves, d_loss: losses.D, g_loss: losses.G, ...this.coverage(),
      samples: this.fake, pixels: this.belief() };
    this.extras(settings);
    if (this.count++ % this.stride === 0) this.kept.push(this.latest);
    if (this.kept.length > COURSE.history) { this.kept = this.kept.filter((_, i) => i % 2 === 0); this.stride *= 2; }
  }

  extras({ arrows, grid }) { // in the newest frame
    this.latest.arrows = arrows ? this.push() : undefined;
    const points = this.lines.flat(), n = points.length;
    this.latest.grid = grid && n ? Float32Array.from(this.match.G.forward(Float64Array.from(points.flat()), n).subarray(0, 2 * n)) : undefined;
  }

  push() { // where the slope of G's cost would have each sample go
    const { D, data: { dim }, objective: { G: [, slope] } } = this.match, n = N_ARROWS;
    const logits = D.forward(Float64Array.from(this.fake.subarray(0, n * dim)), n);
    return Float32Array.from(D.backward(logits.slice(0, n).map((t) => -slope(t)), n, false).subarray(0, n * dim));
  }

  coverage() { // the modes that hold at least 8 % of their share of the samples within 3 sigma, and the share of all that are
    const { means, sigma, dim } = this.match.data;
    if (!means) return { modes: NaN, quality: null };
    const counts = means.map(() => 0);
    for (let i = 0; i < N_SHOWN; i++) {
      const squares = means.map((mean) => mean.reduce((sum, v, j) => sum + (this.fake[i * dim + j] - v) ** 2, 0));
      const near = Math.min(...squares);
      if (near <= (3 * sigma) ** 2) counts[squares.indexOf(near)]++;
    }
    return { modes: counts.filter((count) => count >= (0.08 / means.length) * N_SHOWN).length,
      quality: counts.reduce((a, b) => a + b) / N_SHOWN };
  }

  belief() { // what D says at the points, -1 (fake) to 1 (real) as a byte
    const n = this.points.length / this.match.data.dim, values = this.match.D.forward(this.points, n).slice(0, n);
    const bytes = (v) => Uint8ClampedArray.from(v, (t) => 127.5 * (t + 1));
    if (!this.critic) return bytes(values.map((t) => 2 * sigmoid(t) - 1));
    // A critic has neither a scale nor a zero: its range is shown, in the plane as bands, close where it is steep.
    const low = Math.min(...values), high = Math.max(...values), scaled = values.map((t) => (2 * t - low - high) / Math.max(high - low, 1e-12));
    return bytes(this.match.data.dim === 1 ? scaled : finer(scaled, SIDE, 4).map((t) => Math.round(7 * t) / 7));
  }

  frames() { return this.kept.at(-1) === this.latest ? this.kept : [...this.kept, this.latest]; }

  frame(index) { // as `Run.frame` of run.py
    const shown = this.frames().slice(0, index + 1), newest = shown.at(-1), curve = (name) => Float32Array.from(shown, (one) => one[name]);
    const { step, d_moves, quality, samples, pixels, arrows = new Float32Array(), grid = new Float32Array() } = newest;
    const marks = this.marks.filter(([time]) => time <= newest.time).map(([time, words]) => `${time} ${words}`).join("\n");
    return { step, d_moves, quality, samples, pixels: Uint8Array.from(pixels), arrows, grid, marks,
      times: curve("time"), d_loss: curve("d_loss"), g_loss: curve("g_loss"), modes: this.match.data.means ? curve("modes") : new Float32Array() };
  }

  scene(settings) { // as `Run.scene` of run.py
    const { data, objective } = this.match, line = data.dim === 1;
    const density = (x) => data.means.reduce((sum, [mean]) => sum + Math.exp(-(((x - mean) / data.sigma) ** 2) / 2), 0)
      / (data.means.length * data.sigma * Math.sqrt(2 * Math.PI));
    return { kind: line ? "line" : "plane", extent: data.extent, critic: this.critic, extras: line ? ["arrows"] : ["arrows", "grid"],
      grid: [this.lines.length, 33], undecided: objective.real[0](0) + objective.fake[0](0), history: COURSE.history, runs: 1,
      seed: settings.seed, modes: data.means?.length ?? 0, real: [...this.real], density: line ? Array.from(this.points, density) : [] };
  }
}

// A square of side x side values between which as many others are put: `times` as many along each side.
function finer(values, side, times) {
  const size = side * times, at = (i) => Math.min(Math.max((i + 0.5) / times - 0.5, 0), side - 1);
  return Float64Array.from({ length: size * size }, (_, i) => {
    const y = at(Math.floor(i / size)), x = at(i % size), r = Math.min(Math.floor(y), side - 2), c = Math.min(Math.floor(x), side - 2);
    const [u, v] = [x - c, y - r], value = (row, column) => values[(r + row) * side + c + column];
    return (1 - v) * ((1 - u) * value(0, 0) + u * value(0, 1)) + v * ((1 - u) * value(1, 0) + u * value(1, 1));
  });
}

// ---- the lab: settings, and what the page asks for -----------------------------------------------------------------

const plain = (data = "ring", objective = "non-saturating") => ({ ...COURSE.plain, data, objective, k: COURSE.games[objective].k });
let settings, run, playing = false, until = Infinity, sent = 0, seen = 0, message = "", failed = false, errors = {};
let points = COURSE.smile, ticking = false, drawing = 5;

const post = (name, value) => postMessage([name, value]);
function tell(words = "", error = false) {
  [message, failed] = [words, error];
  const written = (value) => (value === true ? "True" : value === false ? "False" : String(value));
  post("status", { playing, message: [words, ...Object.values(errors)].filter(Boolean).join("\n"), error: failed || Object.keys(errors).length > 0,
    errors: { ...errors }, settings: Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, written(value)])), call: call() });
}
function show(index = run.frames().length - 1) {
  const frames = run.frames().length, which = Math.min(Math.max(index, 0), frames - 1);
  post("frame", { ...run.frame(which), id: ++sent, index: which, frames });
}
const hidden = () => (COURSE.games[settings.objective].clips ? [] : ["c"]);
function call() { // in Python: a lab with these settings
  const usual = plain(settings.data, settings.objective), shown = Object.keys(settings).filter((name) => !hidden().includes(name));
  const written = (value) => (value === true ? "True" : value === false ? "False" : JSON.stringify(value));
  const words = shown.filter((name) => ["data", "objective"].includes(name) || settings[name] !== usual[name]).map((name) => `${name}=${written(settings[name])}`);
  return `Lab(${[...words, `batch_size=${BATCH}`].join(", ")})`;
}
function start(wanted, words) { // a new run
  run = new Run(wanted, points);
  [settings, until] = [wanted, Infinity];
  const fields = NAMES.map((name) => ({ name, label: label(name), options: OFFERED[name] ?? [] }));
  post("scene", { ...run.scene(settings), fields, presets: Object.keys(PRESETS), hidden: hidden(), drawable: settings.data === COURSE.drawn });
  show();
  tell(words);
}
function checked(name, value) {
  if (name in COURSE.switches || OFFERED[name]) return value; // no other can be chosen
  const [words, whole, low, most] = COURSE.numbers[name], high = Math.min(most, MOST[name] ?? most), number = Number(value);
  if (String(value).trim() === "" || !(low <= number && number <= high) || (whole && number % 1))
    throw new Error(`${words}: expected ${whole ? "a whole number" : "a number"} from ${low} to ${high}, got '${value}'`);
  return number;
}
function set(name, given) {
  const mended = name in errors;
  delete errors[name];
  let value;
  try { value = checked(name, given); } catch (error) {
    errors[name] = `${error.message}. The run goes on with ${settings[name]}.`;
    return tell();
  }
  if (name in COURSE.switches) {
    settings = { ...settings, [name]: value };
    run.extras(settings);
    show();
    return tell(value ? COURSE.switches[name] : "");
  }
  if (value === settings[name]) return mended ? tell() : null;
  const changed = { ...settings, [name]: value };
  if (name === "objective") changed.k = COURSE.games[value].k;
  if (COURSE.new_run.includes(name))
    return start(changed, `New run: ${label(name)} is now ${value}.${value === COURSE.drawn ? ` ${COURSE.how_to_draw}` : ""}`);
  settings = changed;
  run.follow(settings);
  run.marks.push([run.time, `${COURSE.short[name] ?? name} = ${value}`]);
  show();
  tell(`${label(name)} is now ${value}; the run goes on.`);
}
function move(player, times) {
  const before = run.verdict();
  for (let i = 0; i < times; i++) run[`move${player}`]();
  run.draw(settings);
  show();
  const after = run.verdict(), of = (name) => (run.critic ? `critic of ${name}` : `D(${name})`);
  const names = player === "D" ? { d_loss: "d_loss", real: of("real"), fake: of("fake") } : { g_loss: "g_loss", fake: of("fake") };
  const changes = Object.entries(names).map(([name, words]) => `${words} ${before[name].toFixed(3)} → ${after[name].toFixed(3)}`);
  tell(`${player} moved${times > 1 ? ` ${times} times` : ""}: ${changes.join(", ")} (on fixed samples).`);
}

// ---- the clock: rounds for one frame's time, one picture, and a look at what the page has asked for -------------------

const { port1: clock, port2: again } = new MessageChannel(); // a timer would wait for 4 ms
clock.onmessage = () => guarded(() => {
  ticking = false;
  if (!playing) return;
  const due = performance.now() + Math.max(FRAME_MILLISECONDS - drawing, 10);
  while (performance.now() < due && run.step < until) run.round();
  const done = run.step >= until, from = performance.now();
  if (done || sent - seen < UNSEEN_FRAMES) { run.draw(settings); show(); }
  drawing = performance.now() - from;
  if (done) pause();
  tick();
});
function tick() { if (playing && !ticking) { ticking = true; again.postMessage(0); } }
function play(rounds = Infinity) {
  until = run.step + rounds;
  if (!playing) { playing = true; tell(); }
  tick();
}
function pause() { if (playing) { playing = false; tell(message, failed); } }

const ANSWERS = {
  seen: ({ frame }) => { seen = Math.max(seen, frame); },
  hello: () => { seen = sent; },
  bye: () => pause(),
  play: () => play(),
  pause: () => pause(),
  look: ({ index }) => { pause(); show(index); },
  set: ({ name, value }) => set(name, value),
  reset: () => { errors = {}; start(settings, "New run."); },
  preset: ({ name }) => {
    const { data, objective } = PRESETS[name], { seed, arrows, grid } = settings;
    errors = {};
    start({ ...plain(data, objective), seed, arrows, grid, ...PRESETS[name] }, `New run: ${name}.`);
  },
  defaults: () => { errors = {}; start(plain(), "New run, with the settings that this lab was opened with."); },
  points: ({ points: all }) => { points = all; start({ ...settings, data: COURSE.drawn }, `New run on ${all.length} drawn points.`); },
  frame: () => { pause(); play(10); },
  d_move: ({ times = 1 }) => { pause(); move("D", times); },
  g_move: ({ times = 1 }) => { pause(); move("G", times); },
};
function guarded(action) {
  try { action(); } catch (error) {
    playing = false;
    tell(error.message, true);
  }
}
onmessage = ({ data }) => {
  if (!["seen", "hello", "bye"].includes(data.do)) post("heard", data.do);
  guarded(() => ANSWERS[data.do](data));
};
start(plain(), "");

// A GAN, whole, in one file: chance, data, networks and their gradients, Adam, objectives, and the two players' moves.
// No library. A matrix is a flat array, row after row. Its numbers have 64 bits, as JavaScript computes in no others:
// arrays of 32 bits would be converted at each step, which is slower. tests/browser/test_live_engine.py holds all of
// it to PyTorch.

// ---- Chance: numbers that look random, and are the same for the same seed (Doty-Humphrey's sfc32) -------------------

class Random {
  constructor(seed) {
    [this.a, this.b, this.c, this.count] = [0, seed | 0, 0, 1];
    for (let i = 0; i < 15; i++) this.uniform(); // until the seed has reached every bit
  }

  uniform() { // from 0 to 1, without 1
    const t = (this.a + this.b + this.count++) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + t) | 0;
    return (t >>> 0) / 2 ** 32;
  }

  below(n) { return Math.floor(n * this.uniform()); }

  normal() { // Box and Muller (1958); 1 - u, as the logarithm of 0 does not exist
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

// ---- Data: `draw` gives one sample, an array of `dim` numbers; `extent` is the range to show ------------------------

// Gaussians of equal weight around the means. [a, b] becomes [a + noise, b + noise].
const mixture = (means, sigma, extent) => ({ dim: means[0].length, means, sigma, extent,
  draw: (rng) => means[rng.below(means.length)].map((mean) => mean + sigma * rng.normal()) });
const cloud = (point, noise) => ({ dim: 2, extent: [-3, 3],
  draw: (rng) => point(rng).map((v) => v + noise * rng.normal()) });
const ticks = [-2, -1, 0, 1, 2], turns = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => (i * Math.PI) / 4);

const DATA = {
  "1-D normal": mixture([[1]], 0.5, [-1, 3]),
  "1-D mixture": mixture([[-1.5], [0], [1.5]], 0.2, [-2.3, 2.3]),
  "ring": mixture(turns.map((a) => [2 * Math.cos(a), 2 * Math.sin(a)]), 0.05, [-3, 3]),
  "grid": mixture(ticks.flatMap((x) => ticks.map((y) => [x, y])), 0.05, [-3, 3]),
  "moons": cloud((rng) => { // two half circles; the second is the first, turned round
    const a = Math.PI * rng.uniform(), x = 1.3 * (Math.cos(a) - 0.5), y = 1.3 * (Math.sin(a) - 0.25);
    return rng.below(2) ? [-x, -y] : [x, y];
  }, 0.08),
  "Swiss roll": cloud((rng) => { // a spiral: the radius grows with the angle
    const a = 1.5 * Math.PI * (1 + 2 * rng.uniform()), radius = (2.2 * a) / (4.5 * Math.PI);
    return [radius * Math.cos(a), radius * Math.sin(a)];
  }, 0.08),
};
const drawn = (points) => cloud((rng) => points[rng.below(points.length)], 0.05);

// ---- Networks -------------------------------------------------------------------------------------------------------

// C[r, c] = sum over k of A[r, k] B[k, c], nearly all of the work. Where A[r, k] and B[k, c] stand is given by steps, so
// that a transposed matrix needs no copy. Eight numbers of C at once, as each number that was read is then used more
// than once; at the edge of C the last row or column is computed again, which is simpler than to treat it apart.
function product(C, A, B, rows, columns, inner, stepAr, stepAk, stepBk, stepBc) {
  for (let r0 = 0; r0 < rows; r0 += 4) {
    const r1 = Math.min(r0 + 1, rows - 1), r2 = Math.min(r0 + 2, rows - 1), r3 = Math.min(r0 + 3, rows - 1);
    for (let c0 = 0; c0 < columns; c0 += 2) {
      const c1 = Math.min(c0 + 1, columns - 1);
      let i0 = r0 * stepAr, i1 = r1 * stepAr, i2 = r2 * stepAr, i3 = r3 * stepAr, j0 = c0 * stepBc, j1 = c1 * stepBc;
      let s00 = 0, s01 = 0, s10 = 0, s11 = 0, s20 = 0, s21 = 0, s30 = 0, s31 = 0;
      for (let k = 0; k < inner; k++) {
        const a0 = A[i0], a1 = A[i1], a2 = A[i2], a3 = A[i3], b0 = B[j0], b1 = B[j1];
        s00 += a0 * b0; s10 += a1 * b0; s20 += a2 * b0; s30 += a3 * b0;
        s01 += a0 * b1; s11 += a1 * b1; s21 += a2 * b1; s31 += a3 * b1;
        i0 += stepAk; i1 += stepAk; i2 += stepAk; i3 += stepAk; j0 += stepBk; j1 += stepBk;
      }
      C[r0 * columns + c0] = s00; C[r1 * columns + c0] = s10; C[r2 * columns + c0] = s20; C[r3 * columns + c0] = s30;
      C[r0 * columns + c1] = s01; C[r1 * columns + c1] = s11; C[r2 * columns + c1] = s21; C[r3 * columns + c1] = s31;
    }
  }
}

// Lambert's continued fraction of tanh at half of x, doubled: right to 1e-8, and much faster than Math.tanh.
function tanh(x) {
  const u = Math.max(-5, Math.min(5, x / 2)), s = u * u;
  const t = (u * (135135 + s * (17325 + s * (378 + s)))) / (135135 + s * (62370 + s * (3150 + 28 * s)));
  return (2 * t) / (1 + t * t);
}

// Each with its slope, which the value y tells already. As loops: a function called for single numbers of ever different
// kinds would not be compiled well.
const loops = (f, slope) => ({
  bend: (y, size) => { for (let i = 0; i < size; i++) y[i] = f(y[i]); },
  unbend: (d, y, size) => { for (let i = 0; i < size; i++) d[i] *= slope(y[i]); },
});
const ACTIVATIONS = {
  "tanh": loops(tanh, (y) => 1 - y * y),
  "ReLU": loops((x) => (x > 0 ? x : 0), (y) => (y > 0 ? 1 : 0)),
  "leaky ReLU": loops((x) => (x > 0 ? x : 0.2 * x), (y) => (y > 0 ? 1 : 0.2)),
};

// Weights with their gradient, and Adam's two running means. They start uniform in +-bound, as PyTorch's do.
const weights = (size, bound, rng) => ({ value: new Float64Array(size).map(() => bound * (2 * rng.uniform() - 1)),
  gradient: new Float64Array(size), mean: new Float64Array(size), square: new Float64Array(size) });

// An array with room for `size` numbers: the old one if it is large enough.
const room = (array, size) => (array?.length >= size ? array : new Float64Array(size));

class Network {
  constructor(sizes, activation, rng) { // sizes [16, 64, 64, 2]: from 16 numbers to 2, through two hidden layers
    this.activation = ACTIVATIONS[activation];
    this.layers = sizes.slice(1).map((outputs, l) => ({ inputs: sizes[l], outputs,
      W: weights(outputs * sizes[l], sizes[l] ** -0.5, rng), b: weights(outputs, sizes[l] ** -0.5, rng) }));
    this.moves = 0;
  }

  weights() { return this.layers.flatMap(({ W, b }) => [W, b]); }

  // n rows of inputs -> n rows of outputs, y = activation(x W' + b) layer by layer; the last layer has no activation.
  // Each layer keeps its x and y for `backward`. The array that is returned is used again by the next call.
  forward(x, n) {
    for (const layer of this.layers) {
      const { inputs, outputs, W, b } = layer, y = (layer.y = room(layer.y, n * outputs));
      layer.x = x;
      product(y, x, W.value, n, outputs, inputs, inputs, 1, 1, inputs);
      for (let i = 0; i < n; i++) for (let k = 0; k < outputs; k++) y[i * outputs + k] += b.value[k];
      if (layer !== this.layers.at(-1)) this.activation.bend(y, n * outputs);
      x = y;
    }
    return x;
  }

  // The chain rule, from the last layer to the first: d is the gradient of the loss with respect to the outputs of the
  // last `forward`. It leaves the gradient with respect to the weights in them or, if they are not to learn (`teach`
  // false), returns the one with respect to the inputs: through D it is all that G ever gets to know of the data.
  backward(d, n, teach = true) {
    for (const layer of [...this.layers].reverse()) {
      const { inputs, outputs, W, b, x, y } = layer;
      if (layer !== this.layers.at(-1)) this.activation.unbend(d, y, n * outputs);
      if (teach) {
        product(W.gradient, d, x, outputs, inputs, n, 1, outputs, inputs, 1); // d' x
        b.gradient.fill(0);
        for (let i = 0; i < n; i++) for (let k = 0; k < outputs; k++) b.gradient[k] += d[i * outputs + k];
        if (layer === this.layers[0]) return null;
      }
      layer.d = room(layer.d, n * inputs);
      product(layer.d, d, W.value, n, inputs, outputs, outputs, 1, inputs, 1); // d W
      d = layer.d;
    }
    return d;
  }

  // Adam (Kingma and Ba 2015, Algorithm 1): each weight goes `rate` times the mean of its gradient over the root of the
  // mean of its square. Both means start at 0, which the divisors 1 - beta^t make up for.
  adam(rate, beta1 = 0.5, beta2 = 0.999) {
    this.moves++;
    const step = rate / (1 - beta1 ** this.moves), root = Math.sqrt(1 - beta2 ** this.moves);
    for (const { value, gradient, mean, square } of this.weights())
      for (let i = 0; i < value.length; i++) {
        mean[i] += (1 - beta1) * (gradient[i] - mean[i]);
        square[i] += (1 - beta2) * (gradient[i] ** 2 - square[i]);
        value[i] -= (step * mean[i]) / (Math.sqrt(square[i]) / root + 1e-8);
      }
  }

  clip(c) { for (const { value } of this.weights()) value.forEach((w, i) => { value[i] = Math.max(-c, Math.min(c, w)); }); }
}

// ---- Objectives: what D pays for its logit t of a real and of a fake sample, what G pays for t of a fake one ---------

const sigmoid = (t) => 1 / (1 + Math.exp(-t));
const softplus = (t) => Math.max(t, 0) + Math.log1p(Math.exp(-Math.abs(t))); // log(1 + e^t), which would overflow
// With D = sigmoid(t), -log D = softplus(-t) and -log(1 - D) = softplus(t). Each cost with its derivative.
const crossEntropy = { real: [(t) => softplus(-t), (t) => -sigmoid(-t)], fake: [softplus, sigmoid] };

const OBJECTIVES = {
  "minimax": { ...crossEntropy, G: [(t) => -softplus(t), (t) => -sigmoid(t)] },
  "non-saturating": { ...crossEntropy, G: [(t) => softplus(-t), (t) => -sigmoid(-t)] },
  "least-squares": { real: [(t) => (t - 1) ** 2 / 2, (t) => t - 1], fake: [(t) => (t + 1) ** 2 / 2, (t) => t + 1],
    G: [(t) => t ** 2 / 2, (t) => t] },
  "hinge": { real: [(t) => Math.max(1 - t, 0), (t) => (t < 1 ? -1 : 0)],
    fake: [(t) => Math.max(1 + t, 0), (t) => (t > -1 ? 1 : 0)], G: [(t) => -t, () => -1] },
  "wasserstein": { real: [(t) => -t, () => -1], fake: [(t) => t, () => 1], G: [(t) => -t, () => -1] }, // WGAN clips too
};

// ---- The game: Algorithm 1 of Goodfellow et al. (2014) -----------------------------------------------------------------

class Match {
  constructor({ data, objective, activation = "tanh", width = 64, depth = 2, latents = 16, seed = 0, n = 64, ...rules }) {
    const rng = new Random(seed), hidden = new Array(depth).fill(width);
    Object.assign(this, { data, objective: OBJECTIVES[objective], n, latents, rng });
    Object.assign(this, { rateD: 1e-3, rateG: 1e-3, k: 1, c: Infinity }, rules); // may be changed while the run goes on
    this.G = new Network([latents, ...hidden, data.dim], activation, rng);
    this.D = new Network([data.dim, ...hidden, 1], activation, rng);
    this.both = new Float64Array(2 * n * data.dim); // n real samples, then n fake ones
    this.d = new Float64Array(2 * n); // the gradient of a loss with respect to D's logits
  }

  real(n = this.n, rng = this.rng) { return Float64Array.from(Array.from({ length: n }, () => this.data.draw(rng)).flat()); }
  z(n = this.n, rng = this.rng) { return new Float64Array(n * this.latents).map(() => rng.normal()); }

  // D descends its loss on n real and n fake samples, G as it stands. Returns the loss before the step.
  moveD(real = this.real(), z = this.z()) {
    const { G, D, n, d, both, objective } = this;
    both.set(real);
    both.set(G.forward(z, n).subarray(0, n * this.data.dim), n * this.data.dim);
    const logits = D.forward(both, 2 * n);
    let loss = 0;
    for (let i = 0; i < 2 * n; i++) {
      const [cost, slope] = i < n ? objective.real : objective.fake;
      loss += cost(logits[i]) / n;
      d[i] = slope(logits[i]) / n;
    }
    D.backward(d, 2 * n);
    D.adam(this.rateD);
    if (this.c < Infinity) D.clip(this.c); // WGAN (Arjovsky et al. 2017): a critic that is not too steep
    return loss;
  }

  // G descends its loss through D, which stays as it is. Returns the loss before the step.
  moveG(z = this.z()) {
    const { G, D, n, d, objective: { G: [cost, slope] } } = this;
    const logits = D.forward(G.forward(z, n), n);
    let loss = 0;
    for (let i = 0; i < n; i++) {
      loss += cost(logits[i]) / n;
      d[i] = slope(logits[i]) / n;
    }
    G.backward(D.backward(d, n, false), n);
    G.adam(this.rateG);
    return loss;
  }
}

// SAM's decoder in a page, by ONNX Runtime Web on one thread. Loaded with it, when a reader wants to click.
// Goes after contours.js, in one function.

const site = window.medsamInPage;
const opened = new WeakMap(); // what is made of a picture's file, once

/** Bytes that Python compressed with gzip and wrote as base64. */
async function unpack(text) {
  const packed = await fetch(`data:;base64,${text}`);
  return new Uint8Array(await new Response(packed.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/** For each pixel of one axis of the image the logits that it is made of: first index, and four weights.
 *
 * SAM resizes `low` logits to `padded`, cuts off what is behind `seen`, and resizes that to `original`; both
 * bilinear, by pixels' centres (align_corners=False).
 */
function axis(low, padded, seen, original) {
  const taps = (from, to, i) => {
    const at = Math.max(((i + 0.5) * from) / to - 0.5, 0), first = Math.floor(at);
    return [[first, 1 - (at - first)], [Math.min(first + 1, from - 1), at - first]];
  };
  const first = new Int32Array(original), weights = new Float32Array(4 * original);
  for (let i = 0; i < original; i++) {
    const both = taps(seen, original, i).flatMap(([j, outer]) => taps(low, padded, j).map(([k, inner]) => [k, outer * inner]));
    first[i] = Math.min(...both.map(([k]) => k), Math.max(low - 4, 0));
    for (const [k, weight] of both) weights[4 * i + k - first[i]] += weight;
  }
  return { first, weights };
}

/** Where upsampled logits are > 0: only pixels that depend on a positive logit can be. */
function foreground(logits, low, [rows, cols], byRow, byCol) {
  const mask = new Uint8Array(rows * cols), [height, width] = low;
  let top = height, bottom = -1, left = width, right = -1;
  for (let i = 0; i < logits.length; i++)
    if (logits[i] > 0) {
      const row = Math.floor(i / width), col = i % width;
      [top, bottom, left, right] = [Math.min(top, row), row, Math.min(left, col), Math.max(right, col)];
    }
  const reached = ({ first }, from, to) => {
    const start = first.findIndex((k) => k + 3 >= from), end = first.findIndex((k) => k > to);
    return start < 0 ? [0, 0] : [start, end < 0 ? first.length : end]; // else all of it is SAM's padding
  };
  if (bottom < 0) return mask;
  const [firstRow, endRow] = reached(byRow, top, bottom), [firstCol, endCol] = reached(byCol, left, right);
  const wide = new Float32Array(height * cols);
  for (let row = 0; row < height; row++)
    for (let col = firstCol; col < endCol; col++) {
      const at = row * width + byCol.first[col], w = 4 * col;
      for (let k = 0; k < 4; k++) wide[row * cols + col] += byCol.weights[w + k] * logits[at + k];
    }
  for (let row = firstRow; row < endRow; row++) {
    const at = byRow.first[row] * cols, [a, b, c, d] = byRow.weights.subarray(4 * row, 4 * row + 4);
    for (let col = firstCol; col < endCol; col++) {
      const value = a * wide[at + col] + b * wide[at + cols + col] + c * wide[at + 2 * cols + col] + d * wide[at + 3 * cols + col];
      if (value > 0) mask[row * cols + col] = 1;
    }
  }
  return mask;
}

/** Intersection over union of two masks; null if both are empty. */
function overlap(mask, truth) {
  let both = 0, either = 0;
  for (let i = 0; i < mask.length; i++) {
    both += mask[i] & truth[i];
    either += mask[i] | truth[i];
  }
  return either ? both / either : null;
}

/** A picture's embedding, how its logits become pixels, and its truths. */
async function open(file, shape) {
  const features = new ort.Tensor("float16", new Uint16Array((await unpack(file.features)).buffer), file.shape);
  const truths = Object.entries(file.truths).map(([task, text]) => [task, decode(text, ...shape)]);
  const axes = [0, 1].map((i) => axis(file.low[i], file.padded, file.seen[i], shape[i]));
  return { features, axes, truths: Object.fromEntries(truths) };
}

/** A function that answers clicks [row, col, 1 positive or 0 negative] on a picture, with all its candidates. */
site.decoder = async (file) => {
  if (!ort.env.wasm.wasmBinary) {
    const module = new Blob([await unpack(site.packed.module)], { type: "text/javascript" });
    Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: { mjs: URL.createObjectURL(module) } });
    ort.env.wasm.wasmBinary = await unpack(site.packed.binary);
  }
  const session = await ort.InferenceSession.create(await unpack(file.network), { executionProviders: ["wasm"] });
  return async (picture, task, shape, step, choice, clicks) => {
    if (!opened.has(picture)) opened.set(picture, await open(picture, shape));
    if (!clicks.length) return {};
    const { features, axes, truths } = opened.get(picture);
    const xy = clicks.flatMap(([row, col]) => [col * (picture.seen[1] / shape[1]), row * (picture.seen[0] / shape[0])]);
    const { logits, predicted_iou } = await session.run({
      features,
      points: new ort.Tensor("float32", Float32Array.from(xy), [1, clicks.length, 2]),
      labels: new ort.Tensor("float32", Float32Array.from(clicks, ([, , positive]) => positive), [1, clicks.length]),
    });
    const [, count, ...low] = logits.dims, size = low[0] * low[1];
    const masks = Array.from({ length: count }, (_, i) =>
      foreground(logits.data.subarray(i * size, (i + 1) * size), low, shape, ...axes));
    const predicted = [...predicted_iou.data], iou = masks.map((mask) => overlap(mask, truths[task]));
    const most = (scores) => scores.indexOf(Math.max(...scores));
    const chosen = { most_confident: () => most(predicted), first: () => 0, oracle: () => most(iou) }[choice]();
    const [rows, cols] = shape.map((n) => Math.ceil(n / step));
    const reduced = Uint8Array.from({ length: rows * cols }, (_, i) =>
      masks[chosen][Math.floor(i / cols) * step * shape[1] + (i % cols) * step]);
    return { mask: encode(reduced, rows, cols), iou: iou[chosen], predicted: predicted[chosen], chosen,
      candidates: predicted.map((value, i) => [value, iou[i]]) };
  };
};

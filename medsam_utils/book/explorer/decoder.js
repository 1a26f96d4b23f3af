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

/** Mask of an image where upsampled logits are > 0, and its IoU with the truth.
 *
 * Only pixels that depend on a positive logit can be foreground: the others are not computed.
 */
function foreground(logits, [height, width], [rows, cols], [byRow, byCol], truth) {
  const mask = new Uint8Array(rows * cols);
  let top = height, bottom = -1, left = width, right = -1, area = 0, both = 0;
  for (let row = 0, i = 0; row < height; row++)
    for (let col = 0; col < width; col++, i++)
      if (logits[i] > 0) {
        top = Math.min(top, row);
        bottom = row;
        left = Math.min(left, col);
        right = Math.max(right, col);
      }
  const reached = ({ first }, from, to) => {
    const start = first.findIndex((k) => k + 3 >= from), end = first.findIndex((k) => k > to);
    return start < 0 ? [0, 0] : [start, end < 0 ? first.length : end]; // none of it: it is SAM's padding
  };
  const [firstRow, endRow] = reached(byRow, top, bottom), [firstCol, endCol] = reached(byCol, left, right);
  const wide = new Float32Array(height * cols);
  for (let col = firstCol; col < endCol; col++) {
    const [a, b, c, d] = byCol.weights.subarray(4 * col, 4 * col + 4);
    for (let row = 0, at = byCol.first[col], to = col; row < height; row++, at += width, to += cols)
      wide[to] = a * logits[at] + b * logits[at + 1] + c * logits[at + 2] + d * logits[at + 3];
  }
  for (let row = firstRow; row < endRow; row++) {
    const [a, b, c, d] = byRow.weights.subarray(4 * row, 4 * row + 4);
    for (let col = firstCol, at = byRow.first[row] * cols + col, i = row * cols + col; col < endCol; col++, at++, i++)
      if (a * wide[at] + b * wide[at + cols] + c * wide[at + 2 * cols] + d * wide[at + 3 * cols] > 0) {
        mask[i] = 1;
        area++;
        both += truth.mask[i];
      }
  }
  const union = area + truth.area - both;
  return { mask, iou: union ? both / union : null };
}

/** What the decoder needs of a picture, how its logits become pixels, its truths, and room for answers. */
async function open(file, shape, imageNetwork) {
  const features = new ort.Tensor("float16", new Uint16Array((await unpack(file.features)).buffer), file.shape);
  const image = await imageNetwork.run({ features });
  const truths = Object.entries(file.truths).map(([task, text]) => {
    const mask = decode(text, ...shape);
    return [task, { mask, area: mask.reduce((sum, inside) => sum + inside, 0) }];
  });
  const axes = [0, 1].map((i) => axis(file.low[i], file.padded, file.seen[i], shape[i]));
  return { image, axes, truths: Object.fromEntries(truths), answers: new Map() };
}

const KEPT = 64; // answers of a picture that are kept, with the logits of one mask each

/** A function that answers clicks [row, col, 1 positive or 0 negative] and a box on a picture, with all candidates.
 *
 * rule: which mask counts after the first prompt and after later ones, {first, later}, and whether every further
 * prompt comes with the logits of the mask that it corrects, feedback: see clicks.Protocol in Python.
 * box: [first row, first col, last row, last col], the last ones included, or null; it counts as the first prompt.
 */
site.decoder = async (file, rule) => {
  if (!ort.env.wasm.wasmBinary) {
    const module = new Blob([await unpack(site.packed.module)], { type: "text/javascript" });
    Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: { mjs: URL.createObjectURL(module) } });
    ort.env.wasm.wasmBinary = await unpack(site.packed.binary);
  }
  const network = async (part) => ort.InferenceSession.create(await unpack(file[part]), { executionProviders: ["wasm"] });
  const imageNetwork = await network("image_network"), promptNetwork = await network("prompt_network");
  const maskNetwork = rule.feedback ? await network("mask_network") : null;

  /** What the model answers to prompts, as the page shows it, and the logits of the mask that counts. */
  async function respond(picture, task, shape, step, clicks, box) {
    const { image, axes, truths, answers } = opened.get(picture);
    const key = JSON.stringify([task, clicks, box]);
    if (answers.has(key)) return answers.get(key);
    const prompts = clicks.length + (box ? 1 : 0), choice = prompts > 1 ? rule.later : rule.first;
    let prompted = image;
    if (rule.feedback && prompts > 1) {
      const { logits, low } = await respond(picture, task, shape, step, clicks.slice(0, -1), box);
      prompted = await maskNetwork.run({ image: image.tokens, logits: new ort.Tensor("float32", logits, [1, 1, ...low]) });
    }
    const corners = box ? [[box[0], box[1], 2], [box[2], box[3], 3]] : [[0, 0, -1]]; // or SAM's filler for none
    const points = [...clicks, ...corners];
    const xy = points.flatMap(([row, col]) => [col * (picture.seen[1] / shape[1]), row * (picture.seen[0] / shape[0])]);
    const output = await promptNetwork.run({
      ...prompted,
      points: new ort.Tensor("float32", Float32Array.from(xy), [1, points.length, 2]),
      labels: new ort.Tensor("int32", Int32Array.from(points, ([, , label]) => label), [1, points.length]),
    });
    const [, , ...low] = output.logits.dims, size = low[0] * low[1];
    const candidates = choice === "single" ? [0] : [1, 2, 3]; // the network gives the single mask first
    const logits = candidates.map((i) => output.logits.data.subarray(i * size, (i + 1) * size));
    const masks = logits.map((of) => foreground(of, low, shape, axes, truths[task]));
    const predicted = candidates.map((i) => output.predicted_iou.data[i]), iou = masks.map((mask) => mask.iou);
    const most = (scores) => scores.indexOf(Math.max(...scores));
    const chosen = { most_confident: () => most(predicted), oracle: () => most(iou) }[choice]?.() ?? 0;
    const shown = { mask: encode(masks[chosen].mask, ...shape, step), iou: iou[chosen], predicted: predicted[chosen], chosen,
      candidates: predicted.map((value, i) => [value, iou[i]]) };
    const answer = { shown, logits: logits[chosen].slice(), low };
    if (answers.size >= KEPT) answers.delete(answers.keys().next().value);
    answers.set(key, answer);
    return answer;
  }

  return async (picture, task, shape, step, clicks, box) => {
    if (!opened.has(picture)) opened.set(picture, await open(picture, shape, imageNetwork));
    if (!clicks.length && !box) return {};
    return (await respond(picture, task, shape, step, clicks, box)).shown;
  };
};

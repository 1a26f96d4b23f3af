// SAM's decoder in a page, or in a worker of it, by ONNX Runtime Web on one thread, or on site.threads. Loaded with
// it, when a reader wants to click. Goes after contours.js, in one function.

const site = self.medsamInPage;
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

/** Mask of an image where upsampled logits are > 0, and its IoU with the truth, null where none is known.
 *
 * ignored: pixels that count in no score, or null; the mask keeps them.
 * Only pixels that depend on a positive logit can be foreground: the others are not computed.
 */
function foreground(logits, [height, width], [rows, cols], [byRow, byCol], truth, ignored) {
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
        if (ignored?.[i]) continue;
        area++;
        if (truth) both += truth.mask[i];
      }
  }
  const union = truth ? area + truth.area - both : 0;
  return { mask, iou: union ? both / union : null };
}

/** What the decoder needs of a picture, how its logits become pixels, its truths, and room for answers.
 *
 * file: as Python wrote it, or with features as they are, float16 in a Uint16Array.
 */
async function open(file, shape, imageNetwork) {
  const stored = typeof file.features === "string";
  const halves = stored ? new Uint16Array((await unpack(file.features)).buffer) : file.features;
  const features = new ort.Tensor("float16", halves, file.shape);
  const image = await imageNetwork.run({ features });
  const truths = Object.entries(file.truths).map(([task, text]) => {
    const mask = decode(text, ...shape);
    return [task, { mask, area: mask.reduce((sum, inside) => sum + inside, 0) }];
  });
  const axes = [0, 1].map((i) => axis(file.low[i], file.padded, file.seen[i], shape[i]));
  const ignored = file.ignored ? decode(file.ignored, ...shape) : null;
  return { image, axes, truths: Object.fromEntries(truths), ignored, answers: new Map() };
}

const KEPT = 64; // answers of a picture that are kept, with the logits of one mask each

/** Make the runtime ready, and open a network that Python packed. providers: what computes it. */
async function openNetwork(packed, providers = ["wasm"]) {
  if (!ort.env.wasm.wasmBinary) {
    const module = new Blob([await unpack(site.packed.module)], { type: "text/javascript" });
    Object.assign(ort.env.wasm, { numThreads: site.threads ?? 1, wasmPaths: { mjs: URL.createObjectURL(module) } });
    ort.env.wasm.wasmBinary = await unpack(site.packed.binary);
  }
  return ort.InferenceSession.create(await unpack(packed), { executionProviders: providers, logSeverityLevel: 3 });
}

/** What a network makes of those tensors that it reads, by their names. */
function runNetwork(network, tensors) {
  return network.run(Object.fromEntries(network.inputNames.map((name) => [name, tensors[name]])));
}

/** A function that answers what is asked of a picture: {task, shape, step, clicks, box, ...}, with all candidates.
 *
 * task: whose truth counts. step: how the answered mask is reduced; whole: whether it is also told as it is. clicks: [row, col, 1 positive or 0 negative].
 * box: [first row, first col, last row, last col], the last ones included, or null; it counts as the first prompt.
 * rule: which mask counts after the first prompt and after later ones, {first, later}, which of candidates
 * that all miss, equals, and whether every further prompt comes with the logits of the mask that it corrects,
 * feedback: see clicks.Protocol in Python. usual: that
 * of who asks for none. byHand: the candidate that counts for the last prompt, whatever the rule says.
 */
site.decoder = async (file, usual) => {
  const imageNetwork = await openNetwork(file.image_network), promptNetwork = await openNetwork(file.prompt_network);
  const maskNetwork = usual.feedback ? await openNetwork(file.mask_network) : null;

  /** What the model answers to prompts, as the page shows it, and the logits of the mask that counts. */
  async function respond(picture, asked) {
    const { image, axes, truths, ignored, answers } = opened.get(picture);
    const { task, shape, step, whole, clicks, box, byHand, rule = usual } = asked;
    const key = JSON.stringify([task, step, whole, clicks, box, byHand, rule]);
    if (answers.has(key)) return answers.get(key);
    const prompts = clicks.length + (box ? 1 : 0), choice = prompts > 1 ? rule.later : rule.first;
    let prompted = image;
    if (rule.feedback && prompts > 1) {
      const { logits, low } = await respond(picture, { ...asked, clicks: clicks.slice(0, -1), byHand: undefined });
      const before = { ...image, image: image.tokens, logits: new ort.Tensor("float32", logits, [1, 1, ...low]) };
      prompted = { ...image, ...(await runNetwork(maskNetwork, before)) };
    }
    const corners = box ? [[box[0], box[1], 2], [box[2], box[3], 3]] : [[0, 0, -1]]; // or SAM's filler for none
    const points = [...clicks, ...corners];
    const xy = points.flatMap(([row, col]) => [col * (picture.seen[1] / shape[1]), row * (picture.seen[0] / shape[0])]);
    const output = await runNetwork(promptNetwork, {
      ...prompted,
      points: new ort.Tensor("float32", Float32Array.from(xy), [1, points.length, 2]),
      labels: new ort.Tensor("int32", Int32Array.from(points, ([, , label]) => label), [1, points.length]),
    });
    const [, , ...low] = output.logits.dims, size = low[0] * low[1];
    const candidates = choice === "single" ? [0] : [1, 2, 3]; // the network gives the single mask first
    const logits = candidates.map((i) => output.logits.data.subarray(i * size, (i + 1) * size));
    const masks = [], maskOf = (i) => (masks[i] ??= foreground(logits[i], low, shape, axes, truths[task], ignored));
    const predicted = candidates.map((i) => output.predicted_iou.data[i]);
    const iou = candidates.map((_, i) => (truths[task] ? maskOf(i).iou : null));
    const most = (scores) => scores.indexOf(Math.max(...scores));
    const best = () => (rule.equals === "last" && !iou.some((value) => value > 0) ? iou.length - 1 : most(iou));
    const byRule = { most_confident: () => most(predicted), oracle: best }[choice]?.() ?? 0;
    const chosen = byHand in candidates ? byHand : byRule;
    const { mask } = maskOf(chosen), text = encode(mask, ...shape, step);
    const shown = { mask: text, iou: iou[chosen], predicted: predicted[chosen], chosen,
      candidates: predicted.map((value, i) => [value, iou[i]]), ...(whole && { whole: step === 1 ? text : encode(mask, ...shape) }) };
    const answer = { shown, logits: logits[chosen].slice(), low };
    if (answers.size >= KEPT) answers.delete(answers.keys().next().value);
    answers.set(key, answer);
    return answer;
  }

  return async (picture, asked) => {
    if (!opened.has(picture)) opened.set(picture, await open(picture, asked.shape, imageNetwork));
    if (!asked.clicks.length && !asked.box) return {};
    return (await respond(picture, asked)).shown;
  };
};

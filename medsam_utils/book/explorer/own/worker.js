// Reads files and runs SAM in a worker, so that the page answers to input meanwhile. Goes after ONNX Runtime Web,
// contours.js, decoder.js, own/slices.js, own/read.js and own/judge.js, in one script.
//
// A message {id, task, content} is answered with {id, result} or {id, problem}. The page has several such workers:
// one encodes, one answers prompts, and one reads files.

/** Weights of Pillow's bilinear filter for one axis: for each place its first pixel, and 22-bit weights. */
function pillowWeights(from, to) {
  const scale = from / to, wide = Math.max(scale, 1), narrow = 1 / wide;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - wide + 0.5), 0), end = Math.min(Math.trunc(centre + wide + 0.5), from);
    const weights = Array.from({ length: end - first }, (_, k) => Math.max(1 - Math.abs((k + first - centre + 0.5) * narrow), 0));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: Int32Array.from(weights, (weight) => Math.trunc(0.5 + (weight / sum) * (1 << 22))) };
  });
}

/** Resize one axis of bytes, outer x from x inner, as Pillow does: rounded after each axis. */
function resizeAxis(bytes, [outer, from, inner], to) {
  if (from === to) return bytes;
  const resized = new Uint8ClampedArray(outer * to * inner);
  pillowWeights(from, to).forEach(({ first, weights }, place) => {
    for (let block = 0; block < outer; block++)
      for (let i = 0, at = (block * from + first) * inner, out = (block * to + place) * inner; i < inner; i++, at++, out++) {
        let sum = 1 << 21;
        for (let k = 0; k < weights.length; k++) sum += bytes[at + k * inner] * weights[k];
        resized[out] = sum >> 22;
      }
  });
  return resized;
}

/** RGB bytes, rows x cols x 3, as SAM resizes them: the longest side to `side`; {bytes, size: [rows, cols]}. */
function resizeLongest(bytes, [rows, cols], side) {
  const scale = side / Math.max(rows, cols), size = [rows, cols].map((n) => Math.trunc(n * scale + 0.5));
  const wide = resizeAxis(bytes, [rows, cols, 3], size[1]);
  return { bytes: resizeAxis(wide, [1, rows, size[1] * 3], size[0]), size };
}

/** What the encoder reads: channels x side x side, normalised, zero below and on the right. */
function encoderInput({ bytes, size: [rows, cols] }, { side, mean, std }) {
  const input = new Float32Array(3 * side * side);
  for (let channel = 0; channel < 3; channel++)
    for (let row = 0; row < rows; row++)
      for (let col = 0, at = 3 * row * cols + channel, out = (channel * side + row) * side; col < cols; col++, at += 3, out++)
        input[out] = (bytes[at] - mean[channel]) / std[channel];
  return input;
}

const MOST_THREADS = 8; // of an encoder, where a page may share memory among them

// The last step rounds to float16, which some graphics cards lack.
const GRAPHICS = [{ name: "webgpu", forceCpuNodeNames: ["/Cast"] }, "wasm"];

const encoders = new Map(), answering = new Map(), shownPictures = new Map();

const tasks = {
  /** Files of an image or a series to what can be shown, see own/read.js; a flat one also as bytes and a bitmap. */
  read: async ({ files }) => {
    const image = await readFiles(files), transfer = [image.values.buffer];
    if (!image.affine) {
      image.picture = pictureOf(image);
      image.bitmap = await createImageBitmap(pixelsOf(image.picture));
      transfer.push(image.bitmap, image.picture.bytes.buffer);
    }
    return { result: image, transfer: [...new Set(transfer)] };
  },

  /** Files of a mask, compared with an image {name, shape, affine}: see `labelsLike`. */
  readMask: async ({ files, image }) => {
    const mask = await readFiles(files), found = labelsLike(mask, image);
    return { result: { name: mask.name, ...found }, transfer: [found.labels.buffer] };
  },

  /** Make an encoder or a decoder ready: what Python wrote of it. graphics: whether the graphics card encodes. */
  load: async ({ packed, model, encoder, decoder, rule, graphics }) => {
    site.packed = packed;
    site.threads = encoder && self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
    if (encoder) encoders.set(model, { ...encoder, network: await openNetwork(encoder.network, graphics ? GRAPHICS : undefined) });
    if (decoder) answering.set(model, await site.decoder(decoder, rule));
    return { result: true };
  },

  /** Features of an image, RGB bytes, as the decoder reads them. */
  encode: async ({ model, bytes, shape }) => {
    const encoder = encoders.get(model), resized = resizeLongest(bytes, shape, encoder.side);
    const input = new ort.Tensor("float32", encoderInput(resized, encoder), [1, 3, encoder.side, encoder.side]);
    const { features } = await encoder.network.run({ image: input });
    const halves = new Uint16Array(features.data.buffer.slice(features.data.byteOffset, features.data.byteOffset + features.data.byteLength));
    const result = { features: halves, shape: features.dims, low: features.dims.slice(2).map((n) => 4 * n),
      padded: encoder.side, seen: resized.size, truths: {} };
    return { result, transfer: [halves.buffer] };
  },

  /** Keep a picture under a name, or take it away. */
  keep: async ({ key, picture }) => {
    if (picture) shownPictures.set(key, picture);
    else shownPictures.delete(key);
    return { result: true };
  },

  /** What a model answers to prompts, see decoder.js. */
  answer: async ({ model, key, asked }) => ({ result: await answering.get(model)(shownPictures.get(key), asked) }),

  /** The deepest pixel of a mask as a click, and its box. */
  deepest: async ({ mask, shape: [rows, cols] }) => {
    const inside = decode(mask, rows, cols), click = nextClick(inside, null, rows, cols);
    const box = [rows, cols, -1, -1];
    inside.forEach((on, i) => {
      if (!on) return;
      const row = Math.floor(i / cols), col = i % cols;
      box.splice(0, 4, Math.min(box[0], row), Math.min(box[1], col), Math.max(box[2], row), Math.max(box[3], col));
    });
    return { result: click && { click, box } };
  },

  /** What a model answers to the clicks of Algorithm 1 on a truth in run lengths. */
  simulate: async ({ model, key, asked, truth, count }) => {
    const respond = (clicks) => answering.get(model)(shownPictures.get(key), { ...asked, clicks });
    return { result: await simulate(respond, decode(truth, ...asked.shape), asked.shape, count) };
  },
};

let doing = Promise.resolve(); // one after the other: a network answers one question at a time

self.onmessage = ({ data: { id, task, content } }) => {
  doing = doing.then(async () => {
    try {
      const { result, transfer = [] } = await tasks[task](content);
      self.postMessage({ id, result }, transfer);
    } catch (error) {
      self.postMessage({ id, problem: `${error?.message ?? error}` });
    }
  });
};

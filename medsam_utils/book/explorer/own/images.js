// An image of the reader's own in the explorer: read, encoded and answered in the page. Goes after explorer.js,
// own/slices.js and own/controls.js, in one function.
//
// The model of the view has the values that explorer.js says, and of own images besides:
//   state.dataset is the name of the image, task that of the object, case the name, with _z and three digits of the
//   slice for a volume, as Python calls it.

const LONGEST_MASK = 1280; // pixels of a mask's longest side as it is shown; it is computed and saved whole
const LAST = 9; // clicks of Algorithm 1
const KEPT_PICTURES = 12, KEPT_FEATURES = 48;

/** A worker that runs a script: a function of a task and its content that promises the result. */
function startWorker(address) {
  const worker = new Worker(address);
  const waiting = new Map();
  let count = 0;
  worker.onmessage = ({ data: { id, result, problem } }) => {
    const { done, failed } = waiting.get(id);
    waiting.delete(id);
    if (problem === undefined) done(result);
    else failed(new Error(problem));
  };
  worker.onerror = (event) => {
    for (const { failed } of waiting.values()) failed(new Error(event.message || "the worker stopped: load the page again"));
    waiting.clear();
  };
  const ask = (task, content, transfer = []) => new Promise((done, failed) => {
    waiting.set(count, { done, failed });
    worker.postMessage({ id: count++, task, content }, transfer);
  });
  return Object.assign(ask, { stop: () => worker.terminate() });
}

/** A function that reads files in a worker, one choice after the other: "read" as an image, "readMask" as one's mask. */
function reading(address) {
  let worker = startWorker(address), before = Promise.resolve();

  async function read(task, files, content) {
    const contents = await Promise.all(files.map(async (file) => ({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) })));
    const size = contents.reduce((sum, { bytes }) => sum + bytes.length, 0), seconds = 20 + size / 2e6;
    let timer;
    const limit = new Promise((_, failed) => {
      timer = setTimeout(() => {
        worker.stop(); // a damaged file may lead it round and round
        worker = startWorker(address);
        failed(new Error(`${files[0].name} could not be read in ${seconds.toFixed(0)} s: it is damaged, or too large for this computer`));
      }, 1000 * seconds);
    });
    try {
      return await Promise.race([worker(task, { files: contents, ...content }, contents.map(({ bytes }) => bytes.buffer)), limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  return (...asked) => {
    const found = before.then(() => read(...asked));
    before = found.catch(() => {});
    return found;
  };
}

/** A function that encodes, one picture at a time; of those that wait only the newest one is kept. */
function newestFirst(encode) {
  let busy = false, next = null;

  async function start() {
    const { content, done, failed } = next;
    [busy, next] = [true, null];
    await encode(content).then(done, failed);
    busy = false;
    if (next) start();
  }

  return (content) => new Promise((done, failed) => {
    next?.failed(new Error("another picture was asked for"));
    next = { content, done, failed };
    if (!busy) start();
  });
}

/** The number that 16 bits mean as a float16. */
function half(bits) {
  const exponent = (bits >> 10) & 31, part = bits & 1023, sign = bits >> 15 ? -1 : 1;
  if (exponent === 31) return NaN; // infinite, or no number
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + part / 1024) : part * 2 ** -24);
}

/** The largest difference of two arrays of float16, relative to the largest value of the first; NaN for no number. */
function apart(halves, others) {
  let largest = 0, difference = 0;
  halves.forEach((bits, i) => {
    const value = half(bits);
    largest = Math.max(largest, Math.abs(value));
    difference = Math.max(difference, Math.abs(value - half(others[i])));
  });
  return difference / largest;
}

/** What was used lately, by key. forget: called with the key of what was used longest ago, when there are too many. */
function recent(size, forget = () => {}) {
  const kept = new Map();
  /** What is kept under a key, made if it is not. */
  function take(key, makeIt) {
    const found = kept.has(key) ? kept.get(key) : makeIt();
    kept.delete(key);
    kept.set(key, found);
    if (kept.size > size) {
      const [oldest] = kept.keys();
      kept.delete(oldest);
      forget(oldest);
    }
    return found;
  }
  return { take, drop: (key) => kept.delete(key) };
}

/** The model of the view, and what else can be done with own images. networks: {name: {encoder, decoder, bytes}} of files;
 * rules: which mask counts, by name, see decoder.js; graphics: {file, bytes} of what lets a graphics card encode.
 */
function ownImages({ site, worker, networks, rules, graphics }) {
  const script = (...parts) => URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
  const address = script(worker), onGraphics = new Map(); // workers that encode there, by model
  const encoding = startWorker(address), deciding = startWorker(address); // one encodes, one answers
  const read = reading(address), encodeNow = newestFirst(encodePicture);
  const values = {}, listeners = [], loading = new Map(), loaded = new Set(), images = new Map(), objects = new Map();
  const prompts = new Map(), masks = new Map(); // by key: what an object was prompted with, and {mask, model, predicted}
  const features = recent(KEPT_FEATURES), simulated = recent(KEPT_FEATURES);
  const truths = new Map(); // by the image's name: {labels, values, chosen}, masks to compare with
  const kept = recent(KEPT_PICTURES, (key) => deciding("keep", { key }));
  let model = Object.keys(networks)[0], plane = "axial", window_ = null, rule = Object.keys(rules)[0];
  let asked = 0, opened = 0, direction = 1, offer = { text: "" }, shown = "";

  const tell = () => listeners.forEach((listener) => listener());
  const cutOf = (image) => image.affine && findCut(image, plane);
  const countOf = (image) => cutOf(image)?.size[0] ?? 1;
  const caseOf = (image, index) => image.affine ? `${image.name}_z${`${index}`.padStart(3, "0")}` : image.name;
  const indexOf = (image, name) => image.affine ? +(/_z(\d+)$/.exec(name)?.[1] ?? -1) : 0;
  const keyOf = ({ dataset, case: name, task }) => JSON.stringify([dataset, images.get(dataset).affine ? plane : "", name, task]);
  const viewOf = (image, index) => JSON.stringify([image.id, plane, index, window_, truths.get(image.name)?.id, truths.get(image.name)?.chosen]);

  /** Features of a picture, by the graphics card where it may encode; the processor takes over if it fails, and `note` says so. */
  async function encodePicture(content) {
    const card = onGraphics.get(content.model);
    if (!card) return encoding("encode", content);
    try {
      return await card("encode", content);
    } catch ({ message }) {
      onGraphics.delete(content.model);
      card.stop();
      return { ...(await encoding("encode", content)), note: ` The graphics card failed (${message}): the processor encodes again.` };
    }
  }

  /** The state with what is missing or unknown filled in, and the prompts that its object had before. */
  function filledIn(wanted) {
    const image = images.get(wanted.dataset) ?? [...images.values()].at(-1), count = countOf(image);
    const wish = image.name === wanted.dataset ? indexOf(image, wanted.case) : -1;
    const index = wish >= 0 && wish < count ? wish : Math.floor(count / 2);
    const named = objects.get(image.name).map(({ name }) => name);
    const task = named.includes(wanted.task) ? wanted.task : named[0];
    const state = { dataset: image.name, task, case: caseOf(image, index) };
    const key = keyOf(state);
    if (typeof wanted.clicks === "number" && truthOf(image, index)) state.clicks = clamp(Math.round(wanted.clicks) || 1, 1, LAST);
    else if (key !== shown || !Array.isArray(wanted.clicks)) Object.assign(state, prompts.get(key) ?? { clicks: [] });
    else {
      const { clicks, box, candidate } = wanted;
      Object.assign(state, { clicks, ...(box && { box }), ...(candidate && { candidate }) });
      prompts.set(key, Object.fromEntries(Object.entries(state).filter(([name]) => !["dataset", "task", "case"].includes(name))));
    }
    shown = key;
    return { image, index, state };
  }

  /** The true mask of a slice in run lengths, reduced by `step`; null where none is known, or it is empty. */
  function truthOf(image, index, step = 1) {
    const truth = truths.get(image.name);
    if (!truth) return null;
    const cut = cutOf(image), [rows, cols] = cut ? cut.size.slice(1) : image.shape, inside = new Uint8Array(rows * cols);
    const mark = (place, pixel) => { inside[pixel] = truth.labels[place] === truth.chosen ? 1 : 0; };
    if (cut) eachPixel(image, cut, index, mark);
    else inside.forEach((_, i) => mark(i, i));
    return inside.includes(1) ? encode(inside, rows, cols, step) : null;
  }

  /** The shown values as {bytes, shape}. */
  function pictureAt(image, index) {
    const cut = cutOf(image);
    if (!cut) return image.picture;
    const slice = sliceOf(image, cut, index);
    return { bytes: toBytes(slice, range(slice, window_)), shape: cut.size.slice(1) };
  }

  /** Show the state, and let the model answer it, where not the picture alone is asked for. */
  function answer(pictureAlone = false) {
    if (!images.size) return;
    const { image, index, state } = filledIn(values.state);
    const before = values.scene?.view, view = viewOf(image, index), key = keyOf(state);
    values.state = state;
    values.choices = { datasets: [...images.keys()], tasks: [state.task], cases: Array.from({ length: countOf(image) },
      (_, i) => ({ case: caseOf(image, i), text: `slice ${i + 1} of ${countOf(image)}` })),
    last: LAST, live: false, code: JSON.stringify(image.name), clickable: loaded.has(model), at_once: true, offer };
    if (before !== view) {
      const picture = pictureAt(image, index), previous = values.scene?.shape;
      const step = Math.ceil(Math.max(...picture.shape) / LONGEST_MASK);
      values.scene = { view, picture, image: image.bitmap ?? canvasOf(picture), shape: picture.shape, step, truth: truthOf(image, index, step),
        still: previous?.join() === picture.shape.join() };
    }
    values.objects = objects.get(image.name).map(({ name }) => {
      const one = keyOf({ ...state, task: name });
      return { mask: masks.get(one)?.mask, clicks: prompts.get(one)?.clicks ?? [], shown: name === state.task };
    });
    if (!pictureAlone) respond({ image, index, state, key });
  }

  async function respond({ image, index, state, key }) {
    const mine = ++asked, { clicks, box = null, candidate } = state, byAlgorithm = typeof clicks === "number";
    const known = byAlgorithm ? null : masks.get(key), prompted = byAlgorithm || clicks.length > 0 || Boolean(box);
    const blank = { model, clicks: byAlgorithm ? [] : clicks, mask: "", iou: null, predicted: null, candidates: [], chosen: -1, problem: "", simulated: null };
    if (!prompted) masks.delete(key);
    values.curve = null;
    values.answers = [{ ...blank, ...(prompted && known), model, clicks: blank.clicks, waiting: prompted }];
    if (!loaded.has(model)) return;
    const { shape, step, view, truth } = values.scene;
    try {
      const picture = await encoded(image, index);
      if (mine === asked && prompted) {
        const about = { task: "", shape, step, whole: true, box, rule: rules[rule] };
        const holding = hold(`${model} ${view}`, { ...picture, truths: truth ? { "": truthOf(image, index) } : {} });
        const made = byAlgorithm ? await simulate(holding, about, truthOf(image, index))
          : [await deciding("answer", { model, key: holding, asked: { ...about, clicks, byHand: candidate?.[model] } })];
        if (mine !== asked) return;
        const answer = made[byAlgorithm ? clicks - 1 : 0];
        if (byAlgorithm) values.curve = made;
        else masks.set(key, { ...answer, model });
        values.answers = [{ ...blank, ...answer, waiting: false }];
      }
      if (mine === asked) {
        tell();
        ahead(image, index + direction);
      }
    } catch (error) {
      if (mine !== asked) return;
      values.answers = [{ ...blank, problem: error.message }];
      tell();
    }
  }

  /** What the model answers to Algorithm 1's clicks, computed once. */
  function simulate(holding, about, truth) {
    const key = JSON.stringify([holding, rule]);
    return simulated.take(key, () => {
      const coming = deciding("simulate", { model, key: holding, asked: about, truth, count: LAST });
      coming.catch(() => simulated.drop(key));
      return coming;
    });
  }

  /** Let the answering worker keep a picture; returns its name. */
  function hold(key, picture) {
    kept.take(key, () => deciding("keep", { key, picture }));
    return key;
  }

  /** What the decoder reads of a slice, encoded once. */
  function encoded(image, index) {
    const key = `${model} ${viewOf(image, index)}`;
    return features.take(key, () => {
      const { bytes, shape } = values.scene.view === viewOf(image, index)
        ? values.scene.picture : pictureAt(image, index);
      say(`${model} encodes it …`);
      const started = performance.now(), coding = encodeNow({ model, bytes, shape });
      coding.then(({ note = "" }) => say(`${model} has encoded it in ${((performance.now() - started) / 1000).toFixed(1)} s.${note}`), () => features.drop(key));
      return coding;
    });
  }

  /** Encode the slice that comes next, when nothing else is waited for. */
  function ahead(image, index) {
    if (index >= 0 && index < countOf(image) && image.affine) encoded(image, index).catch(() => {});
  }

  function say(text, problem = false) {
    offer = { text, problem };
    if (!values.choices) return;
    values.choices = { ...values.choices, offer };
    tell();
  }

  const refresh = (pictureAlone = false) => { answer(pictureAlone); tell(); };

  /** Free what files hold when the workers have it; asked for again, they are loaded again. */
  function forget(...files) {
    for (const file of files)
      for (const kept of [site.files, site.loaded]) delete kept[file];
  }

  /** Load a model's networks, once. */
  async function makeReady(name) {
    const { encoder, decoder } = networks[name];
    try {
      await siteFile(site, "runtime.js");
      const files = [await siteFile(site, encoder.file), await siteFile(site, decoder.file)];
      await Promise.all([encoding("load", { packed: site.packed, model: name, encoder: files[0] }),
        deciding("load", { packed: site.packed, model: name, decoder: files[1], rule: { feedback: true } })]);
      if (!loaded.size) await warmUp(name);
      loaded.add(name);
      forget(encoder.file, decoder.file);
    } catch (error) {
      loading.delete(name); // the next attempt may have a network
      throw error;
    }
  }

  /** Let a model answer once: the first run of a network takes longer than later ones. */
  async function warmUp(name) {
    const shape = [8, 8], about = { task: "", shape, step: 1, whole: true, box: null, rule: rules[rule] };
    const picture = await encoding("encode", { model: name, bytes: new Uint8Array(3 * 64), shape });
    await deciding("keep", { key: "", picture });
    await deciding("answer", { model: name, key: "", asked: { ...about, clicks: [[4, 4, 1], [1, 1, 0]] } });
    await deciding("keep", { key: "" });
  }

  return {
    model: {
      get: (name) => values[name],
      set: (name, value) => { values[name] = value; },
      save_changes: () => refresh(),
      on: (event, listener) => event === "change:answers" && listeners.push(listener),
      send: () => {},
    },

    /** Make a model of `networks` ready, and let it answer from now on; masks that are there stay. */
    async load(name) {
      if (!loading.has(name)) loading.set(name, makeReady(name));
      await loading.get(name);
      model = name;
      if (images.size) refresh();
    },

    /** Read files as one image, and show it. */
    async open(files) {
      const image = await read("read", files);
      cutOf(image); // throws where it is not known how to cut it
      const first = !images.size;
      image.id = opened++;
      for (const map of [images, objects, truths, prompts, masks]) map.clear(); // one image at a time is kept
      images.set(image.name, image);
      objects.set(image.name, [{ name: "object 1" }]);
      [plane, window_] = ["axial", null];
      values.state = { dataset: image.name };
      answer();
      if (!first) tell();
      return image;
    },

    /** Whether a graphics card may encode for the model, and does not yet. */
    get offersGraphics() { return Boolean(navigator.gpu) && loaded.has(model) && !onGraphics.has(model); },
    /** Let the graphics card encode for the model from now on, if on the shown picture it agrees with the processor. */
    async toGraphics() {
      const name = model, { encoder } = networks[name], { picture: { bytes, shape } } = values.scene;
      if (!(await navigator.gpu.requestAdapter())) throw new Error("the browser finds no graphics card");
      const { features: known } = await this.features();
      const packed = await siteFile(site, graphics.file), card = startWorker(script(worker, "\n", packed.script));
      try {
        await card("load", { packed, model: name, encoder: await siteFile(site, encoder.file), graphics: true });
        const { features: found } = await card("encode", { model: name, bytes, shape }), difference = apart(known, found);
        if (!(difference < 0.01)) throw new Error(`the graphics card computes other values than the processor (by ${(100 * difference).toPrecision(2)} % of the largest), which goes on`);
        onGraphics.set(name, card);
        forget(encoder.file, graphics.file);
        return difference;
      } catch (error) {
        card.stop();
        throw error;
      }
    },

    get shown() {
      const image = images.get(values.state.dataset), index = indexOf(image, values.state.case);
      return { image, index, count: countOf(image), plane, window: window_, rule, model, objects: objects.get(image.name) };
    },
    /** Read files as the mask that the shown image is compared with. */
    async compare(files) {
      const { image: { name, shape, affine } } = this.shown, truth = await read("readMask", files, { image: { name, shape, affine } });
      truths.set(name, { ...truth, id: opened++, chosen: truth.values[0] });
      refresh();
      return truth;
    },
    get truth() { return truths.get(values.state.dataset); },
    toTruth(value) { this.truth.chosen = value; refresh(); },
    /** How the shown volume is cut in a plane, see `findCut`. */
    cut: (name) => findCut(images.get(values.state.dataset), name),
    /** What the decoder reads of the shown slice, with the picture that was encoded. */
    async features() {
      const { image, index } = this.shown;
      return { ...(await encoded(image, index)), picture: values.scene.picture };
    },
    /** The masks of the shown image: of all objects and slices, as own/export.js says. */
    get masks() {
      const { image } = this.shown, found = [...masks].map(([key, mask]) => [JSON.parse(key), mask, prompts.get(key) ?? {}]);
      return found.filter(([[name]]) => name === image.name).map(([[, ofPlane, name, object], mask, { clicks = [], box = null }]) => ({
        ...mask, object, plane: ofPlane, case: name, index: indexOf(image, name), clicks, box,
        shape: image.affine ? findCut(image, ofPlane).size.slice(1) : image.shape }));
    },
    get models() { return [...loaded]; },
    toSlice(index) {
      const { image, count, index: now } = this.shown;
      direction = Math.sign(index - now) || direction;
      values.state = { ...values.state, case: caseOf(image, clamp(index, 0, count - 1)) };
      refresh();
    },
    /** Prompt the shown object in the next slice with the deepest pixel of its mask here, and its box where boxes are known. */
    async carry() {
      const { image, index, count } = this.shown, { shape } = values.scene, mask = masks.get(keyOf(values.state))?.whole;
      const deepest = mask && await deciding("deepest", { mask, shape });
      if (!deepest) throw new Error("There is no mask to carry: click on the image first.");
      const to = index + direction;
      if (to < 0 || to >= count) throw new Error("This is the last slice: go to another one first.");
      this.toSlice(to);
      const state = { clicks: [deepest.click], box: deepest.box };
      values.state = { ...values.state, box: null, candidate: null, ...state };
      if (values.state.dataset === image.name) refresh();
    },
    toPlane(name) { plane = name; values.state = { dataset: values.state.dataset, task: values.state.task }; refresh(); },
    /** Show values through a window {centre, width}, or each slice with its own contrast. isMoving: another one comes at once. */
    toWindow(window, isMoving = false) { window_ = window; refresh(isMoving); },
    /** The window of the shown slice, also where that is its own contrast. */
    get window() {
      const { image, index } = this.shown, [black, white] = range(sliceOf(image, cutOf(image), index), window_);
      return { centre: (black + white) / 2, width: white - black };
    },
    toRule(name) { rule = name; refresh(); },
    toObject(name) { values.state = { ...values.state, task: name }; refresh(); },
    addObject() {
      const of = objects.get(values.state.dataset), numbers = of.map(({ name }) => +(/^object (\d+)$/.exec(name)?.[1] ?? 0));
      of.push({ name: `object ${Math.max(...numbers, 0) + 1}` });
      this.toObject(of.at(-1).name);
    },
    /** Call the shown object otherwise; returns whether the name is free. */
    rename(name) {
      const { dataset, task } = values.state, of = objects.get(dataset);
      if (!name || of.some((one) => one.name === name)) return false;
      for (const map of [prompts, masks])
        for (const [key, value] of [...map]) {
          const [image, ofPlane, slice, object] = JSON.parse(key);
          if (image !== dataset || object !== task) continue;
          map.delete(key);
          map.set(JSON.stringify([image, ofPlane, slice, name]), value);
        }
      of.find((one) => one.name === task).name = name;
      values.state = { ...values.state, task: name };
      shown = keyOf(values.state);
      refresh();
      return true;
    },
    say,
  };
}

// Masks of own images as files: PNG, NIfTI on the source's grid, COCO, and a session for `make explore`, as
// annotation.py and session.py write and read them. Goes before own/images.js, in one function.
//
// A mask is {object, plane, index, case, shape, whole, clicks, box, chosen, model}: whole is COCO's compressed run
// lengths of the slice as it is shown, shape its [rows, cols].

/** Give bytes or text to the reader as a file. */
function download(name, content, type) {
  const link = make("a", { download: name, href: URL.createObjectURL(new Blob([content], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** The mask of a slice as a PNG of 0 and 255. */
async function pngOf({ whole, shape: [rows, cols] }) {
  const bytes = new Uint8Array(3 * rows * cols);
  decode(whole, rows, cols).forEach((inside, i) => bytes.fill(255 * inside, 3 * i, 3 * i + 3));
  return new Promise((done) => canvasOf({ bytes, shape: [rows, cols] }).toBlob(done, "image/png"));
}

/** Numbers of objects, from 1 on, on an image's grid, 0 for background; and whether objects overlap. */
function labelsOf(image, objects, masks) {
  const shape = image.affine ? image.shape : [image.shape[1], image.shape[0], 1];
  const labels = new Uint8Array(shape[0] * shape[1] * shape[2]);
  let overlap = false;
  for (const mask of masks) {
    const number = objects.findIndex(({ name }) => name === mask.object) + 1;
    const cut = image.affine ? findCut(image, mask.plane) : { axes: [2, 1, 0], size: [1, shape[1], shape[0]] };
    const inside = decode(mask.whole, cut.size[1], cut.size[2]);
    eachPixel({ shape }, cut, mask.index, (place, pixel) => {
      if (!inside[pixel]) return;
      overlap ||= labels[place] > 0 && labels[place] !== number;
      labels[place] = number;
    });
  }
  return { labels, shape, overlap };
}

/** A .nii of labels. Of the source's header only what says where its voxels lie is copied: free text could name a patient. */
function niftiOf(image, { labels, shape }) {
  const second = image.header?.second ?? false, little = image.header?.little ?? true, size = second ? 540 : 348;
  const bytes = new Uint8Array(size + 4 + labels.length), view = new DataView(bytes.buffer), source = image.header?.bytes;
  const copy = (from, to) => bytes.set(source.subarray(from, to), from);
  const real = (at, number) => second ? view.setFloat64(at, number, little) : view.setFloat32(at, number, little);
  const wide = second ? 8 : 4, [magic, dim, pixdim, type, offset] = second ? [4, 16, 104, 12, 168] : [344, 40, 76, 70, 108];
  view.setInt32(0, size, little);
  bytes.set([..."n+", second ? "2" : "1", "\0", ...(second ? "\r\n\x1a\n" : "")].map((letter) => letter.charCodeAt(0)), magic);
  view.setInt16(type, 2, little); // uint8
  view.setInt16(type + 2, 8, little);
  if (second) view.setBigInt64(offset, BigInt(size + 4), little);
  else view.setFloat32(offset, size + 4, little);
  if (source) {
    for (const [from, to] of second ? [[16, 80], [104, 168], [344, 348], [348, 496], [500, 504]] : [[40, 56], [76, 108], [123, 124], [252, 328]]) copy(from, to);
  } else {
    const affine = image.affine ?? [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0]];
    [3, ...shape, 1, 1, 1, 1].forEach((number, i) => view.setInt16(dim + 2 * i, number, little));
    [1, ...[0, 1, 2].map((axis) => Math.hypot(...[0, 1, 2].map((row) => affine[row][axis])))].forEach((number, i) => real(pixdim + wide * i, number));
    bytes[123] = 2; // mm
    view.setInt16(254, 2, little); // the sform counts
    affine.slice(0, 3).flat().forEach((number, i) => view.setFloat32(280 + 4 * i, number, little));
  }
  bytes.set(labels, size + 4);
  return bytes;
}

const gzip = (bytes) => new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).blob();

/** Masks in COCO's detection format, with their prompts as extra keys. */
function cocoOf(image, objects, masks) {
  const cases = [...new Set(masks.map((mask) => mask.case))];
  return {
    images: cases.map((name, i) => {
      const one = masks.find((mask) => mask.case === name), [height, width] = one.shape, file = image.name;
      const place = image.affine ? { file_name: `${file}#z${`${one.index}`.padStart(3, "0")}`, slice_index: one.index } : { file_name: file };
      return { id: i + 1, ...place, dataset: image.name, case: name, height, width };
    }),
    categories: objects.map(({ name }, i) => ({ id: i + 1, name, supercategory: "" })),
    annotations: masks.map((mask, i) => {
      const size = mask.shape, inside = decode(mask.whole, ...size);
      let area = 0, top = Infinity, left = Infinity, bottom = -1, right = -1;
      inside.forEach((on, at) => {
        if (!on) return;
        const row = Math.floor(at / size[1]), col = at % size[1];
        area += 1;
        [top, bottom, left, right] = [Math.min(top, row), Math.max(bottom, row), Math.min(left, col), Math.max(right, col)];
      });
      return { id: i + 1, image_id: cases.indexOf(mask.case) + 1, category_id: objects.findIndex(({ name }) => name === mask.object) + 1,
        segmentation: { size, counts: mask.whole }, area, bbox: area ? [left, top, right - left + 1, bottom - top + 1] : [0, 0, 0, 0], iscrowd: 0,
        prompts: { model: mask.model, clicks: mask.clicks, box: mask.box, candidate: mask.chosen } };
    }),
  };
}

/** A session that the explorer in Jupyter resumes, when it has opened the same file. */
function sessionOf(image, state, masks) {
  const key = (mask) => ({ dataset: image.name, task: image.name, case: mask.case, class_name: mask.object });
  const { clicks, box = null } = state;
  return {
    version: 1,
    state: { dataset: image.name, task: image.name, case: state.case, class: state.task, clicks, ...(box && { box }) },
    objects: masks.map((mask) => ({ ...key(mask), history: [{ clicks: mask.clicks, box: mask.box, candidate: null }] })),
    annotations: masks.map((mask) => ({ ...key(mask), model: mask.model, clicks: mask.clicks, box: mask.box,
      candidate: mask.chosen, size: mask.shape, counts: mask.whole })),
  };
}

/** Buttons that save the shown image's masks. say: shows a sentence to the reader. */
function savers({ own, say }) {
  const base = (image) => image.name.replace(/\.(nii\.gz|[^.]+)$/i, "");
  const json = (image, ending, content) => download(`${base(image)}_${ending}.json`, JSON.stringify(content, null, 1), "application/json");

  /** Masks that are there; those of other planes than the axial one are told apart, as a slice has no name in them. */
  const found = (axialAlone) => {
    const all = own.masks.filter(({ plane }) => !axialAlone || plane !== "coronal" && plane !== "sagittal");
    if (!all.length) say("There is no mask to save yet: click on the image first.", true);
    else if (all.length < own.masks.length) say(`${all.length} masks saved; ${own.masks.length - all.length} of other planes than the axial one are in the NIfTI alone.`);
    return all;
  };
  const state = () => own.model.get("state");

  const save = {
    async png() {
      const { image } = own.shown, mask = own.masks.find((one) => one.object === state().task && one.case === state().case && one.plane === (image.affine ? own.shown.plane : ""));
      if (!mask) return say("There is no mask to save yet: click on the image first.", true);
      return download(`${base(image)}${image.affine ? `_${mask.plane}_z${mask.index}` : ""}_${mask.object}.png`, await pngOf(mask), "image/png");
    },
    async nifti() {
      const { image, objects } = own.shown, masks = found(false);
      if (!masks.length) return;
      if (objects.length > 255) return say(`${objects.length} objects have no number in NIfTI of 8 bits: save them as COCO.`, true);
      const made = labelsOf(image, objects, masks), values = objects.map(({ name }, i) => `${i + 1} ${name}`).join(", ");
      say(`Saved with the values ${values}.${made.overlap ? " Where objects overlap, the later one counts." : ""}`);
      download(`${base(image)}_masks.nii.gz`, await gzip(niftiOf(image, made)), "application/gzip");
    },
    coco() {
      const { image, objects } = own.shown, masks = found(true);
      if (masks.length) json(image, "coco", cocoOf(image, objects, masks));
    },
    session() {
      const { image } = own.shown, masks = found(true);
      if (masks.length) json(image, "session", sessionOf(image, state(), masks));
    },
  };
  const buttons = [button("PNG", "Save the shown mask as PNG", save.png), button("NIfTI", "Save all masks as NIfTI on the image's grid", save.nifti),
    button("COCO", "Save all masks as COCO", save.coco), button("session", "Save a session that make explore resumes", save.session)];
  return { bar: row("Save:", ...buttons), update: () => { buttons[3].hidden = own.shown.image.kind === "dicom"; } };
}

// Files of a reader's own to what can be shown: in a worker, by daikon (DICOM), UTIF (TIFF) and UPNG.
// Goes before own/worker.js, in one script.
//
// An image is {name, values, shape, channels, affine, modality}. values: numbers as stored, or scaled as the file
// says. shape: of a flat image [rows, cols]; of a volume its three axes, the first one changing fastest.
// channels: 1 or 3, of a flat image. affine: of a volume, from its axes to the body in mm, right, anterior, superior.
// header: of a NIfTI file, what it says of where its voxels lie, see own/export.js.
// Nothing is read that tells who is shown, or when and where.

const LARGEST = 100e6; // pixels of a flat image
const LARGEST_VOLUME = 2e9; // bytes of a volume
const begins = (bytes, text, at = 0) => [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));

/** Whether a file is DICOM, as datasets.dicom.is_dicom: by its name, or by how it begins. */
function isDicom({ name, bytes }) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = bytes.length > 4 ? `${view.getUint16(0, true)},${view.getUint16(2, true)}` : "";
  return /\.(dcm|ima|dicom)$/i.test(name) || begins(bytes, "DICM", 128) || ["2,0", "2,1", "2,2", "8,0", "8,1", "8,5", "8,8", "8,22"].includes(first);
}

/** Files {name, bytes} to an image. Throws an error that says the fact and the remedy. */
async function readFiles(all) {
  const files = all.filter(({ name }) => !/^\.|^DICOMDIR$/i.test(name)); // what systems and indices leave
  if (!files.length) throw new Error("no image is among these files: choose others");
  const dicom = files.filter((file) => isDicom(file));
  if (dicom.length === files.length) return checked(readDicom(files));
  if (files.length > 1) throw new Error(`${files.length} files, ${dicom.length} of them DICOM: give one image, or the files of one DICOM series`);
  const [{ name, bytes }] = files;
  if (!bytes.length) throw new Error(`${name} is empty: copy it again`);
  try {
    return checked({ name, ...(await readOne(name, bytes)) });
  } catch (error) {
    // a library's own error means that it met what it did not expect
    throw error.told ? error : new Error(`${name} cannot be read (${error.message ?? error}): it is cut off, damaged or of another kind`, { cause: error });
  }
}

/** The image, if it has pixels, as many as its shape says, and all its values are numbers. */
function checked(image) {
  const pixels = image.shape.reduce((product, length) => product * length, 1);
  if (!(pixels > 0) || image.values.length !== pixels * (image.channels ?? 1)) throw told(`${image.name} has ${image.values.length} values for ${image.shape.join(" x ")} pixels: it is damaged, copy it again`);
  const real = image.values instanceof Float32Array || image.values instanceof Float64Array;
  if (real && !image.values.every(Number.isFinite)) throw told(`${image.name} has values that are no numbers (NaN or infinite): replace them`);
  return image;
}

/** An error whose text is meant for the reader. */
const told = (text) => Object.assign(new Error(text), { told: true });

function readOne(name, bytes) {
  if (begins(bytes, "\x1f\x8b") || /\.nii(\.gz)?$/i.test(name)) return readNifti(name, bytes);
  if (begins(bytes, "II*\0") || begins(bytes, "MM\0*")) return readTiff(name, bytes);
  if (begins(bytes, "II+\0") || begins(bytes, "MM\0+")) throw told(`${name} is a BigTIFF: save it as TIFF or PNG`);
  if (begins(bytes, "\x89PNG")) checkPng(name, bytes);
  // a canvas multiplies alpha into colours, and cuts 16 bits to 8
  if (begins(bytes, "\x89PNG") && (bytes[24] === 16 || bytes[25] >= 4 || hasTransparency(bytes))) return readPng(name, bytes);
  return readPicture(name, bytes);
}

/** A picture that the browser decodes, upright as it says: PNG, JPEG, WebP. */
async function readPicture(name, bytes) {
  const bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none", premultiplyAlpha: "none" })
    .catch(() => { throw told(`${name} cannot be read: give a PNG, JPEG, WebP, TIFF, NIfTI or DICOM that other programs open`); });
  const { width, height } = bitmap;
  checkSize(name, height, width);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return flat(context.getImageData(0, 0, width, height).data, height, width, 4);
}

function checkSize(name, rows, cols) {
  if (rows * cols > LARGEST) throw told(`${name} has ${cols} x ${rows} pixels: give one of at most ${LARGEST / 1e6} million`);
}

/** A flat image of numbers row by row; of two or four samples of a pixel the last is alpha, which is left out. */
function flat(numbers, rows, cols, samples) {
  const channels = samples > 2 ? 3 : 1;
  let values = numbers;
  if (samples !== channels || values instanceof Uint8ClampedArray) {
    const kind = numbers instanceof Uint8ClampedArray ? Uint8Array : numbers.constructor;
    values = new kind(rows * cols * channels);
    for (let i = 0, at = 0; i < values.length; i += channels, at += samples)
      for (let channel = 0; channel < channels; channel++) values[i + channel] = numbers[at + channel];
  }
  return { values, shape: [rows, cols], channels, affine: null, modality: "" };
}

/** Throw where a PNG says that it is too large, before room for its pixels is made, or has a wrong checksum. */
function checkPng(name, bytes) {
  if (bytes.length < 33) throw told(`${name} is cut off: copy it again`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  checkSize(name, view.getUint32(20), view.getUint32(16));
  for (let at = 8, end = false; !end; at += 12 + view.getUint32(at)) {
    if (at + 12 > bytes.length || at + 12 + view.getUint32(at) > bytes.length) throw told(`${name} is cut off: copy it again`);
    const sum = at + 8 + view.getUint32(at);
    if (UPNG.crc.crc(bytes, at + 4, sum - at - 4) !== view.getInt32(sum)) throw told(`${name} is damaged, a checksum is wrong: copy it again`);
    end = begins(bytes, "IEND", at + 4);
  }
}

/** Whether a PNG says which of its colours are transparent. */
function hasTransparency(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 < bytes.length && !begins(bytes, "IDAT", at + 4); at += 12 + view.getUint32(at))
    if (begins(bytes, "tRNS", at + 4)) return true;
  return false;
}

/** A PNG with alpha, or with 16 bits; what is transparent is left out, not what it covers. */
function readPng(name, bytes) {
  const picture = UPNG.decode(bytes.buffer), { width, height, depth, ctype, data } = picture;
  checkSize(name, height, width);
  const samples = { 0: 1, 2: 3, 4: 2, 6: 4 }[ctype], count = width * height * samples;
  if (depth < 8 || ctype === 3) return flat(new Uint8Array(UPNG.toRGBA8(picture)[0]), height, width, 4);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return flat(depth === 16 ? Uint16Array.from({ length: count }, (_, i) => view.getUint16(2 * i)) : data.slice(0, count), height, width, samples);
}

const TIFF_COMPRESSIONS = { 1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32946: "deflate", 32773: "PackBits" };

const TIFF_SIZES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4]; // bytes of a value, by its kind

/** Throw where a TIFF's directories lead round, or out of the file: the reader would go on for long. */
function checkTiff(name, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), little = bytes[0] === 0x49, seen = new Set();
  const damaged = () => { throw told(`${name} is cut off or damaged: copy it again`); };
  for (let at = view.getUint32(4, little); at; ) {
    if (seen.has(at) || at + 6 > bytes.length) damaged();
    seen.add(at);
    const count = view.getUint16(at, little);
    if (at + 6 + 12 * count > bytes.length) damaged();
    for (let entry = at + 2; entry < at + 2 + 12 * count; entry += 12) {
      const size = TIFF_SIZES[view.getUint16(entry + 2, little)] * view.getUint32(entry + 4, little);
      if (!(size <= 4) && !(view.getUint32(entry + 8, little) + size <= bytes.length)) damaged();
    }
    at = view.getUint32(at + 2 + 12 * count, little);
  }
}

/** A TIFF of one page, of 8, 16 or 32 bits; or of one, which is 0 or 255, as in other programs. */
function readTiff(name, bytes) {
  checkTiff(name, bytes);
  const pages = UTIF.decode(bytes.buffer, { parseMN: false }), [page] = pages;
  if (pages.length !== 1) throw told(`${name} has ${pages.length} pages: save the one that you mean`);
  const tag = (number, missing) => page[`t${number}`]?.[0] ?? missing;
  const bits = tag(258, 1), samples = tag(277, 1), meaning = tag(262, 1), format = tag(339, 1), predictor = tag(317, 1);
  const compression = tag(259, 1), tiled = page.t322 !== undefined, big = bytes[0] === 0x4d;
  const refuse = (fact) => { throw told(`${name}: ${fact}: save it as plain TIFF or PNG`); };
  if (!TIFF_COMPRESSIONS[compression]) refuse(`its compression ${compression} is not read`);
  if (![1, 8, 16, 32].includes(bits) || page.t258?.some((one) => one !== bits)) refuse(`a pixel has ${page.t258} bits`);
  if (bits === 1 && (samples > 1 || meaning > 1 || tiled || tag(266, 1) !== 1)) refuse("a pixel has one bit, with a palette, with tiles, in several channels or in the reverse order");
  if (![0, 1, 2, 3, ...(compression === 7 ? [6] : [])].includes(meaning)) refuse(`its colours (${meaning}) are not grey, RGB or a palette`);
  if (tag(284, 1) === 2 && samples > 1) refuse("its colours lie in planes");
  if (predictor > 2 || (predictor === 2 && (bits === 32 || tiled)) || (tiled && big && bits === 16)) refuse("it is tiled or coded in a way that is not read");
  const rows = tag(257), cols = tag(256);
  checkSize(name, rows, cols);
  const line = Math.ceil((cols * samples * bits) / 8); // bytes of a row
  const [from, sizes] = tiled ? [page.t324, page.t325] : [page.t273, page.t279], strips = [...(sizes ?? [])];
  if (!(rows > 0 && cols > 0) || !from || from.length !== strips.length || strips.some((size, i) => from[i] + size > bytes.length) ||
    (compression === 1 && strips.reduce((sum, size) => sum + size, 0) < rows * line)) throw told(`${name} is cut off or damaged: copy it again`);
  UTIF.decodeImage(bytes.buffer, page);
  const { data } = page, view = new DataView(data.buffer, data.byteOffset, data.byteLength), count = rows * cols * samples;
  if (data.length < rows * line) throw told(`${name} is cut off: copy it again`);
  const read = { "1,1": (i) => 255 * ((data[Math.floor(i / cols) * line + ((i % cols) >> 3)] >> (7 - ((i % cols) & 7))) & 1),
    "8,1": (i) => data[i], "8,2": (i) => view.getInt8(i), "16,1": (i) => view.getUint16(2 * i, true), "16,2": (i) => view.getInt16(2 * i, true),
    "32,1": (i) => view.getUint32(4 * i, !big), "32,2": (i) => view.getInt32(4 * i, !big), "32,3": (i) => view.getFloat32(4 * i, !big) }[`${bits},${format}`];
  if (!read) refuse(`its numbers are of kind ${format} with ${bits} bits`);
  const kind = bits <= 8 && format === 1 ? Uint8Array : bits === 32 ? Float64Array : Int32Array;
  let numbers = kind.from({ length: count }, (_, i) => read(i)), each = samples;
  if (meaning === 0) numbers = numbers.map((value) => (format === 1 ? 2 ** Math.max(bits, 8) - 1 : format === 2 ? -1 : 0) - value);
  if (meaning === 3) {
    const size = page.t320.length / 3;
    each = 3;
    numbers = Uint8Array.from({ length: 3 * rows * cols }, (_, i) => page.t320[(i % 3) * size + numbers[Math.floor(i / 3) * samples]] >> 8);
  }
  return upright(flat(numbers, rows, cols, each), tag(274, 1));
}

/** An image turned as its orientation, 1 to 8, says. */
function upright(image, turn) {
  if (!(turn > 1 && turn < 9)) return image;
  const { values, shape: [rows, cols], channels } = image, turned = new values.constructor(values.length);
  const swaps = turn > 4, shape = swaps ? [cols, rows] : [rows, cols];
  const fromRight = [2, 3, 7, 8].includes(turn), fromBelow = [3, 4, 6, 7].includes(turn);
  for (let row = 0, out = 0; row < shape[0]; row++)
    for (let col = 0; col < shape[1]; col++) {
      const [r, c] = swaps ? [col, row] : [row, col];
      const at = ((fromBelow ? rows - 1 - r : r) * cols + (fromRight ? cols - 1 - c : c)) * channels;
      for (let channel = 0; channel < channels; channel++) turned[out++] = values[at + channel];
    }
  return { ...image, values: turned, shape };
}

const NIFTI_KINDS = { 2: Uint8Array, 256: Int8Array, 4: Int16Array, 512: Uint16Array, 8: Int32Array, 768: Uint32Array, 16: Float32Array, 64: Float64Array };

/** What a NIfTI header says, version 1 or 2; null where it is none. */
function niftiHeader(buffer) {
  if (buffer.byteLength < 352) return null;
  const view = new DataView(buffer), bytes = new Uint8Array(buffer), first = begins(bytes, "n+1", 344), second = begins(bytes, "n+2", 4);
  if (!first && !second) return null;
  const little = view.getInt32(0, true) === (second ? 540 : 348);
  const whole = (at) => second ? Number(view.getBigInt64(at, little)) : view.getInt16(at, little);
  const real = (at) => second ? view.getFloat64(at, little) : view.getFloat32(at, little);
  const code = (at) => second ? view.getInt32(at, little) : view.getInt16(at, little);
  const several = (at, many, read, size) => Array.from({ length: many }, (_, i) => read(at + i * size));
  const wide = second ? 8 : 4, at = second
    ? { dim: 16, kind: 12, pixdim: 104, offset: 168, slope: 176, qform: 344, sform: 348, quatern: 352, srow: 400 }
    : { dim: 40, kind: 70, pixdim: 76, offset: 108, slope: 112, qform: 252, sform: 254, quatern: 256, srow: 280 };
  return { second, little, dim: several(at.dim, 8, whole, second ? 8 : 2), kind: view.getInt16(at.kind, little), pixdim: several(at.pixdim, 8, real, wide),
    offset: second ? whole(at.offset) : real(at.offset), scaling: several(at.slope, 2, real, wide), qform: code(at.qform), sform: code(at.sform),
    quatern: several(at.quatern, 6, real, wide), srow: several(at.srow, 12, real, wide), bytes: bytes.slice(0, second ? 540 : 348) };
}

/** How many bytes a NIfTI file has up to its last voxel. */
function niftiSize({ dim: [axes, ...sizes], kind, offset }) {
  return (Number.isFinite(offset) ? offset : 0) + sizes.slice(0, Math.max(axes, 1)).reduce((product, size) => product * Math.max(size, 1), NIFTI_KINDS[kind]?.BYTES_PER_ELEMENT ?? 1);
}

/** A packed file up to its last voxel: one that unpacks to more than its header says fills no memory. */
async function unpackNifti(name, packed) {
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  let bytes = new Uint8Array(544), length = 0, header = null;
  for (;;) {
    const { value, done } = await reader.read().catch(() => { throw told(`${name} is cut off or damaged: copy it again`); });
    if (done) return bytes.buffer.slice(0, length);
    let from = 0;
    if (!header) {
      from = Math.min(value.length, bytes.length - length);
      bytes.set(value.subarray(0, from), length);
      length += from;
      if (length < bytes.length) continue;
      header = niftiHeader(bytes.buffer);
      if (!header) throw told(`${name} is not NIfTI in one file: save it as .nii or .nii.gz`);
      const size = niftiSize(header);
      if (!(size <= LARGEST_VOLUME)) throw told(`${name} has ${(size / 1e9).toFixed(1)} GB of voxels: give a volume of at most ${LARGEST_VOLUME / 1e9} GB`);
      const whole = new Uint8Array(Math.max(size, length));
      whole.set(bytes);
      bytes = whole;
    }
    const part = value.subarray(from, from + bytes.length - length); // what is behind the voxels is read, and forgotten
    bytes.set(part, length);
    length += part.length;
  }
}

/** A NIfTI volume, packed or not whatever its name says; scaled values as float32. */
async function readNifti(name, packed) {
  const buffer = begins(packed, "\x1f\x8b") ? await unpackNifti(name, packed) : packed.buffer;
  const header = niftiHeader(buffer);
  if (!header) throw told(`${name} is not NIfTI in one file: save it as .nii or .nii.gz`);
  const [axes, ...sizes] = header.dim, shape = [...sizes.slice(0, axes), 1, 1].slice(0, 3), kind = NIFTI_KINDS[header.kind];
  if (!(axes > 1 && axes < 8) || sizes.slice(3, axes).some((size) => size > 1) || shape.some((size) => !(size > 0)))
    throw told(`${name}: its shape is ${sizes.slice(0, Math.max(axes, 1)).join(" x ")}: save one volume of three axes`);
  if (!kind) throw told(`${name}: its numbers are of kind ${header.kind}, not plain whole or real ones: save it as int16 or float32`);
  const count = shape[0] * shape[1] * shape[2], size = kind.BYTES_PER_ELEMENT, start = header.offset;
  if (!(start >= 348) || start + count * size > buffer.byteLength) throw told(`${name} is cut off: copy it again`);
  const bytes = new Uint8Array(buffer.slice(start, start + count * size));
  if (!header.little) for (let i = 0; size > 1 && i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
  const values = new kind(bytes.buffer), [slope, inter] = header.scaling;
  const scales = Number.isFinite(slope) && slope !== 0 && !(slope === 1 && inter === 0);
  if (scales && !Number.isFinite(inter)) throw told(`${name}: its header scales the values by ${slope} and ${inter}: save it again`);
  return { values: scales ? Float32Array.from(values, (value) => value * slope + inter) : values, shape, channels: 1, modality: "",
    affine: niftiAffine(name, header), header: { second: header.second, little: header.little, bytes: header.bytes } };
}

/** Where voxels lie, as nibabel decides: by the sform, else by the quaternion, else by the spacing alone. */
function niftiAffine(name, { dim, pixdim, sform, qform, srow, quatern }) {
  const [, x, y, z] = pixdim, lines = (rows) => [...rows, [0, 0, 0, 1]];
  if (sform > 0) return lines([0, 4, 8].map((at) => srow.slice(at, at + 4)));
  if (qform > 0) {
    const length = quatern.slice(0, 3).reduce((sum, part) => sum + part * part, 0);
    if (length > 1.02) throw told(`${name}: its quaternion has length ${Math.sqrt(length).toFixed(2)}, so that its place is unknown: save it again`);
    const [b, c, d, ...offset] = quatern.map((part, i) => i < 3 && length > 1 ? part / Math.sqrt(length) : part);
    const a = Math.sqrt(Math.max(1 - length, 0)), k = pixdim[0] < 0 ? -z : z;
    return lines([
      [(a * a + b * b - c * c - d * d) * x, 2 * (b * c - a * d) * y, 2 * (b * d + a * c) * k, offset[0]],
      [2 * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, 2 * (c * d - a * b) * k, offset[1]],
      [2 * (b * d - a * c) * x, 2 * (c * d + a * b) * y, (a * a + d * d - b * b - c * c) * k, offset[2]],
    ]);
  }
  const middle = [1, 2, 3].map((axis) => ((axis <= dim[0] ? dim[axis] : 1) - 1) / 2); // of nibabel: there is 0
  return lines([[-x, 0, 0, x * middle[0]], [0, y, 0, -y * middle[1]], [0, 0, z, -z * middle[2]]]);
}

/** One DICOM file, or the files of one series, as a volume; a file that is no slice as a flat image. */
function readDicom(files) {
  const slices = files.map(({ name, bytes }) => dicomSlice(name, bytes)), [first] = slices;
  const name = files.length > 1 ? `${first.name} and ${files.length - 1} more` : first.name;
  if (files.length === 1 && !(first.position && first.directions && first.spacing))
    return { name, kind: "dicom", ...flat(scaled(slices), first.rows, first.cols, 1), modality: first.modality };
  for (const slice of slices) {
    const refuse = (fact) => { throw told(`${slice.name}: ${fact}`); };
    if (!(slice.position && slice.directions && slice.spacing)) refuse("it does not say where it lies: give one image, or the files of one series");
    if (slice.series !== first.series) refuse(`it belongs to another series than ${first.name}: give one series`);
    if (slice.rows !== first.rows || slice.cols !== first.cols) refuse(`it has ${slice.cols} x ${slice.rows} pixels, ${first.name} ${first.cols} x ${first.rows}: give one series`);
    if (slice.directions.some((value, i) => Math.abs(value - first.directions[i]) > 1e-3) ||
      slice.spacing.some((value, i) => Math.abs(value / first.spacing[i] - 1) > 1e-3)) refuse(`its orientation or spacing differs from ${first.name}: give one series`);
  }
  const [right, down] = [first.directions.slice(0, 3), first.directions.slice(3)];
  const normal = [0, 1, 2].map((i) => right[(i + 1) % 3] * down[(i + 2) % 3] - right[(i + 2) % 3] * down[(i + 1) % 3]);
  if (Math.abs(Math.hypot(...normal) - 1) > 0.03) throw told(`${name}: its rows and columns are not perpendicular: export it again`);
  const height = ({ position }) => position.reduce((sum, value, i) => sum + value * normal[i], 0);
  slices.sort((a, b) => height(a) - height(b));
  const steps = slices.slice(1).map((slice, i) => height(slice) - height(slices[i]));
  const same = steps.findIndex((step) => step < 0.01), usual = [...steps].sort((a, b) => a - b)[(steps.length - 1) >> 1];
  if (same >= 0) throw told(`${slices[same + 1].name} lies where ${slices[same].name} lies: keep one image per position`);
  const gap = steps.findIndex((step) => Math.abs(step - usual) / usual > 0.6);
  if (gap >= 0) throw told(`after ${slices[gap].name} the next slice is ${steps[gap].toFixed(2)} mm on, ${usual.toFixed(2)} mm is usual: give the slices that are missing`);
  const last = slices.at(-1), start = slices[0].position;
  const step = steps.length ? start.map((value, i) => (last.position[i] - value) / steps.length) : normal.map((value) => value * first.thickness);
  const sign = [-1, -1, 1]; // from the patient's left and posterior to right and anterior
  const affine = [0, 1, 2].map((i) => [right[i] * first.spacing[1], down[i] * first.spacing[0], step[i], start[i]].map((value) => value * sign[i]));
  return { name, kind: "dicom", values: scaled(slices), shape: [first.cols, first.rows, slices.length], channels: 1, affine: [...affine, [0, 0, 0, 1]], modality: first.modality };
}

/** Values of slices one after the other, with slope and intercept: whole numbers where these are. */
function scaled(slices) {
  const plain = slices.every(({ slope, intercept }) => slope === 1 && Number.isInteger(intercept));
  const moved = slices.some(({ intercept }) => intercept), size = slices[0].values.length;
  const values = new (plain ? (moved ? Int32Array : slices[0].values.constructor) : Float32Array)(size * slices.length);
  slices.forEach(({ values: stored, slope, intercept }, i) => {
    for (let k = 0, at = i * size; k < size; k++, at++) values[at] = stored[k] * slope + intercept;
  });
  return values;
}

// Transfer syntaxes that are read, and equal pydicom's: plain, deflated, JPEG (8 bits, lossless), JPEG-LS, run lengths.
// daikon decodes JPEG 2000 and JPEG of 12 bits, too, with other values than other programs: they are refused.
const SYNTAXES = ["", "2", "2.1", "2.1.99", "2.2", "2.4.50", "2.4.57", "2.4.70", "2.4.80", "2.4.81", "2.5"];

// daikon leaves zeros where run lengths end early, reads on in the next segment, and warns of bytes that say nothing.
const readSegment = daikon.RLE.prototype.readNextSegment, { warn } = console;
daikon.RLE.prototype.readNextSegment = function () {
  console.warn = () => {};
  try {
    readSegment.call(this);
  } finally {
    console.warn = warn;
  }
  const next = this.segmentIndex < this.numSegments ? this.segmentOffsets[this.segmentIndex] : Infinity;
  if (this.segElemPut !== this.numElements || this.bytesRead > next) throw new Error("run lengths of another size than the picture");
};

/** What a DICOM file says of its pixels and where they lie. */
function dicomSlice(name, bytes) {
  const refuse = (fact) => { throw told(`${name}: ${fact}`); };
  let image;
  try {
    const parser = new daikon.Parser();
    image = parser.parse(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (parser.hasError()) image = null;
  } catch { /* said below */ }
  if (!image?.hasPixelData()) refuse("it cannot be read as a DICOM image: copy or export it again");
  const rows = image.getRows(), cols = image.getCols(), bits = image.getBitsAllocated(), meaning = `${image.getPhotometricInterpretation() ?? ""}`.trim();
  if (!["MONOCHROME1", "MONOCHROME2"].includes(meaning)) refuse(`its pixels are ${meaning || "of no stated kind"}, not grey values: export it as grey`);
  if (image.getNumberOfFrames() > 1) refuse(`it holds ${image.getNumberOfFrames()} frames: export one file per slice`);
  checkSize(name, rows, cols);
  if (![8, 16, 32].includes(bits)) refuse(`it has ${bits} bits for a pixel: export it with 8 or 16`);
  const syntax = `${image.getTransferSyntax() ?? ""}`.replace(/[\0 ]/g, "");
  if (!SYNTAXES.includes(syntax.replace("1.2.840.10008.1.", "")))
    refuse(`its compression ${/\.4\.9[01]$/.test(syntax) ? "JPEG 2000" : syntax} is not read: export it uncompressed`);
  const signed = image.getPixelRepresentation() === 1, stored = image.getBitsStored() || bits, count = rows * cols;
  let raw;
  try {
    const segments = image.isCompressedRLE() ? image.getRLE().map((frame) => new DataView(frame).getInt32(0, true)) : [];
    if (segments.some((number) => number !== bits / 8)) throw new Error("each byte of a pixel has a segment of its own");
    raw = new DataView(image.getRawData());
  } catch {
    refuse(`its compression (${syntax}) cannot be read, or it is damaged: export it uncompressed`);
  }
  if (raw.byteLength < count * (bits / 8)) refuse("its pixels are cut off: copy it again");
  const little = image.isCompressed() || image.littleEndian, shift = 32 - stored;
  const get = { 8: (i) => raw.getUint8(i), 16: (i) => raw.getUint16(2 * i, little), 32: (i) => raw.getUint32(4 * i, little) }[bits];
  const kind = signed ? { 8: Int8Array, 16: Int16Array, 32: Int32Array }[bits] : { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[bits];
  let values = kind.from({ length: count }, (_, i) => signed ? (get(i) << shift) >> shift : (get(i) << shift) >>> shift);
  if (meaning === "MONOCHROME1") values = values.map((value) => signed ? -1 - value : 2 ** stored - 1 - value);
  const numbers = (found, many) => found?.length === many && found.every((value) => Number.isFinite(+value)) ? [...found].map(Number) : null;
  const spacing = numbers(image.getPixelSpacing(), 2), slope = image.getDataScaleSlope() ?? 1, intercept = image.getDataScaleIntercept() ?? 0;
  if (!slope || !Number.isFinite(slope) || !Number.isFinite(intercept)) refuse(`its slope is ${slope} and its intercept ${intercept}, which leaves no value: export it again`);
  return { name, values, rows, cols, slope, intercept, series: image.getSeriesInstanceUID(), modality: image.getModality() ?? "",
    position: numbers(image.getImagePosition(), 3), directions: numbers(image.getImageDirections(), 6),
    spacing: spacing && Math.min(...spacing) > 0 ? spacing : null, thickness: +image.getSliceThickness() || 1 };
}

// Upright slices of a volume, and values as the 8-bit picture that SAM and the reader see: as volume_files.find_cut
// and intensity.py do it in Python. Goes before own/images.js and own/worker.js.

// For each plane the world axes (0 right, 1 anterior, 2 superior) of its slices, rows and columns. On the screen rows
// run to inferior or posterior, columns to the left or to posterior: each against its world axis.
const PLANES = { axial: [2, 1, 0], coronal: [1, 2, 0], sagittal: [0, 2, 1] };

/** The orthogonal matrix nearest to the directions of an affine's columns, as rows; by Newton's iteration. */
function nearestRotation(affine) {
  const lengths = [0, 1, 2].map((col) => Math.hypot(...[0, 1, 2].map((row) => affine[row][col])) || 1);
  let rotation = [0, 1, 2].map((row) => [0, 1, 2].map((col) => affine[row][col] / lengths[col]));
  for (let step = 0; step < 30; step++) {
    const cofactor = (row, col) => {
      const [a, b, c, d] = [(row + 1) % 3, (row + 2) % 3, (col + 1) % 3, (col + 2) % 3];
      return rotation[a][c] * rotation[b][d] - rotation[a][d] * rotation[b][c];
    };
    const determinant = [0, 1, 2].reduce((sum, col) => sum + rotation[0][col] * cofactor(0, col), 0);
    rotation = rotation.map((line, row) => line.map((value, col) => (value + cofactor(row, col) / determinant) / 2));
  }
  return rotation;
}

/** World axis and sign of each axis of a volume; an oblique one counts as the nearest, the straightest chooses first. */
function orientation(affine) {
  const rotation = nearestRotation(affine), found = [];
  const straight = (axis) => Math.max(...rotation.map((line) => Math.abs(line[axis])));
  for (const axis of [0, 1, 2].map((one) => [one, straight(one)]).sort((a, b) => b[1] - a[1]).map(([one]) => one)) {
    const sizes = rotation.map((line) => Math.abs(line[axis])), world = sizes.indexOf(Math.max(...sizes));
    if (!(sizes[world] > 1e-8)) return null;
    found[axis] = { world, sign: Math.sign(rotation[world][axis]) };
    rotation[world] = [0, 0, 0];
  }
  return found;
}

/** How slices of a plane are cut: axes and what is turned round. Throws where the affine does not place the axes. */
function findCut({ name, shape, affine }, plane) {
  const found = affine.flat().every(Number.isFinite) && orientation(affine);
  if (!found) throw new Error(`${name}: its header does not place the three axes: set the orientation and save it again`);
  const worlds = found.map(({ world }) => world);
  const single = [0, 1, 2].filter((axis) => shape[axis] === 1);
  const sliceWorld = single.length === 1 ? worlds[single[0]] : PLANES[plane][0];
  const axes = Object.values(PLANES).find(([slices]) => slices === sliceWorld).map((world) => worlds.indexOf(world));
  const [flipRows, flipCols] = axes.slice(1).map((axis) => found[axis].sign > 0);
  return { axes, flipRows, flipCols, size: axes.map((axis) => shape[axis]) };
}

/** Where the pixels of a slice lie in a volume's values: call(place, pixel) for each, row by row. */
function eachPixel({ shape }, { axes, flipRows, flipCols, size: [, rows, cols] }, index, call) {
  const strides = [1, shape[0], shape[0] * shape[1]];
  const [bySlice, byRow, byCol] = axes.map((axis) => strides[axis]);
  for (let row = 0, pixel = 0; row < rows; row++) {
    const from = index * bySlice + (flipRows ? rows - 1 - row : row) * byRow;
    for (let col = 0; col < cols; col++, pixel++) call(from + (flipCols ? cols - 1 - col : col) * byCol, pixel);
  }
}

/** A value between those of sorted numbers, as numpy.percentile: linear. */
function percentile(sorted, percent) {
  const at = (percent / 100) * (sorted.length - 1), first = Math.floor(at), next = Math.min(first + 1, sorted.length - 1);
  return sorted[first] + (sorted[next] - sorted[first]) * (at - first);
}

/** Rounded to the nearest whole number, of two the even one, as numpy.rint. */
function rounded(value) {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 ? nearest - 1 : nearest;
}

/** What is black and what is white: of a window {centre, width}, or percentiles of what is not zero. */
function range(values, window) {
  if (window) return [window.centre - window.width / 2, window.centre + window.width / 2];
  const signal = Float64Array.from(values.filter((value) => value !== 0)).sort();
  return signal.length ? [percentile(signal, 0.5), percentile(signal, 99.5)] : [0, 0];
}

/** Values, one or three of a pixel, to RGB bytes, black..white to 0..255. */
function toBytes(values, [black, white], channels = 1) {
  const bytes = new Uint8Array((3 / channels) * values.length), each = 3 / channels;
  if (!(white > black)) return bytes;
  values.forEach((value, i) => {
    const byte = rounded(Math.min(Math.max((value - black) / (white - black), 0), 1) * 255);
    for (let at = each * i; at < each * (i + 1); at++) bytes[at] = byte;
  });
  return bytes;
}

/** Values of one slice of a volume, row by row. */
function sliceOf(image, cut, index) {
  const values = new image.values.constructor(cut.size[1] * cut.size[2]);
  eachPixel(image, cut, index, (place, pixel) => { values[pixel] = image.values[place]; });
  return values;
}

/** A flat image as {bytes, shape: [rows, cols]}. */
function pictureOf({ values, channels, shape }) {
  if (values instanceof Uint8Array && channels === 3) return { bytes: values, shape };
  if (values instanceof Uint8Array) {
    const bytes = new Uint8Array(3 * values.length);
    for (let i = 0, at = 0; i < values.length; i++, at += 3) bytes[at] = bytes[at + 1] = bytes[at + 2] = values[i];
    return { bytes, shape };
  }
  let black = Infinity, white = -Infinity;
  for (const value of values) {
    black = Math.min(black, value);
    white = Math.max(white, value);
  }
  return { bytes: toBytes(values, [black, white], channels), shape };
}

/** RGB bytes as a browser shows them. */
function pixelsOf({ bytes, shape: [rows, cols] }) {
  const pixels = new ImageData(cols, rows);
  for (let i = 0, at = 0; i < bytes.length; i += 3, at += 4) {
    pixels.data[at] = bytes[i];
    pixels.data[at + 1] = bytes[i + 1];
    pixels.data[at + 2] = bytes[i + 2];
    pixels.data[at + 3] = 255;
  }
  return pixels;
}

/** A canvas that shows RGB bytes. */
function canvasOf(picture) {
  const [height, width] = picture.shape, canvas = make("canvas", { width, height });
  canvas.getContext("2d").putImageData(pixelsOf(picture), 0, 0);
  return canvas;
}

const MOST_LABELS = 32;

/** Values of a mask on an image's grid, and which there are besides 0. Throws where the grids differ, or it is no mask. */
function labelsLike(mask, image) {
  const refuse = (fact) => { throw new Error(`${mask.name}: ${fact}`); };
  const size = (one) => one.shape.join(" x ");
  if (Boolean(mask.affine) !== Boolean(image.affine) || size(mask) !== size(image))
    refuse(`its size is ${size(mask)}, that of ${image.name} ${size(image)}: give a mask of this image`);
  if (image.affine) {
    const place = ({ affine }, corner) => affine.slice(0, 3).map((line) => line[3] + corner.reduce((sum, at, i) => sum + line[i] * at, 0));
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => image.shape.map((many, i) => ((n >> i) & 1) * (many - 1)));
    const apart = Math.max(...corners.map((corner) => Math.hypot(...place(image, corner).map((at, i) => at - place(mask, corner)[i]))));
    const voxel = Math.min(...[0, 1, 2].map((axis) => Math.hypot(...[0, 1, 2].map((row) => image.affine[row][axis]))));
    if (!(apart <= voxel / 2)) refuse(`it lies up to ${apart.toFixed(1)} mm beside ${image.name}: resample it to the image`);
  }
  const { channels, values: numbers } = mask;
  const labels = channels === 1 ? numbers : numbers.filter((_, i) => i % channels === 0);
  if (channels > 1 && numbers.some((value, i) => value !== labels[Math.floor(i / channels)])) refuse("it has colours: save it with one channel and a value for each object");
  const values = [...new Set(labels)].filter((value) => value !== 0).sort((a, b) => a - b);
  if (!values.length) refuse("it is empty: give a mask with an object");
  if (values.length > MOST_LABELS) refuse(`it has ${values.length} values, too many for a mask: save one value for each object`);
  return { labels, values };
}

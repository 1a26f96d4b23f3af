// Masks as a page holds them, and their outlines. Goes before explorer.js, in one module.

/** Mask of COCO's compressed run lengths, column by column: Uint8Array of rows x cols, row by row. */
export function decode(text, rows, cols) {
  const mask = new Uint8Array(rows * cols);
  const counts = [];
  for (let i = 0, at = 0, inside = 0; i < text.length; inside ^= 1) {
    let value = 0, shift = 0, part;
    do {
      part = text.charCodeAt(i++) - 48;
      value |= (part & 31) << shift;
      shift += 5;
    } while (part & 32);
    if (part & 16) value |= -1 << shift;
    if (counts.length > 2) value += counts[counts.length - 2];
    counts.push(value);
    const end = at + value;
    for (; inside && at < end; at++) mask[(at % rows) * cols + Math.floor(at / rows)] = 1;
    at = end;
  }
  return mask;
}

/** COCO's compressed run lengths of every `step`-th pixel of a mask, rows x cols, row by row: what `decode` reads. */
export function encode(mask, rows, cols, step = 1) {
  const counts = [];
  let inside = 0, count = 0;
  for (let col = 0; col < cols; col += step)
    for (let row = 0, at = col; row < rows; row += step, at += step * cols, count++)
      if (mask[at] !== inside) {
        inside = mask[at];
        counts.push(count);
        count = 0;
      }
  counts.push(count);
  return counts.map((count, i) => {
    let value = i > 2 ? count - counts[i - 2] : count, text = "", more = true;
    while (more) {
      const part = value & 31;
      value >>= 5;
      more = value !== (part & 16 ? -1 : 0);
      text += String.fromCharCode(48 + part + (more ? 32 : 0));
    }
    return text;
  }).join("");
}

// Marching squares: which midpoints of a cell's sides (Top, Right, Bottom, Left) a contour joins, with the
// object on its right, by the four pixels round the cell: 8 top left, 4 top right, 2 bottom right, 1 bottom left.
const JOINS = ["", "LB", "BR", "LR", "RT", "RTLB", "BT", "LT", "TL", "TB", "TLBR", "TR", "RL", "RB", "BL", ""];
const SIDE = { T: [-1, 0], R: [0, 1], B: [1, 0], L: [0, -1] };

/** Closed contours of a mask, through the middle between inside and outside, as a path of pixel units. */
export function contour(mask, rows, cols) {
  const next = new Map(); // from each midpoint to the following one, in half pixels
  const width = 2 * cols + 2;
  const at = (row, col) => (row >= 0 && row < rows && col < cols ? mask[row * cols + col] : 0);
  for (let row = 0; row <= rows; row++)
    for (let col = 0, code = 0; col <= cols; col++) {
      code = ((code & 4) << 1) | ((code & 2) >> 1) | (4 * at(row - 1, col)) | (2 * at(row, col));
      const joins = JOINS[code];
      for (let i = 0; i < joins.length; i += 2) {
        const [from, to] = [SIDE[joins[i]], SIDE[joins[i + 1]]].map(
          ([down, right]) => (2 * row + down) * width + 2 * col + right,
        );
        next.set(from, to);
      }
    }
  const path = new Path2D();
  for (const start of next.keys()) {
    path.moveTo((start % width) / 2, Math.floor(start / width) / 2);
    for (let point = next.get(start); point !== undefined; ) {
      path.lineTo((point % width) / 2, Math.floor(point / width) / 2);
      const following = next.get(point);
      next.delete(point);
      point = following;
    }
  }
  return path;
}

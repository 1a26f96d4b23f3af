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

/** Closed contours of a mask, through the middle between inside and outside: {path, in pixel units, corners, their number}. */
export function contour(mask, rows, cols) {
  const next = new Map(); // from each midpoint to the following one, in half pixels
  const width = 2 * cols + 2, side = { T: -width, R: 1, B: width, L: -1 };
  const none = new Uint8Array(cols);
  const line = (row) => (row >= 0 && row < rows ? mask.subarray(row * cols, (row + 1) * cols) : none);
  for (let row = 0; row <= rows; row++) {
    const above = line(row - 1), below = line(row); // behind their last column they are undefined, bits of 0
    const starts = [above.indexOf(1), below.indexOf(1)].filter((col) => col >= 0);
    if (!starts.length) continue;
    const end = Math.max(above.lastIndexOf(1), below.lastIndexOf(1)) + 1;
    for (let col = Math.min(...starts), code = 0; col <= end; col++) {
      code = ((code & 4) << 1) | ((code & 2) >> 1) | (above[col] << 2) | (below[col] << 1);
      if (code === 0 || code === 15) continue;
      const joins = JOINS[code], middle = 2 * (row * width + col);
      for (let i = 0; i < joins.length; i += 2) next.set(middle + side[joins[i]], middle + side[joins[i + 1]]);
    }
  }
  const path = new Path2D();
  let corners = 0;
  for (const start of next.keys()) {
    path.moveTo((start % width) / 2, Math.floor(start / width) / 2);
    for (let from = start, point = next.get(start); point !== undefined; ) {
      const following = next.get(point), isCorner = following - point !== point - from; // the others lie on a straight line
      if (isCorner) {
        path.lineTo((point % width) / 2, Math.floor(point / width) / 2);
        corners += 1;
      }
      next.delete(point);
      [from, point] = [point, following];
    }
  }
  return { path, corners };
}

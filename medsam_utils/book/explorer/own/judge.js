// Algorithm 1 in a worker: clicks where a mask is most wrong, as clicks.next_click with Protocol(ties="first").
// Goes after contours.js and before own/worker.js, in one script.

/** Of each pixel of a region, 0 or 1, the squared distance to the nearest pixel outside it; all round is outside.
 *
 * After Meijster et al. 2000: along the columns first, then along each row the lowest of parabolas.
 */
function squaredDistances(region, rows, cols) {
  const along = new Int32Array((rows + 2) * (cols + 2)), wide = cols + 2; // with a frame of zeros
  for (let row = 1; row <= rows; row++)
    for (let col = 1, at = row * wide + 1; col <= cols; col++, at++) along[at] = region[(row - 1) * cols + col - 1] ? along[at - wide] + 1 : 0;
  for (let row = rows; row > 0; row--)
    for (let col = 1, at = row * wide + 1; col <= cols; col++, at++) along[at] = Math.min(along[at], along[at + wide] + 1);
  const squares = new Int32Array(rows * cols), lowest = new Int32Array(wide), from = new Int32Array(wide);
  for (let row = 1; row <= rows; row++) {
    const height = (col) => along[row * wide + col] ** 2, value = (at, col) => (at - col) ** 2 + height(col);
    let last = 0;
    lowest[0] = from[0] = 0;
    for (let col = 1; col < wide; col++) {
      while (last >= 0 && value(from[last], lowest[last]) > value(from[last], col)) last--;
      if (last < 0) {
        last = 0;
        lowest[0] = col;
        from[0] = 0;
      } else {
        const other = lowest[last];
        const start = 1 + Math.floor((col ** 2 - other ** 2 + height(col) - height(other)) / (2 * (col - other)));
        if (start < wide) {
          last += 1;
          lowest[last] = col;
          from[last] = start;
        }
      }
    }
    for (let col = wide - 1; col >= 0; col--) {
      if (col > 0 && col <= cols) squares[(row - 1) * cols + col - 1] = value(col, lowest[last]);
      if (col === from[last]) last--;
    }
  }
  return squares;
}

/** The click deepest inside what is wrong, [row, col, 1 inside the object or 0], or null where nothing is. mask: null before the first. */
function nextClick(truth, mask, rows, cols) {
  const wrong = mask ? truth.map((inside, i) => inside ^ mask[i]) : truth;
  let deepest = -1, most = 0;
  squaredDistances(wrong, rows, cols).forEach((square, i) => {
    if (square > most) [most, deepest] = [square, i];
  });
  return deepest < 0 ? null : [Math.floor(deepest / cols), deepest % cols, truth[deepest]];
}

/** What a model answers to each click of Algorithm 1: [{click, iou, dice, ...}]. respond: to clicks, with the whole mask. */
async function simulate(respond, truth, [rows, cols], count) {
  const steps = [], clicks = [];
  let mask = null;
  while (steps.length < count) {
    const click = nextClick(truth, mask, rows, cols);
    if (click) {
      clicks.push(click);
      const answer = await respond([...clicks]);
      mask = decode(answer.whole, rows, cols);
      steps.push({ ...answer, clicks: [...clicks], dice: (2 * answer.iou) / (1 + answer.iou) });
    } else steps.push({ ...steps.at(-1) }); // nothing is wrong any more: the mask stays
  }
  return steps;
}

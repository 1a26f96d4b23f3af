// Zoom and position, the same for all pictures, and the fingers, mouse and wheel that change them.
// Goes before explorer.js, in one module.

/** The view of the image. canvas: of the first picture; beforeMove: called once before a large image moves. */
function zooming({ get, firstCanvas, beforeMove, redraw }) {
  const view = { zoom: 1, row: 0, col: 0 }; // the zoom over the whole image, and what is in the middle
  let moving = 0; // the timer that ends a move: until then a large image's last drawing is moved, not drawn anew
  const shape = () => get("scene").shape;

  const fit = () => {
    const [rows, cols] = shape();
    clearTimeout(moving);
    moving = 0;
    Object.assign(view, { zoom: 1, row: rows / 2, col: cols / 2 });
    redraw();
  };

  /** How many of the canvas's pixels show one of the image. */
  const pixelsPerPixel = (canvas) => {
    const [rows, cols] = shape();
    return view.zoom * Math.min(canvas.clientWidth / cols, canvas.clientHeight / rows);
  };

  /** From a place on the canvas to row and column of the image. */
  const position = (canvas, x, y) => {
    const size = pixelsPerPixel(canvas);
    return [view.row + (y - canvas.clientHeight / 2) / size, view.col + (x - canvas.clientWidth / 2) / size];
  };

  /** From the image's pixels to the canvas's. */
  const place = (canvas, ratio) => {
    const size = pixelsPerPixel(canvas) * ratio;
    return new DOMMatrix()
      .translate(canvas.width / 2 - view.col * size, canvas.height / 2 - view.row * size)
      .scale(size);
  };

  const moveTo = (row, col) => {
    const [rows, cols] = shape();
    const large = rows * cols > 1e6;
    if (!moving && large) beforeMove();
    clearTimeout(moving);
    moving = large && setTimeout(() => { moving = 0; redraw(); }, 120);
    Object.assign(view, { row: clamp(row, 0, rows), col: clamp(col, 0, cols) });
    redraw();
  };

  const zoomBy = (factor, canvas = firstCanvas(), x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
    const [row, col] = position(canvas, x, y);
    const before = view.zoom;
    view.zoom = clamp(before * factor, 1, 40);
    if (view.zoom === 1) return fit();
    const kept = before / view.zoom; // what was under the finger stays there
    moveTo(row + (view.row - row) * kept, col + (view.col - col) * kept);
  };

  const drag = (canvas, x, y) => {
    const size = pixelsPerPixel(canvas);
    if (view.zoom > 1) moveTo(view.row - y / size, view.col - x / size);
  };

  return { fit, position, place, zoomBy, drag, isMoving: () => moving, isWhole: () => view.zoom === 1 };
}

/** Listen to pointers and wheel on a canvas. root: has the keyboard after a press; onClick(event) if it did not move. */
function listen(canvas, { zoom, root, clickable, onClick }) {
  const fingers = new Map();
  let moved = 0;
  const middle = () => [0, 1].map((i) => [...fingers.values()].reduce((sum, f) => sum + f[i], 0) / fingers.size);
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  };
  canvas.onpointerdown = (event) => {
    if (!fingers.size) moved = 0;
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    canvas.setPointerCapture(event.pointerId);
    root.focus({ preventScroll: true });
  };
  canvas.onpointermove = (event) => {
    if (!fingers.has(event.pointerId)) return;
    const [before, wide] = [middle(), spread()];
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    const [after, wider] = [middle(), spread()];
    const [x, y] = [after[0] - before[0], after[1] - before[1]];
    moved += Math.hypot(x, y) + Math.abs(wider - wide);
    if (moved < 4) return; // a click of an unsteady hand
    if (!(event.buttons & 2)) zoom.drag(canvas, x, y);
    if (wide && wider) zoom.zoomBy(wider / wide, canvas, ...after);
  };
  canvas.onpointerup = (event) => {
    fingers.delete(event.pointerId);
    if (moved < 4 && !fingers.size && clickable()) onClick(event);
  };
  canvas.onpointercancel = (event) => fingers.delete(event.pointerId);
  canvas.oncontextmenu = (event) => clickable() && event.preventDefault();
  canvas.addEventListener("wheel", (event) => {
    // the page scrolls until the reader has clicked into the explorer
    if (!event.ctrlKey && !root.contains(root.getRootNode().activeElement)) return;
    event.preventDefault();
    zoom.zoomBy(Math.exp(-event.deltaY / 400), canvas, event.offsetX, event.offsetY);
  }, { passive: false });
}

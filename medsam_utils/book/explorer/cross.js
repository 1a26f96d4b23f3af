// A cross that the keyboard moves over a picture, and with which it clicks. Goes before explorer.js, in one module.

const STEPS = 40; // presses of an arrow key from one side of a picture to the other; with Shift a pixel each

/** The cross of all pictures. onEnter: called with row, column and whether Shift was held; say: tells a screen reader. */
function crossing({ get, redraw, clickable, onEnter, say }) {
  let at = null, seen = ""; // [row, col], in the middle at first, and of a picture of another shape
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const isFocused = (canvas) => canvas.getRootNode().activeElement === canvas;
  const inside = () => {
    const { shape } = get("scene");
    if (seen !== `${shape}`) [at, seen] = [null, `${shape}`];
    return shape.map((size, i) => clamp(at?.[i] ?? size >> 1, 0, size - 1));
  };

  /** Let a canvas move the cross while it has the keyboard; a mouse or a finger leaves that where it is. */
  function listenTo(canvas) {
    canvas.onmousedown = (event) => event.preventDefault();
    canvas.onfocus = canvas.onblur = redraw;
    canvas.onkeydown = (event) => {
      const { key, shiftKey } = event, move = moves[key];
      if (event.altKey || event.metaKey || event.ctrlKey || !clickable() || !(move || key === "Enter" || key === " ")) return;
      event.preventDefault();
      event.stopPropagation();
      const size = shiftKey ? 1 : Math.max(Math.round(Math.max(...get("scene").shape) / STEPS), 1), place = inside();
      if (!move) return onEnter(...place, shiftKey);
      at = place.map((value, i) => value + size * move[i]);
      say(`row ${inside()[0]}, column ${inside()[1]}`);
      redraw();
    };
  }

  function draw(canvas, context, place, ratio) {
    if (!isFocused(canvas) || !clickable()) return;
    const [row, col] = inside(), { x, y } = place.transformPoint(new DOMPoint(col + 0.5, row + 0.5)), long = 14 * ratio;
    for (const [strokeStyle, lineWidth] of [["#000a", 4], ["#ffd60a", 2]]) {
      Object.assign(context, { strokeStyle, lineWidth: lineWidth * ratio });
      context.beginPath();
      for (const [dx, dy] of Object.values(moves)) {
        context.moveTo(x + (dx * long) / 4, y + (dy * long) / 4);
        context.lineTo(x + dx * long, y + dy * long);
      }
      context.stroke();
    }
  }

  return { listenTo, draw };
}

// A box round the object as a prompt, drawn by dragging. Goes before explorer.js, in one module.
//
// state.box is [first row, first col, last row, last col], the last ones included. Where choices.at_once says so, a
// mouse draws one over the whole image without the button.

function boxing({ model, choose, stage, position, redraw, isWhole }) {
  const get = (name) => model.get(name);
  let drag = null; // {canvas, id, from: [row, col], at: [x, y], box} while one is drawn
  let corner = null; // [row, col] of one that the keyboard began
  const tool = button("box", "Draw a box round the object by dragging (b)", () => press(tool.ariaPressed !== "true"));
  const press = (on) => { tool.ariaPressed = `${on}`; corner = null; redraw(); };
  press(false);
  const pixel = ({ canvas }, event) => position(canvas, event.offsetX, event.offsetY)
    .map((at, i) => clamp(Math.floor(at), 0, get("scene").shape[i] - 1));
  const on = (kind, act) => stage.addEventListener(kind, (event) => {
    if (drag ? event.pointerId !== drag.id : kind !== "pointerdown") return;
    const byMouse = get("choices").at_once && event.pointerType === "mouse" && isWhole();
    if (!drag && (!(tool.ariaPressed === "true" || byMouse) || event.button !== 0 || event.target.tagName !== "CANVAS")) return;
    if (tool.ariaPressed === "true") event.stopPropagation(); // else the picture would be moved
    act(event);
    redraw();
  }, true);
  const boxOf = ([a, b], [c, d]) => [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
  const take = (box) => {
    if (!box || box[0] === box[2] || box[1] === box[3]) return; // a click: the tool waits for a drag
    press(false);
    const { clicks } = get("state");
    choose({ clicks: Array.isArray(clicks) ? clicks : [], box, candidate: null }); // not those of Algorithm 1
  };
  /** A corner given by the keyboard; the second one makes the box. */
  const mark = (row, col) => {
    const from = corner;
    corner = from ? null : [row, col];
    if (from) take(boxOf(from, [row, col]));
    redraw();
  };
  on("pointerdown", (event) => {
    const canvas = event.target;
    canvas.setPointerCapture(event.pointerId);
    canvas.closest(".medsam-explorer").focus({ preventScroll: true });
    drag = { canvas, id: event.pointerId, from: pixel({ canvas }, event), at: [event.clientX, event.clientY], box: null };
  });
  on("pointermove", (event) => {
    if (Math.hypot(event.clientX - drag.at[0], event.clientY - drag.at[1]) < 4) return; // a click of an unsteady hand
    drag.box = boxOf(drag.from, pixel(drag, event));
  });
  on("pointerup", () => {
    const { box } = drag;
    drag = null;
    take(box);
  });
  on("pointercancel", () => { drag = null; });

  /** The box as a dashed rectangle. place: from pixels of the image to those of the canvas. */
  function draw(context, place, ratio) {
    const box = drag?.box ?? (corner ? boxOf(corner, corner) : get("state").box);
    if (!box) return;
    const from = place.transformPoint(new DOMPoint(box[1], box[0]));
    const to = place.transformPoint(new DOMPoint(box[3] + 1, box[2] + 1));
    for (const [strokeStyle, lineWidth, dashes] of [["#000a", 3.5, []], ["#ffd60a", 1.8, [6, 4]]]) {
      Object.assign(context, { strokeStyle, lineWidth: lineWidth * ratio });
      context.setLineDash(dashes.map((d) => d * ratio));
      context.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
    }
    context.setLineDash([]);
  }

  const said = () => {
    const { box } = get("state");
    return box ? ` Box: rows ${box[0]} to ${box[2]}, columns ${box[1]} to ${box[3]}.` : "";
  };

  return { tool, draw, said, mark, active: () => tool.ariaPressed === "true" };
}

// A window that is changed by dragging over a slice: with the right button, or, after "contrast" is pressed, with any
// pointer. Goes before own/controls.js, in one function.

const HALF_WAY = 150; // pixels of a drag that double or halve the width, or move the centre by half of it

/** Listen to drags in an element that holds the pictures; {tool}, the button. own: see `ownImages`. */
function windowing({ stage, own }) {
  const tool = button("contrast", "Change the window by dragging: across its width, up and down its centre (w)", () => {
    tool.ariaPressed = `${tool.ariaPressed !== "true"}`;
    stage.classList.toggle("windowing", tool.ariaPressed === "true");
  });
  tool.ariaPressed = "false";
  let drag = null; // {byTool, id, from: [x, y], start: {centre, width}, before, window} while one is done

  const on = (kind, act) => stage.addEventListener(kind, (event) => {
    if (drag ? event.pointerId !== drag.id : kind !== "pointerdown") return;
    const ended = drag;
    act(event);
    if ((drag ?? ended)?.byTool) event.stopPropagation(); // else it would be a click
  }, true);
  on("pointerdown", (event) => {
    const { target, button: pressed, pointerId, clientX, clientY } = event, byTool = tool.ariaPressed === "true" && pressed === 0;
    if (target.tagName !== "CANVAS" || !own.shown.image.affine || !(byTool || pressed === 2)) return;
    target.setPointerCapture(pointerId);
    drag = { byTool, id: pointerId, from: [clientX, clientY], start: own.window, before: own.shown.window, window: null };
  });
  on("pointermove", (event) => {
    const { from: [x, y], start } = drag, [across, down] = [event.clientX - x, event.clientY - y];
    if (!drag.window && Math.hypot(across, down) < 4) return; // a click of an unsteady hand
    drag.window = { centre: start.centre + (start.width * down) / (2 * HALF_WAY), width: Math.max(start.width, 1e-6) * 2 ** (across / HALF_WAY) };
    own.toWindow(drag.window, true);
  });
  on("pointerup", () => {
    const { window } = drag;
    drag = null;
    if (window) own.toWindow(window);
  });
  on("pointercancel", () => {
    const { window, before } = drag;
    drag = null;
    if (window) own.toWindow(before);
  });
  return { tool };
}

// Annotating with a kernel: boxes, candidates, names, what is accepted, where it is saved. Goes with explorer.js.
//
// Two more values of the model: accepted [{dataset, task, case, class_name, model}], and notice, what Python says
// to the messages {accept: [model]}, {withdraw: [dataset, task, case, class]}, {save: [folder, formats, replace]}
// and {resume: [folder]}. state.box is [first row, first col, last row, last col], the last ones included.

function annotating({ model, choose, stage, position, redraw, button, row }) {
  const get = (name) => model.get(name);
  const own = () => (Array.isArray(get("state").clicks) ? get("state").clicks : []);

  // ---- a box, by drag
  let drag = null; // {canvas, id, from: [row, col], box} while one is drawn
  const tool = button("box", "Draw a box round the object by dragging (b)", () => press(tool.ariaPressed !== "true"));
  const press = (on) => { tool.ariaPressed = `${on}`; redraw(); };
  press(false);
  const pixel = ({ canvas }, event) => position(canvas, event.offsetX, event.offsetY)
    .map((at, i) => clamp(Math.floor(at), 0, get("scene").shape[i] - 1));
  const on = (kind, act) => stage.addEventListener(kind, (event) => {
    if (drag ? event.pointerId !== drag.id : kind !== "pointerdown") return;
    if (!drag && (tool.ariaPressed !== "true" || event.button !== 0 || event.target.tagName !== "CANVAS")) return;
    event.stopPropagation(); // else the picture would be moved
    act(event);
    redraw();
  }, true);
  on("pointerdown", (event) => {
    const canvas = event.target;
    canvas.setPointerCapture(event.pointerId);
    canvas.closest(".medsam-explorer").focus({ preventScroll: true });
    drag = { canvas, id: event.pointerId, from: pixel({ canvas }, event), box: null };
  });
  on("pointermove", (event) => {
    const [[a, b], [c, d]] = [drag.from, pixel(drag, event)];
    drag.box = [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
  });
  on("pointerup", () => {
    const { box } = drag;
    drag = null;
    if (!box || box[0] === box[2] || box[1] === box[3]) return; // a click: the tool waits for a drag
    press(false);
    choose({ clicks: own(), box, candidate: null });
  });
  on("pointercancel", () => { drag = null; });

  /** The box as a dashed rectangle. place: from pixels of the image to those of the canvas. */
  function draw(context, place, ratio) {
    const box = drag?.box ?? get("state").box;
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

  // ---- which candidate counts, and whether it is accepted
  const count = (answer, i) => choose({ clicks: answer.clicks, candidate: { ...get("state").candidate, [answer.model]: i } });
  const candidate = (answer, i) => {
    const node = button(`${i + 1}`, `Let candidate ${i + 1} of ${answer.model} count (k: the next one of the first model)`, () => count(answer, i));
    node.ariaPressed = `${i === answer.chosen}`;
    return node;
  };
  const accept = (answer) => {
    const node = button(answer.accepted ? "accepted ✓" : "accept", answer.accepted
      ? `The mask of ${answer.model} is accepted: press to withdraw it` : `Accept the mask of ${answer.model} (a: first model)`,
    () => model.send(answer.accepted ? { withdraw: [] } : { accept: [answer.model] }));
    node.ariaPressed = `${answer.accepted}`;
    return node;
  };

  // ---- names, files
  const field = (text, properties) => {
    const node = make("input", { type: "text", spellcheck: false, ...properties });
    return { node, label: make("label", {}, `${text} `, node) };
  };
  const tick = (text, checked) => {
    const node = make("input", { type: "checkbox", checked });
    return { node, label: make("label", {}, node, text) };
  };
  const name = field("Class", { title: "What the mask is called; each class of an image has clicks of its own" });
  name.node.onchange = () => choose({ class: name.node.value, clicks: null, box: null, candidate: null });
  const folder = field("Folder", { value: "annotations", title: "Where the session is saved, seen from the notebook" });
  const formats = { nifti: tick("NIfTI", true), png: tick("PNG", true), coco: tick("COCO", true) };
  const replace = tick("replace files of others", false);
  const chosen = () => Object.keys(formats).filter((format) => formats[format].node.checked);
  const save = button("save", "Save the session and its accepted masks", () =>
    model.send({ save: [folder.node.value, chosen(), replace.node.checked] }));
  const resume = button("resume", "Go on from the session in the folder", () => model.send({ resume: [folder.node.value] }));
  const notice = make("p", { className: "notice", role: "status", "aria-live": "polite" });
  const list = make("details", {}, make("summary", {}), make("ul", {}));

  function update() {
    const { class: called, ...state } = get("state"), accepted = get("accepted");
    if (name.node !== name.node.getRootNode().activeElement) name.node.value = called || get("choices").class;
    notice.textContent = get("notice");
    list.hidden = !accepted.length;
    list.firstChild.textContent = `${accepted.length} accepted`;
    list.lastChild.replaceChildren(...accepted.map((one) => {
      const text = `${one.class_name} · ${one.case} · ${one.model}`;
      const { class_name, model: by, ...object } = one;
      return make("li", {}, `${text} `,
        button("show", `Show ${text}`, () => choose({ ...object, class: class_name, clicks: null, box: null, candidate: null })),
        button("withdraw", `Withdraw ${text}`, () => model.send({ withdraw: [one.dataset, one.task, one.case, class_name] })));
    }));
    return state.box ? ` Box: rows ${state.box[0]} to ${state.box[2]}, columns ${state.box[1]} to ${state.box[3]}.` : "";
  }

  return {
    tool, draw, update, candidate, accept,
    active: () => tool.ariaPressed === "true",
    controls: [row(name.label, list),
      row(folder.label, ...Object.values(formats).map((f) => f.label), replace.label, save, resume), notice],
    keys: {
      b: () => tool.click(),
      a: (answer) => model.send({ accept: [answer.model] }),
      k: (answer) => answer.candidates.length && count(answer, (answer.chosen + 1) % answer.candidates.length),
    },
  };
}

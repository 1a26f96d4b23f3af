// One case, its masks and its clicks: live in JupyterLab (anywidget) and without a kernel in a page.
//
// The view knows a model with get, set, save_changes, on and send, and four values of it:
//   state    {dataset, task, case, clicks}: all that is chosen. clicks is a number, the first so many clicks
//            that Algorithm 1 makes for each model, a list of [row, col, 1 positive or 0 negative], or missing: for
//            those that were made before. box: see box.js. Live also candidate and class: see annotate.js.
//   choices  what can be chosen: datasets, tasks, cases [{case, text}], last (number of clicks), live, code,
//            clickable where clicks are answered without a kernel, offer {button, text, problem} to make them so;
//            at_once where a page begins with the reader's own clicks, and shows little else.
//   scene    {image: address of a picture of any size, or a canvas with it, shape: [rows, cols] of the image, step,
//            truth, still: whether the view stays}.
//   answers  of each model: {model, clicks, mask, iou, predicted, candidates: [[predicted, iou], ...],
//            chosen, simulated: {clicks, iou} or null, problem}.
// Live there are also objects, progress and files: see annotate.js; and a case of a volume says which, as `volume`.
// Masks are COCO's compressed run lengths on the image's grid, reduced by `step`.
// Live, Python answers a new state; in a page stored.js does, from what Python stored.

/** Show a model in an element. beside: makes what stands beside the pictures, by default `annotating` of annotate.js. */
function render({ model, el, beside = typeof annotating === "function" ? annotating : null }) {
  const state = chosenState(model), { get, clickable, isSimulated } = state;
  const shown = { truth: true, prediction: true, others: true, errors: false, simulated: false, opacity: 1 };
  let panels = [], negative = false, waiting = 0;

  const redraw = () => {
    if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; panels.forEach(pictures.draw); });
  };
  const stage = make("div", { className: "panels" });
  const zoom = zooming({ get, redraw, firstCanvas: () => panels[0].canvas, beforeMove: () => panels.forEach(pictures.keepStill) });
  const boxes = boxing({ model, stage, redraw, choose: state.choose, position: zoom.position, isWhole: zoom.isWhole });
  const cross = crossing({ get, redraw, clickable, onEnter: (...at) => clickByKey(...at), say: (text) => { spoken.textContent = text; } });
  const pictures = drawing({ get, shown, zoom, boxes, cross, isSimulated, redraw });
  const annotation = beside?.({ model, choose: state.choose }) ?? null;

  // ---- the controls
  const lists = {
    dataset: list("Dataset", state.toDataset), task: list("Task", state.toTask),
    volume: list("Volume", (volume) => model.send({ open: [volume] })), case: list("Case", state.toCase),
  };
  const slider = make("input", { type: "range", min: 1, step: 1, oninput: () => state.toClick(+slider.value), "aria-label": "Clicks shown" });
  const sliderText = make("span", { className: "made" });
  const stepping = [button("‹", "One click less (left arrow)", () => state.step(-1)), button("›", "One click more (right arrow)", () => state.step(1))];
  const undoing = button("undo", "Undo the last click (u)", state.undo);
  const sign = button("next: +", "Is the next click inside the object? (m)", () => { negative = !negative; update(); });
  const again = button("Algorithm 1", "Let Algorithm 1 click (r)", () => state.toClick(1));
  const { toggles, nodes: layerNodes } = layers({ shown, redraw, onCompare: (on) => model.send({ compare: [on] }) });
  const zoomButtons = [
    button("−", "Zoom out (x)", () => zoom.zoomBy(1 / 1.5)),
    button("+", "Zoom in (z)", () => zoom.zoomBy(1.5)),
    button("fit", "Whole image (f)", zoom.fit),
  ];
  const code = codeLine(state), offer = offering(() => model.send({ offer: true }));
  const keys = make("details", {}, make("summary", {}, "Keys"), make("p", {}));
  const spoken = make("p", { className: "spoken", role: "status", "aria-live": "polite" });
  const root = make(
    "div", { className: "medsam-explorer", tabIndex: 0, role: "group", "aria-label": "Explorer of single cases" },
    row(...Object.values(lists).map((one) => one.label), ...(annotation ? [annotation.done] : [])),
    row(stepping[0], slider, stepping[1], sliderText, undoing, sign, again, boxes.tool),
    ...(annotation?.controls ?? []), offer.bar, stage,
    row(...layerNodes, make("span", {}, ...zoomButtons)), code.bar, keys, spoken,
  );
  root.classList.toggle("annotating", Boolean(annotation));
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab has keys of its own: a and b insert cells
  root.onkeydown = keyboard({ root, actions: {
    ArrowLeft: () => state.step(-1), ArrowRight: () => state.step(1),
    ArrowUp: () => state.stepCase(-1), ArrowDown: () => state.stepCase(1),
    z: () => zoom.zoomBy(1.5), x: () => zoom.zoomBy(1 / 1.5), f: zoom.fit,
    u: state.undo, Backspace: state.undo, "ctrl z": state.undo,
    t: () => toggles.truth.box.click(), p: () => toggles.prediction.box.click(), e: () => toggles.errors.box.click(),
    c: () => code.copy.click(), r: () => again.click(), m: () => clickable() && sign.click(),
    b: () => clickable() && boxes.tool.click(), n: () => panels[0].next.hidden || panels[0].next.click(),
    ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => [n, () => state.toClick(n)])),
    ...Object.fromEntries(Object.entries(annotation?.keys ?? {}).map(([key, act]) => [key, () => act(panels[0].answer)])),
  } });

  // ---- the pictures
  function clickAt(canvas, event) {
    const [rowAt, colAt] = zoom.position(canvas, event.offsetX, event.offsetY).map(Math.floor);
    const [rows, cols] = get("scene").shape;
    if (rowAt < 0 || colAt < 0 || rowAt >= rows || colAt >= cols) return;
    state.addClick(rowAt, colAt, !(event.button === 2 || event.shiftKey || negative));
  }

  function clickByKey(rowAt, colAt, outside) {
    if (boxes.active()) boxes.mark(rowAt, colAt);
    else state.addClick(rowAt, colAt, !(outside || negative));
  }

  function panel({ model: name }) {
    const canvas = make("canvas");
    cross.listenTo(canvas);
    const text = make("figcaption", {}), more = make("div", { className: "more" }); // above and below the picture
    const next = button("Algorithm 1's next click", "Click where this model is most wrong (n: first model)", () => model.send({ next: [name] }));
    listen(canvas, { zoom, root, clickable, onClick: (event) => clickAt(canvas, event) });
    return { canvas, text, more, next, node: make("figure", {}, text, canvas, more, next), name };
  }

  // ---- from a new state to what is shown
  function update() {
    const [chosen, choices, scene, answers] = ["state", "choices", "scene", "answers"].map(get);
    fill(lists.dataset, choices.datasets.map((d) => [d, d]), chosen.dataset);
    fill(lists.task, choices.tasks.map((t) => [t, choices.at_once ? t.replace(`${chosen.dataset}: `, "") : t]), chosen.task);
    fillCases(chosen, choices);
    updateControls(chosen, choices, scene);
    annotation?.update();
    if (panels.map((p) => p.name).join("\n") !== answers.map((a) => a.model).join("\n")) {
      panels = answers.map(panel);
      stage.replaceChildren(...panels.map((p) => p.node));
      panels.forEach((p) => resized.observe(p.canvas));
    }
    panels.forEach((p, i) => (p.answer = answers[i]));
    for (const { canvas } of panels) Object.assign(canvas, clickable() ? { tabIndex: 0, role: "application" } : { tabIndex: -1, role: "img" });
    const compared = shown.simulated && !isSimulated();
    const said = panels.map((p) => describe(p, { chosen, choices, scene, compared, annotation, root }));
    spoken.textContent = `${chosen.case}, ${sliderText.textContent}.${boxes.said()} ${said.join(". ")}`;
    if (pictures.setPicture(scene.image) && !scene.still) zoom.fit();
    redraw();
  }

  function fillCases(chosen, { cases }) {
    const progress = get("progress") ?? {};
    const volumes = [...new Set(cases.map((c) => c.volume).filter(Boolean))];
    const volume = cases.find((c) => c.case === chosen.case)?.volume;
    const inVolume = volumes.length > 1 ? cases.filter((c) => c.volume === volume) : cases;
    const worked = (name) => cases.filter((c) => c.volume === name && progress[c.case]).length;
    const count = (name) => (worked(name) ? ` · ${worked(name)} slice${worked(name) === 1 ? "" : "s"} annotated` : "");
    fill(lists.volume, volumes.map((name) => [name, name + count(name)]), volume);
    fill(lists.case, inVolume.map((c) => [c.case, c.text + (progress[c.case] ? ` · ${progress[c.case]}` : "")]), chosen.case);
  }

  function updateControls({ clicks }, choices, scene) {
    const made = isSimulated() ? clicks : state.clicksNow().length;
    const brief = Boolean(choices.at_once) && !isSimulated();
    slider.max = choices.last;
    slider.value = isSimulated() ? clicks : 1;
    sliderText.textContent = isSimulated()
      ? `${made} of ${choices.last} click${choices.last === 1 ? "" : "s"}` : `${made} own click${made === 1 ? "" : "s"}`;
    for (const node of [sign, undoing, boxes.tool]) node.hidden = !clickable();
    toggles.simulated.label.hidden = !choices.live;
    toggles.others.label.hidden = (get("objects") ?? []).length < 2;
    toggles.prediction.key.style.background = dashesOf(pictures.predictionColour());
    again.hidden = !clickable() || !scene.truth || isSimulated();
    sign.textContent = negative ? "next: −" : "next: +";
    for (const node of [toggles.truth.label, toggles.errors.label]) node.hidden = !scene.truth;
    slider.hidden = !scene.truth || brief;
    for (const node of [...stepping, code.bar]) node.hidden = brief;
    root.classList.toggle("at-once", brief);
    offer.update(choices.offer);
    code.update();
    keys.lastChild.textContent =
      "← → clicks, ↑ ↓ cases, 1 to 9 that click, z x zoom (or the wheel after a click into the picture; drag moves), f whole image, " +
      "t truth, p prediction, e errors, u undo, c copy" +
      (clickable() ? "; click: inside the object, right or shift click: outside, m changes that for touch, b box" : "") +
      (clickable() ? "; Tab to the picture: arrow keys move a cross (Shift: by one pixel), Enter clicks there" : "") +
      (clickable() && scene.truth ? ", r Algorithm 1 alone" : "") + (annotation ? `, ${annotation.said}.` : ".");
  }

  const resized = new ResizeObserver(redraw);
  el.append(root);
  el.explorer = model; // el.explorer.get("state") reads, .set("state", {...}) and .save_changes() write
  for (const name of ["state", "choices", "scene", "answers", "accepted", "objects", "progress", "files", "notice"]) model.on(`change:${name}`, update);
  update();
  return () => resized.disconnect();
}

/** Act on a key. actions: by the key's name, "ctrl z" with Control held. */
function keyboard({ root, actions }) {
  return (event) => {
    const field = event.target.closest("input, select, textarea");
    if (event.key === "Enter" && field?.type === "text") { // JupyterLab keeps Enter from changing a field
      field.blur();
      if (root.getRootNode().activeElement !== field) root.focus({ preventScroll: true });
      return;
    }
    if (event.altKey || event.metaKey || (field && field.type !== "checkbox")) return;
    const act = actions[event.ctrlKey ? `ctrl ${event.key}` : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  };
}

/** Write below a picture what the model answered; returns it as a sentence. */
function describe({ canvas, text, more, next, answer }, { chosen, choices, scene, compared, annotation, root }) {
  const [rows, cols] = scene.shape;
  canvas.style.aspectRatio = `${cols} / ${rows}`;
  const scores = `IoU ${number(answer.iou)}, predicted IoU ${number(answer.predicted)}`;
  const clicks = answer.clicks.map(([r, c, positive], i) => `${i + 1} ${positive ? "positive" : "negative"} at row ${r}, column ${c}`);
  const how = canvas.tabIndex ? "" : " Arrow keys move the cross, Enter clicks there.";
  canvas.setAttribute("aria-label", `${chosen.case}, ${answer.model}: ${scores}. Clicks: ${clicks.join("; ") || "none"}.${how}`);
  const candidate = ([predicted, iou], i) => make("tr", { className: i === answer.chosen ? "chosen" : "" },
    make("td", {}, annotation?.candidate(answer, i) ?? `${i + 1}`, i === answer.chosen ? " counts" : ""),
    make("td", {}, number(predicted)), make("td", {}, number(iou)));
  const table = make("table", { "aria-label": `Candidate masks of ${answer.model}` },
    make("tr", {}, ...["candidate", "predicted", "IoU"].map((t) => make("th", { scope: "col" }, t))),
    ...answer.candidates.map(candidate));
  const simulated = compared && answer.simulated
    ? [make("div", {}, `Algorithm 1 with as many clicks: IoU ${number(answer.simulated.iou)}`)] : [];
  const problem = answer.problem ? [make("div", { className: "problem" }, answer.problem)] : [];
  const pressed = () => [text, more].flatMap((node) => [...node.querySelectorAll("button")]);
  const focus = pressed().indexOf(root.getRootNode().activeElement);
  const scored = (value) => make("span", { className: "score" }, number(value));
  text.replaceChildren(make("strong", {}, answer.model), " IoU ", scored(answer.iou), " · predicted ", scored(answer.predicted),
    ...(annotation ? [" ", annotation.accept(answer)] : []));
  more.replaceChildren(...simulated, ...problem, ...(answer.candidates.length ? [table] : []));
  pressed()[focus]?.focus({ preventScroll: true });
  next.hidden = !choices.live || !scene.truth;
  return `${answer.model}: ${scores}`;
}

export default { render };

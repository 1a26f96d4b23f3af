// One case, its masks and its clicks: live in JupyterLab (anywidget) and without a kernel in a page.
//
// The view knows a model with get, set, save_changes, on and send, and four values of it:
//   state    {dataset, task, case, clicks}: all that is chosen. clicks is a number, the first so many clicks
//            that Algorithm 1 makes for each model, a list of [row, col, 1 positive or 0 negative], or missing: for
//            those that were made before. box: see box.js. Live also candidate and class: see annotate.js.
//   choices  what can be chosen: datasets, tasks, cases [{case, text}], last (number of clicks), live, code,
//            clickable where clicks are answered without a kernel, offer {button, text, problem} to make them so;
//            at_once where a page begins with the reader's own clicks, and shows little else.
//   scene    {image: address of a picture of any size, shape: [rows, cols] of the image, step, truth}.
//   answers  of each model: {model, clicks, mask, iou, predicted, candidates: [[predicted, iou], ...],
//            chosen, simulated: {clicks, iou} or null, problem}.
// Masks are COCO's compressed run lengths on the image's grid, reduced by `step`.
// Live, Python answers a new state; in a page stored.js does, from what Python stored.

const COLOURS = { truth: "#00c853", prediction: "#ff3b30", missed: "#2b8cff", extra: "#ff9f0a" };
const number = (value) => (value == null ? "–" : value.toFixed(2));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** A picture of what is wrong: blue where the object is missed, orange where too much is taken. */
function errorPicture(truth, mask, rows, cols) {
  const picture = make("canvas", { width: cols, height: rows });
  const pixels = new ImageData(cols, rows);
  const colours = [COLOURS.extra, COLOURS.missed].map((c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)));
  truth.forEach((inside, i) => {
    if (inside !== mask[i]) pixels.data.set([...colours[inside], 255], 4 * i);
  });
  picture.getContext("2d").putImageData(pixels, 0, 0);
  return picture;
}

/** An element with properties, attributes (names that are no property) and children. */
function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const view = { zoom: 1, row: 0, col: 0 }; // the zoom over the whole image, and what is in the middle
  const shown = { truth: true, prediction: true, errors: false, simulated: false, opacity: 1 };
  let panels = [], picture = new Image(), address = "", negative = false, waiting = 0;
  const drawn = new Map(); // masks decoded and traced, by their text

  // ---- the state, read and written
  const get = (name) => model.get(name);
  // Null takes a value away: a state without empty values comes back from Python only if it was not whole, so a
  // click's own state never overwrites a newer click.
  const choose = (changes) => {
    const chosen = Object.entries({ ...get("state"), ...changes }).filter(([, value]) => value !== null);
    model.set("state", Object.fromEntries(chosen));
    model.save_changes();
  };
  const clickable = () => get("choices").live || get("choices").clickable;
  const isSimulated = () => typeof get("state").clicks === "number";
  const toClick = (n) => choose({ clicks: clamp(n, 1, get("choices").last), box: null, candidate: null });
  const clicksNow = () => get("state").clicks ?? []; // missing until Python has told those of before
  const undo = () => {
    const { clicks } = get("state");
    if (isSimulated()) toClick(clicks - 1);
    else if (get("choices").live) model.send({ undo: [] });
    else choose(clicks.length ? { clicks: clicks.slice(0, -1) } : { box: null });
  };
  const toCase = (steps) => {
    const cases = get("choices").cases.map((c) => c.case);
    const to = cases.indexOf(get("state").case) + steps;
    if (cases[to] !== undefined) choose({ case: cases[to], ...fresh() });
  };
  const line = () => `Explorer(${get("choices").code}, state=${JSON.stringify(get("state"))})`;

  // ---- the controls
  const select = (name, changes) => {
    const node = make("select", { "aria-label": name, onchange: () => choose(changes(node.value)) });
    return { node, label: make("label", {}, `${name} `, node) };
  };
  const fresh = () => (isSimulated() ? {} : { clicks: get("choices").live ? null : [], box: null, candidate: null });
  const dataset = select("Dataset", (value) => ({ dataset: value, task: "", case: "", class: "", ...fresh() }));
  const task = select("Task", (value) => ({ task: value, case: get("choices").live || get("choices").at_once ? get("state").case : "", class: "", ...fresh() }));
  const chosenCase = select("Case", (value) => ({ case: value, ...fresh() }));
  const button = (text, title, onclick) => make("button", { type: "button", title, onclick, "aria-label": title }, text);
  const slider = make("input", { type: "range", min: 1, step: 1, oninput: () => toClick(+slider.value) });
  slider.setAttribute("aria-label", "Clicks shown");
  const sliderText = make("span", { className: "made" });
  const toggle = (name, text, colour) => {
    const box = make("input", { type: "checkbox", checked: shown[name] });
    box.onchange = () => { shown[name] = box.checked; name === "simulated" ? model.send({ compare: [box.checked] }) : redraw(); };
    const key = make("span", { className: "key", hidden: !colour });
    key.style.background = colour;
    const label = make("label", {}, box, key, text);
    return { box, label };
  };
  const toggles = {
    truth: toggle("truth", "truth", COLOURS.truth),
    prediction: toggle("prediction", "prediction", `repeating-linear-gradient(90deg, ${COLOURS.prediction} 0 6px, #0000 6px 9px)`),
    errors: toggle("errors", "errors", `linear-gradient(90deg, ${COLOURS.missed} 50%, ${COLOURS.extra} 50%)`),
    simulated: toggle("simulated", "Algorithm 1's clicks", ""),
  };
  toggles.errors.label.title = "blue: the object was missed; orange: too much was taken";
  const opacity = make("input", { type: "range", min: 0.1, max: 1, step: 0.1, value: 1 });
  opacity.oninput = () => { shown.opacity = +opacity.value; redraw(); };
  const zooming = [
    button("−", "Zoom out (x)", () => zoomBy(1 / 1.5)),
    button("+", "Zoom in (z)", () => zoomBy(1.5)),
    button("fit", "Whole image (f)", () => fit()),
  ];
  const undoing = button("undo", "Undo the last click (u)", undo);
  const sign = button("next: +", "Is the next click inside the object? (m)", () => { negative = !negative; update(); });
  const again = button("Algorithm 1", "Let Algorithm 1 click (r)", () => toClick(1));
  const code = make("input", { className: "code", spellcheck: false, "aria-label": "The state as a line of code; can be changed" });
  code.onchange = () => {
    try {
      const text = code.value.slice(code.value.indexOf("{"), code.value.lastIndexOf("}") + 1);
      choose(JSON.parse(text));
    } catch {
      code.setCustomValidity("This is no state: copy one and change it.");
      code.reportValidity();
    }
  };
  code.oninput = () => code.setCustomValidity("");
  const copy = button("copy", "Copy the state as a line of code (c)", async () => {
    code.select();
    await (navigator.clipboard?.writeText(code.value) ?? Promise.reject()).catch(() => document.execCommand("copy"));
    copy.textContent = "copied";
    setTimeout(() => (copy.textContent = "copy"), 1500);
  });
  const row = (...children) => make("div", { className: "bar" }, ...children);
  const offer = row(button("Click yourself", "Click yourself", () => model.send({ offer: true })), make("span", {}));
  const spoken = make("p", { className: "spoken", role: "status", "aria-live": "polite" });
  const stage = make("div", { className: "panels" });
  const keys = make("details", {}, make("summary", {}, "Keys"), make("p", {}));
  const boxes = boxing({ model, choose, stage, button, position: (...at) => position(...at),
    redraw: () => redraw(), isWhole: () => view.zoom === 1 });
  const annotation = typeof annotating === "function" ? annotating({ model, choose, button, row }) : null;
  const stepping = [button("‹", "One click less (left arrow)", () => step(-1)), button("›", "One click more (right arrow)", () => step(1))];
  const written = row(code, copy);
  const root = make(
    "div", { className: "medsam-explorer", tabIndex: 0, role: "group", "aria-label": "Explorer of single cases" },
    row(dataset.label, task.label, chosenCase.label),
    row(stepping[0], slider, stepping[1], sliderText, undoing, sign, again, boxes.tool), offer, stage,
    row(...Object.values(toggles).map((t) => t.label), make("label", {}, "opacity ", opacity), make("span", {}, ...zooming)),
    ...(annotation?.controls ?? []), written, keys, spoken,
  );
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab has keys of its own: a and b insert cells

  const step = (by) => toClick((isSimulated() ? get("state").clicks : 0) + by);

  // ---- zoom and pan, one view for all panels
  const fit = () => {
    const [rows, cols] = get("scene").shape;
    clearTimeout(moving);
    moving = 0;
    Object.assign(view, { zoom: 1, row: rows / 2, col: cols / 2 });
    redraw();
  };
  const pixelsPerPixel = (canvas) => {
    const [rows, cols] = get("scene").shape;
    return view.zoom * Math.min(canvas.clientWidth / cols, canvas.clientHeight / rows);
  };
  const position = (canvas, x, y) => {
    const size = pixelsPerPixel(canvas);
    return [view.row + (y - canvas.clientHeight / 2) / size, view.col + (x - canvas.clientWidth / 2) / size];
  };
  let moving = 0; // the timer that ends a move: until then a large image's last drawing is moved, not drawn anew
  const moveTo = (rowAt, colAt) => {
    const [rows, cols] = get("scene").shape;
    if (!moving && rows * cols > 1e6) panels.forEach(keepStill);
    clearTimeout(moving);
    moving = rows * cols > 1e6 && setTimeout(() => { moving = 0; redraw(); }, 120);
    Object.assign(view, { row: clamp(rowAt, 0, rows), col: clamp(colAt, 0, cols) });
    redraw();
  };
  const zoomBy = (factor, canvas = panels[0].canvas, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) => {
    const [rowAt, colAt] = position(canvas, x, y);
    const before = view.zoom;
    view.zoom = clamp(before * factor, 1, 40);
    if (view.zoom === 1) return fit();
    const kept = before / view.zoom; // what was under the finger stays there
    moveTo(rowAt + (view.row - rowAt) * kept, colAt + (view.col - colAt) * kept);
  };

  function listen(canvas) {
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
      const size = pixelsPerPixel(canvas);
      if (view.zoom > 1) moveTo(view.row - y / size, view.col - x / size);
      if (wide && wider) zoomBy(wider / wide, canvas, ...after);
    };
    canvas.onpointerup = (event) => {
      fingers.delete(event.pointerId);
      if (moved < 4 && !fingers.size && clickable()) clickAt(canvas, event);
    };
    canvas.onpointercancel = (event) => fingers.delete(event.pointerId);
    canvas.oncontextmenu = (event) => clickable() && event.preventDefault();
    canvas.addEventListener("wheel", (event) => {
      // the page scrolls until the reader has clicked into the explorer
      if (!event.ctrlKey && !root.contains(root.getRootNode().activeElement)) return;
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / 400), canvas, event.offsetX, event.offsetY);
    }, { passive: false });
  }

  function clickAt(canvas, event) {
    const [rowAt, colAt] = position(canvas, event.offsetX, event.offsetY).map(Math.floor);
    const [rows, cols] = get("scene").shape;
    if (rowAt < 0 || colAt < 0 || rowAt >= rows || colAt >= cols) return;
    const outside = event.button === 2 || event.shiftKey || negative;
    const earlier = isSimulated() ? [] : clicksNow();
    choose({ clicks: [...earlier, [rowAt, colAt, outside ? 0 : 1]], candidate: null });
  }

  root.onkeydown = (event) => {
    const field = event.target.closest("input, select, textarea");
    if (event.key === "Enter" && field?.type === "text") { // JupyterLab keeps Enter from changing a field
      field.blur();
      if (root.getRootNode().activeElement !== field) root.focus({ preventScroll: true });
      return;
    }
    if (event.altKey || event.metaKey || (field && field.type !== "checkbox") || (event.ctrlKey && event.key !== "z")) return;
    const act = {
      ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => toCase(-1), ArrowDown: () => toCase(1),
      z: () => (event.ctrlKey ? undo() : zoomBy(1.5)), x: () => zoomBy(1 / 1.5), f: fit, u: undo, Backspace: undo,
      t: () => toggles.truth.box.click(), p: () => toggles.prediction.box.click(), e: () => toggles.errors.box.click(),
      c: () => copy.click(), m: () => clickable() && sign.click(), r: () => again.click(),
      b: () => clickable() && boxes.tool.click(), n: () => get("choices").live && panels[0].next.click(), ...annotation?.keys,
    }[event.key] ?? (/^[1-9]$/.test(event.key) && (() => toClick(+event.key)));
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(panels[0].answer);
  };

  // ---- drawing
  function tracedMask(text) {
    const { shape: [rows, cols], step: by } = get("scene");
    const size = [Math.ceil(rows / by), Math.ceil(cols / by)];
    const key = `${size} ${text}`;
    if (!drawn.has(key)) {
      if (drawn.size > 100) drawn.clear();
      const mask = decode(text, ...size);
      drawn.set(key, { mask, size, path: contour(mask, ...size) });
    }
    return drawn.get(key);
  }

  function draw(panel) {
    const { canvas, answer } = panel;
    const scene = get("scene"), ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !answer) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    canvas.style.touchAction = view.zoom > 1 || boxes.active() ? "none" : "pan-x pan-y"; // a finger scrolls the page over a whole image
    const size = pixelsPerPixel(canvas) * ratio, context = canvas.getContext("2d");
    const place = new DOMMatrix().translate(canvas.width / 2 - view.col * size, canvas.height / 2 - view.row * size).scale(size);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (moving && panel.still) {
      context.setTransform(place.multiply(panel.still.place.inverse()));
      context.drawImage(panel.still.canvas, 0, 0);
      return;
    }
    const masks = { truth: scene.truth && tracedMask(scene.truth), prediction: answer.mask && tracedMask(answer.mask) };
    const [rows, cols] = scene.shape;
    const onGrid = place.scale(scene.step);
    context.setTransform(place);
    context.imageSmoothingEnabled = size < 4;
    if (picture.naturalWidth) context.drawImage(picture, 0, 0, cols, rows);
    context.setTransform(onGrid);
    context.globalAlpha = shown.opacity;
    if (shown.errors && masks.truth && masks.prediction) {
      context.imageSmoothingEnabled = false;
      masks.prediction.errors ??= errorPicture(masks.truth.mask, masks.prediction.mask, ...masks.truth.size);
      context.globalAlpha *= 0.65;
      context.drawImage(masks.prediction.errors, 0, 0);
      context.globalAlpha = shown.opacity;
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    for (const name of ["truth", "prediction"]) {
      if (!shown[name] || !masks[name]) continue;
      const path = new Path2D();
      path.addPath(masks[name].path, onGrid);
      for (const [colour, wide, dashes] of [["#0008", 3.5, []], [COLOURS[name], 1.8, name === "truth" ? [] : [6, 4]]]) {
        Object.assign(context, { strokeStyle: colour, lineWidth: wide * ratio, lineJoin: "round" });
        context.setLineDash(dashes.map((d) => d * ratio));
        context.stroke(path);
      }
    }
    context.setLineDash([]);
    context.globalAlpha = 1;
    boxes.draw(context, place, ratio);
    const dots = (clicks, hollow) => clicks.forEach(([rowAt, colAt, positive], i) => {
      const { x, y } = place.transformPoint(new DOMPoint(colAt + 0.5, rowAt + 0.5));
      const colour = positive ? "#007a33" : "#c4170c"; // dark enough for white figures on them
      context.beginPath();
      context.arc(x, y, 8 * ratio, 0, 7);
      Object.assign(context, { fillStyle: colour, strokeStyle: hollow ? colour : "#fff", lineWidth: (hollow ? 2.5 : 1.5) * ratio });
      if (!hollow) context.fill();
      context.stroke();
      Object.assign(context, { fillStyle: "#fff", font: `bold ${10.5 * ratio}px system-ui`, textAlign: "center", textBaseline: "middle" });
      context.fillText(i + 1, x, y + 0.5 * ratio);
    });
    if (shown.simulated && answer.simulated && !isSimulated()) dots(answer.simulated.clicks, true);
    dots(answer.clicks, false);
    panel.place = place;
  }

  /** Keep what a panel shows, to be moved instead of it. */
  function keepStill(panel) {
    const { width, height } = panel.canvas;
    panel.still = panel.place && { place: panel.place, canvas: make("canvas", { width, height }) };
    panel.still?.canvas.getContext("2d").drawImage(panel.canvas, 0, 0);
  }

  function redraw() {
    if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; panels.forEach(draw); });
  }

  // ---- from a new state to what is shown
  function panel(answer) {
    const canvas = make("canvas", { role: "img" });
    const text = make("figcaption", {}), more = make("div", { className: "more" }); // above and below the picture
    const next = button("Algorithm 1's next click", "Click where this model is most wrong (n: first model)",
      () => model.send({ next: [answer.model] }));
    listen(canvas);
    return { canvas, text, more, next, node: make("figure", {}, text, canvas, more, next), name: answer.model };
  }

  function describe({ canvas, text, more, next, answer }) {
    const { live } = get("choices"), { shape: [rows, cols], truth } = get("scene");
    canvas.style.aspectRatio = `${cols} / ${rows}`;
    const scores = `IoU ${number(answer.iou)}, predicted IoU ${number(answer.predicted)}`;
    const signs = answer.clicks.map(([r, c, positive], i) => `${i + 1} ${positive ? "positive" : "negative"} at row ${r}, column ${c}`);
    canvas.setAttribute("aria-label", `${get("state").case}, ${answer.model}: ${scores}. Clicks: ${signs.join("; ") || "none"}.`);
    const table = make("table", { "aria-label": `Candidate masks of ${answer.model}` },
      make("tr", {}, ...["candidate", "predicted", "IoU"].map((t) => make("th", { scope: "col" }, t))),
      ...answer.candidates.map(([predicted, iou], i) => make("tr", { className: i === answer.chosen ? "chosen" : "" },
        make("td", {}, annotation?.candidate(answer, i) ?? `${i + 1}`, i === answer.chosen ? " counts" : ""), make("td", {}, number(predicted)), make("td", {}, number(iou)))));
    const compared = shown.simulated && answer.simulated && !isSimulated()
      ? [make("div", {}, `Algorithm 1 with as many clicks: IoU ${number(answer.simulated.iou)}`)] : [];
    const focus = [...more.querySelectorAll("button")].indexOf(root.getRootNode().activeElement);
    text.replaceChildren(make("strong", {}, answer.model), ` IoU ${number(answer.iou)} · predicted ${number(answer.predicted)}`);
    more.replaceChildren(...compared, ...(answer.problem ? [make("div", { className: "problem" }, answer.problem)] : []), ...(answer.candidates.length ? [table] : []),
      ...(annotation && answer.mask ? [annotation.accept(answer)] : []));
    more.querySelectorAll("button")[focus]?.focus({ preventScroll: true });
    next.hidden = !live || !truth;
    return `${answer.model}: ${scores}`;
  }

  function options(node, values, chosen) {
    const same = node.options.length === values.length && values.every(([v, t], i) => node.options[i].value === v && node.options[i].text === t);
    if (!same) node.replaceChildren(...values.map(([value, text]) => make("option", { value }, text)));
    node.value = chosen;
    node.parentNode.hidden = values.length < 2;
  }

  function update() {
    const [state, choices, scene, answers] = ["state", "choices", "scene", "answers"].map(get);
    options(dataset.node, choices.datasets.map((d) => [d, d]), state.dataset);
    options(task.node, choices.tasks.map((t) => [t, choices.at_once ? t.replace(`${state.dataset}: `, "") : t]), state.task);
    options(chosenCase.node, choices.cases.map((c) => [c.case, c.text]), state.case);
    slider.max = choices.last;
    slider.value = isSimulated() ? state.clicks : 1;
    const made = isSimulated() ? state.clicks : clicksNow().length;
    sliderText.textContent = isSimulated() ? `${made} of ${choices.last} clicks` : `${made} own click${made === 1 ? "" : "s"}`;
    for (const node of [sign, undoing, boxes.tool]) node.hidden = !clickable();
    annotation?.update();
    toggles.simulated.label.hidden = !choices.live;
    again.hidden = !clickable() || !scene.truth || isSimulated();
    offer.hidden = !choices.offer;
    if (choices.offer) {
      offer.firstChild.hidden = !choices.offer.button;
      offer.firstChild.textContent = offer.firstChild.ariaLabel = choices.offer.button;
      offer.lastChild.textContent = choices.offer.text;
      offer.lastChild.className = choices.offer.problem ? "problem" : "";
    }
    sign.textContent = negative ? "next: −" : "next: +";
    for (const node of [toggles.truth.label, toggles.errors.label, slider]) node.hidden = !scene.truth;
    const brief = Boolean(choices.at_once) && !isSimulated();
    root.classList.toggle("at-once", brief);
    for (const node of [...stepping, written]) node.hidden = brief;
    slider.hidden ||= brief;
    code.value = line();
    keys.lastChild.textContent =
      "← → clicks, ↑ ↓ cases, 1 to 9 that click, z x zoom (or the wheel after a click into the picture; drag moves), f whole image, " +
      "t truth, p prediction, e errors, u undo, c copy" +
      (clickable() ? "; click: inside the object, right or shift click: outside, m changes that for touch, b box, r Algorithm 1 alone" : "") +
      (annotation ? ", n Algorithm 1's next click, k next candidate, a accept." : ".");
    if (panels.map((p) => p.name).join("\n") !== answers.map((a) => a.model).join("\n")) {
      panels = answers.map(panel);
      stage.replaceChildren(...panels.map((p) => p.node));
      panels.forEach((p) => resized.observe(p.canvas));
    }
    panels.forEach((p, i) => (p.answer = answers[i]));
    spoken.textContent = `${state.case}, ${sliderText.textContent}.${boxes.said()} ${panels.map(describe).join(". ")}`;
    if (address !== scene.image) {
      address = scene.image;
      picture = make("img", { onload: redraw, src: address });
      fit();
    }
    redraw();
  }

  const resized = new ResizeObserver(redraw);
  el.append(root);
  el.explorer = model; // el.explorer.get("state") reads, .set("state", {...}) and .save_changes() write
  for (const name of ["state", "choices", "scene", "answers", "accepted", "notice"]) model.on(`change:${name}`, update);
  update();
  return () => resized.disconnect();
}

export default { render };

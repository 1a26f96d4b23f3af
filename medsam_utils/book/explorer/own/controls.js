// Where files are chosen, slices and windows, objects, and what is taken home. Goes before own/images.js, in one function.

const WINDOWS = { "contrast of the slice": null, "soft tissue 40, 400": { centre: 40, width: 400 }, "lung -600, 1500": { centre: -600, width: 1500 },
  "bone 400, 1800": { centre: 400, width: 1800 }, "brain 40, 80": { centre: 40, width: 80 }, "liver 60, 150": { centre: 60, width: 150 } };

/** Files that were dropped, those of folders too. */
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean), plain = [...transfer.files];
  if (!entries.some((entry) => entry.isDirectory)) return plain;
  const files = [];
  async function walk(entry) {
    if (entry.isFile) files.push(await new Promise((done, failed) => entry.file(done, failed)));
    else {
      const reader = entry.createReader();
      for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length;)
        for (const one of some) await walk(one);
    }
  }
  try {
    for (const entry of entries) await walk(entry);
  } catch {
    throw new Error("this browser does not open a dropped folder here: press “Choose a folder”, or drop its files");
  }
  return files;
}

/** Buttons to choose files or a folder, a place to drop them, and a list of the book's cases. onFiles: called with what
 * was chosen, onCase with the text of a case.
 */
function chooser({ el, onFiles, onCase, onProblem }) {
  const input = (properties) => make("input", { type: "file", multiple: true, hidden: true, onchange: () => {
    const files = [...file.files, ...folder.files];
    file.value = folder.value = ""; // so that the same can be chosen again
    if (files.length) onFiles(files);
  }, ...properties });
  const file = input({}), folder = input({ webkitdirectory: true });
  const none = "…", cases = list("or take a case of the book", (text) => text !== none && onCase(text));
  fill(cases, [none, ...Object.keys(page.cases)].map((text) => [text, text]), none);
  const place = row(
    button("Choose an image", "Choose an image, or the files of a series", () => file.click()),
    button("Choose a folder", "Choose the folder of a series", () => folder.click()),
    make("span", {}, "or drop it here."), cases.label, file, folder);
  place.classList.add("drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
    el.addEventListener(kind, (event) => {
      event.preventDefault();
      place.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") droppedFiles(event.dataTransfer).then((files) => files.length && onFiles(files), onProblem);
    });
  return place;
}

/** A button to choose a mask that the image is compared with, and which of its values is the object. own: see `ownImages`. */
function comparison({ own, onFiles }) {
  const input = make("input", { type: "file", multiple: true, hidden: true, "aria-label": "A mask to compare with", onchange: () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) onFiles(files);
  } });
  const values = list("Object of the mask", (value) => own.toTruth(+value));
  const bar = row(button("Compare with a mask", "Choose a mask of this image, and let Algorithm 1 click", () => input.click()), values.label, input);
  function update() {
    const { truth } = own;
    fill(values, (truth?.values ?? []).map((value) => [`${value}`, `${value}`]), `${truth?.chosen}`);
  }
  return { bar, update };
}

/** IoU and Dice after each click of Algorithm 1, as a curve and a table; nothing without steps. book: the mean IoU of the
 * same model under the same rule on the book's datasets, {dataset, level, objects, iou}.
 */
function curve(steps, book) {
  if (!steps) return [];
  const wide = 300, high = 120, x = (i) => 20 + (i * (wide - 30)) / Math.max(steps.length - 1, 1), y = (value) => 10 + (1 - value) * (high - 20);
  const line = (values, dash, opacity = 1) => `<polyline fill="none" stroke="currentColor" stroke-width="1.5" stroke-opacity="${opacity}" stroke-dasharray="${dash}" points="${values.slice(0, steps.length).map((value, i) => `${x(i)},${y(value)}`).join(" ")}"/>`;
  const own = (name, dash) => line(steps.map((step) => step[name]), dash);
  const axis = `<path d="M20 10V${high - 10}H${wide - 10}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>`;
  const picture = make("div");
  picture.innerHTML = `<svg viewBox="0 0 ${wide} ${high}" role="img" aria-label="IoU (line) and Dice (dashes) after each click, from 0 to 1">${axis}${book.map(({ iou }) => line(iou, "", 0.25)).join("")}${own("iou", "")}${own("dice", "5 4")}</svg>`;
  const cells = (tag, values) => make("tr", {}, ...values.map((value) => make(tag, {}, value)));
  const table = make("table", { "aria-label": "IoU and Dice after each click of Algorithm 1" }, cells("th", ["clicks", "IoU", "Dice"]),
    ...steps.map(({ iou, dice }, i) => cells("td", [`${i + 1}`, number(iou), number(dice)])));
  const means = make("table", { "aria-label": "Mean IoU on the book's datasets" }, cells("th", ["dataset", "objects", ...[1, 3, 5, 9].map((n) => `IoU@${n}`)]),
    ...book.map(({ dataset, level, objects, iou }) => cells("td", [`${dataset}${level === "demo" ? " (drawn)" : ""}`, `${objects}`, ...[1, 3, 5, 9].map((n) => number(iou[n - 1]))])));
  return [make("p", {}, `Algorithm 1 (of equally deep pixels the first): IoU, line; Dice, dashes${book.length ? "; grey, the mean IoU on each of the book's datasets" : ""}.`),
    picture, table, ...(book.length ? [make("details", {}, make("summary", {}, "The same model in this book"), means)] : [])];
}

/** Slice, plane and window of a volume. own: see `ownImages`; tool: see `windowing`. */
function viewControls(own, { tool, onProblem }) {
  const slice = make("input", { type: "range", min: 1, step: 1, "aria-label": "Slice", oninput: () => own.toSlice(+slice.value - 1) });
  const text = make("span", { className: "made" });
  const carry = button("carry on", "Carry the mask of this object to the next slice, as a prompt", () => own.carry().catch(onProblem));
  const planes = list("Plane", own.toPlane), windows = list("Window", (name) => own.toWindow(WINDOWS[name]));
  const edge = (name) => make("input", { type: "number", step: "any", "aria-label": `${name} of the window`, title: `${name} of the window`,
    onchange: () => own.toWindow(+width.value > 0 ? { centre: +centre.value, width: +width.value } : null) });
  const centre = edge("Centre"), width = edge("Width");
  const bar = row(make("label", {}, "Slice ", slice, text), carry, planes.label, windows.label,
    make("label", {}, "centre ", centre), make("label", {}, "width ", width), tool);
  bar.onkeydown = (event) => event.stopPropagation();
  function update() {
    const { image, index, count, plane, window: chosen } = own.shown;
    bar.hidden = !image.affine;
    slice.max = count;
    slice.value = index + 1;
    text.textContent = `${index + 1} of ${count}`;
    fill(planes, Object.keys(PLANES).map((name) => [name, name]), plane);
    const same = Object.keys(WINDOWS).find((name) => JSON.stringify(WINDOWS[name]) === JSON.stringify(chosen));
    fill(windows, [...Object.keys(WINDOWS), ...(same ? [] : ["own"])].map((name) => [name, name]), same ?? "own");
    for (const [field, value] of [[centre, chosen?.centre], [width, chosen?.width]])
      if (document.activeElement !== field) field.value = value === undefined ? "" : +value.toPrecision(6);
  }
  return { bar, update };
}

/** What stands beside the pictures: the objects, which mask counts, models. own: see `ownImages`. */
function objectControls({ own, networks, tool, loadModel, say }) {
  return ({ model, choose }) => {
    const saving = savers({ own, say }), figure = make("div", { className: "own-curve" });
    const bar = row(), name = make("input", { type: "text", spellcheck: false, "aria-label": "Name of the object" });
    name.onchange = () => { if (!own.rename(name.value.trim())) name.value = model.get("state").task; };
    const add = button("new object", "Begin another object (o)", () => own.addObject());
    const rules = list("Mask that counts", own.toRule), models = list("Model", loadModel);
    const others = Object.keys(networks).slice(1).map((one) => [one, button("", "", () => loadModel(one))]);
    const card = button("", "", toGraphics);

    async function toGraphics() {
      const { model: by } = own.shown;
      card.disabled = true;
      say(`Loading what lets the graphics card encode for ${by}, and comparing it with the processor …`);
      try {
        const difference = await own.toGraphics();
        say(`The graphics card encodes for ${by} now; its values are those of the processor within ${(100 * difference).toPrecision(1)} % of the largest.`);
      } catch (error) {
        say(`${by} is encoded by the processor: ${error.message}`, true);
      }
      card.disabled = false;
      update();
    }

    const count = (answer, i) => choose({ candidate: { [answer.model]: i } });

    function update() {
      const { objects, rule, model: by } = own.shown, { task } = model.get("state");
      const focus = [...bar.children].indexOf(document.activeElement);
      bar.replaceChildren(...objects.map((one, i) => {
        const node = button(one.name, `Go on with ${one.name}`, () => own.toObject(one.name));
        node.ariaPressed = `${one.name === task}`;
        node.style.borderLeft = `0.6rem solid ${OBJECTS[i % OBJECTS.length]}`;
        return node;
      }), add);
      bar.children[focus]?.focus({ preventScroll: true });
      if (document.activeElement !== name) name.value = task;
      saving.update();
      figure.replaceChildren(...curve(model.get("curve"), page.curves[by]?.[rule] ?? []));
      fill(rules, Object.keys(page.rules).map((one) => [one, one]), rule);
      fill(models, own.models.map((one) => [one, one]), by);
      for (const [one, node] of others) {
        node.hidden = own.models.includes(one);
        node.textContent = node.ariaLabel = node.title = `Load ${one} (${(networks[one].bytes / 1e6).toFixed(0)} MB)`;
      }
      card.hidden = !own.offersGraphics;
      card.textContent = card.ariaLabel = card.title = `Use the graphics card (${(page.graphics.bytes / 1e6).toFixed(0)} MB)`;
    }

    return {
      update,
      candidate(answer, i) {
        const node = button(`${i + 1}`, `Let candidate ${i + 1} count (k: the next one)`, () => count(answer, i));
        node.ariaPressed = `${i === answer.chosen}`;
        return node;
      },
      accept: () => "", // masks are kept as they are
      done: "",
      controls: [bar, row(make("label", {}, "Name ", name), rules.label, models.label, ...others.map(([, node]) => node), card), figure, saving.bar],
      said: "k next candidate, o new object, w drag changes the window of a volume",
      keys: {
        k: (answer) => answer.candidates.length && count(answer, (answer.chosen + 1) % answer.candidates.length),
        o: () => own.addObject(),
        w: () => own.shown.image.affine && tool.click(),
      },
    };
  };
}

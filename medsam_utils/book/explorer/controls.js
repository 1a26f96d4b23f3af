// The controls above and below the pictures. Goes before explorer.js, in one module.

const number = (value) => (value == null ? "–" : value.toFixed(2));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** An element with properties, attributes (names that are no property) and children. */
function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties))
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const button = (text, title, onclick) => make("button", { type: "button", title, onclick, "aria-label": title }, text);
const row = (...children) => make("div", { className: "bar" }, ...children);

/** A list with a name beside it. */
function list(name, onchange) {
  const node = make("select", { "aria-label": name, onchange: () => onchange(node.value) });
  return { node, label: make("label", {}, `${name} `, node) };
}

/** Fill a list with [value, text]; a list of one is not shown. */
function fill({ node }, values, chosen) {
  const same = node.options.length === values.length && values.every(([v, t], i) => node.options[i].value === v && node.options[i].text === t);
  if (!same) node.replaceChildren(...values.map(([value, text]) => make("option", { value }, text)));
  node.value = chosen;
  node.parentNode.hidden = values.length < 2;
}

/** A box to tick, with the colour that it shows. */
function toggle(checked, text, colour, onchange) {
  const box = make("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
  const key = make("span", { className: "key", hidden: !colour });
  key.style.background = colour;
  return { box, key, label: make("label", {}, box, key, text) };
}

/** A colour as the dashes that outline a prediction. */
const dashesOf = (colour) => `repeating-linear-gradient(90deg, ${colour} 0 6px, #0000 6px 9px)`;

/** What is seen in the pictures: truth, prediction, errors, Algorithm 1's clicks beside one's own. */
function layers({ shown, redraw, onCompare }) {
  const show = (name) => (on) => { shown[name] = on; redraw(); };
  const halves = `linear-gradient(90deg, ${COLOURS.missed} 50%, ${COLOURS.extra} 50%)`;
  const toggles = {
    truth: toggle(shown.truth, "truth", COLOURS.truth, show("truth")),
    prediction: toggle(shown.prediction, "prediction", dashesOf(COLOURS.prediction), show("prediction")),
    others: toggle(shown.others, "other objects", "", show("others")),
    errors: toggle(shown.errors, "errors", halves, show("errors")),
    simulated: toggle(shown.simulated, "Algorithm 1's clicks", "", (on) => { shown.simulated = on; onCompare(on); }),
  };
  toggles.errors.label.title = "blue: the object was missed; orange: too much was taken";
  const opacity = make("input", { type: "range", min: 0.1, max: 1, step: 0.1, value: 1 });
  opacity.oninput = () => { shown.opacity = +opacity.value; redraw(); };
  return { toggles, nodes: [...Object.values(toggles).map((t) => t.label), make("label", {}, "opacity ", opacity)] };
}

/** The state as a line of code, which can be copied, and changed. */
function codeLine({ line, readLine }) {
  const node = make("input", { className: "code", spellcheck: false, "aria-label": "The state as a line of code; can be changed" });
  node.onchange = () => {
    try {
      readLine(node.value);
    } catch {
      node.setCustomValidity("This is no state: copy one and change it.");
      node.reportValidity();
    }
  };
  node.oninput = () => node.setCustomValidity("");
  const copy = button("copy", "Copy the state as a line of code (c)", async () => {
    node.select();
    await (navigator.clipboard?.writeText(node.value) ?? Promise.reject()).catch(() => document.execCommand("copy"));
    copy.textContent = "copied";
    setTimeout(() => (copy.textContent = "copy"), 1500);
  });
  return { bar: row(node, copy), copy, update: () => (node.value = line()) };
}

/** What a page offers before it answers clicks: {button, text, problem}. */
function offering(onPress) {
  const bar = row(button("Click yourself", "Click yourself", onPress), make("span", {}));
  const update = (offer) => {
    bar.hidden = !offer;
    if (!offer) return;
    const [press, text] = bar.children;
    press.hidden = !offer.button;
    press.textContent = press.ariaLabel = offer.button;
    text.textContent = offer.text;
    text.className = offer.problem ? "problem" : "";
  };
  return { bar, update };
}

/** What a file of the site registers: a script, because a page opened from a file may load nothing else. */
async function siteFile(site, file) {
  site.loaded ??= {};
  site.loaded[file] ??= new Promise((done, failed) => {
    const script = make("script", { src: site.root + file, onload: done });
    script.onerror = () => failed(new Error(`${file} could not be loaded`));
    document.head.append(script);
  });
  await site.loaded[file].catch((error) => {
    delete site.loaded[file]; // the next attempt may have a network
    throw error;
  });
  return site.files?.[file];
}

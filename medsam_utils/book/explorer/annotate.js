// Annotating with a kernel: candidates, names, objects, what is accepted, where it is saved. Goes with explorer.js.
//
// More values of the model:
//   accepted  [{dataset, task, case, class_name, number, model}]
//   objects   those of the shown image [{task, class_name, number, clicks, box, mask, accepted, shown}], each in the
//             colour of its place
//   progress  {case: "begun" or "done"} of the shown dataset and task
//   files     {formats: {name: whether it is ticked at first}, autosave: path, recovered: true or false}
//   notice    what Python says to the messages {accept: [model]}, {withdraw: [dataset, task, case, class, number]},
//             {save: [folder, formats, replace]}, {resume: [folder]}, {begin: []} and {open: [volume]}.

function annotating({ model, choose }) {
  const get = (name) => model.get(name);

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
    node.className = "accept";
    node.ariaPressed = `${answer.accepted}`;
    node.disabled = !answer.mask;
    return node;
  };

  // ---- names, objects, files
  const field = (text, properties) => {
    const node = make("input", { type: "text", spellcheck: false, ...properties });
    return { node, label: make("label", {}, `${text} `, node) };
  };
  const tick = (text, checked) => {
    const node = make("input", { type: "checkbox", checked });
    return { node, label: make("label", {}, node, text) };
  };
  const name = field("Class", { title: "What the mask is called; each class of an image has clicks of its own" });
  const fresh = { clicks: null, box: null, candidate: null };
  const nth = (number) => (number > 1 ? number : null);
  name.node.onchange = () => choose({ class: name.node.value, object: null, ...fresh });
  const object = list("Object", (number) => choose({ object: nth(+number), ...fresh }));
  const sameClass = () => get("objects").filter((o) => o.class_name === (get("state").class || get("choices").class) &&
    o.task === get("state").task);
  const next = () => {
    const numbers = sameClass().filter((o) => o.accepted || o.clicks.length || o.box).map((o) => o.number);
    choose({ object: nth(Math.max(0, ...numbers) + 1), ...fresh });
  };
  const another = button("new object", "Begin the next object of this class in this image (o)", next);
  const folder = field("Folder", { value: "annotations", title: "Where the session is saved, seen from the notebook" });
  const called = { nifti: "NIfTI", png: "PNG", coco: "COCO", folder: "images + masks", seg: "DICOM SEG", rtstruct: "RTSTRUCT" };
  const offered = () => get("files").formats ?? {};
  const formats = Object.fromEntries(Object.entries(called).map(([format, text]) => [format, tick(text, offered()[format])]));
  formats.folder.label.title = "A folder that can be evaluated: copies of the annotated images, and their masks";
  const replace = tick("replace files of others", false);
  const chosen = () => Object.keys(offered()).filter((format) => formats[format].node.checked);
  const save = button("save", "Save the session and its accepted masks", () =>
    model.send({ save: [folder.node.value, chosen(), replace.node.checked] }));
  const resume = button("resume", "Go on from the session in the folder", () => model.send({ resume: [folder.node.value] }));
  const begin = button("begin anew", "Put what was recovered aside, and begin with nothing", () => model.send({ begin: [] }));
  const done = make("span", {});
  const notice = make("p", { className: "notice", role: "status", "aria-live": "polite" });
  const acceptedList = make("details", {}, make("summary", {}), make("ul", {}));

  function update() {
    const accepted = get("accepted"), { cases } = get("choices"), states = Object.values(get("progress"));
    if (name.node !== name.node.getRootNode().activeElement) name.node.value = get("state").class || get("choices").class;
    fill(object, sameClass().map((o) => [`${o.number}`, `${o.number}${o.accepted ? " · accepted" : ""}`]), `${get("state").object ?? 1}`);
    for (const [format, { label }] of Object.entries(formats)) label.hidden = !(format in offered());
    begin.hidden = !get("files").recovered;
    const count = (state) => states.filter((one) => one === state).length;
    done.textContent = `${count("done")} done, ${count("begun")} begun of ${cases.length}`;
    notice.textContent = get("notice");
    acceptedList.firstChild.textContent = `${accepted.length} accepted`;
    acceptedList.lastChild.replaceChildren(...accepted.map((one) => {
      const { dataset, task, case: shown, class_name: className, number } = one;
      const text = `${className}${number > 1 ? ` ${number}` : ""} · ${shown} · ${one.model}`;
      return make("li", {}, `${text} `,
        button("show", `Show ${text}`, () => choose({ dataset, task, case: shown, class: className, object: nth(number), ...fresh })),
        button("withdraw", `Withdraw ${text}`, () => model.send({ withdraw: [dataset, task, shown, className, number] })));
    }));
  }

  return {
    update, candidate, accept, done,
    controls: [row(name.label, object.label, another, folder.label, save, resume, begin,
      make("details", {}, make("summary", {}, "formats"), row(...Object.values(formats).map((f) => f.label), replace.label)),
      acceptedList), notice],
    said: "n Algorithm 1's next click, k next candidate, a accept, o new object",
    keys: {
      o: next,
      a: (answer) => model.send({ accept: [answer.model] }),
      k: (answer) => answer.candidates.length && count(answer, (answer.chosen + 1) % answer.candidates.length),
    },
  };
}

// Annotating with a kernel: candidates, names, what is accepted, where it is saved. Goes with explorer.js.
//
// Two more values of the model: accepted [{dataset, task, case, class_name, model}], and notice, what Python says
// to the messages {accept: [model]}, {withdraw: [dataset, task, case, class]}, {save: [folder, formats, replace]}
// and {resume: [folder]}.

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
  const acceptedList = make("details", {}, make("summary", {}), make("ul", {}));

  function update() {
    const called = get("state").class, accepted = get("accepted");
    if (name.node !== name.node.getRootNode().activeElement) name.node.value = called || get("choices").class;
    notice.textContent = get("notice");
    acceptedList.hidden = !accepted.length;
    acceptedList.firstChild.textContent = `${accepted.length} accepted`;
    acceptedList.lastChild.replaceChildren(...accepted.map((one) => {
      const text = `${one.class_name} · ${one.case} · ${one.model}`;
      const { class_name, model: by, ...object } = one;
      return make("li", {}, `${text} `,
        button("show", `Show ${text}`, () => choose({ ...object, class: class_name, clicks: null, box: null, candidate: null })),
        button("withdraw", `Withdraw ${text}`, () => model.send({ withdraw: [one.dataset, one.task, one.case, class_name] })));
    }));
  }

  return {
    update, candidate, accept,
    controls: [row(name.label, acceptedList),
      row(folder.label, ...Object.values(formats).map((f) => f.label), replace.label, save, resume), notice],
    keys: {
      a: (answer) => model.send({ accept: [answer.model] }),
      k: (answer) => answer.candidates.length && count(answer, (answer.chosen + 1) % answer.candidates.length),
    },
  };
}

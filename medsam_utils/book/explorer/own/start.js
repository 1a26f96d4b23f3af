// The page “Try it on your image”. Goes after own/images.js, in one function, with what Python says as `page`:
// {style, worker, networks: {name: {encoder: {file, bytes}, decoder, bytes}}, graphics, rules, cases: {text: file},
// curves: {model: {rule: [{dataset, level, objects, iou}]}}}.

const PRIVATE = "Your image stays in this page: nothing is sent, stored or requested. Of a file, its name alone is shown or saved.";

/** Put the page's parts into an element. */
function startOwn(el) {
  const site = window.medsamInPage, [first] = Object.keys(page.networks);
  const status = make("p", { className: "own-status", role: "status", "aria-live": "polite" }, `Loading ${first} …`);
  const own = ownImages({ site, ...page });
  const say = (text, problem = false) => {
    status.textContent = text;
    status.classList.toggle("problem", problem);
  };
  const fail = (error) => say(`${error.message}`, true);
  const stage = make("div"), { tool } = windowing({ stage, own });
  const view = viewControls(own, { tool, onProblem: fail }), compared = comparison({ own, onFiles: onMask });
  let rendered = false, opening = Promise.resolve();

  async function loadModel(name) {
    say(`Loading ${name} …`);
    await own.load(name).then(() => say(`${name} is ready. ${PRIVATE}`), fail);
  }

  function onFiles(files) {
    opening = opening.then(async () => {
      say(`Reading ${files.length > 1 ? `${files.length} files` : files[0].name} …`);
      try {
        const { name } = await own.open(files);
        if (!rendered) {
          render({ model: own.model, el: stage, beside: objectControls({ own, networks: page.networks, tool, loadModel, say }) });
          own.model.on("change:answers", () => { view.update(); compared.update(); });
        }
        rendered = true;
        compared.bar.hidden = false;
        view.update();
        compared.update();
        say(`${name}. ${own.models.length ? PRIVATE : `Loading ${first} …`}`);
      } catch (error) {
        fail(error);
      }
    });
    return opening;
  }

  /** Show a case of the book, with its mask. */
  async function onCase(text) {
    try {
      const files = Object.entries(await siteFile(site, page.cases[text])).map(([name, content]) =>
        new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
      await onFiles(files.slice(0, 1));
      await onMask(files.slice(1));
    } catch (error) {
      fail(error);
    }
  }

  function onMask(files) {
    say(`Reading ${files[0].name} …`);
    return own.compare(files).then(({ name }) => say(`${name} is what the masks are compared with: press “Algorithm 1”, or click yourself.`), fail);
  }

  view.bar.hidden = compared.bar.hidden = true;
  const bars = make("div", { className: "medsam-explorer" }, chooser({ el, onFiles, onCase, onProblem: fail }), status, view.bar, compared.bar);
  el.classList.add("medsam-own");
  el.replaceChildren(make("style", {}, page.style), bars, stage);
  el.own = own; // what a console or a test may ask
  loadModel(first);
}

/** Start where the page has a place for it, as soon as the page is there. */
function startWhenThere() {
  const el = document.getElementById("medsam-own");
  if (el) startOwn(el);
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startWhenThere);
else startWhenThere();

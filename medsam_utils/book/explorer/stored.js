// The explorer of a page without a kernel. Goes after explorer.js, in one module.
//
// Where the book has put window.medsamInPage = {root, bytes} on the page, the folder and size of what runs a
// network in a browser, the reader may load the decoders that `data` names and click: see in_page.py. With
// data.at_once the first click or box loads them, and a page shows no clicks of Algorithm 1 before.

/** A model that answers from what Python stored in the page, see `explorer.static`; own clicks by a network. */
function stored(data) {
  const tasks = Object.keys(data.tasks), models = Object.keys(data.decoders ?? {});
  const values = {}, listeners = [], networks = new Map();
  const site = window.medsamInPage;
  const atOnce = Boolean(site && data.decoders && data.at_once);
  const touched = matchMedia("(pointer: coarse)").matches;
  let offer = site && data.decoders && { button: atOnce ? "" : "Click yourself", text: offered() };
  let asked = 0, last = Promise.resolve(), loading = false;

  /** How a finger or a mouse prompts. */
  function how() {
    return touched ? "Tap inside the green outline, or press box and drag."
      : "Click inside the green outline, or drag a box round it.";
  }

  function offered() {
    const bytes = Object.values(data.decoders).reduce((sum, decoder) => sum + decoder.bytes, site.bytes);
    const loaded = `${((bytes + (data.at_once?.bytes ?? 0)) / 1e6).toFixed(0)} MB`;
    return atOnce ? `${how()} The first loads ${models.join(" and ")} (${loaded}) and sends nothing.`
      : `${data.offer} answers your own clicks, in your browser, and sends nothing: ${(bytes / 1e6).toFixed(1)} MB are loaded once.`;
  }

  function answer() {
    const wanted = values.state;
    const task = tasks.includes(wanted.task) ? wanted.task : tasks[0];
    const cases = data.tasks[task];
    const shown = cases.find((c) => c.case === wanted.case) ?? cases[Math.floor(cases.length / 2)];
    const own = clickable() && Array.isArray(wanted.clicks);
    const clicks = own ? wanted.clicks : clamp(Math.round(wanted.clicks) || 1, 1, data.last);
    const box = (own && wanted.box) || null;
    values.state = { dataset: data.dataset, task, case: shown.case, clicks, ...(box && { box }) };
    values.choices = { datasets: [data.dataset], tasks, cases, last: data.last, live: false, code: data.code,
      clickable: clickable(), at_once: atOnce, offer };
    values.scene = { ...data.images[shown.image], truth: shown.truth };
    asked += 1;
    values.answers = own ? ask(shown, task, clicks, box) : Object.entries(shown.answers).map(([model, steps]) => {
      const made = steps.slice(0, clicks);
      const { mask, iou, chosen, candidates } = made.at(-1);
      return { model, problem: "", mask, iou, chosen, candidates, predicted: candidates[chosen][0], simulated: null,
        clicks: made.filter((s) => s.click).map((s) => s.click) };
    });
  }

  const clickable = () => atOnce || networks.size > 0;

  /** Let the networks answer own prompts; until they have, what they answered to earlier ones of this case. */
  function ask(shown, task, clicks, box) {
    const mine = asked, { shape, step } = data.images[shown.image], view = `${task} ${shown.case}`;
    last = last.then(async () => {
      if (networks.size < models.length) return; // they come
      const answers = [];
      for (const [model, network] of networks) {
        if (mine !== asked) return; // newer clicks are waiting
        const blank = { model, view, clicks, mask: "", iou: null, predicted: null, candidates: [], chosen: -1, simulated: null };
        try {
          const file = await load(shown.embedded[model]);
          answers.push({ ...blank, problem: "", ...(await network(file, { task, shape, step, clicks, box })) });
        } catch (error) {
          answers.push({ ...blank, problem: error.message });
        }
      }
      if (mine !== asked) return;
      values.answers = answers;
      tell();
    });
    const before = (model) => (clicks.length || box) && values.answers.find((a) => a.view === view && a.model === model);
    const waiting = loading || networks.size > 0;
    return models.map((model) => ({ mask: "", iou: null, predicted: null, candidates: [], chosen: -1,
      problem: "", simulated: null, ...before(model), model, view, clicks, waiting }));
  }

  const load = (file) => siteFile(site, file);

  async function start() {
    loading = true;
    offer = { button: "", text: "Loading …" };
    answer();
    tell();
    try {
      await load("runtime.js");
      for (const [model, { file }] of Object.entries(data.decoders)) networks.set(model, await site.decoder(await load(file), data.rule));
      offer = { button: "", text: atOnce ? `${how()} ${touched ? "For outside:" : "Right click, or"} “next: −”${touched ? "." : ": outside."}` : `${data.offer} answers. Left click or tap: inside the object. Right or shift click: outside. ` +
        "With box: drag round the object." };
      if (!atOnce) values.state = { ...values.state, clicks: [] };
    } catch (error) {
      offer = { button: "Try again", text: error.message, problem: true };
    }
    loading = false;
    answer();
    tell();
  }

  /** Load what answers when the first prompt is there. */
  function startWhenPrompted() {
    const { clicks, box } = values.state;
    if (atOnce && !networks.size && !loading && (clicks.length || box)) start();
  }

  const tell = () => listeners.forEach((listener) => listener());
  values.state = { clicks: atOnce ? [] : 1 };
  answer();
  return {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; },
    save_changes: () => { answer(); tell(); startWhenPrompted(); },
    on: (event, listener) => event === "change:answers" && listeners.push(listener),
    send: (message) => message.offer && start(),
  };
}

/** Let buttons of the page that name a task and a case open it here, where it is stored; others stay hidden. */
function openByButtons(el, data, model) {
  const wire = () => {
    for (const button of document.querySelectorAll("button[data-case]")) {
      const { task, case: name } = button.dataset;
      if (!data.tasks[task]?.some((c) => c.case === name)) continue;
      button.hidden = false;
      button.addEventListener("click", () => {
        model.set("state", { dataset: data.dataset, task, case: name, clicks: data.last });
        model.save_changes();
        el.scrollIntoView();
      });
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", wire, { once: true });
  else wire();
}

/** Show stored cases in an element of a page, without a kernel. */
export function mount(el, data) {
  const model = stored(data);
  openByButtons(el, data, model);
  return render({ model, el });
}

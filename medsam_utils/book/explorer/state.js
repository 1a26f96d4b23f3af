// What is chosen: the explorer's `state`, read and changed. Goes before explorer.js, in one module.

function chosenState(model) {
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
  const clicksNow = () => get("state").clicks ?? []; // missing until Python has told those of before
  const toClick = (n) => choose({ clicks: clamp(n, 1, get("choices").last), box: null, candidate: null });
  const step = (by) => toClick((isSimulated() ? get("state").clicks : 0) + by);
  const addClick = (row, col, positive) => choose({
    clicks: [...(isSimulated() ? [] : clicksNow()), [row, col, positive ? 1 : 0]], candidate: null,
  });
  const undo = () => {
    const { clicks } = get("state");
    if (isSimulated()) toClick(clicks - 1);
    else if (get("choices").live) model.send({ undo: [] });
    else choose(clicks.length ? { clicks: clicks.slice(0, -1) } : { box: null });
  };

  /** The clicks with which another object begins. */
  const fresh = () => (isSimulated() ? {} : { clicks: get("choices").live ? null : [], box: null, candidate: null });
  const toDataset = (dataset) => choose({ dataset, task: "", case: "", class: "", object: null, ...fresh() });
  const toTask = (task) => {
    const { live, at_once: atOnce } = get("choices");
    choose({ task, case: live || atOnce ? get("state").case : "", class: "", object: null, ...fresh() });
  };
  const toCase = (name) => choose({ case: name, object: null, ...fresh() });
  const stepCase = (by) => {
    const cases = get("choices").cases.map((c) => c.case);
    const to = cases.indexOf(get("state").case) + by;
    if (cases[to] !== undefined) toCase(cases[to]);
  };

  /** The state as a line of code, and back. */
  const line = () => `Explorer(${get("choices").code}, state=${JSON.stringify(get("state"))})`;
  const readLine = (text) => choose(JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1)));

  return {
    get, choose, clickable, isSimulated, clicksNow, toClick, step, addClick, undo,
    toDataset, toTask, toCase, stepCase, line, readLine,
  };
}

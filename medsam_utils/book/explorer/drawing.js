// One model's picture: the image, the outlines, the errors, the clicks. Goes before explorer.js, in one module.

const OBJECTS = ["#ff3b30", "#d96bff", "#00c7ff", "#ffe14d", "#ff9ecb", "#9db2ff"]; // of one image, one after the other
const COLOURS = { truth: "#00c853", prediction: "#ff3b30", missed: "#2b8cff", extra: "#ff9f0a" };

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

/** Clicks as numbered dots, green inside the object and red outside. hollow: those of Algorithm 1 beside one's own. */
function drawClicks(context, place, ratio, clicks, hollow) {
  clicks.forEach(([row, col, positive], i) => {
    const { x, y } = place.transformPoint(new DOMPoint(col + 0.5, row + 0.5));
    const colour = positive ? "#007a33" : "#c4170c"; // dark enough for white figures on them
    context.beginPath();
    context.arc(x, y, 8 * ratio, 0, 7);
    Object.assign(context, { fillStyle: colour, strokeStyle: hollow ? colour : "#fff", lineWidth: (hollow ? 2.5 : 1.5) * ratio });
    if (!hollow) context.fill();
    context.stroke();
    Object.assign(context, { fillStyle: "#fff", font: `bold ${10.5 * ratio}px system-ui`, textAlign: "center", textBaseline: "middle" });
    context.fillText(i + 1, x, y + 0.5 * ratio);
  });
}

const RAGGED = 3000; // corners of an outline that would take long to draw: it is a thin line

/** An outline with a dark rim. place: from the mask's grid to the canvas. */
function drawOutline(context, place, ratio, { path, corners, colour, dashes }) {
  const placed = new Path2D();
  placed.addPath(path, place);
  const strokes = corners > RAGGED ? [[colour, 1 / ratio, []]] : [["#0008", 3.5, []], [colour, 1.8, dashes]];
  for (const [strokeStyle, wide, dash] of strokes) {
    Object.assign(context, { strokeStyle, lineWidth: wide * ratio, lineJoin: "bevel" });
    context.setLineDash(dash.map((d) => d * ratio));
    context.stroke(placed);
  }
  context.setLineDash([]);
}

/** What a panel drew under a name, painted anew only where something of `key` is another than before. */
function layer(panel, name, key, paint) {
  const { width, height } = panel.canvas, whole = [width, height, ...key], kept = (panel.layers ??= {})[name];
  if (kept && whole.length === kept.key.length && whole.every((part, i) => part === kept.key[i])) return kept.canvas;
  const canvas = kept?.canvas ?? make("canvas");
  Object.assign(canvas, { width, height }); // which clears it
  paint(canvas.getContext("2d"));
  panel.layers[name] = { key: whole, canvas };
  return canvas;
}

/** Draw panels {canvas, answer}. shown: which outlines, errors and clicks, and how opaque. */
function drawing({ get, shown, zoom, boxes, cross, isSimulated, redraw }) {
  const traced = new Map(); // masks decoded and traced, by their text
  let picture = new Image();

  function tracedMask(text) {
    const { shape: [rows, cols], step: by } = get("scene");
    const size = [Math.ceil(rows / by), Math.ceil(cols / by)];
    const key = `${size} ${text}`;
    if (!traced.has(key)) {
      if (traced.size > 100) traced.clear();
      const mask = decode(text, ...size);
      traced.set(key, { mask, size, ...contour(mask, ...size) });
    }
    return traced.get(key);
  }

  function drawErrors(context, { truth, prediction }) {
    context.imageSmoothingEnabled = false;
    prediction.errors ??= errorPicture(truth.mask, prediction.mask, ...truth.size);
    context.globalAlpha = 0.65 * shown.opacity;
    context.drawImage(prediction.errors, 0, 0);
  }

  /** The objects of the image but the shown one, each in its colour: their masks and clicks. */
  function drawOthers(context, place, onGrid, ratio) {
    (get("objects") ?? []).forEach(({ mask, clicks, shown: isShown }, i) => {
      if (isShown) return;
      const colour = OBJECTS[i % OBJECTS.length];
      if (mask) drawOutline(context, onGrid, ratio, { ...tracedMask(mask), colour, dashes: [] });
      for (const [row, col] of clicks) {
        const { x, y } = place.transformPoint(new DOMPoint(col + 0.5, row + 0.5));
        context.beginPath();
        context.arc(x, y, 4 * ratio, 0, 7);
        Object.assign(context, { fillStyle: colour, strokeStyle: "#000a", lineWidth: ratio });
        context.fill();
        context.stroke();
      }
    });
  }

  /** The colour of the shown object's prediction. */
  function predictionColour() {
    const place = (get("objects") ?? []).findIndex((one) => one.shown);
    return OBJECTS[Math.max(place, 0) % OBJECTS.length];
  }

  const pictureKey = (place) => [picture, picture.naturalWidth, `${place}`];
  const maskKey = ({ mask }, place) => [...pictureKey(place), mask, get("scene").truth, JSON.stringify([shown, get("objects")])];

  function drawPicture(context, place) {
    const [rows, cols] = get("scene").shape;
    context.setTransform(place);
    context.imageSmoothingEnabled = place.a < 4;
    if (picture.naturalWidth ?? picture.width) context.drawImage(picture, 0, 0, cols, rows);
  }

  /** Errors and outlines. */
  function drawMasks(context, answer, place, ratio) {
    const scene = get("scene"), onGrid = place.scale(scene.step);
    const masks = { truth: scene.truth && tracedMask(scene.truth), prediction: answer.mask && tracedMask(answer.mask) };
    context.setTransform(onGrid);
    if (shown.errors && masks.truth && masks.prediction) drawErrors(context, masks);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = shown.opacity;
    if (shown.others) drawOthers(context, place, onGrid, ratio);
    for (const [name, colour, dashes] of [["truth", COLOURS.truth, []], ["prediction", predictionColour(), [6, 4]]])
      if (shown[name] && masks[name])
        drawOutline(context, onGrid, ratio, { ...masks[name], colour, dashes });
  }

  function draw(panel) {
    const { canvas, answer } = panel;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !answer) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    // a finger scrolls the page over a whole image
    canvas.style.touchAction = !zoom.isWhole() || boxes.active() ? "none" : "pan-x pan-y";
    const context = canvas.getContext("2d"), place = zoom.place(canvas, ratio);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = 1;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (zoom.isMoving() && panel.still) {
      context.setTransform(place.multiply(panel.still.place.inverse()));
      context.drawImage(panel.still.canvas, 0, 0);
      return;
    }
    context.drawImage(layer(panel, "masks", maskKey(answer, place), (on) => {
      on.drawImage(layer(panel, "picture", pictureKey(place), (under) => drawPicture(under, place)), 0, 0);
      drawMasks(on, answer, place, ratio);
    }), 0, 0);
    boxes.draw(context, place, ratio);
    if (shown.simulated && answer.simulated && !isSimulated())
      drawClicks(context, place, ratio, answer.simulated.clicks, true);
    drawClicks(context, place, ratio, answer.clicks, false);
    cross.draw(canvas, context, place, ratio);
    panel.place = place;
  }

  /** Keep what a panel shows, to be moved instead of it. */
  function keepStill(panel) {
    const { width, height } = panel.canvas;
    panel.still = panel.place && { place: panel.place, canvas: make("canvas", { width, height }) };
    panel.still?.canvas.getContext("2d").drawImage(panel.canvas, 0, 0);
  }

  /** Show another image, given by its address or drawn already; returns whether it is another one. */
  let address = "";
  function setPicture(source) {
    if (address === source) return false;
    address = source;
    picture = typeof source === "string" ? make("img", { onload: redraw, src: source }) : source;
    return true;
  }

  return { draw, keepStill, setPicture, predictionColour };
}

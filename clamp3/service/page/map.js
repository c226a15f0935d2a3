// The collection as a map: near points sound alike to the model. Answers light up.

import { getMap } from "./api.js";
import { titleById } from "./card.js";
import { byId, element, fittedCanvas, inOrder, kindName, styleValue } from "./elements.js";

const MARGIN = 14; // pixels
const REACH = 14; // pixels between a pointer and the point it means
const TITLE_MILLISECONDS = 120; // a pointer that only passes asks for no title

let points = []; // {id, modality, x, y}
let lit = new Map(); // keyOf(answer) -> its number
let asked = ""; // id of the piece that is asked by
let current = null; // the point under the pointer or the keyboard
let painted = null; // the unlit map as an image: it seldom changes
let size = { width: 0, height: 0 };
let search = null;
let titleTimer = null;

function keyOf({ id, modality }) {
  return `${modality} ${id}`;
}

function colourOf(modality) {
  return styleValue(`--${modality}`) || styleValue("--soft");
}

function place(point) {
  return [
    MARGIN + point.x * (size.width - 2 * MARGIN),
    MARGIN + (1 - point.y) * (size.height - 2 * MARGIN),
  ];
}

function dot(context, point, radius, fill) {
  const [x, y] = place(point);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
}

function ring(context, point, radius, colour) {
  const [x, y] = place(point);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.lineWidth = 2;
  context.strokeStyle = colour;
  context.stroke();
}

function paintAll() {
  const canvas = byId("map");
  if (!canvas.clientWidth) return;
  const fitted = fittedCanvas(canvas);
  size = fitted;
  const radius = points.length > 5000 ? 1.2 : points.length > 1000 ? 1.8 : 2.6;
  const colours = Object.fromEntries(points.map(({ modality }) => [modality, ""]));
  for (const modality of Object.keys(colours)) colours[modality] = colourOf(modality);
  fitted.context.globalAlpha = 0.5;
  for (const point of points) dot(fitted.context, point, radius, colours[point.modality]);
  painted = document.createElement("canvas");
  [painted.width, painted.height] = [canvas.width, canvas.height];
  painted.getContext("2d").drawImage(canvas, 0, 0);
  paint();
}

function paint() {
  if (!painted) return;
  const { context, width, height } = fittedCanvas(byId("map"));
  context.globalAlpha = lit.size ? 0.65 : 1;
  context.drawImage(painted, 0, 0, width, height);
  context.globalAlpha = 1;
  const [ink, ground] = [styleValue("--ink"), styleValue("--card")];
  for (const point of points.filter((one) => lit.has(keyOf(one)))) {
    dot(context, point, 6.5, ground);
    dot(context, point, 5, colourOf(point.modality));
  }
  for (const point of points.filter(({ id }) => id === asked)) ring(context, point, 8, ink);
  if (current) ring(context, current, 9, styleValue("--accent"));
}

function tell(point) {
  const tip = byId("tip");
  if (point === current) return;
  current = point;
  clearTimeout(titleTimer);
  tip.hidden = !point;
  paint();
  if (!point) return;
  titleTimer = setTimeout(async () => {
    const title = await titleById(point.id);
    if (current !== point) return;
    const number = lit.has(keyOf(point)) ? `, answer ${lit.get(keyOf(point))}` : "";
    tip.textContent = `${title} (${kindName(point.modality)}${number})`;
  }, TITLE_MILLISECONDS);
  tip.textContent = "…";
  const [x, y] = place(point);
  tip.style.top = `${y}px`;
  tip.classList.toggle("leftward", x > size.width / 2);
  tip.style.left = x > size.width / 2 ? "auto" : `${x}px`;
  tip.style.right = x > size.width / 2 ? `${size.width - x}px` : "auto";
}

// The nearest point, lit ones first, within reach of a place on the canvas.
function pointAt(x, y) {
  let best = null;
  let least = REACH;
  for (const point of points) {
    const [px, py] = place(point);
    const distance = Math.hypot(px - x, py - y) - (lit.has(keyOf(point)) ? REACH / 2 : 0);
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}

// The nearest point in a direction, within 45 degrees of it.
function pointBeyond(from, [dx, dy]) {
  const [x, y] = place(from);
  let best = null;
  let least = Infinity;
  for (const point of points) {
    const [px, py] = place(point);
    const along = (px - x) * dx + (py - y) * dy;
    const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
    if (along > 0 && across <= along && along + across < least) {
      [best, least] = [point, along + across];
    }
  }
  return best;
}

// Where the keyboard begins.
function firstPoint() {
  const answers = points.filter((one) => lit.has(keyOf(one)));
  answers.sort((a, b) => lit.get(keyOf(a)) - lit.get(keyOf(b)));
  return answers[0] ?? points[0] ?? null;
}

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  if (event.key === "Enter" && current) search(current.id);
  if (!(event.key in DIRECTIONS)) return;
  event.preventDefault();
  tell(current ? (pointBeyond(current, DIRECTIONS[event.key]) ?? current) : firstPoint());
}

// Marks the answers (the hits of each piece, in order) and the piece that was asked by.
export function lightUp(pieces, like) {
  lit = new Map(pieces.flatMap((hits, n) => hits.map((hit) => [keyOf(hit), n + 1])));
  asked = like;
  paint();
}

function legend() {
  const modalities = inOrder(points.map(({ modality }) => modality));
  byId("legend").append(...modalities.map((modality) =>
    element("li", { "data-modality": modality }, kindName(modality))));
}

function enlarge() {
  const large = document.body.classList.toggle("large-map");
  const panel = byId("map-panel");
  if (large) panel.parentNode.prepend(panel);
  else panel.parentNode.append(panel);
  byId("enlarge").setAttribute("aria-pressed", String(large));
  byId("enlarge").focus(); // moving the panel takes the focus away
}

// Loads and draws the map; `onSearch(id)` hears which piece was chosen.
export async function startMap(onSearch) {
  search = onSearch;
  const { id, modality, x, y } = (await getMap()).points;
  points = id.map((name, n) => ({ id: name, modality: modality[n], x: x[n], y: y[n] }));
  byId("map-panel").hidden = false;
  const canvas = byId("map");
  legend();
  new ResizeObserver(paintAll).observe(canvas);
  document.addEventListener("themechange", paintAll);
  canvas.addEventListener("pointermove", (event) => tell(pointAt(event.offsetX, event.offsetY)));
  canvas.addEventListener("pointerleave", () => tell(null));
  canvas.addEventListener("blur", () => tell(null));
  canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && tell(firstPoint()));
  canvas.addEventListener("click", (event) => {
    const point = pointAt(event.offsetX, event.offsetY);
    if (point) search(point.id);
  });
  canvas.addEventListener("keydown", onKey);
  byId("enlarge").addEventListener("click", enlarge);
}

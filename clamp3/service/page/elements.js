// Elements from a name, attributes and children. Strings become text nodes: nothing is ever parsed.

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(key, value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function byId(id) {
  return document.getElementById(id);
}

export function clockTime(seconds) {
  const whole = Math.max(0, Math.round(seconds || 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

// The value of a custom property of the stylesheet, such as a colour for a canvas.
export function styleValue(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A canvas fits its box and the screen's pixels; returns its context in CSS pixels, and its size.
export function fittedCanvas(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

// What a person calls the modalities.
export const KINDS = {
  text: "text",
  abc: "score",
  mtf: "MIDI",
  midi: "MIDI",
  audio: "sound",
  image: "image",
};

// Modalities in the order in which they are always shown.
export function inOrder(modalities) {
  const names = Object.keys(KINDS);
  return [...new Set(modalities)].sort((a, b) => names.indexOf(a) - names.indexOf(b));
}

export function kindName(modality) {
  return KINDS[modality] ?? modality;
}

// ABC as a drawn score and as notes, by abcjs (vendor/).

import { element } from "./elements.js";
import { excerpt } from "./excerpt.js";
import { playNotes } from "./synth.js";

const FIRST_BARS = 8; // half as many of more than two voices, and where there is little room
const NARROW_PIXELS = 440;
const SUNG_STAFF_POINTS = 54; // between staves; else words run into the notes below
const QUICK_QPM = 150; // quarter notes a minute, where the tune names no tempo: jigs, reels
const CALM_QPM = 112; // all other metres

// The page's Content-Security-Policy refuses style attributes and elements that abcjs writes as
// text. While it draws, attributes go through the style object, and elements (rules for dragging
// notes, which nobody can here) become inert.
function draw(target, abc, settings) {
  const { setAttribute } = Element.prototype;
  Element.prototype.setAttribute = function set(name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
  document.createElementNS = (space, name) =>
    Document.prototype.createElementNS.call(document, space, name === "style" ? "metadata" : name);
  try {
    return window.ABCJS.renderAbc(target, abc, settings)[0];
  } finally {
    Element.prototype.setAttribute = setAttribute;
    delete document.createElementNS;
  }
}

// With new line breaks; abcjs fails to make them in some pieces, whose own are kept then.
function drawBroken(target, abc, bars, settings) {
  const wrap = { minSpacing: 1.5, maxSpacing: 2.4, preferredMeasuresPerLine: bars };
  try {
    return draw(target, abc, { ...settings, wrap });
  } catch {
    return draw(target, abc, settings);
  }
}

function secondsPerWhole(tune, tempo) {
  const meter = tune.getMeterFraction();
  if (tune.metaText?.tempo) {
    return tune.millisecondsPerMeasure(tempo) / 1000 / (meter.num / meter.den);
  }
  const quick = meter.den === 8 || meter.den === 2;
  return 240 / (quick ? QUICK_QPM : CALM_QPM);
}

// Notes as in midi.js. Chord symbols are not played: they are no part of the piece.
function tuneNotes(tune, audio, whole) {
  const notes = [];
  audio.tracks.forEach((track, voice) => {
    for (const event of track) {
      if (event.cmd !== "note") continue;
      const start = event.start * whole;
      const end = start + Math.max(0.03, (event.duration + (event.gap || 0)) * whole);
      const program = event.instrument ?? 0;
      notes.push({ start, end, pitch: event.pitch, program, voice, loudness: event.volume / 127 });
    }
  });
  return notes.sort((a, b) => a.start - b.start);
}

// Elements of the drawn score by the second at which they sound.
function drawnEvents(tune, whole) {
  const meter = tune.getMeterFraction();
  tune.setTiming(0, 0);
  const theirs = tune.millisecondsPerMeasure() / (meter.num / meter.den);
  return (tune.noteTimings ?? [])
    .filter((event) => event.type === "event")
    .map((event) => ({
      start: (event.milliseconds / theirs) * whole,
      elements: (event.elements ?? []).flat(),
    }));
}

// The medium (see transport.js) of an ABC text: its first bars, with a button that shows all.
export class Score {
  constructor(abc, label) {
    this.abc = abc;
    this.label = label;
    this.expanded = false;
    this.lit = [];
    this.paper = element("div", { class: "paper" });
    this.more = element(
      "button",
      { type: "button", class: "quiet", "aria-expanded": "false", click: () => this.toggle() },
      "Whole score",
    );
    this.element = element("div", { class: "score" }, this.paper, this.more);
    const [tune] = window.ABCJS.parseOnly(abc);
    const audio = tune.setUpAudio({ chordsOff: true });
    this.whole = secondsPerWhole(tune, audio.tempo);
    this.notes = tuneNotes(tune, audio, this.whole);
    this.seconds = this.notes.reduce((latest, note) => Math.max(latest, note.end), 0);
  }

  toggle() {
    this.expanded = !this.expanded;
    this.more.textContent = this.expanded ? "First bars" : "Whole score";
    this.more.setAttribute("aria-expanded", String(this.expanded));
    this.drawn();
  }

  // Call once the element is on the page: the music is set to its width.
  drawn() {
    const width = Math.max(260, this.element.clientWidth - 8);
    const narrow = width < NARROW_PIXELS;
    const many = new Set(this.abc.match(/^\[?V:\s*[^\s\]]+/gm)).size > 2;
    const bars = narrow || many ? FIRST_BARS / 2 : FIRST_BARS;
    const part = excerpt(this.abc, this.expanded ? Infinity : bars);
    const room = /^w:/m.test(part.abc) ? `%%sysstaffsep ${SUNG_STAFF_POINTS}\n` : "";
    const tune = drawBroken(this.paper, room + part.abc, narrow ? 2 : 4, {
      add_classes: true,
      ariaLabel: `${this.expanded ? "Score" : "First bars"} of ${this.label}`,
      jazzchords: true,
      paddingtop: 4, paddingbottom: 4, paddingleft: 0, paddingright: 0,
      responsive: "resize",
      staffwidth: width / (many ? 0.7 : 0.8),
    });
    this.more.hidden = !part.cut && !this.expanded;
    this.events = drawnEvents(tune, this.whole);
  }

  start(position, onEnd) {
    return playNotes(this.notes, position, onEnd);
  }

  show(position) {
    for (const node of this.lit) node.classList.remove("sounding");
    this.lit = [];
    if (position === null || position === 0) return;
    const event = this.events?.findLast(({ start }) => start <= position + 0.02);
    if (!event || position - event.start > this.whole) return;
    for (const node of event.elements) node.classList.add("sounding");
    this.lit = event.elements;
  }
}

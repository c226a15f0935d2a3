// The medium (see transport.js) of a MIDI file: a piano roll.

import { clockTime, element, fittedCanvas, styleValue } from "./elements.js";
import { midiNotes } from "./midi.js";
import { playNotes } from "./synth.js";

const COLOURS = 6; // --voice-0 to --voice-5

export async function openRoll(blob, label) {
  return new PianoRoll(midiNotes(await blob.arrayBuffer()), label);
}

class PianoRoll {
  constructor(notes, label) {
    this.notes = notes;
    this.seconds = this.notes.reduce((latest, note) => Math.max(latest, note.end), 0);
    const length = clockTime(this.seconds);
    this.canvas = element("canvas", {
      role: "img", class: "roll",
      "aria-label": `Piano roll of ${label}: ${this.notes.length} notes in ${length}`,
      click: (event) => this.onSeek?.(event.offsetX / this.canvas.clientWidth),
    });
    this.cursor = element("div", { class: "cursor", hidden: true });
    this.element = element("div", { class: "timeline" }, this.canvas, this.cursor);
    new ResizeObserver(() => this.drawn()).observe(this.canvas);
  }

  drawn() {
    if (!this.canvas.isConnected || !this.notes.length) return;
    const { context, width, height } = fittedCanvas(this.canvas);
    const pitches = this.notes.map((note) => note.pitch);
    const low = Math.min(...pitches) - 2;
    const high = Math.max(...pitches) + 2;
    const row = height / (high - low + 1);
    context.fillStyle = styleValue("--line");
    for (let pitch = low; pitch <= high; pitch++) {
      if (pitch % 12 === 0) context.fillRect(0, (high - pitch) * row + row, width, 1);
    }
    const voices = [...new Set(this.notes.map((note) => note.voice))].sort((a, b) => a - b);
    const colours = voices.map((_, n) => styleValue(`--voice-${n % COLOURS}`));
    for (const note of this.notes) {
      context.fillStyle = colours[voices.indexOf(note.voice)];
      context.globalAlpha = 0.4 + 0.6 * note.loudness;
      const left = (note.start / this.seconds) * width;
      const length = ((note.end - note.start) / this.seconds) * width;
      const top = (high - note.pitch) * row;
      context.fillRect(left, top, Math.max(1, length - 0.5), Math.max(2, row - 1));
    }
    context.globalAlpha = 1;
  }

  start(position, onEnd) {
    return playNotes(this.notes, position, onEnd);
  }

  show(position) {
    this.cursor.hidden = !position;
    if (position) this.cursor.style.left = `${(100 * position) / this.seconds}%`;
  }
}

// Plays notes with our own samples (timbres.js) through Web Audio.

import { noteSample } from "./timbres.js";

const AHEAD_SECONDS = 1.5; // timers of a page in the background come once a second
const TICK_MILLISECONDS = 200;
const START_SECONDS = 0.06;
const RELEASE_SECONDS = 0.05;

let shared = null;

// The one audio context, running. Has to be called in answer to a click or a key the first time.
export async function runningContext() {
  if (!shared) {
    const context = new AudioContext();
    const compressor = context.createDynamicsCompressor();
    compressor.connect(context.destination);
    shared = { context, output: compressor };
  }
  if (shared.context.state !== "running") await shared.context.resume();
  return shared;
}

function sound(context, output, note, when) {
  const { buffer, rate, loop, rise } = noteSample(context, note.program, note.pitch);
  const source = new AudioBufferSourceNode(context, { buffer, playbackRate: rate, loop });
  const level = 0.08 + 0.3 * note.loudness;
  const end = when + Math.max(note.end - note.start, rise);
  const envelope = new GainNode(context, { gain: 0 });
  envelope.gain.setValueAtTime(0, when);
  envelope.gain.linearRampToValueAtTime(level, when + rise);
  envelope.gain.setValueAtTime(level, end);
  envelope.gain.setTargetAtTime(0, end, RELEASE_SECONDS);
  source.connect(envelope).connect(output);
  source.start(when);
  source.stop(end + 6 * RELEASE_SECONDS);
}

// Plays `notes`, sorted by start, from `position` seconds on; returns {position(), stop()}.
export async function playNotes(notes, position, onEnd) {
  const { context, output } = await runningContext();
  const volume = new GainNode(context, { gain: 0.8 });
  volume.connect(output);
  const zero = context.currentTime + START_SECONDS - position;
  const last = notes.reduce((latest, note) => Math.max(latest, note.end), 0);
  let next = notes.findIndex((note) => note.start >= position);
  if (next < 0) next = notes.length;

  const schedule = () => {
    const until = context.currentTime + AHEAD_SECONDS - zero;
    for (; next < notes.length && notes[next].start < until; next++) {
      sound(context, volume, notes[next], zero + notes[next].start);
    }
    if (context.currentTime - zero > last + 4 * RELEASE_SECONDS) {
      stop();
      onEnd();
    }
  };
  const timer = setInterval(schedule, TICK_MILLISECONDS);
  const stop = () => {
    clearInterval(timer);
    volume.gain.setTargetAtTime(0, context.currentTime, 0.02);
    setTimeout(() => volume.disconnect(), 150);
  };
  schedule();
  return { position: () => Math.max(0, context.currentTime - zero), stop };
}

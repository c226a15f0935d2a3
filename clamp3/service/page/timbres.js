// Small samples of notes, computed when they are first needed: nothing is fetched or stored.

import { DRUMS } from "./midi.js";

const RATE = 22050;
const STEP = 6; // a sample serves this many semitones
const RING_SECONDS = 2.6; // of a note that dies away
const LOOP_SECONDS = 2; // of one that is held; frequencies are rounded to whole cycles in it

// Strength of each harmonic; seconds until it has risen, and in which the first has fallen to 1/e
// (none: it is held); chorus: a second, slightly higher copy.
const TIMBRES = {
  struck: { harmonics: [1, 0.42, 0.22, 0.14, 0.09, 0.06, 0.04, 0.02], rise: 0.004, fall: 0.9 },
  mallet: { harmonics: [1, 0.05, 0.02, 0.3], rise: 0.002, fall: 0.5 },
  plucked: { harmonics: [1, 0.6, 0.42, 0.2, 0.2, 0.12, 0.08, 0.06, 0.04], rise: 0.003, fall: 0.6 },
  organ: { harmonics: [1, 0.7, 0.3, 0.35, 0, 0.12, 0, 0.15], rise: 0.02 },
  bowed: { harmonics: [1, 0.55, 0.4, 0.26, 0.2, 0.13, 0.08, 0.05], rise: 0.07, chorus: true },
  brass: { harmonics: [0.8, 0.9, 0.7, 0.5, 0.35, 0.2, 0.1], rise: 0.04 },
  reed: { harmonics: [1, 0.2, 0.65, 0.16, 0.3, 0.1, 0.12, 0.05], rise: 0.03, chorus: true },
  flute: { harmonics: [1, 0.25, 0.1, 0.03], rise: 0.05, chorus: true },
};

// By the sixteen families of General MIDI.
const FAMILIES = [
  "struck", "mallet", "organ", "plucked", "plucked", "bowed", "bowed", "brass",
  "reed", "flute", "reed", "bowed", "bowed", "plucked", "mallet", "bowed",
];
const EXCEPTIONS = {
  21: "reed", 22: "reed", 23: "reed", 45: "plucked", 46: "plucked", 47: "mallet",
};

function frequency(pitch) {
  return 440 * 2 ** ((pitch - 69) / 12);
}

function timbreName(program) {
  return EXCEPTIONS[program] ?? FAMILIES[program >> 3] ?? "struck";
}

function ringing(timbre, hertz) {
  const samples = new Float32Array(RATE * RING_SECONDS);
  const fall = timbre.fall * Math.min(1.6, Math.sqrt(330 / hertz) + 0.25);
  timbre.harmonics.forEach((strength, n) => {
    const cycle = (2 * Math.PI * hertz * (n + 1)) / RATE;
    if (cycle > 0.9 * Math.PI) return;
    const decay = Math.exp(-(1 + 0.5 * n) / (fall * RATE));
    let level = strength * 0.4;
    for (let at = 0; at < samples.length; at++, level *= decay) {
      samples[at] += level * Math.sin(cycle * at);
    }
  });
  return samples;
}

function held(timbre, hertz) {
  const samples = new Float32Array(RATE * LOOP_SECONDS);
  const voices = timbre.chorus ? [hertz, hertz + 1 / LOOP_SECONDS] : [hertz];
  for (const voice of voices) {
    timbre.harmonics.forEach((strength, n) => {
      const cycle = (2 * Math.PI * voice * (n + 1)) / RATE;
      if (cycle > 0.9 * Math.PI) return;
      const level = (strength * 0.22) / voices.length;
      for (let at = 0; at < samples.length; at++) samples[at] += level * Math.sin(cycle * at);
    });
  }
  return samples;
}

// Kick, toms: a falling tone; everything else: noise, short for hats and long for cymbals.
function drum(pitch) {
  const low = pitch <= 36 || [41, 43, 45, 47, 48, 50].includes(pitch);
  const long = [46, 49, 51, 52, 55, 57, 59].includes(pitch);
  const samples = new Float32Array(RATE * (long ? 0.8 : 0.3));
  let [seed, phase, last] = [pitch + 1, 0, 0];
  for (let at = 0; at < samples.length; at++) {
    const level = Math.exp(-at / (RATE * (low ? 0.09 : long ? 0.25 : 0.05)));
    seed = (seed * 16807) % 2147483647;
    const noise = seed / 1073741824 - 1;
    phase += (2 * Math.PI * ((pitch <= 36 ? 50 : pitch * 2) + 110 * level)) / RATE;
    samples[at] = level * (low ? 0.7 * Math.sin(phase) : 0.25 * (noise - last));
    last = noise;
  }
  return samples;
}

const made = new Map();

function sample(context, key, compute) {
  if (!made.has(key)) {
    const samples = compute();
    const buffer = context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    made.set(key, buffer);
  }
  return made.get(key);
}

// The sample of a note, how fast to play it, whether to loop it, and the seconds in which it rises.
export function noteSample(context, program, pitch) {
  if (program === DRUMS) {
    const buffer = sample(context, `drum ${pitch}`, () => drum(pitch));
    return { buffer, rate: 1, loop: false, rise: 0.001 };
  }
  const name = timbreName(program);
  const timbre = TIMBRES[name];
  const loop = timbre.fall === undefined;
  const base = frequency(Math.round(pitch / STEP) * STEP);
  const hertz = loop ? Math.max(1, Math.round(base * LOOP_SECONDS)) / LOOP_SECONDS : base;
  const compute = () => (loop ? held(timbre, hertz) : ringing(timbre, hertz));
  const buffer = sample(context, `${name} ${hertz}`, compute);
  return { buffer, rate: frequency(pitch) / hertz, loop, rise: timbre.rise };
}

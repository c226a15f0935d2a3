// The notes of a Standard MIDI File, in seconds: what is drawn and played.

export const DRUMS = -1; // the program of notes on the percussion channel
const DRUM_CHANNEL = 9;
const DEFAULT_TEMPO = 500000; // microseconds a quarter note, where the file names none

class Reader {
  constructor(bytes, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get more() {
    return this.at < this.end;
  }

  byte() {
    if (!this.more) throw new Error("The MIDI file ends too early.");
    return this.bytes[this.at++];
  }

  number(length) {
    let value = 0;
    for (let n = 0; n < length; n++) value = value * 256 + this.byte();
    return value;
  }

  variable() {
    let value = 0;
    for (let n = 0; n < 4; n++) {
      const byte = this.byte();
      value = value * 128 + (byte & 127);
      if (byte < 128) break;
    }
    return value;
  }

  name() {
    return String.fromCharCode(this.byte(), this.byte(), this.byte(), this.byte());
  }
}

// Events of one track: {tick, kind: "tempo" | "program" | "on" | "off", ...}. A cut track gives
// those before the cut.
function trackEvents(reader) {
  const events = [];
  let tick = 0;
  let status = 0;
  try {
    while (reader.more) {
      tick += reader.variable();
      if (reader.bytes[reader.at] >= 128) status = reader.byte();
      const event = status >= 240 ? special(reader, status) : channelEvent(reader, status);
      if (event === "end") break;
      if (event) events.push({ tick, ...event });
    }
  } catch {
    return events;
  }
  return events;
}

function special(reader, status) {
  const type = status === 255 ? reader.byte() : null;
  const length = reader.variable();
  const start = reader.at;
  reader.at += length;
  if (type === 47) return "end";
  if (type === 81 && length === 3) {
    return { kind: "tempo", tempo: new Reader(reader.bytes, start).number(3) };
  }
  return null;
}

function channelEvent(reader, status) {
  const channel = status & 15;
  const first = reader.byte();
  const kind = status >> 4;
  if (kind === 12) return { kind: "program", channel, program: first };
  if (kind === 13) return null;
  const second = reader.byte();
  if (kind === 9 && second > 0) return { kind: "on", channel, pitch: first, velocity: second };
  if (kind === 8 || kind === 9) return { kind: "off", channel, pitch: first };
  return null;
}

// A function from ticks, asked in rising order, to seconds.
function timeOf(events, division) {
  if (division & 0x8000) {
    const perSecond = (256 - (division >> 8)) * (division & 255);
    return (tick) => tick / perSecond;
  }
  let [lastTick, lastSeconds, tempo] = [0, 0, DEFAULT_TEMPO];
  const changes = events.filter((event) => event.kind === "tempo");
  let next = 0;
  const since = (tick) => lastSeconds + ((tick - lastTick) * tempo) / 1e6 / (division || 480);
  return (tick) => {
    while (next < changes.length && changes[next].tick <= tick) {
      lastSeconds = since(changes[next].tick);
      lastTick = changes[next].tick;
      tempo = changes[next].tempo;
      next += 1;
    }
    return since(tick);
  };
}

function pairNotes(events, seconds) {
  const programs = new Array(16).fill(0);
  const sounding = new Map();
  const notes = [];
  let now = 0;
  for (const event of events) {
    now = seconds(event.tick);
    const key = event.channel * 128 + event.pitch;
    if (event.kind === "program") programs[event.channel] = event.program;
    if (event.kind === "on") {
      const program = event.channel === DRUM_CHANNEL ? DRUMS : programs[event.channel];
      const note = { start: now, end: null, pitch: event.pitch, program, voice: event.channel };
      note.loudness = event.velocity / 127;
      notes.push(note);
      sounding.set(key, [...(sounding.get(key) ?? []), note]);
    }
    if (event.kind === "off") {
      const note = sounding.get(key)?.shift();
      if (note) note.end = now;
    }
  }
  for (const note of notes) note.end = Math.max(note.end ?? now, note.start + 0.02);
  return notes;
}

// Notes {start, end, pitch, program, voice, loudness} by start, in seconds. Throws a sentence for
// what is no MIDI file.
export function midiNotes(buffer) {
  const reader = new Reader(new Uint8Array(buffer));
  const isMidi = reader.bytes.length >= 14 && reader.name() === "MThd";
  if (!isMidi) throw new Error("This is no MIDI file.");
  const headerLength = reader.number(4);
  reader.number(4); // kind of file and number of tracks: neither is needed
  const division = reader.number(2);
  reader.at = 8 + headerLength;
  const events = [];
  while (reader.end - reader.at >= 8) {
    const name = reader.name();
    const length = reader.number(4);
    const end = Math.min(reader.at + length, reader.end);
    if (name === "MTrk") events.push(...trackEvents(new Reader(reader.bytes, reader.at, end)));
    reader.at = end;
  }
  events.sort((a, b) => a.tick - b.tick); // stable: the order of the tracks stays
  return pairNotes(events, timeOf(events, division)).sort((a, b) => a.start - b.start);
}

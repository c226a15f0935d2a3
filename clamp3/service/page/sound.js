// The medium (see transport.js) of a recording: its waveform, played by the browser.

import { clockTime, element, fittedCanvas, styleValue } from "./elements.js";

const PEAK_RATE_HZ = 8000; // decoded only to be drawn
const LARGEST_DRAWN_BYTES = 80e6;
const BAR_PIXELS = 3;

// The largest amplitude, 0 to 1, in each of `count` equal parts; the loudest part is 1.
function peaks(samples, count) {
  const heights = new Float32Array(count);
  for (let n = 0; n < count; n++) {
    const end = Math.floor(((n + 1) * samples.length) / count);
    for (let at = Math.floor((n * samples.length) / count); at < end; at++) {
      heights[n] = Math.max(heights[n], Math.abs(samples[at]));
    }
  }
  const loudest = heights.reduce((a, b) => Math.max(a, b), 1e-9);
  return heights.map((height) => height / loudest);
}

function ready(audio) {
  return new Promise((resolve, reject) => {
    audio.addEventListener("loadedmetadata", resolve, { once: true });
    const fault = "This browser cannot play the recording.";
    audio.addEventListener("error", () => reject(new Error(fault)), { once: true });
  });
}

export async function openRecording(blob, label) {
  const audio = new Audio(URL.createObjectURL(blob));
  await ready(audio);
  let samples = null;
  if (blob.size <= LARGEST_DRAWN_BYTES) {
    const context = new OfflineAudioContext(1, 1, PEAK_RATE_HZ);
    samples = (await context.decodeAudioData(await blob.arrayBuffer())).getChannelData(0);
  }
  return new Recording(audio, samples, label);
}

class Recording {
  constructor(audio, samples, label) {
    this.audio = audio;
    this.samples = samples;
    this.seconds = Number.isFinite(audio.duration) ? audio.duration : samples.length / PEAK_RATE_HZ;
    this.canvas = element("canvas", {
      role: "img", class: "wave",
      "aria-label": `Waveform of ${label}, ${clockTime(this.seconds)} long`,
      click: (event) => this.onSeek?.(event.offsetX / this.canvas.clientWidth),
    });
    this.element = element("div", { class: "timeline" }, this.canvas);
    this.part = 0;
    new ResizeObserver(() => this.drawn()).observe(this.canvas);
  }

  drawn() {
    if (!this.canvas.isConnected || !this.samples) return;
    const { context, width, height } = fittedCanvas(this.canvas);
    const count = Math.max(1, Math.floor(width / BAR_PIXELS));
    if (this.heights?.length !== count) this.heights = peaks(this.samples, count);
    const [passed, coming] = [styleValue("--audio"), styleValue("--wave")];
    this.heights.forEach((part, n) => {
      context.fillStyle = n < this.part * count ? passed : coming;
      const bar = Math.max(1, part * (height - 4));
      context.fillRect(n * BAR_PIXELS, (height - bar) / 2, BAR_PIXELS - 1, bar);
    });
  }

  async start(position, onEnd) {
    const { audio } = this;
    audio.currentTime = position;
    audio.onended = onEnd;
    await audio.play();
    return { position: () => audio.currentTime, stop: () => audio.pause() };
  }

  close() {
    URL.revokeObjectURL(this.audio.src);
  }

  show(position) {
    if (position === null) return;
    this.part = position / this.seconds;
    this.drawn();
  }
}

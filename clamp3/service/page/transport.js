// Play, stop and a position for one medium. One transport plays at a time.
//
// A medium is {element, seconds, drawn(), show(position or null), and
// start(position, onEnd), which resolves to {position(), stop()}}.

import { clockTime, element } from "./elements.js";

let playing = null;

export function stopPlaying() {
  playing?.stop();
}

export class Transport {
  // `onChange` hears "playing" or "stopped"; `label` says what is played.
  constructor(medium, label, onChange) {
    this.medium = medium;
    this.label = label;
    this.onChange = onChange;
    this.running = null;
    this.frame = null;
    this.button = element("button", { type: "button", class: "play", click: () => this.toggle() });
    this.range = element("input", {
      type: "range", min: 0, max: 1000, value: 0, class: "position",
      "aria-label": `Position in ${label}`, input: () => this.seek(this.range.value / 1000),
    });
    this.time = element("span", { class: "time" });
    this.element = element("div", { class: "transport" }, this.button, this.range, this.time);
    medium.onSeek = (part) => this.seek(part);
    this.draw(0);
    this.name();
  }

  name() {
    const verb = this.running ? "Stop" : "Play";
    this.button.setAttribute("aria-label", `${verb} ${this.label}`);
    this.button.classList.toggle("stop", Boolean(this.running));
  }

  async toggle() {
    if (this.running) this.stop();
    else await this.play();
  }

  async play() {
    if (playing !== this) stopPlaying();
    playing = this;
    const from = this.at < this.medium.seconds - 0.05 ? this.at : 0;
    const running = await this.medium.start(from, () => this.stop(true));
    if (playing !== this) {
      running.stop();
      return;
    }
    this.running = running;
    this.name();
    this.onChange("playing");
    this.follow();
  }

  follow() {
    if (!this.running) return;
    this.draw(this.running.position());
    this.frame = requestAnimationFrame(() => this.follow());
  }

  stop(ended = false) {
    if (playing === this) playing = null;
    if (!this.running) return;
    cancelAnimationFrame(this.frame);
    this.running.stop();
    this.running = null;
    this.name();
    this.onChange("stopped");
    if (ended) this.draw(0);
    this.medium.show(null);
  }

  async seek(part) {
    const goOn = Boolean(this.running);
    this.stop();
    this.draw(part * this.medium.seconds);
    if (goOn) await this.play();
  }

  draw(position) {
    const { seconds } = this.medium;
    this.at = Math.min(position, seconds);
    this.range.value = seconds ? (1000 * this.at) / seconds : 0;
    this.range.style.setProperty("--part", `${seconds ? (100 * this.at) / seconds : 0}%`);
    const text = `${clockTime(this.at)} / ${clockTime(seconds)}`;
    if (this.time.textContent !== text) {
      this.time.textContent = text;
      this.range.setAttribute("aria-valuetext", `${clockTime(this.at)} of ${clockTime(seconds)}`);
    }
    this.medium.show(this.at);
  }
}

// One answer: what the piece is, how near it is, and its score, piano roll or sound.

import { describePiece, pieceBlob, pieceText } from "./api.js";
import { element, kindName } from "./elements.js";
import { facts } from "./facts.js";
import { Score } from "./notation.js";
import { openRoll } from "./roll.js";
import { openRecording } from "./sound.js";
import { Transport } from "./transport.js";

const FORMAT_OF = { abc: "abc", mtf: "midi", audio: "audio" };
const VIEW_NAMES = { abc: "Score", midi: "Piano roll", audio: "Sound" };

const OPENERS = {
  abc: async (id, title) => new Score(await pieceText(id, "abc"), title),
  midi: async (id, title) => openRoll(await pieceBlob(id, "midi"), title),
  audio: async (id, title) => openRecording(await pieceBlob(id, "audio"), title),
};

export function titleOf(piece) {
  return piece.title || piece.id;
}

export class Card {
  // `hits`: the results of one piece, best first; `asked`: {properties: names that can be filtered
  // by, modality: the one that was asked for}; `actions`: {like(id), narrow(condition)}.
  constructor(hits, number, asked, actions) {
    [this.piece] = hits;
    this.title = titleOf(this.piece);
    this.media = {};
    this.view = null;
    this.stage = element("div", { class: "stage" });
    this.more = element(
      "button",
      { type: "button", class: "quiet like", click: () => actions.like(this.piece.id) },
      "More like this",
    );
    const name = `title-${number}`;
    this.element = element(
      "article",
      {
        class: "card",
        tabindex: number === 1 ? 0 : -1,
        "aria-labelledby": name,
        "aria-posinset": number,
      },
      element(
        "header",
        {},
        element("span", { class: "number", "aria-hidden": "true" }, String(number)),
        element("h3", { id: name }, this.title),
        this.more,
      ),
      element("div", { class: "nearness" }, ...hits.map(nearness)),
      facts(this.piece.metadata, asked.properties, actions.narrow),
      this.tabs(asked.modality),
      this.stage,
    );
    this.element.dataset.id = this.piece.id;
  }

  // A score comes first where there is one, unless another modality was asked for.
  tabs(modality) {
    const { formats } = this.piece;
    const first = FORMAT_OF[modality];
    this.first = formats.includes(first) ? first : formats[0];
    const label = `Views of ${this.title}`;
    const group = element("div", { class: "views", role: "group", "aria-label": label });
    this.buttons = {};
    for (const format of formats.filter((one) => one in VIEW_NAMES)) {
      this.buttons[format] = element(
        "button",
        { type: "button", "aria-pressed": "false", click: () => this.show(format) },
        VIEW_NAMES[format],
      );
      group.append(this.buttons[format]);
    }
    group.hidden = formats.length === 0;
    return group;
  }

  // Loads and shows a view; the first one where none is named.
  async show(format = this.view ?? this.first) {
    if (!format || (this.view === format && this.media[format])) return this.media[format];
    if (this.view && this.view !== format) (await this.opened(this.view))?.stop();
    this.view = format;
    for (const [name, button] of Object.entries(this.buttons)) {
      button.setAttribute("aria-pressed", String(name === format));
    }
    this.stage.replaceChildren(element("p", { class: "waiting" }, "Loading…"));
    try {
      this.media[format] ??= this.open(format);
      const transport = await this.media[format];
      if (this.view !== format) return null; // another one was chosen meanwhile
      this.stage.replaceChildren(transport.medium.element, transport.element);
      transport.medium.drawn();
      return transport;
    } catch (error) {
      delete this.media[format];
      const sentence = `The ${VIEW_NAMES[format].toLowerCase()} cannot be shown: ${error.message}`;
      this.stage.replaceChildren(element("p", { class: "fault" }, sentence));
      return null;
    }
  }

  async open(format) {
    const medium = await OPENERS[format](this.piece.id, this.title);
    return new Transport(medium, this.title, (state) => (this.element.dataset.player = state));
  }

  async togglePlaying() {
    await (await this.show())?.toggle();
  }

  async redraw() {
    if (this.view) (await this.opened(this.view))?.medium.drawn();
  }

  async close() {
    for (const format of Object.keys(this.media)) (await this.opened(format))?.medium.close?.();
  }

  // The transport of a view that was opened without fault, or null.
  async opened(format) {
    try {
      return (await this.media[format]) ?? null;
    } catch {
      return null;
    }
  }
}

function nearness(hit) {
  const said = element("span", { class: "unseen" }, "similarity ");
  const fill = element("span", { class: "fill" });
  fill.style.width = `${100 * Math.min(1, Math.max(0, hit.similarity))}%`;
  return element(
    "div",
    { class: "similarity", "data-modality": hit.modality },
    element("span", { class: "kind" }, kindName(hit.modality)),
    element("span", { class: "bar", "aria-hidden": "true" }, fill),
    element("span", { class: "figure" }, said, hit.similarity.toFixed(3)),
  );
}

// The title of a piece that may not be among the answers.
export async function titleById(id) {
  try {
    return titleOf(await describePiece(id));
  } catch {
    return id;
  }
}

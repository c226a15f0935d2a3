// Asking: a text, an example, a file from a dialog or dropped anywhere on the page.

import { byId, element } from "./elements.js";

const ENDINGS = {
  abc: [".abc", ".mxl", ".musicxml", ".xml"],
  mtf: [".mid", ".midi", ".mtf"],
  audio: [".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aiff"],
  image: [".png", ".jpg", ".jpeg", ".webp", ".gif"],
};
const FILE_NAMES = { abc: "a score", mtf: "MIDI", audio: "a recording", image: "a picture" };
const MEBIBYTE = 2 ** 20;

function spoken(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

function showExamples(examples, ask) {
  byId("examples").append(...examples.map((text) =>
    element("li", {}, element("button", { type: "button", click: () => ask({ text }) }, text))));
}

// Shows what is asked; a file has a name only, and a piece its title.
export function showQuery(state, title) {
  byId("text").value = state.text;
  const about = state.file ? `Like the file “${state.file}”` : state.like ? `Like “${title}”` : "";
  byId("about").hidden = !about;
  byId("about-what").textContent = about;
}

function startDropping(take) {
  let depth = 0; // entering a child comes before leaving its parent
  const carriesFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dropping", depth > 0);
  };
  document.addEventListener("dragenter", (event) => carriesFile(event) && mark(1));
  document.addEventListener("dragleave", (event) => carriesFile(event) && mark(-1));
  document.addEventListener("dragover", (event) => carriesFile(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    mark(-depth);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
}

// `ask({text})` or `ask({file})` starts a search; `refuse(sentence)` says why not.
export function startQueryBar(info, ask, refuse) {
  const kinds = info.model.modalities.filter((kind) => kind in ENDINGS);
  const { upload_bytes: largest, text_characters: longest } = info.limits;
  const take = (file) => {
    if (file.size > largest) {
      const sizes = [file.size, largest].map((bytes) => `${(bytes / MEBIBYTE).toFixed(1)} MiB`);
      refuse(`${file.name} holds ${sizes[0]}; the service takes at most ${sizes[1]}.`);
    } else ask({ file });
  };
  if (longest) byId("text").maxLength = longest;
  if (!info.model.modalities.includes("text")) {
    byId("text").disabled = true;
    byId("text").placeholder = "this model reads no text";
  }
  showExamples(info.examples, ask);
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("text").value.trim();
    if (text) ask({ text });
  });
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").accept = kinds.flatMap((kind) => ENDINGS[kind]).join(",");
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    byId("file").value = ""; // the same file can be chosen again
    if (file) take(file);
  });
  byId("dropping-hint").textContent = kinds.length
    ? `Or drop ${spoken(kinds.map((kind) => FILE_NAMES[kind]))} anywhere on this page.`
    : "";
  byId("choose").hidden = kinds.length === 0;
  if (kinds.length) startDropping(take);
}

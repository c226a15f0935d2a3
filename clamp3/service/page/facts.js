// What is known of a piece. A value that can be filtered by is a button that does.

import { element } from "./elements.js";

const LONG_VALUE = 60; // characters; longer ones are told as a paragraph
const MOST_VALUES = 6; // of one property
const FEWEST_SEEN = 3; // where nothing of `FIRST` is known
// What most people look for; everything else is seen after a click.
const FIRST = [
  "artists", "artist", "composer", "year", "genres", "genre", "key", "metre", "instruments", "tags",
];

function rank(name) {
  return FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length;
}

function isShort([, values]) {
  return values.every((value) => value.length <= LONG_VALUE);
}

function button(name, value, narrow) {
  const click = () => narrow(`${name}=${value}`);
  return element("button", { type: "button", title: `Only ${name} ${value}`, click }, value);
}

function row([name, values], properties, narrow) {
  const shown = values.slice(0, MOST_VALUES).map((value) =>
    element("dd", {}, properties.has(name) ? button(name, value, narrow) : value));
  return element("div", {}, element("dt", {}, name), ...shown);
}

function paragraph([name, values]) {
  return element("p", {}, element("b", {}, `${name}. `), values.join(" "));
}

// `metadata`: {name: value or values}; `properties`: the names that can be filtered by.
export function facts(metadata, properties, narrow) {
  const known = Object.entries(metadata)
    .map(([name, value]) => [name, [value].flat().filter(Boolean).map(String)])
    .filter(([name, values]) => name !== "title" && values.length)
    .sort(([a], [b]) => rank(a) - rank(b));
  const seen = known.filter((fact, n) =>
    isShort(fact) && (FIRST.includes(fact[0]) || n < FEWEST_SEEN));
  const hidden = known.filter((fact) => !seen.includes(fact));
  const list = (some) =>
    element("dl", { class: "facts" }, ...some.map((fact) => row(fact, properties, narrow)));
  if (!hidden.length) return list(seen);
  const told = element(
    "details",
    { class: "told" },
    element("summary", {}, "About it"),
    list(hidden.filter(isShort)),
    ...hidden.filter((fact) => !isShort(fact)).map(paragraph),
  );
  return element("div", {}, list(seen), told);
}

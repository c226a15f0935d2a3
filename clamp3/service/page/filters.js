// Conditions on what is known of pieces, and which modality answers.

import { byId, element, inOrder, kindName } from "./elements.js";

const OPERATORS = [
  ["=", "is"],
  ["!=", "is not"],
  [">=", "at least"],
  ["<=", "at most"],
];
const PLURALS = { abc: "Scores", mtf: "MIDI", audio: "Sound" };

let properties = [];
let change = null; // change({where, modality, approximate}) starts a new search

export function propertyNames() {
  return new Set(properties.map(({ name }) => name));
}

function isNumeric({ values }) {
  return values.every(([value]) => value.trim() !== "" && Number.isFinite(Number(value)));
}

function chosenProperty() {
  return properties.find(({ name }) => name === byId("property").value);
}

function offerValues() {
  const property = chosenProperty();
  byId("values").replaceChildren(...property.values.map(([value, count]) =>
    element("option", { value: String(value) }, `${value} (${count})`)));
  byId("operator").value = isNumeric(property) ? ">=" : "=";
  byId("value").value = "";
}

// A phrase for a condition: `year>=1900` reads “year at least 1900”.
export function readable(condition) {
  const found = /^([^<>=!]+?)\s*(!=|>=|<=|=|>|<)\s*(.*)$/s.exec(condition);
  if (!found) return condition;
  const [, name, operator, value] = found;
  const words = Object.fromEntries(OPERATORS)[operator] ?? operator;
  return `${name} ${words} ${value || "unknown"}`;
}

export function showFilters(state) {
  const chips = state.where.map((condition, n) =>
    element(
      "li",
      {},
      element("span", {}, readable(condition)),
      element("button", {
        type: "button", class: "remove", "aria-label": `Remove: ${readable(condition)}`,
        click: () => change({ where: state.where.filter((_, other) => other !== n) }),
      }),
    ));
  byId("conditions").replaceChildren(...chips);
  for (const radio of document.querySelectorAll('input[name="modality"]')) {
    radio.checked = radio.value === state.modality;
  }
  byId("approximate").checked = state.approximate;
}

function modalityChoices(modalities) {
  const names = inOrder(Object.keys(modalities));
  const all = names.length > 1 ? [["", "All"]] : [];
  const choices = [...all, ...names.map((name) => [name, PLURALS[name] ?? kindName(name)])];
  byId("modalities").append(...choices.map(([value, label]) => {
    const radio = element("input", {
      type: "radio", name: "modality", value, change: () => change({ modality: value }),
    });
    const count = value ? modalities[value] : null;
    const title = count === null ? null : `${count.toLocaleString("en")} in the collection`;
    return element("label", { title }, radio, element("span", {}, label));
  }));
  byId("modalities").hidden = names.length < 2;
}

function addCondition(event, currentState) {
  event.preventDefault();
  const value = byId("value").value.trim();
  const condition = `${byId("property").value}${byId("operator").value}${value}`;
  byId("value").value = "";
  byId("builder").open = false;
  byId("builder").querySelector("summary").focus();
  const { where } = currentState();
  if (!where.includes(condition)) change({ where: [...where, condition] });
}

export function startFilters(info, currentState, onChange) {
  properties = info.index.properties.filter(({ values }) => values.length);
  change = onChange;
  modalityChoices(info.index.modalities);
  const option = (value, label) => element("option", { value }, label);
  byId("property").append(...properties.map(({ name }) => option(name, name)));
  byId("operator").append(...OPERATORS.map(([value, label]) => option(value, label)));
  byId("builder").hidden = properties.length === 0;
  if (properties.length) offerValues();
  byId("property").addEventListener("change", offerValues);
  byId("condition").addEventListener("submit", (event) => addCondition(event, currentState));
  byId("faster").hidden = !info.index.approximate;
  byId("approximate").addEventListener("change", ({ target }) =>
    change({ approximate: target.checked }));
}

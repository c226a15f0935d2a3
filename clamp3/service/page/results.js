// The list of answers, and moving through it by keyboard.

import { Card } from "./card.js";
import { byId, element } from "./elements.js";
import { stopPlaying } from "./transport.js";

const NEAR_VIEW = "400px"; // scores are drawn a little before they are scrolled to

let cards = [];

const nearView = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    nearView.unobserve(target);
    cardOf(target)?.show();
  }
}, { rootMargin: NEAR_VIEW });

function cardOf(node) {
  return cards.find((card) => card.element === node);
}

// Results of one piece in several modalities make one card, at the place of the best.
export function byPiece(results) {
  const pieces = new Map();
  for (const hit of results) {
    if (!pieces.has(hit.id)) pieces.set(hit.id, []);
    pieces.get(hit.id).push(hit);
  }
  return [...pieces.values()];
}

export function clearResults() {
  stopPlaying();
  for (const card of cards) {
    nearView.unobserve(card.element);
    card.close();
  }
  cards = [];
  byId("results").replaceChildren();
  byId("results").removeAttribute("role"); // a feed has to have articles
}

export function showResults(results, asked, actions) {
  clearResults();
  const pieces = byPiece(results);
  cards = pieces.map((hits, n) => new Card(hits, n + 1, asked, actions));
  for (const card of cards) {
    card.element.setAttribute("aria-setsize", String(cards.length));
    nearView.observe(card.element);
  }
  byId("results").replaceChildren(...cards.map((card) => card.element));
  if (cards.length) byId("results").setAttribute("role", "feed");
  return pieces;
}

export function showNothingFound() {
  const hint = "Nothing in the collection fits all conditions. Take one away.";
  byId("results").replaceChildren(element("p", { class: "nothing" }, hint));
}

function focusCard(number) {
  const card = cards[number];
  if (!card) return;
  for (const other of cards) other.element.tabIndex = other === card ? 0 : -1;
  card.element.focus();
  card.element.scrollIntoView({ block: "nearest" });
}

export function focusFirst() {
  focusCard(0);
}

export function focusPiece(id) {
  focusCard(cards.findIndex((card) => card.piece.id === id));
}

// Arrows, Home and End move between cards, Space plays, Enter asks for more like it.
function onKey(event) {
  const number = cards.findIndex((card) => card.element === event.target);
  if (number < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const moves = {
    ArrowDown: () => focusCard(number + 1),
    ArrowUp: () => (number ? focusCard(number - 1) : byId("text").focus()),
    Home: () => focusCard(0),
    End: () => focusCard(cards.length - 1),
    Enter: () => cards[number].more.click(),
    " ": () => cards[number].togglePlaying(),
  };
  if (!(event.key in moves)) return;
  event.preventDefault();
  moves[event.key]();
}

function redrawWhenWidthChanges() {
  let width = window.innerWidth;
  let waiting = null;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => cards.forEach((card) => card.redraw()), 200);
  });
}

export function startResults() {
  byId("results").addEventListener("keydown", onKey);
  document.addEventListener("themechange", () => cards.forEach((card) => card.redraw()));
  redrawWhenWidthChanges();
}

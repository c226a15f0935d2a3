// The page: what is asked lives in the address, every change of it is a search.

import * as api from "./api.js";
import { titleById } from "./card.js";
import { byId } from "./elements.js";
import { propertyNames, showFilters, startFilters } from "./filters.js";
import { lightUp, startMap } from "./map.js";
import { showQuery, startQueryBar } from "./querybar.js";
import {
  clearResults, focusFirst, showNothingFound, showResults, startResults,
} from "./results.js";
import { FIRST_RESULTS, emptyState, isQuery, readState, writeState } from "./state.js";
import { askForToken } from "./token.js";
import { stopPlaying } from "./transport.js";

const MORE_RESULTS = 12;
const CAPTION_LENGTH = 200;

let info = null;
let state = emptyState();
let file = null; // the dropped file; an address only holds its name
let running = null; // AbortController of the search under way

const actions = {
  like: (id) => ask({ like: id }, true),
  narrow: (condition) => {
    if (!state.where.includes(condition)) narrow({ where: [...state.where, condition] });
  },
};

function say(text) {
  byId("status").textContent = text;
}

function refuse(sentence) {
  byId("alert-text").textContent = sentence;
  byId("alert").hidden = false;
}

// A new question keeps the conditions and forgets everything else.
function ask(query, moveFocus = false) {
  file = query.file ?? null;
  const { where, modality, approximate } = state;
  const name = file ? file.name : "";
  go({ ...emptyState(), where, modality, approximate, ...query, file: name }, moveFocus);
}

function narrow(change) {
  go({ ...state, topK: FIRST_RESULTS, ...change });
}

function go(next, moveFocus = false) {
  state = next;
  history.pushState(null, "", writeState(state));
  show(moveFocus);
}

// Shows the state: the answers of its query, or the first page.
async function show(moveFocus = false) {
  byId("alert").hidden = true;
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  document.body.classList.toggle("asked", isQuery(state));
  showFilters(state);
  showQuery(state, state.like ? await titleById(state.like) : "");
  if (signal.aborted) return;
  document.title = `${heading()}clamp3 search`;
  if (!isQuery(state)) return showFirstPage();
  if (state.file && file?.name !== state.file) {
    showFirstPage();
    const gone = `This link asks by the file “${state.file}”, which only you have`;
    return refuse(`${gone}: drop it here again.`);
  }
  await answer(signal, moveFocus);
}

function heading() {
  const subject = state.text || byId("about-what").textContent;
  return subject ? `${subject} · ` : "";
}

function showFirstPage() {
  clearResults();
  lightUp([], "");
  byId("more").hidden = true;
  say("");
}

async function answer(signal, moveFocus) {
  byId("results").setAttribute("aria-busy", "true");
  say("Searching…");
  try {
    const found = await api.search(state, file, signal);
    if (!signal.aborted) present(found, moveFocus);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    showFirstPage();
    refuse(state.file ? `${state.file}: ${error.message}` : error.message);
  } finally {
    if (!signal.aborted) byId("results").setAttribute("aria-busy", "false");
  }
}

function present(found, moveFocus) {
  const asked = { properties: propertyNames(), modality: state.modality };
  const pieces = showResults(found.results, asked, actions);
  lightUp(pieces, state.like);
  if (!pieces.length) showNothingFound();
  const most = info.limits.top_k;
  byId("more").hidden = found.results.length < state.topK || state.topK >= most;
  const { caption } = found.query;
  byId("caption").hidden = !caption;
  byId("caption").textContent = `Seen in the picture: ${(caption ?? "").slice(0, CAPTION_LENGTH)}`;
  const count = pieces.length === 1 ? "1 piece" : `${pieces.length} pieces`;
  const all = info.index.pieces.toLocaleString("en");
  say(`${count} of ${all}, found in ${spokenTime(found.seconds)}`);
  if (moveFocus) focusFirst();
}

function spokenTime(seconds) {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;
}

function onKey(event) {
  const typing = event.target.matches?.("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("text").focus();
    byId("text").select();
  }
  if (event.key === "ArrowDown" && event.target === byId("text")) {
    event.preventDefault();
    focusFirst();
  }
  if (event.key === "Escape" && !byId("token-dialog").open) {
    stopPlaying();
    byId("alert").hidden = true;
  }
}

function about() {
  const { pieces, modalities } = info.index;
  const count = Object.keys(modalities).length;
  const kinds = count > 1 ? `, ${count} modalities` : "";
  byId("collection").textContent =
    `${pieces.toLocaleString("en")} pieces${kinds}, model ${info.model.name}`;
}

function startPage() {
  startResults();
  startQueryBar(info, (query) => ask(query), refuse);
  startFilters(info, () => state, narrow);
  about();
  byId("clear").addEventListener("click", () => {
    go(emptyState());
    byId("text").focus();
  });
  byId("home").addEventListener("click", (event) => {
    event.preventDefault();
    go(emptyState());
  });
  byId("more").addEventListener("click", () =>
    go({ ...state, topK: Math.min(state.topK + MORE_RESULTS, info.limits.top_k) }));
  byId("dismiss").addEventListener("click", () => (byId("alert").hidden = true));
  document.addEventListener("keydown", onKey);
  window.addEventListener("popstate", () => {
    state = readState(location.search);
    show();
  });
}

async function start() {
  api.whenRefused(askForToken);
  try {
    info = await api.getInfo();
    startPage();
    state = readState(location.search);
    const searching = show();
    if (info.has_map) await startMap((id) => ask({ like: id }, true));
    await searching;
  } catch (error) {
    refuse(error.message);
  }
  document.body.dataset.ready = "true";
}

start();

// The service's answers. Every fault becomes an ApiError whose message is the sentence to show.

import { choices } from "./state.js";

const TOKEN = "clamp3.token";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let askForToken = null;
let asking = null; // several requests may be refused at once: one question

// `ask(wrongBefore)` resolves to a token that a person typed.
export function whenRefused(ask) {
  askForToken = ask;
}

async function send(path, options) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service does not answer. Is it still running?", 0);
  }
}

async function request(path, options = {}) {
  const used = sessionStorage.getItem(TOKEN);
  const response = await send(path, options);
  if (response.status === 401 && askForToken) {
    if (sessionStorage.getItem(TOKEN) === used) {
      asking ??= askForToken(used !== null).finally(() => (asking = null));
      sessionStorage.setItem(TOKEN, await asking);
    }
    return request(path, options);
  }
  if (!response.ok) throw new ApiError(await sentence(response), response.status);
  return response;
}

async function sentence(response) {
  const fallback = `The service answered ${response.status} ${response.statusText}.`;
  try {
    const { error } = await response.json();
    return typeof error === "string" ? error : fallback;
  } catch {
    return fallback;
  }
}

async function json(path, options) {
  return (await request(path, options)).json();
}

export function getInfo() {
  return json("api/info");
}

export function getMap() {
  return json("api/map");
}

// `file` is the dropped File where the state asks by one.
export function search(state, file, signal) {
  const parameters = choices(state);
  parameters.set("top_k", String(state.topK));
  if (state.file) {
    const body = new FormData();
    body.append("file", file, file.name);
    return json(`api/search?${parameters}`, { method: "POST", body, signal });
  }
  if (state.like) parameters.set("like", state.like);
  else parameters.set("text", state.text);
  return json(`api/search?${parameters}`, { signal });
}

function pieceAddress(id) {
  return `api/piece/${id.split("/").map(encodeURIComponent).join("/")}`;
}

const descriptions = new Map();

export function describePiece(id) {
  if (!descriptions.has(id)) {
    const description = json(pieceAddress(id));
    description.catch(() => descriptions.delete(id));
    descriptions.set(id, description);
  }
  return descriptions.get(id);
}

export async function pieceText(id, format) {
  return (await request(`${pieceAddress(id)}?as=${format}`)).text();
}

export async function pieceBlob(id, format) {
  return (await request(`${pieceAddress(id)}?as=${format}`)).blob();
}

// What is asked, and its form in the address: a search is a link.

export const FIRST_RESULTS = 12;

export function emptyState() {
  const query = { text: "", like: "", file: "" };
  return { ...query, modality: "", where: [], topK: FIRST_RESULTS, approximate: false };
}

export function readState(search) {
  const known = new URLSearchParams(search);
  const count = Number.parseInt(known.get("top_k") ?? "", 10);
  return {
    text: known.get("text") ?? "",
    like: known.get("like") ?? "",
    file: known.get("file") ?? "",
    modality: known.get("modality") ?? "",
    where: known.getAll("where"),
    topK: count > 0 ? count : FIRST_RESULTS,
    approximate: known.get("approximate") === "true",
  };
}

export function isQuery(state) {
  return Boolean(state.text || state.like || state.file);
}

// The part of the state that narrows or sizes the answer, as the API takes it.
export function choices(state) {
  const parameters = new URLSearchParams();
  if (state.modality) parameters.set("modality", state.modality);
  for (const condition of state.where) parameters.append("where", condition);
  if (state.approximate) parameters.set("approximate", "true");
  return parameters;
}

export function writeState(state) {
  const parameters = new URLSearchParams();
  for (const name of ["text", "like", "file"]) {
    if (state[name]) parameters.set(name, state[name]);
  }
  for (const [name, value] of choices(state)) parameters.append(name, value);
  if (state.topK !== FIRST_RESULTS) parameters.set("top_k", String(state.topK));
  const query = parameters.toString();
  return query ? `?${query}` : location.pathname;
}

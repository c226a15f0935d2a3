// The beginning of an ABC text, cut without losing voices.

// Fields that the card shows as text already.
const SAID_ELSEWHERE = /^[TCORHNSZAB]:/;

// The text of a music line up to its n-th bar line, and how many bar lines that text has.
function cutLine(line, bars) {
  let count = 0;
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const sign = line[at];
    if (quote) {
      if (sign === quote) quote = "";
    } else if (sign === "%") break;
    else if (sign === '"') quote = '"';
    else if (sign === "[" && /[A-Za-z]:/.test(line.slice(at + 1, at + 3))) quote = "]";
    else if (sign === "|" || line.startsWith("::", at)) {
      const before = line.slice(0, at).replace(/\[[A-Za-z]:[^\]]*\]/g, "");
      while (/[|\]:]/.test(line[at + 1] ?? "")) at += 1;
      if (/[A-Ga-gzxZX]/.test(before)) count += 1; // a line may begin with a bar line
      if (count === bars) return [line.slice(0, at + 1), count];
    }
  }
  return [line, count];
}

// The first bars of every voice; `cut` says whether anything was left out. Titles and the like go.
export function excerpt(abc, bars) {
  const kept = [];
  const counts = new Map();
  let [voice, inBody, keeping, cut] = ["", false, true, false];
  for (const line of abc.split(/\r?\n/)) {
    const named = /^\[?V:\s*([^\s\]]+)/.exec(line);
    if (named && inBody) voice = named[1];
    if (!inBody || /^([A-Za-z+]:|%)/.test(line)) {
      if (/^K:/.test(line)) inBody = true;
      const drawn = !SAID_ELSEWHERE.test(line) && (keeping || named || !/^[wsW]:/.test(line));
      if (drawn) kept.push(line);
      continue;
    }
    const already = counts.get(voice) ?? 0;
    keeping = already < bars && line.trim() !== "";
    if (keeping) {
      const [text, count] = cutLine(line, bars - already);
      kept.push(text);
      counts.set(voice, already + count);
      cut ||= /[A-Ga-gzx]/.test(line.slice(text.length).replace(/%.*$/, ""));
    } else cut ||= line.trim() !== "";
  }
  // One part needs no name in front of each staff.
  const text = kept.join("\n");
  return { abc: counts.size > 1 ? text : text.replace(/\s+(s?nm|s?name)="[^"]*"/g, ""), cut };
}

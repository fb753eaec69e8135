// The data as typed arrays, with the indexes and prefix sums that drawing needs.

const data = JSON.parse(document.getElementById("data").textContent);
const summary = data.summary;
const tiers = data.target.tiers;
const T = data.steps.name.length;

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** A size as the terminal writes it: at most two decimals, binary units. */
function sizeText(bytes) {
  let power = 0, value = Math.abs(bytes);
  while (power < BINARY.length - 1 && Number(value.toFixed(2)) >= 1024) { value /= 1024; power += 1; }
  const digits = power ? value.toFixed(2).replace(/\.?0+$/, "") : String(Math.round(value));
  return `${bytes < 0 ? "-" : ""}${digits} ${BINARY[power]}`;
}

/** A time as the terminal writes it: four significant digits. */
function timeText(seconds) {
  if (!seconds) return "0 s";
  for (const [unit, scale] of [["s", 1], ["ms", 1e3], ["us", 1e6], ["ns", 1e9]]) {
    const scaled = Number((Math.abs(seconds) * scale).toPrecision(4));
    if (scaled < 1 && unit !== "ns") continue;
    return `${Math.sign(seconds) * (scaled < 1000 ? scaled : Math.round(Math.abs(seconds) * scale))} ${unit}`;
  }
  return "";
}

/** An energy as the terminal writes it: four significant digits. */
function energyText(joules) {
  if (!joules) return "0 J";
  for (const [unit, scale] of [["J", 1], ["mJ", 1e3], ["uJ", 1e6], ["nJ", 1e9], ["pJ", 1e12]]) {
    const scaled = Number((joules * scale).toPrecision(4));
    if (Math.abs(scaled) >= 1 || unit === "pJ") return `${scaled} ${unit}`;
  }
  return "";
}

/** A count or a rate as the terminal writes it: whole numbers below a million in full. */
function countText(count) {
  if (count < 1e6 && Number.isInteger(count)) return String(count);
  const rounded = Number(count.toPrecision(4));
  for (const [letter, scale] of [["P", 1e15], ["T", 1e12], ["G", 1e9], ["M", 1e6]]) {
    if (rounded >= scale) return `${Number((rounded / scale).toPrecision(4))} ${letter}`;
  }
  return String(rounded);
}

/** A share with one decimal. */
// Two decimals, but an open gap never reads as closed (1e-6 counts as closed).
function gapText(gap) {
  const open = gap > 1e-6 && gap < 5e-5;
  return `${open ? Number((100 * gap).toPrecision(1)) : (100 * gap).toFixed(2)} %`;
}
function shareText(part, whole) { return whole ? `${(100 * part / whole).toFixed(1)} %` : "-"; }

/** Columns of integers as Float64Array: sizes may exceed 32 bits. */
function typed(columns) {
  return Object.fromEntries(Object.entries(columns).map(([key, list]) => [key, Float64Array.from(list)]));
}

const steps = data.steps;
const buffers = data.buffers;
const residencies = typed(data.residencies);
const uses = typed(data.uses);
const transfers = typed(data.transfers);
const R = residencies.buffer.length;
const X = transfers.buffer.length;

/** Running sums: out[i] is the sum of the first i values. */
function sums(list) {
  const out = new Float64Array(list.length + 1);
  for (let i = 0; i < list.length; i += 1) out[i + 1] = out[i] + list[i];
  return out;
}

const clock = sums(steps.elapsed_s); // seconds at which each step begins; clock[T] is the end
const total = clock[T];

/** Items of a column grouped by buffer: item numbers in order. */
function byBuffer(column) {
  const lists = buffers.name.map(() => []);
  column.forEach((buffer, item) => lists[buffer].push(item));
  return lists;
}

const residenciesOf = byBuffer(residencies.buffer);
const usesOf = byBuffer(uses.buffer);
const transfersOf = byBuffer(transfers.buffer);
const valuesOf = byBuffer(Float64Array.from(data.values.buffer));
const usesAt = steps.name.map(() => []);
uses.step.forEach((step, use) => usesAt[step].push(use));

// First and last step of each transfer, where its moves begin, and the residencies at both ends.
const firstMove = new Float64Array(X), lastMove = new Float64Array(X), moveStart = new Float64Array(X);
const leavesFrom = new Int32Array(X).fill(-1), arrivesIn = new Int32Array(X).fill(-1);
for (let x = 0, at = 0; x < X; x += 1) {
  moveStart[x] = at;
  firstMove[x] = transfers.step[at];
  at += transfers.moves[x];
  lastMove[x] = transfers.step[at - 1];
  for (const r of residenciesOf[transfers.buffer[x]]) {
    const overlaps = residencies.start_byte[r] < transfers.end_byte[x]
      && residencies.end_byte[r] > transfers.start_byte[x];
    if (!overlaps) continue;
    const tier = residencies.tier[r], t = firstMove[x];
    if (leavesFrom[x] < 0 && tier === transfers.source[x] && residencies.ready[r] <= t
      && residencies.end[r] > t) leavesFrom[x] = r;
    if (arrivesIn[x] < 0 && tier === transfers.destination[x] && residencies.start[r] <= t
      && residencies.ready[r] > t) arrivesIn[x] = r;
  }
}

/** Bytes of a use by tier, at the step of the use: the fastest tier that has each byte serves it. */
function servedBy(use) {
  const t = uses.step[use];
  let gaps = [[uses.start_byte[use], uses.end_byte[use]]];
  const found = new Map();
  const live = residenciesOf[uses.buffer[use]]
    .filter((r) => residencies.ready[r] <= t && t < residencies.end[r])
    .sort((a, b) => residencies.tier[a] - residencies.tier[b]);
  for (const r of live) {
    const left = [];
    for (const [a, b] of gaps) {
      const from = Math.max(a, residencies.start_byte[r]), to = Math.min(b, residencies.end_byte[r]);
      if (from >= to) { left.push([a, b]); continue; }
      found.set(residencies.tier[r], (found.get(residencies.tier[r]) || 0) + to - from);
      if (a < from) left.push([a, from]);
      if (to < b) left.push([to, b]);
    }
    gaps = left;
  }
  return [...found].map(([tier, bytes]) => `${tiers[tier].name} ${sizeText(bytes)}`).join(", ");
}

/** A name of at most so many characters, cut in its middle: names differ at both ends. */
function middleCut(name, room) {
  const plain = name.replace(/_output_0$/, "");
  if (plain.length <= room) return plain;
  const head = Math.floor((room - 1) * 0.4);
  return `${plain.slice(0, head)}\u2026${plain.slice(plain.length - (room - 1 - head))}`;
}

/** Numbers of the values that share the bytes [start, end) of a buffer. */
function valuesIn(buffer, start, end) {
  return valuesOf[buffer].filter((v) => data.values.start_byte[v] < end && data.values.end_byte[v] > start);
}

/** Numbers of the values that share a residency's rectangle. */
function valuesAt(residency) {
  return valuesIn(residencies.buffer[residency], residencies.start_byte[residency], residencies.end_byte[residency]);
}

/** The role in the palette of a pair of tiers that DMA joins; more pairs than colours repeat them. */
function pairColour(pair) { return `pair${pair % data.palette.pairs}`; }
const pairIndex = new Map(data.target.pairs.map(([source, destination], i) => [source * tiers.length + destination, i]));
const pairOf = Array.from(transfers.source, (source, x) => pairIndex.get(source * tiers.length + transfers.destination[x]) ?? 0);
/** The role in the palette of a tier. */
function tierColour(tier) { return `tier${Math.min(tier, data.palette.tiers - 1)}`; }
/** The role in the palette of what binds a step. */
function bindingRole(name) {
  const tier = tiers.findIndex((t) => t.name === name);
  if (tier >= 0) return tierColour(tier);
  const link = data.target.links.find((l) => l.name === name);
  return link ? pairColour(link.pair) : name;
}

/** The type of a buffer's first value, empty where unknown. */
function typeOf(buffer) {
  const value = valuesOf[buffer][0];
  return value === undefined ? "" : data.values.types[data.values.type[value]];
}

/** Buffers whose name, or the name of a value in them, contains the text; then operators' steps. */
function find(text) {
  const wanted = text.toLowerCase();
  const found = new Set();
  buffers.name.forEach((name, b) => { if (name.toLowerCase().includes(wanted)) found.add(b); });
  data.values.name.forEach((name, v) => {
    if (name.toLowerCase().includes(wanted)) found.add(data.values.buffer[v]);
  });
  // An operator that is found counts once, whatever its parts; parts are found by their ranges.
  const hits = [], marks = [], named = new Set();
  steps.name.forEach((name, t) => {
    const operator = steps.operator[t];
    if (operator < 0 || !name.toLowerCase().includes(wanted)) return;
    marks.push(t);
    if (steps.operators[operator].toLowerCase().includes(wanted) ? !named.has(operator) : true) hits.push(t);
    named.add(operator);
  });
  return { buffers: [...found].sort((a, b) => a - b), steps: hits, marks };
}

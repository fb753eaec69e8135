// Where things are on the canvas: the time axis, the rows, the colours.

const canvas = document.getElementById("canvas");
const ctx = canvas.getContext("2d", { alpha: false });
const GUTTER = 96, RIGHT = 14, AXIS = 38, MINIMAP = 34;

const view = {
  seconds: total > 0, // the axis counts seconds, else steps
  from: 0, to: total > 0 ? total : T, // what is shown, in units of the axis
  width: 0, height: 0, ratio: 1,
  rows: [], // lanes and maps from top to bottom: {type, top, height, ...}
  minimap: 0, // top of the overview
  arrows: true,
  big: 0, // the tier whose map is the largest
  selected: { buffer: -1, step: -1, transfer: -1 },
  hovered: -1, // residency under the pointer
  hits: null, // set of buffers that the search found
  address: tiers.map(() => null), // [low, high] shown of each tier, null for all
};

/** Length of the axis. */
function axisEnd() { return view.seconds && total > 0 ? total : T; }
/** Position of a step boundary on the axis, or of a place within a step. */
function at(step) {
  if (!(view.seconds && total > 0)) return step;
  const whole = Math.floor(step);
  return step === whole ? clock[step] : clock[whole] + (clock[whole + 1] - clock[whole]) * (step - whole);
}
/** Pixel of a position on the axis. */
function px(position) {
  return GUTTER + (position - view.from) / (view.to - view.from) * (view.width - GUTTER - RIGHT);
}
/** Position on the axis of a pixel. */
function position(x) {
  return view.from + (x - GUTTER) / (view.width - GUTTER - RIGHT) * (view.to - view.from);
}
/** Fractional step of a position on the axis. */
function stepAt(where) {
  if (!(view.seconds && total > 0)) return Math.min(Math.max(where, 0), T);
  let low = 0, high = T;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (clock[middle] <= where) low = middle; else high = middle;
  }
  const length = clock[low + 1] - clock[low];
  return Math.min(Math.max(low + (length ? (where - clock[low]) / length : 0), 0), T);
}

const hasWorkspace = steps.workspace_bytes.some((bytes) => bytes > 0);

/** Addresses shown of a tier: what is used, or the capacity where that is nearly full. */
function addressRange(tier) {
  if (view.address[tier]) return view.address[tier];
  const capacity = tiers[tier].capacity_bytes;
  const used = Math.max(summary.peak_bytes[tiers[tier].name], 1);
  return [0, (tier === 0 && hasWorkspace) || used > 0.6 * capacity ? capacity : used * 1.04];
}
/** Pixel of an address in a map; address 0 is at the bottom. */
function py(row, address) {
  const [low, high] = addressRange(row.tier);
  return row.top + row.height - (address - low) / (high - low) * row.height;
}

const LANE = 25, STRIP = 15, MARGIN = 7;

/** Lay the rows out for the canvas' size. */
function layOut() {
  const rect = canvas.getBoundingClientRect();
  view.ratio = window.devicePixelRatio || 1;
  view.width = Math.max(rect.width, GUTTER + RIGHT + 50);
  view.height = Math.max(rect.height, 200);
  canvas.width = Math.round(view.width * view.ratio);
  canvas.height = Math.round(view.height * view.ratio);
  const rows = [{ type: "binding", label: "bound by", height: STRIP }];
  if (cascades.length) rows.push({ type: "cascades", label: "cascades", height: DECK + HULL });
  rows.push({ type: "compute", label: "compute", height: LANE, series: steps.compute_s });
  tiers.forEach((tier, i) => {
    if (steps.tier_s[i].some((s) => s > 0)) rows.push({
      type: "port", label: `${tier.name} port`, height: LANE, series: steps.tier_s[i], binding: 1 + i,
      colour: tierColour(i),
    });
  });
  data.target.links.forEach((link, i) => {
    if (steps.link_s[i].some((s) => s > 0)) rows.push({
      type: "link", label: link.name.replace("->", " \u2192 "), height: LANE,
      series: steps.link_s[i], binding: 1 + tiers.length + i, colour: pairColour(link.pair),
    });
  });
  rows.push({ type: "live", label: `${tiers[0].name} live`, height: LANE + 5, tier: 0 });
  const shown = tiers.map((_, i) => i).filter((i) => data.spaces[i].top_bytes.some((b) => b > 0));
  const lanes = rows.reduce((sum, row) => sum + row.height + 3, 0);
  const space = view.height - AXIS - lanes - MINIMAP - MARGIN * (shown.length + 3);
  const weights = shown.map((i) => (i === view.big ? 2.2 : 1));
  const whole = weights.reduce((sum, w) => sum + w, 0);
  shown.forEach((tier, i) => rows.push({
    type: "map", label: tiers[tier].name, tier, height: Math.max(space * weights[i] / whole, 40),
  }));
  let top = AXIS;
  for (const row of rows) {
    if (row.type === "map" || row.type === "compute") top += MARGIN - 3;
    row.top = top;
    top += row.height + 3;
  }
  view.rows = rows;
  view.minimap = view.height - MINIMAP - 4;
  for (const row of rows) if (row.series && !row.sums) prepareLane(row);
  view.maps = rows.filter((row) => row.type === "map");
}

const laneSums = new Map();
/** Running sums of a lane's busy seconds: all, and those of the steps that it binds. */
function prepareLane(row) {
  if (!laneSums.has(row.label)) {
    const binding = row.series.map((s, t) => (row.binding === steps.binding[t] ? s : 0));
    laneSums.set(row.label, { all: sums(row.series), binding: sums(binding) });
  }
  row.sums = laneSums.get(row.label);
}

let colours = {};
/** Read the theme's colours. */
function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const role of data.palette.roles) colours[role] = style.getPropertyValue(`--${role}`).trim();
  patterns.clear();
}

/** The colour of what binds a step, by index into `steps.bindings`. */
function bindingColour(index) {
  return colours[bindingRole(steps.bindings[index])];
}

const patterns = new Map();
/** A hatching, the second channel beside colour: stripes for weights, dots for inputs ... */
function pattern(kind, ink = colours["on-rect"], alpha = 0.3) {
  const key = kind + ink + alpha;
  if (patterns.has(key)) return patterns.get(key);
  const size = 8, tile = document.createElement("canvas");
  tile.width = tile.height = size * view.ratio;
  const pen = tile.getContext("2d");
  pen.scale(view.ratio, view.ratio);
  pen.globalAlpha = alpha;
  pen.strokeStyle = pen.fillStyle = ink;
  pen.lineWidth = 1;
  pen.beginPath();
  if (kind === "weight" || kind === "stall") {
    pen.lineWidth = kind === "stall" ? 2 : 1;
    for (const d of [-size, 0, size]) { pen.moveTo(d - 1, size + 1); pen.lineTo(d + size + 1, -1); }
  } else if (kind === "input") {
    pen.arc(2, 2, 1, 0, 7); pen.arc(6, 6, 1, 0, 7);
  } else if (kind === "output") {
    pen.moveTo(2.5, 0); pen.lineTo(2.5, size); pen.moveTo(6.5, 0); pen.lineTo(6.5, size);
  } else if (kind === "line") {
    pen.moveTo(0, 2.5); pen.lineTo(size, 2.5); pen.moveTo(0, 6.5); pen.lineTo(size, 6.5);
  } else if (kind === "state") {
    for (const d of [-size, 0, size]) { pen.moveTo(d - 1, -1); pen.lineTo(d + size + 1, size + 1); }
  } else if (kind === "workspace") {
    pen.moveTo(0, 0); pen.lineTo(size, size); pen.moveTo(size, 0); pen.lineTo(0, size);
  }
  if (kind === "input") pen.fill(); else pen.stroke();
  const made = ctx.createPattern(tile, "repeat");
  made.setTransform(new DOMMatrix().scale(1 / view.ratio));
  patterns.set(key, made);
  return made;
}

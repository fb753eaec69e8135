// What the user does: panes, selection, search, zoom and pan, keys, theme, print.

const PANES = { overview: "Overview", tensor: "Selected", operators: "Operators", tensors: "Tensors" };
if (cascades.length) PANES.cascades = "Cascades";
if (data.compare.length) PANES.compare = "Solvers";
if (data.sweep.length) PANES.sweep = "Sweep";
let pane = "overview", pending = false;
const frames = []; // seconds that each of the last frames took to draw

function draw() {
  pending = false;
  const begun = performance.now();
  ctx.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  ctx.fillStyle = colours.panel;
  ctx.fillRect(0, 0, view.width, view.height);
  ctx.textBaseline = "alphabetic";
  for (const row of view.rows) {
    ctx.fillStyle = colours.sunken;
    ctx.fillRect(GUTTER, row.top, view.width - GUTTER - RIGHT, row.height);
  }
  drawTimeAxis();
  const painters = { binding: drawBinding, cascades: drawCascades, compute: drawCompute, port: drawBusy, link: drawBusy, live: drawLive, map: drawMap };
  for (const row of view.rows) {
    painters[row.type](row);
    if (row.type === "map") continue;
    ctx.font = "11px system-ui, sans-serif";
    ctx.fillStyle = colours.soft;
    ctx.fillText(row.label, 8, row.top + row.height / 2 + 4, GUTTER - 12);
  }
  drawTransfers();
  drawMarks();
  drawMinimap();
  remember();
  frames.push(performance.now() - begun);
  if (frames.length > 600) frames.shift();
}

/** The peak, and the chosen step, over all rows. */
function drawMarks() {
  const bottom = view.minimap - 6;
  const mark = (from, to, colour, text) => {
    const a = px(from), b = px(to);
    if (b < GUTTER || a > view.width - RIGHT) return;
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.globalAlpha = 0.14;
    ctx.fillRect(Math.max(a, GUTTER), AXIS - 4, Math.max(Math.min(b, view.width - RIGHT) - Math.max(a, GUTTER), 1), bottom - AXIS + 4);
    ctx.globalAlpha = 1;
    const x = Math.min(Math.max(a, GUTTER), view.width - RIGHT);
    ctx.setLineDash([4, 3]);
    ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(x, AXIS - 18); ctx.lineTo(x, bottom); ctx.stroke();
    ctx.setLineDash([]);
    ctx.font = "600 10px system-ui, sans-serif";
    const wide = ctx.measureText(text).width + 8, left = Math.min(x, view.width - RIGHT - wide);
    ctx.fillRect(left, AXIS - 20, wide, 14);
    ctx.fillStyle = colours.panel;
    ctx.fillText(text, left + 4, AXIS - 9);
  };
  const peak = data.peaks[0];
  if (peak.bytes > 0) mark(at(peak.step), at(peak.step + 1), colours.ink, `peak ${sizeText(peak.bytes)}`);
  ctx.fillStyle = colours.accent;
  for (const step of view.found ? view.found.marks : []) ctx.fillRect(px(at(step)), AXIS - 5, 2, 5);
  const t = view.selected.step;
  if (t >= 0) mark(at(t), at(t + 1), colours.accent, `step ${t}`);
}

function redraw() { if (!pending) { pending = true; requestAnimationFrame(draw); } }

/** Show [from, to) of the axis, kept within its ends. */
function show(from, to) {
  const end = axisEnd(), least = view.seconds ? end / T / 200 : 0.5;
  const length = Math.min(Math.max(to - from, least), end);
  const start = Math.min(Math.max(from + (to - from - length) / 2, 0), end - length);
  view.from = start;
  view.to = start + length;
  redraw();
}

function zoom(factor, around = (view.from + view.to) / 2) {
  show(around - (around - view.from) * factor, around + (view.to - around) * factor);
}

function pan(share) {
  const length = view.to - view.from;
  const from = Math.min(Math.max(view.from + share * length, 0), axisEnd() - length);
  show(from, from + length);
}

/** Show addresses [low, high) of a tier, kept within its memory. */
function showAddresses(tier, low, high) {
  const full = Math.max(tiers[tier].capacity_bytes, 1);
  view.address[tier] = null;
  const [, used] = addressRange(tier);
  const most = Math.min(full, Math.max(used, 1));
  const length = Math.min(Math.max(high - low, 64), most);
  const start = Math.min(Math.max(low, 0), most - length);
  view.address[tier] = length >= most ? null : [start, start + length];
  redraw();
}

function zoomAddresses(tier, factor, share = 0.5) {
  const [low, high] = addressRange(tier), pivot = low + (high - low) * share;
  showAddresses(tier, pivot - (pivot - low) * factor, pivot + (high - pivot) * factor);
}

function fit() { view.address.fill(null); show(0, axisEnd()); }

function useAxis(seconds) {
  const a = stepAt(view.from), b = stepAt(view.to);
  const whole = view.to - view.from >= axisEnd() * 0.999;
  view.seconds = seconds && total > 0;
  document.getElementById("axis-steps").setAttribute("aria-pressed", String(!view.seconds));
  document.getElementById("axis-seconds").setAttribute("aria-pressed", String(view.seconds));
  if (whole) show(0, axisEnd()); else show(at(a), at(b));
}

/** Choose a tensor or a step; `reveal` brings it into view. */
function select(what, reveal = false) {
  view.selected = { buffer: -1, step: -1, transfer: -1, ...what };
  const { buffer, step } = view.selected;
  if (reveal && (buffer >= 0 || step >= 0)) {
    const own = buffer >= 0 ? residenciesOf[buffer] : [];
    const fast = own.filter((r) => residencies.tier[r] === 0);
    const list = fast.length ? fast : own;
    const from = step >= 0 ? step : Math.min(...list.map((r) => residencies.start[r]));
    const to = step >= 0 ? step + 1 : Math.max(...list.map((r) => residencies.end[r]));
    if (at(to) < view.from || at(from) > view.to || at(to) - at(from) < (view.to - view.from) / 150) {
      const room = Math.max(at(to) - at(from), axisEnd() / 60) * 1.5;
      show(at(from) - room, at(to) + room);
    }
  }
  showPane(buffer >= 0 || step >= 0 ? "tensor" : pane === "tensor" ? "overview" : pane);
  redraw();
}

function showPane(name) {
  pane = name;
  for (const key of Object.keys(PANES)) {
    document.getElementById(`tab-${key}`).setAttribute("aria-selected", String(key === name));
    document.getElementById(`tab-${key}`).tabIndex = key === name ? 0 : -1;
    document.getElementById(`pane-${key}`).hidden = key !== name;
  }
  const { buffer, step } = view.selected;
  document.querySelector("main").classList.toggle("wide", ["operators", "tensors", "cascades", "compare"].includes(name));
  const fill = {
    tensor: () => (buffer >= 0 ? tensorDetails(buffer) : step >= 0 ? stepDetails(step)
      : [el("p", { class: "soft" }, view.notice || "Click a rectangle or a lane, or search.")]),
    operators: operatorTable,
    tensors: tensorTable,
  };
  if (name in fill) document.getElementById(`pane-${name}`).replaceChildren(...fill[name]());
}

function makePanes() {
  const tabs = document.getElementById("tabs"), panes = document.getElementById("panes");
  const fixed = { overview, cascades: cascadeTable, compare: comparison, sweep: sweepChart };
  for (const [key, text] of Object.entries(PANES)) {
    tabs.append(el("button", { id: `tab-${key}`, type: "button", role: "tab", "aria-controls": `pane-${key}`, onclick: () => showPane(key) }, text));
    panes.append(el("div", {
      id: `pane-${key}`, class: key in fixed || key === "operators" ? "pane always" : "pane", role: "tabpanel",
      "aria-labelledby": `tab-${key}`, "aria-live": key === "tensor" ? "polite" : undefined,
    }, key in fixed ? fixed[key]() : []));
  }
  tabs.addEventListener("keydown", (event) => {
    const keys = Object.keys(PANES), move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const next = keys[(keys.indexOf(pane) + move + keys.length) % keys.length];
    showPane(next);
    document.getElementById(`tab-${next}`).focus();
    event.preventDefault();
  });
}

function search(text) {
  const found = text.trim() ? find(text.trim()) : null;
  view.hits = found && new Set(found.buffers);
  view.found = found;
  view.turn = -1;
  document.getElementById("matches").textContent = found ? String(found.buffers.length + found.steps.length) : "";
  if (found) showPane(found.buffers.length || pane !== "operators" ? "tensors" : pane);
  else if (["tensors", "operators"].includes(pane)) showPane(pane);
  redraw();
}

/** The next match (or any tensor, where nothing is searched for). */
function next(move) {
  const list = view.found ? [...view.found.buffers.map((buffer) => ({ buffer })), ...view.found.steps.map((step) => ({ step }))]
    : buffers.name.map((_, buffer) => ({ buffer }));
  if (!list.length) return;
  const now = view.found ? view.turn ?? -1 : view.selected.buffer;
  view.turn = ((now < 0 && move < 0 ? 0 : now) + move + list.length) % list.length;
  select(list[view.turn], true);
}

function useTheme(name) {
  document.documentElement.dataset.theme = name;
  readColours();
  showLegend();
  redraw();
}

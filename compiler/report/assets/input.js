// Pointer, wheel, keys, resizing, printing; and the start.

const tip = document.getElementById("tip");
const PRINTED = 30; // operators of the table that are printed
const TIP_VALUES = 12; // values that the tooltip lists

function rowAt(y) { return view.rows.find((row) => y >= row.top && y < row.top + row.height); }

/** What the tooltip says about a point: a tensor on a map, a step elsewhere. */
function describe(row, x, y) {
  view.hovered = row.type === "map" ? residencyAt(row, x, y) : -1;
  const r = view.hovered;
  if (r >= 0) {
    const b = residencies.buffer[r];
    const values = valuesAt(r).map((v) => data.values.name[v]);
    const listed = values.slice(0, TIP_VALUES).join(", ") + (values.length > TIP_VALUES ? ` and ${values.length - TIP_VALUES} more (click)` : "");
    return [buffers.name[b], [residencies.line_buffer[r] ? "line buffer" : KINDS[buffers.kind[b]], typeOf(b), sizeText(buffers.size_bytes[b])].filter(Boolean).join(", "),
      ...(values.length > 1 ? [`holds ${listed}`] : []),
      `${sliceText(b, residencies.start_byte[r], residencies.end_byte[r])} at ${residencies.offset[r]} in ${tiers[residencies.tier[r]].name}`,
      `steps ${residencies.start[r]} to ${residencies.end[r]}`
        + (residencies.ready[r] > residencies.start[r] ? `, ready at ${residencies.ready[r]}` : "")].join("\n");
  }
  const t = Math.min(Math.floor(stepAt(position(x))), T - 1);
  if (row.type === "cascades") {
    if (cascadeOf[t] < 0) return `step ${t}: in no cascade`;
    return [...describeCascade(cascadeOf[t]), `here: ${steps.name[t]} (step ${t}, stripe ${stripeOf[t] + 1})`].join("\n");
  }
  const kind = steps.kinds[steps.kind[t]];
  const lines = [`step ${t}: ${kind === "dma" ? "DMA only" : `${steps.name[t]} (${kind})`}`,
    `${timeText(steps.elapsed_s[t])}, bound by ${steps.bindings[steps.binding[t]]}`];
  if (row.type === "map") lines.push(`${sizeText(data.spaces[row.tier].live_bytes[t])} live in ${row.label}`);
  else if (row.type === "live") lines.push(`${sizeText(data.spaces[0].live_bytes[t])} live, ${sizeText(data.spaces[0].top_bytes[t])} highest address`);
  else lines.push(...busyAt(t).filter(([, s]) => s > 0).map(([name, s]) => `${name} ${timeText(s)}`));
  return lines.join("\n");
}

function showTip(event, x, y) {
  const row = x > GUTTER && x < view.width - RIGHT ? rowAt(y) : undefined;
  const before = view.hovered;
  if (!row) { view.hovered = -1; tip.style.visibility = "hidden"; } else {
    tip.textContent = describe(row, x, y);
    tip.style.visibility = "visible";
    const box = tip.getBoundingClientRect();
    const left = x + 16 + box.width > view.width ? x - box.width - 12 : x + 16;
    const top = y + 16 + box.height > view.height ? y - box.height - 10 : y + 16;
    tip.style.transform = `translate(${Math.max(left, 0)}px, ${Math.max(top, 0)}px)`;
  }
  canvas.style.cursor = view.hovered >= 0 ? "pointer" : row ? "crosshair" : "default";
  if (before !== view.hovered) redraw();
}

const drag = { on: false, moved: false, x: 0, y: 0, from: 0, to: 0, row: null, address: null };

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

canvas.addEventListener("pointerdown", (event) => {
  const [x, y] = place(event);
  const row = rowAt(y);
  Object.assign(drag, { on: true, moved: false, x, y, from: view.from, to: view.to, row, overview: y >= view.minimap,
    address: row && row.type === "map" ? addressRange(row.tier) : null });
  canvas.setPointerCapture(event.pointerId);
  tip.style.visibility = "hidden";
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = place(event);
  if (!drag.on) { showTip(event, x, y); return; }
  if (Math.hypot(x - drag.x, y - drag.y) > 3) drag.moved = true;
  if (!drag.moved) return;
  if (drag.overview) { moveTo(x); return; }
  const shift = (x - drag.x) / (view.width - GUTTER - RIGHT) * (drag.to - drag.from);
  const length = drag.to - drag.from, from = Math.min(Math.max(drag.from - shift, 0), axisEnd() - length);
  show(from, from + length);
  if (drag.address && view.address[drag.row.tier]) {
    const rise = (y - drag.y) / drag.row.height * (drag.address[1] - drag.address[0]);
    showAddresses(drag.row.tier, drag.address[0] + rise, drag.address[1] + rise);
  }
});
canvas.addEventListener("pointerup", (event) => {
  const [x, y] = place(event);
  drag.on = false;
  if (drag.moved) return;
  if (y >= view.minimap) { moveTo(x); return; }
  const row = rowAt(y);
  if (!row) { select({}); return; }
  if (x < GUTTER) { if (row.type === "map") { view.big = row.tier; layOut(); redraw(); } return; }
  const r = row.type === "map" ? residencyAt(row, x, y) : -1;
  if (r >= 0) select({ buffer: residencies.buffer[r] });
  else if (row.type === "map") select({});
  else select({ step: Math.min(Math.floor(stepAt(position(x))), T - 1) });
});
canvas.addEventListener("pointerleave", () => { tip.style.visibility = "hidden"; view.hovered = -1; redraw(); });

/** Centre the view on a point of the overview. */
function moveTo(x) {
  const where = (x - GUTTER) / (view.width - GUTTER - RIGHT) * axisEnd(), length = view.to - view.from;
  const from = Math.min(Math.max(where - length / 2, 0), axisEnd() - length);
  show(from, from + length);
}
canvas.addEventListener("dblclick", (event) => { zoom(0.4, position(place(event)[0])); });
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const [x, y] = place(event), row = rowAt(y);
  const lines = event.deltaMode === 1 ? 16 : 1;
  const turn = event.deltaY * lines, factor = Math.exp(Math.max(-80, Math.min(80, turn)) * 0.0035);
  if (event.altKey && row && row.type === "map") {
    zoomAddresses(row.tier, factor, 1 - (y - row.top) / row.height);
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    pan(((event.shiftKey ? turn : event.deltaX * lines)) / view.width);
  } else zoom(factor, position(x));
}, { passive: false });

const KEYS = [
  ["drag, \u2190 \u2192", "pan"], ["wheel, + \u2212", "zoom in time"], ["Alt wheel, ] [", "zoom in addresses"],
  ["\u2191 \u2193", "pan addresses"], ["0", "show everything"], ["s", "steps or seconds"], ["/", "search"],
  ["o", "operators"], ["Enter, n, p", "next, previous match or tensor"], ["Esc", "clear"], ["m", "enlarge the next tier"], ["x", "transfers"], ["t", "light or dark"],
];

/** Pan the addresses of the large map. */
function panAddresses(share) {
  const [low, high] = addressRange(view.big);
  if (view.address[view.big]) showAddresses(view.big, low + share * (high - low), high + share * (high - low));
}

const actions = {
  ArrowLeft: () => pan(-0.15), ArrowRight: () => pan(0.15), ArrowUp: () => panAddresses(0.15), ArrowDown: () => panAddresses(-0.15),
  "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7),
  "[": () => zoomAddresses(view.big, 1 / 0.7), "]": () => zoomAddresses(view.big, 0.7),
  0: fit, Home: fit, s: () => useAxis(!view.seconds), n: () => next(1), p: () => next(-1), Enter: () => next(1),
  m: () => { const shown = view.maps.map((row) => row.tier); view.big = shown[(shown.indexOf(view.big) + 1) % shown.length] ?? 0; layOut(); redraw(); },
  o: () => showPane("operators"), x: () => toggleArrows(), t: () => turnTheme(), "?": () => toggleKeys(), "/": () => document.getElementById("search").focus(),
  Escape: () => { document.getElementById("search").value = ""; search(""); select({}); toggleKeys(false); },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input");
  const onControl = event.target.matches("button, a");
  if (typing && !["Enter", "Escape"].includes(event.key)) return;
  if (onControl && (event.key === "Enter" || event.key.startsWith("Arrow"))) return;
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action(event);
});

function toggleArrows() {
  view.arrows = !view.arrows;
  document.getElementById("arrows").setAttribute("aria-pressed", String(view.arrows));
  redraw();
}
function toggleKeys(on = document.getElementById("keys").hidden) {
  document.getElementById("keys").hidden = !on;
  document.getElementById("help").setAttribute("aria-expanded", String(on));
}
let chosenTheme = false;
function turnTheme() {
  chosenTheme = true;
  useTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

function start() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", () => { if (!chosenTheme) useTheme(dark.matches ? "dark" : "light"); });
  showFigures();
  makePanes();
  const click = (id, action) => document.getElementById(id).addEventListener("click", action);
  click("axis-steps", () => useAxis(false));
  click("axis-seconds", () => useAxis(true));
  click("zoom-in", () => zoom(0.6));
  click("zoom-out", () => zoom(1 / 0.6));
  click("fit", fit);
  click("arrows", toggleArrows);
  click("theme", turnTheme);
  click("link", copyLink);
  click("help", () => toggleKeys());
  document.getElementById("keys").append(el("table", {}, KEYS.map(([key, text]) =>
    el("tr", {}, el("td", {}, el("kbd", {}, key)), el("td", {}, text)))));
  document.getElementById("search").addEventListener("input", (event) => search(event.target.value));
  if (!X) document.getElementById("arrows").hidden = true;
  showPane("overview");
  layOut();
  useTheme(document.documentElement.dataset.theme);
  restore(location.hash.slice(1));
  window.addEventListener("hashchange", () => { if (location.hash.slice(1) !== written) restore(location.hash.slice(1)); });
  new ResizeObserver(() => { layOut(); draw(); }).observe(canvas);
  let before = "light";
  window.addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    document.getElementById("pane-operators").replaceChildren(...operatorTable(PRINTED));
    useTheme("light"); layOut(); draw();
  });
  window.addEventListener("afterprint", () => { showPane(pane); useTheme(before); layOut(); redraw(); });
  draw();
  document.documentElement.dataset.ready = "true";
}
start();

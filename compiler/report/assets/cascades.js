// Cascades: the lane of boats over the time line, and their table.

const cascades = data.cascades;
const cascadeOf = new Int32Array(T).fill(-1), stripeOf = new Int32Array(T).fill(-1);
cascades.forEach((cascade, i) => {
  let stripe = -1;
  for (let t = cascade.first; t < cascade.end; t += 1) {
    cascadeOf[t] = i;
    if (cascade.stripes[stripe + 1] === t) stripe += 1;
    stripeOf[t] = stripe;
  }
});

const DECK = 13, HULL = 30; // the name above a boat, and the boat itself, in pixels
const LEAST_STRIPE = 3; // width of stripes, in pixels, below which a boat is hatched instead of filled with its parts

/** A boat per cascade: operators from top to bottom, its parts as marks where and when they run. */
function drawCascades(row) {
  const left = GUTTER, right = view.width - RIGHT, top = row.top + DECK;
  ctx.save();
  ctx.beginPath(); ctx.rect(left, row.top, right - left, row.height); ctx.clip();
  cascades.forEach((cascade, i) => {
    const a = px(at(cascade.first)), b = Math.max(px(at(cascade.end)), a + 1.5);
    if (b < left || a > right) return;
    const slant = Math.min(7, (b - a) / 5);
    ctx.beginPath();
    ctx.moveTo(a, top); ctx.lineTo(b, top);
    ctx.lineTo(b - slant, top + HULL); ctx.lineTo(a + slant, top + HULL);
    ctx.closePath();
    ctx.fillStyle = colours.cascade;
    ctx.fill();
    ctx.save();
    ctx.clip();
    if ((b - a) / cascade.stripes.length >= LEAST_STRIPE) drawParts(summary.cascades_detail[i], cascade, top);
    else {
      ctx.fillStyle = pattern("weight", colours["on-rect"], 0.45);
      ctx.fillRect(a, top, b - a, HULL);
    }
    ctx.restore();
    ctx.strokeStyle = colours.soft;
    ctx.lineWidth = 1;
    ctx.stroke();
    nameBoat(i, Math.max(a, left), Math.min(b, right), row.top + DECK - 3);
  });
  ctx.restore();
}

/** The parts inside a boat. */
function drawParts(detail, cascade, top) {
  const rows = detail.operators.length, height = (HULL - 6) / rows;
  ctx.fillStyle = colours["on-rect"];
  let last = -1;
  cascade.steps.forEach((t, k) => {
    const a = px(at(t)), b = px(at(t + 1));
    if (b < GUTTER || a > view.width - RIGHT) return;
    const rank = cascade.ranks[k], key = Math.round(a) * 4096 + rank;
    if (key === last) return;
    last = key;
    ctx.globalAlpha = stripeOf[t] % 2 ? 0.5 : 0.85;
    ctx.fillRect(a, top + 3 + rank * height, Math.max(b - a - (b - a > 4 ? 1 : 0), 0.7), Math.max(height - (height > 3 ? 1 : 0), 0.8));
  });
  ctx.globalAlpha = 1;
}

function nameBoat(i, a, b, y) {
  const detail = summary.cascades_detail[i];
  const room = Math.floor((b - a - 4) / 5.6);
  const from = detail.operators[0], to = detail.operators.at(-1);
  const ends = from === to ? from : `${from} \u2013 ${to}`;
  const texts = [`${ends}, ${detail.cut_text}`, ends, detail.cut_text, `${detail.stripes}\u00d7`];
  const text = texts.find((candidate) => candidate.length <= room);
  if (!text) return;
  ctx.font = "10px system-ui, sans-serif";
  ctx.fillStyle = colours.soft;
  ctx.fillText(text, a + 2, y);
}

/** What the tooltip says about a boat. */
function describeCascade(i) {
  const detail = summary.cascades_detail[i];
  const lines = [detail.operators.length > 1
    ? `cascade of ${detail.operators.length} operators, ${middleCut(detail.operators[0], 30)} to ${middleCut(detail.operators.at(-1), 30)}`
    : `${middleCut(detail.operators[0], 40)}, cut alone`,
  `${detail.cut_text}, ${counted(detail.parts, "part")}, ${timeText(detail.elapsed_s)}`];
  if (detail.between_bytes) lines.push(`line buffers ${sizeText(detail.buffered_bytes)} at most, whole tensors ${sizeText(detail.between_bytes)}`);
  if (detail.halo_bytes || detail.recomputed_bytes) lines.push(`halo: ${haloText(detail)}`);
  if (detail.saved_bytes !== null) lines.push(`${savedText(detail.saved_bytes)} of slow traffic than whole operators`);
  return lines;
}

function haloText(detail) {
  const axis = detail.axes[0] === "rows" ? counted(detail.halo_indices, "row") : `${detail.halo_indices} of ${detail.axes[0]}`;
  const kept = detail.halo_bytes ? [`${sizeText(detail.halo_bytes)} kept${detail.halo_indices ? `, ${axis}` : ""}`] : [];
  const again = detail.recomputed_bytes ? [`${sizeText(detail.recomputed_bytes)} made again`] : [];
  return [...kept, ...again].join(", ") || "none";
}

function savedText(bytes) { return bytes < 0 ? `${sizeText(-bytes)} more` : `${sizeText(bytes)} less`; }

/** Show the steps of a cascade, with some room beside them. */
function showCascade(i) {
  const from = at(cascades[i].first), to = at(cascades[i].end), room = Math.max((to - from) * 0.06, axisEnd() / 1e4);
  show(from - room, to + room);
}

/** A link to a cascade: from its first to its last operator. */
function toCascade(i) {
  const { operators } = summary.cascades_detail[i];
  const text = operators.length > 1 ? `${middleCut(operators[0], 18)} \u2013 ${middleCut(operators.at(-1), 18)}` : middleCut(operators[0], 26);
  return el("a", {
    class: "jump", href: linkTo({ step: cascades[i].first }), title: operators.join(", "),
    onclick: (event) => { event.preventDefault(); showCascade(i); },
  }, text);
}

// Columns: [heading, cell, number?, explanation]
const CASCADE_COLUMNS = [
  ["operators", (d, i) => [toCascade(i), d.operators.length > 1 ? ` (${d.operators.length})` : ""], 0, "from the first to the last, and how many; a click shows their steps"],
  ["cut into", (d) => d.cut_text, 0, "how often the operators begin anew, and the axes of their results that are cut"],
  ["time", (d) => timeText(d.elapsed_s), 1, "how long its steps take"],
  ...(summary.whole_value === null ? [] : [["saved", (d) => `${sizeText(d.saved_bytes)} (${shareText(d.saved_bytes, d.whole_slow_bytes)})`, 1,
    "slow traffic that the plan of whole operators has more for the same operators"]]),
  ["line buffers", (d) => (d.between_bytes ? `${sizeText(d.buffered_bytes)} of ${sizeText(d.between_bytes)}` : "-"), 1,
    "the most bytes between its operators that wait to be read, of those that whole operators would keep"],
  ["halo", haloText, 1, "bytes that two stripes need: kept from one to the next (at most so many rows, indices of the axis, at once), or made again"],
  ["weights", (d) => timesText(d.weight_slow_bytes, d.weight_bytes), 1, "distinct bytes of its weights; how often they come from slow memory, where that is more than once"],
];

/** The size of weights, and how often they are moved or read in slow memory. */
function timesText(bytes, whole) {
  const times = whole ? bytes / whole : 0;
  return times > 1.005 ? `${sizeText(whole)}, ${times.toFixed(1)}\u00d7 read` : sizeText(whole);
}

function cascadeTable() {
  const details = summary.cascades_detail;
  const head = el("tr", {}, CASCADE_COLUMNS.map(([name, , number, title]) => el("th", { class: number ? "n" : "", scope: "col", title }, name)));
  const kept = (text) => (typeof text === "string" ? text.replace(/(\d) (?=\S)/g, "$1\u00a0") : text); // a number stays with its unit
  const body = details.map((detail, i) => el("tr", {}, CASCADE_COLUMNS.map(([, cell, number]) => el("td", { class: number ? "n" : "" }, kept(cell(detail, i))))));
  const texts = data.rows.findIndex(([name]) => name === "schedule");
  const told = data.rows.slice(texts).filter(([name], i) => i === 0 || name === "").map(([, text]) => text);
  const first = data.rows.slice(texts + 1).findIndex(([name]) => name !== "");
  return [
    el("h2", {}, "Cascades"),
    ...told.slice(0, first < 0 ? told.length : first + 1).map((text) => el("p", { class: "soft" }, text)),
    el("div", { class: "scroll" }, el("table", { id: "cascade-table", class: "grid" }, el("thead", {}, head), el("tbody", {}, body))),
    el("p", { class: "soft" }, "Operators belong together whose parts take turns. Bytes are counted over all stripes. "
      + "Slow traffic is for the operator that wrote the bytes last, else for the one that reads them next."),
  ];
}

// The table of operators, parts folded into a row for each, and the same as CSV, a row per part.

const operatorOrder = { key: "time", down: true };
const operatorSteps = steps.name.map((_, t) => t).filter((t) => steps.operator[t] >= 0);
const partsOf = steps.operators.map(() => []);
for (const t of operatorSteps) partsOf[steps.operator[t]].push(t);
const isCut = partsOf.some((parts) => parts.length > 1);
const unfolded = new Set(); // operators whose parts are listed

/** A figure summed over the parts of a row. */
function sum(list, parts) { return parts.reduce((whole, t) => whole + list[t], 0); }

// Columns: [heading, what it sorts by, cell, number?, explanation]; all are of the steps of a row
const OPERATOR_COLUMNS = [
  ["operator", ([t]) => t, (parts, part) => (part || parts.length === 1 ? toStep(parts[0], 30) : toOperator(parts)), 0, "step and name, in the order in which they run; a click shows it"],
  ...(isCut ? [["parts", (parts) => parts.length, (parts, part) => (part ? "" : partsButton(parts)), 1, "steps that run a part of it; a click lists them"]] : []),
  ["kind", ([t]) => steps.kinds[steps.kind[t]], ([t]) => middleCut(steps.kinds[steps.kind[t]], 16), 0, "operator type"],
  ["time", (parts) => sum(steps.elapsed_s, parts), (parts) => timeText(sum(steps.elapsed_s, parts)), 1, "how long its steps take"],
  ["share", (parts) => sum(steps.elapsed_s, parts), (parts) => shareText(sum(steps.elapsed_s, parts), total), 1, "of the latency"],
  ["bound by", (parts) => bindingOf(parts), (parts) => bindingChip(bindingOf(parts)), 0, "what determines its time, that of most of it"],
  ["stall", (parts) => sum(steps.stall_s, parts), (parts) => timeText(sum(steps.stall_s, parts)), 1, "the compute unit waits for data"],
  ["MACs", (parts) => sum(steps.macs, parts), (parts) => countText(sum(steps.macs, parts)), 1, "multiply-accumulates"],
  ["computing", (parts) => computing(parts), (parts) => shareText(computing(parts), 1), 1, "share of its time in which the compute unit computes"],
  ...tiers.map((tier, m) => [tier.name, (parts) => sum(steps.operand_bytes[m], parts), (parts) => sizeText(sum(steps.operand_bytes[m], parts)), 1,
    `bytes read and written in ${tier.name}`]),
];

/** The name of what binds most of the time of some steps. */
function bindingOf(parts) {
  if (parts.length === 1) return steps.bindings[steps.binding[parts[0]]];
  const seconds = new Map();
  for (const t of parts) seconds.set(steps.binding[t], (seconds.get(steps.binding[t]) || 0) + steps.elapsed_s[t]);
  return steps.bindings[[...seconds].sort((a, b) => b[1] - a[1])[0][0]];
}

function computing(parts) {
  if (parts.length === 1) return steps.utilisation[parts[0]];
  const whole = sum(steps.elapsed_s, parts);
  return whole > 0 ? Math.min(sum(steps.compute_s, parts) / whole, 1) : 0;
}

function bindingChip(name) {
  return [el("i", { class: "chip", style: `background:${bindingStyle(name)}` }), name];
}

/** A link to the first part of an operator. */
function toOperator(parts) {
  const name = steps.operators[steps.operator[parts[0]]];
  return el("a", {
    class: "jump", href: linkTo({ step: parts[0] }), title: name,
    onclick: (event) => { event.preventDefault(); select({ step: parts[0] }, true); },
  }, `${parts[0]}\u2013${parts.at(-1)}: ${middleCut(name, 26)}`);
}

/** Lists the parts of an operator, or folds them again. */
function partsButton(parts) {
  const operator = steps.operator[parts[0]], open = unfolded.has(operator);
  if (parts.length === 1) return "1";
  return el("button", {
    class: "fold", type: "button", "aria-expanded": String(open), "aria-label": `${parts.length} parts`,
    onclick: () => {
      if (open) unfolded.delete(operator); else unfolded.add(operator);
      showPane("operators");
    },
  }, `${open ? "\u25be" : "\u25b8"} ${parts.length}`);
}

/** The steps of each operator that the search found, or of all, as the table sorts them. */
function sortedOperators() {
  const of = OPERATOR_COLUMNS.find(([name]) => name === operatorOrder.key)[1];
  const found = view.found && new Set(view.found.steps.map((t) => steps.operator[t]));
  const list = partsOf.filter((_, operator) => !found || found.has(operator)).map((parts) => [of(parts), parts]);
  list.sort(([a, one], [b, other]) => {
    const compared = a < b ? -1 : Number(a > b);
    return (operatorOrder.down ? -compared : compared) || one[0] - other[0];
  });
  return list.map(([, parts]) => parts);
}

/** The table, with a button per column. */
function operatorTable(shown = SHOWN) {
  const list = sortedOperators();
  const text = ["operator", "kind", "bound by"];
  const head = el("tr", {}, OPERATOR_COLUMNS.map(([name, , , number, title]) => el("th", {
    class: number ? "n" : "", scope: "col", title,
    "aria-sort": operatorOrder.key === name ? (operatorOrder.down ? "descending" : "ascending") : "none",
  }, el("button", {
    type: "button",
    onclick: (event) => {
      operatorOrder.down = operatorOrder.key === name ? !operatorOrder.down : !text.includes(name);
      operatorOrder.key = name;
      showPane("operators");
      if (event.detail === 0) document.querySelector("#operator-table th[aria-sort$=ending] button").focus();
    },
  }, name, operatorOrder.key === name ? (operatorOrder.down ? " \u2193" : " \u2191") : ""))));
  const row = (parts, part) => el("tr", { class: part ? "part" : undefined }, OPERATOR_COLUMNS.map(([, , cell, number]) =>
    el("td", { class: number ? "n" : "" }, cell(parts, part))));
  const body = list.slice(0, shown).flatMap((parts) => [row(parts, false),
    ...(unfolded.has(steps.operator[parts[0]]) ? parts.map((t) => row([t], true)) : [])]);
  const idle = total - operatorSteps.reduce((whole, t) => whole + steps.elapsed_s[t], 0);
  const parts = [
    el("p", { class: "soft" }, view.found ? `${counted(list.length, "operator matches", "operators match")}. ` : `${counted(list.length, "operator")}${isCut ? ` in ${operatorSteps.length} parts` : ""}. `,
      idle > total * 1e-9 ? `Steps of DMA alone take ${timeText(idle)} (${shareText(idle, total)}) more. ` : "",
      el("a", { id: "operator-csv", class: "jump", href: "#", download: "operators.csv", onclick: offerCsv }, isCut ? "Download all parts as CSV" : "Download all as CSV")),
    el("div", { class: "scroll" }, el("table", { id: "operator-table", class: "grid" }, el("thead", {}, head), el("tbody", {}, body)))];
  if (list.length > shown) parts.push(el("p", { class: "soft" }, `and ${list.length - shown} more; search to find them`));
  return parts;
}

/** A cell of CSV; a text that a spreadsheet would take for a formula gets an apostrophe. */
function csvCell(value) {
  if (typeof value === "number") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

/** All operators in step order; the columns are those of `--emit operators`. */
function operatorCsv() {
  const head = ["step", "name", "kind", "start_s", "elapsed_s", "compute_s", "overhead_s", "stall_s", "utilisation", "bound_by", "macs",
    ...tiers.map((tier) => `${tier.name}_bytes`)];
  const rows = operatorSteps.map((t) => [t, steps.name[t], steps.kinds[steps.kind[t]], Number(clock[t].toPrecision(6)), steps.elapsed_s[t],
    steps.compute_s[t], steps.overhead_s[t], steps.stall_s[t], steps.utilisation[t], steps.bindings[steps.binding[t]], steps.macs[t],
    ...tiers.map((_, m) => steps.operand_bytes[m][t])]);
  return `${[head, ...rows].map((row) => row.map(csvCell).join(",")).join("\n")}\n`;
}

/** Before the link is followed: make what it points to. */
function offerCsv(event) {
  const link = event.currentTarget;
  const old = link.href;
  link.href = URL.createObjectURL(new Blob([operatorCsv()], { type: "text/csv" }));
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

// The table of operators, and the same as CSV.

const operatorOrder = { key: "time", down: true };
const operatorSteps = steps.name.map((_, t) => t).filter((t) => steps.kinds[steps.kind[t]] !== "dma");

// Columns: [heading, what it sorts by, cell, number?, explanation]
const OPERATOR_COLUMNS = [
  ["operator", (t) => t, (t) => toStep(t, 26), 0, "step and name, in the order in which they run; a click shows it"],
  ["kind", (t) => steps.kinds[steps.kind[t]], (t) => middleCut(steps.kinds[steps.kind[t]], 16), 0, "operator type"],
  ["time", (t) => steps.elapsed_s[t], (t) => timeText(steps.elapsed_s[t]), 1, "how long its step takes"],
  ["share", (t) => steps.elapsed_s[t], (t) => shareText(steps.elapsed_s[t], total), 1, "of the latency"],
  ["bound by", (t) => steps.bindings[steps.binding[t]], (t) => bindingChip(t), 0, "what determines its time"],
  ["stall", (t) => steps.stall_s[t], (t) => timeText(steps.stall_s[t]), 1, "the compute unit waits for data"],
  ["MACs", (t) => steps.macs[t], (t) => countText(steps.macs[t]), 1, "multiply-accumulates"],
  ["computing", (t) => steps.utilisation[t], (t) => shareText(steps.utilisation[t], 1), 1, "share of its time in which the compute unit computes"],
  ...tiers.map((tier, m) => [tier.name, (t) => steps.operand_bytes[m][t], (t) => sizeText(steps.operand_bytes[m][t]), 1,
    `bytes read and written in ${tier.name}`]),
];

function bindingChip(t) {
  const name = steps.bindings[steps.binding[t]];
  return [el("i", { class: "chip", style: `background:${bindingStyle(name)}` }), name];
}

/** Steps of operators that the search found, or all, as the table sorts them. */
function sortedOperators() {
  const of = OPERATOR_COLUMNS.find(([name]) => name === operatorOrder.key)[1];
  const list = [...(view.found ? view.found.steps : operatorSteps)];
  return list.sort((a, b) => {
    const compared = of(a) < of(b) ? -1 : Number(of(a) > of(b));
    return (operatorOrder.down ? -compared : compared) || a - b;
  });
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
  const body = list.slice(0, shown).map((t) => el("tr", {}, OPERATOR_COLUMNS.map(([, , cell, number]) =>
    el("td", { class: number ? "n" : "" }, cell(t)))));
  const idle = total - operatorSteps.reduce((sum, t) => sum + steps.elapsed_s[t], 0);
  const parts = [
    el("p", { class: "soft" }, view.found ? `${list.length} operators match. ` : `${list.length} operators. `,
      idle > total * 1e-9 ? `Steps of DMA alone take ${timeText(idle)} (${shareText(idle, total)}) more. ` : "",
      el("a", { id: "operator-csv", class: "jump", href: "#", download: "operators.csv", onclick: offerCsv }, "Download all as CSV")),
    el("div", { class: "scroll" }, el("table", { id: "operator-table" }, el("thead", {}, head), el("tbody", {}, body)))];
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

// Beside the plot: key figures, overview, details of a tensor or a step.

/** An element with attributes and children; text is never read as HTML. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") made.style.cssText = value;
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const LOOKS = { tensor: "tensor", resident: "tensor", step: "tensor", tier: "short", route: "short", "": "short", "served by": "short" };

/** A table of rows; columns are [heading, number?]; a column of tensors takes what room there is. */
function table(columns, rows, empty = "none") {
  if (!rows.length) return el("p", { class: "soft" }, empty);
  const head = el("tr", {}, columns.map(([name, number]) => el("th", { class: number ? "n" : "", scope: "col" }, name)));
  const look = columns.map(([name, number]) => (number ? "n" : LOOKS[name] || ""));
  const body = rows.map((row) => el("tr", {}, row.map((cell, i) => el("td", { class: look[i] }, cell))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, body));
}

const TAIL = 12; // characters at the end of a name that are shown where its column is narrow

/** A link to a tensor; where the name has no room, it is cut in its middle. */
function toTensor(buffer) {
  const text = middleCut(buffers.name[buffer], 60);
  return el("a", {
    class: "jump", href: linkTo({ buffer }), title: buffers.name[buffer],
    onclick: (event) => { event.preventDefault(); select({ buffer }, true); },
  }, chip(KINDS[buffers.kind[buffer]]), el("span", { class: "head" }, text.slice(0, -TAIL)), el("span", { class: "tail" }, text.slice(-TAIL)));
}

/** A link to a step. */
function toStep(step, room = 44) {
  const name = steps.kinds[steps.kind[step]] === "dma" ? "DMA only" : steps.name[step];
  return el("a", {
    class: "jump", href: linkTo({ step }), title: name,
    onclick: (event) => { event.preventDefault(); select({ step }, true); },
  }, `${step}: ${middleCut(name, room)}`);
}

function chip(kind) { return el("i", { class: "chip", style: `background: var(--${kind})` }); }

/** The CSS colour of what binds a step. */
function bindingStyle(name) { return `var(--${bindingRole(name)})`; }

function objectiveText(value) {
  if (summary.objective === "latency") return timeText(value);
  if (summary.objective === "energy") return energyText(value);
  return sizeText(Math.round(value));
}

/** A number with its noun: 1 transfer, 2 transfers. */
function counted(number, one, several = `${one}s`) { return `${number} ${number === 1 ? one : several}`; }

function showFigures() {
  const fast = tiers[0].name;
  const peak = summary.peak_bytes[fast], load = summary.load_bytes[fast];
  const traffic = summary.compulsory_bytes + summary.noncompulsory_bytes;
  const orders = summary.cut_operators ? "this schedule" : summary.bound_every_order ? "every order" : "this order";
  const figures = [
    ["latency", "latency", timeText(summary.latency_s), `compute alone ${timeText(summary.compute_s)}`],
    ["gap", "gap to the bound", summary.gap === null ? "unknown" : gapText(summary.gap),
      `${objectiveText(summary.lower_bound)} for ${orders} (${summary.bound_source})`],
    ["speedup", "against all-slow", summary.speedup_over_all_slow === null ? "-"
      : `${summary.speedup_over_all_slow.toFixed(2)}x`, summary.all_slow_latency_s === null ? "impossible"
      : `${timeText(summary.all_slow_latency_s)} all-slow`],
    ["traffic", "slow traffic", sizeText(traffic),
      `${shareText(summary.noncompulsory_bytes, traffic)} beyond ${summary.steady_state ? "inputs and outputs" : "each byte"} moved once`],
    ["peak", `${fast} peak`, sizeText(peak), `of ${sizeText(summary.chip_fast_memory_bytes)}${summary.fits_chip ? "" : ": does not fit"}, fragmentation ${sizeText(peak - load)}`],
    ["throughput", "inferences per second", summary.inferences_per_s === null ? "-" : countText(summary.inferences_per_s),
      `DMA busy ${shareText(summary.dma_busy, 1)}, ${fast} ${shareText(summary.fast_memory_occupancy, 1)} full`],
    ["energy", "energy", energyText(summary.energy_j), data.energy_of.join(", ")],
  ];
  document.getElementById("figures").replaceChildren(...figures.map(([key, name, value, below]) =>
    el("div", { class: "figure", "data-figure": key }, el("span", {}, name), el("b", {}, value), el("span", {}, below.replace(/(\d) /g, "$1\u00a0")))));
  document.getElementById("title").textContent = data.title;
  const chosen = summary.chosen_solver ? ` (${summary.chosen_solver} won)` : "";
  document.getElementById("subtitle").textContent = [
    summary.cut_operators ? `${counted(summary.operators, "operator")} in ${counted(summary.parts, "part")}` : counted(summary.operators, "operator"), counted(summary.buffers, "buffer"),
    counted(summary.slices, "residency", "residencies"), counted(summary.transfers, "transfer"), `solver ${summary.solver}${chosen}`, summary.order === "model" ? "the file's order" : `order ${summary.order}`,
    `minimises ${summary.objective}`, summary.steady_state ? "steady state" : "one inference",
  ].join(" \u00b7 ");
}

function overview() {
  const bound = Object.entries(data.binding_s);
  const peak = data.peaks[0];
  const value = summary.value, lower = summary.lower_bound;
  const share = value > 0 ? 100 * Math.min(lower / value, 1) : 100;
  const order = buffers.name.map((_, b) => b);
  const best = (list) => order.filter((b) => list[b] > 0).sort((a, b) => list[b] - list[a]).slice(0, 8);
  const parts = [
    el("h2", {}, "Distance to the bound"),
    el("div", { class: "gap", role: "img", "aria-label": `${share.toFixed(1)} percent of the value is proven necessary` },
      el("i", { style: `width:${share}%` }), el("em", { style: `left:${share}%;right:0` })),
    el("p", { class: "soft" }, `No plan ${summary.cut_operators ? "of this schedule" : summary.bound_every_order ? "in any order" : "of this order"} has less ${summary.objective} than ${objectiveText(lower)} `
      + `(${summary.bound_source}); this one has ${objectiveText(value)}: ${summary.status}.`),
    el("h2", {}, "Latency by what binds the steps"),
    el("div", { class: "bar" }, bound.map(([name, s]) =>
      el("i", { title: name, style: `width:${100 * s / summary.latency_s}%;background:${bindingStyle(name)}` }))),
    table([["bound by"], ["time", 1], ["share", 1]], bound.map(([name, s]) => [
      [el("i", { class: "chip", style: `background:${bindingStyle(name)}` }), name], timeText(s), shareText(s, summary.latency_s)])),
    el("h2", {}, "What would help"),
    el("p", { class: "soft" }, "Re-scored: this very plan on a better chip; a plan made for that chip may save more."),
    table([["change"], ["saves", 1], ["how known"]], data.help.map((row) =>
      [row.what, row.saves_s === null ? "?" : timeText(row.saves_s), row.source])),
    el("h2", {}, "Tensors that hurt most"),
    el("p", { class: "soft" }, "What the plan would save at most if this tensor alone were in fast memory at no cost."),
    table([["tensor"], ["size", 1], ["would save", 1]], best(buffers.costs_s).map((b) =>
      [toTensor(b), sizeText(buffers.size_bytes[b]), timeText(buffers.costs_s[b])]), "none: nothing in slow memory costs time"),
    el("h2", {}, "Tensors that earn their place"),
    el("p", { class: "soft" }, "What the plan would lose if this tensor alone stayed in its home tier."),
    table([["tensor"], ["size", 1], ["saves", 1]], best(buffers.saves_s).map((b) =>
      [toTensor(b), sizeText(buffers.size_bytes[b]), timeText(buffers.saves_s[b])]), "none"),
    el("h2", {}, `Peak of ${tiers[0].name}`),
    el("p", { class: "soft" }, `${sizeText(peak.bytes)} live at step `, toStep(peak.step), ":"),
    table([["resident"], ["bytes", 1], ["share", 1]], peak.residents.slice(0, 12).map(([b, bytes]) =>
      [toTensor(b), sizeText(bytes), shareText(bytes, peak.bytes)]), "nothing"),
    peak.residents.length > 12 ? el("p", { class: "soft" }, `and ${peak.residents.length - 12} more`) : null,
    el("h2", {}, "Figures"),
    el("dl", { class: "facts", id: "rows" }, data.rows.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
  ];
  const notes = [...summary.notes.filter((n) => !n.startsWith("price:")), ...summary.fallbacks.map((f) => `costed by a fallback: ${f}`)];
  if (notes.length) parts.push(el("h2", {}, "Notes"), ...notes.slice(0, 40).map((n) => el("p", { class: "note" }, n)));
  return parts.filter((part) => part !== null);
}

/** Bytes of a slice, with its range where it is not the whole buffer. */
function sliceText(buffer, start, end) {
  const whole = start === 0 && end === buffers.size_bytes[buffer];
  return whole ? sizeText(end - start) : `${sizeText(end - start)} [${start}, ${end})`;
}

const LONG = 60; // rows of a list shown in the details

/** Rows of a list; says so where it is cut. */
function limited(columns_, rows) {
  const shown = [table(columns_, rows.slice(0, LONG).map((row) => row()))];
  if (rows.length > LONG) shown.push(el("p", { class: "soft" }, `and ${rows.length - LONG} more`));
  return shown;
}

function tensorDetails(b) {
  const home = data.target.homes[KINDS[buffers.kind[b]]];
  const made = usesOf[b].find((u) => uses.write[u]);
  const facts = [
    ["kind", KINDS[buffers.kind[b]]], ["size", `${sizeText(buffers.size_bytes[b])} (${buffers.size_bytes[b]} bytes)`],
    ["type", typeOf(b) || "unknown: the model was not at hand"], ["home", home],
    ["producer", made === undefined ? "none: it is there at the start" : toStep(uses.step[made])],
    ["uses", String(usesOf[b].filter((u) => !uses.write[u]).length)],
    ["saves", `${timeText(buffers.saves_s[b])} against staying in ${home}`],
    ["would save", `${timeText(buffers.costs_s[b])} at most, if it were in ${tiers[0].name} at no cost`],
  ];
  const parts = [
    el("h3", { id: "tensor-name" }, chip(KINDS[buffers.kind[b]]), buffers.name[b]),
    el("dl", { class: "facts" }, facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    el("h2", {}, "Where it lives"),
    ...limited([["tier"], ["slice"], ["address", 1], ["steps", 1]], residenciesOf[b].map((r) => () => [
      tiers[residencies.tier[r]].name, sliceText(b, residencies.start_byte[r], residencies.end_byte[r]),
      String(residencies.offset[r]),
      residencies.ready[r] > residencies.start[r]
        ? `${residencies.start[r]}\u2013${residencies.end[r]}, ready ${residencies.ready[r]}`
        : `${residencies.start[r]}\u2013${residencies.end[r]}`])),
    el("h2", {}, "Uses"),
    ...limited([["step"], [""], ["served by"]], usesOf[b].map((u) => () =>
      [toStep(uses.step[u]), uses.write[u] ? "writes" : "reads", servedBy(u)])),
  ];
  if (transfersOf[b].length) parts.push(el("h2", {}, "Transfers"),
    ...limited([["route"], ["slice"], ["steps", 1]], transfersOf[b].map((x) => () => [
      `${tiers[transfers.source[x]].name} \u2192 ${tiers[transfers.destination[x]].name}`,
      sliceText(b, transfers.start_byte[x], transfers.end_byte[x]),
      firstMove[x] === lastMove[x] ? String(firstMove[x]) : `${firstMove[x]}\u2013${lastMove[x]}`])));
  if (valuesOf[b].length > 1) parts.push(el("h2", {}, "Values that share its bytes"),
    table([["value"], ["bytes", 1], ["type"]], valuesOf[b].map((v) => [
      data.values.name[v], `[${data.values.start_byte[v]}, ${data.values.end_byte[v]})`,
      data.values.types[data.values.type[v]]])));
  return parts;
}

/** What keeps each resource busy at a step: [name, seconds]. */
function busyAt(t) {
  return [["compute", steps.compute_s[t]], ...tiers.map((tier, i) => [`${tier.name} port`, steps.tier_s[i][t]]),
    ...data.target.links.map((link, i) => [link.name, steps.link_s[i][t]]), ["overhead", steps.overhead_s[t]]];
}

/** Which part of its operator a step runs, and in which cascade; nothing where it runs whole. */
function partFacts(t) {
  const parts = steps.operator[t] < 0 ? [] : partsOf[steps.operator[t]], place = parts.indexOf(t), i = cascadeOf[t];
  const beside = [parts[place - 1], parts[place + 1]].filter((other) => other !== undefined)
    .map((other) => el("a", {
      class: "jump", href: linkTo({ step: other }),
      onclick: (event) => { event.preventDefault(); select({ step: other }, true); },
    }, other < t ? " \u2190 before" : " next \u2192"));
  const facts = parts.length > 1 ? [["part", el("span", {}, `${place + 1} of ${parts.length}`, beside)]] : [];
  if (i >= 0) facts.push(["cascade", el("span", {}, toCascade(i), `, stripe ${stripeOf[t] + 1} of ${cascades[i].stripes.length}`)]);
  return facts;
}

function stepDetails(t) {
  const moving = [];
  for (let x = 0; x < X; x += 1) if (firstMove[x] <= t && lastMove[x] >= t) {
    for (let m = moveStart[x]; m < moveStart[x] + transfers.moves[x]; m += 1) {
      if (transfers.step[m] === t) moving.push([x, transfers.bytes[m]]);
    }
  }
  return [
    el("h3", { id: "step-name" }, steps.kinds[steps.kind[t]] === "dma" ? "DMA only" : steps.name[t]),
    el("dl", { class: "facts" }, [
      ["step", String(t)], ...partFacts(t), ["operator", steps.kinds[steps.kind[t]]], ["begins", timeText(clock[t])],
      ["takes", timeText(steps.elapsed_s[t])], ["bound by", steps.bindings[steps.binding[t]]],
      ["stall", timeText(steps.stall_s[t])], ["computing", shareText(steps.utilisation[t], 1)],
      ["MACs", steps.macs[t].toLocaleString("en")],
    ].flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    el("h2", {}, "Busy"),
    table([["resource"], ["time", 1], ["of the step", 1]], busyAt(t).filter(([, s]) => s > 0).map(([name, s]) =>
      [name, timeText(s), shareText(s, steps.elapsed_s[t])])),
    el("h2", {}, "Operands"),
    ...limited([["tensor"], [""], ["served by"]], usesAt[t].map((u) => () =>
      [toTensor(uses.buffer[u]), uses.write[u] ? "writes" : "reads", servedBy(u)])),
    el("h2", {}, "Transfers in this step"),
    ...limited([["tensor"], ["route"], ["bytes", 1]], moving.map(([x, bytes]) => () => [toTensor(transfers.buffer[x]),
      `${tiers[transfers.source[x]].name} \u2192 ${tiers[transfers.destination[x]].name}`, sizeText(bytes)])),
  ];
}

// Charts of other commands' rows: solver comparison, sweep.

function comparison() {
  const rows = [...data.compare].sort((a, b) => (a.value ?? Infinity) - (b.value ?? Infinity));
  return [
    el("h2", {}, "Solvers on the same problem"),
    table([["solver"], ["value", 1], ["gap", 1], ["vs all-slow", 1], ["transfers", 1], ["solve", 1]], rows.map((row) => (row.error
      ? [row.solver, row.error, "-", "-", "-", "-"]
      : [row.solver, objectiveText(row.value), row.gap === null ? "?" : gapText(row.gap),
        row.speedup_over_all_slow === null ? "-" : `${row.speedup_over_all_slow.toFixed(2)}x`,
        String(row.transfers), timeText(row.solve_s)]))),
    bars(rows.filter((row) => !row.error)),
    ...curves(rows.filter((row) => !row.error)),
  ];
}

/** An SVG element. */
function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Ticks of an axis of values of the objective, round in the unit in which they are written. */
function valueTicks(low, most, pixels) {
  const bytes = !["latency", "energy"].includes(summary.objective);
  const unit = bytes ? 1024 ** Math.max(Math.floor(Math.log2(most) / 10), 0) : 1;
  return ticks(low / unit, most / unit, pixels, 28, unit === 1 && bytes).map((value) => Number((value * unit).toPrecision(6)));
}

function bars(rows) {
  const most = Math.max(...rows.map((row) => row.value), 1e-30);
  const lower = Math.max(...rows.map((row) => row.lower_bound ?? 0));
  const made = svg("svg", { class: "chart", viewBox: `0 0 340 ${rows.length * 20 + 18}`, role: "img", "aria-label": "Value by solver, with the bound" });
  rows.forEach((row, i) => made.append(
    svg("rect", { x: 80, y: i * 20 + 3, width: 180 * row.value / most, height: 14, rx: 2, fill: "var(--accent)" }),
    svg("text", { x: 74, y: i * 20 + 14, "text-anchor": "end" }, row.solver),
    svg("text", { x: 84 + 180 * row.value / most, y: i * 20 + 14 }, objectiveText(row.value))));
  const x = 80 + 180 * lower / most;
  made.append(svg("line", { x1: x, x2: x, y1: 0, y2: rows.length * 20, stroke: "var(--stall)", "stroke-dasharray": "3 2" }),
    svg("text", { x, y: rows.length * 20 + 13, "text-anchor": "middle" }, "bound"));
  return made;
}

/** Value over fast memory: a line per solver, the bound dashed, this plan as a ring. */
function sweepChart() {
  const rows = data.sweep.filter((row) => !row.error && row.fast_memory_bytes > 0);
  const width = 340, height = 210, left = 58, bottom = 34;
  const xs = rows.map((row) => Math.log2(row.fast_memory_bytes));
  const low = Math.min(...xs), high = Math.max(...xs, low + 1e-9);
  const top = 1.06 * Math.max(...rows.map((row) => row.value), 1e-30);
  const X_ = (bytes) => left + (Math.log2(bytes) - low) / (high - low) * (width - left - 24);
  const Y_ = (value) => height - bottom - value / top * (height - bottom - 8);
  const made = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Value over fast memory size" });
  for (const value of valueTicks(0, top, height - bottom - 8)) made.append(
    svg("line", { x1: left, x2: width - 12, y1: Y_(value), y2: Y_(value), stroke: "var(--line)" }),
    svg("text", { class: "tick", x: left - 5, y: Y_(value) + 3, "text-anchor": "end" }, objectiveText(value)));
  const sizes = [...new Set(rows.map((row) => row.fast_memory_bytes))].sort((a, b) => a - b);
  const every = Math.ceil(sizes.length / 5);
  sizes.forEach((bytes, i) => { if (i % every === 0) made.append(svg("text", { x: X_(bytes), y: height - 18, "text-anchor": "middle" }, sizeText(bytes))); });
  made.append(svg("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, `${tiers[0].name} size`));
  const inks = ["accent", "tier1", "tier0", "pair1", "pair3", "pair2"].map((name) => `var(--${name})`);
  const solvers = [...new Set(rows.map((row) => row.solver))];
  solvers.forEach((solver, i) => {
    const own = rows.filter((row) => row.solver === solver).sort((a, b) => a.fast_memory_bytes - b.fast_memory_bytes);
    const line = (key) => own.filter((row) => row[key] !== null).map((row) => `${X_(row.fast_memory_bytes)},${Y_(row[key])}`).join(" ");
    const ink = inks[i % inks.length];
    made.append(svg("polyline", { points: line("value"), fill: "none", stroke: ink, "stroke-width": 2 + 1.5 * (solvers.length - 1 - i) }), // later ones are thinner and hide none
      // above its plans, so that both are seen where they are equal
      svg("polyline", { points: line("lower_bound"), fill: "none", stroke: solvers.length > 1 ? ink : "var(--ink)", "stroke-width": 1, "stroke-dasharray": "4 3" }),
      ...own.map((row) => svg("circle", { cx: X_(row.fast_memory_bytes), cy: Y_(row.value), r: 2.5, fill: ink },
        svg("title", {}, `${solver} ${sizeText(row.fast_memory_bytes)}: ${objectiveText(row.value)}`))),
      svg("text", { x: width - 14, y: 14 + 12 * i, "text-anchor": "end", style: `fill:${ink}` }, solver));
  });
  const own = Math.log2(summary.fast_memory_bytes);
  if (own >= low && own <= high) made.append(svg("circle", { cx: X_(summary.fast_memory_bytes), cy: Y_(summary.value), r: 6, fill: "none", stroke: "var(--ink)", "stroke-width": 2 }));
  return [el("h2", {}, `${summary.objective} over fast memory`), made,
    el("p", { class: "soft" }, "Solid: plans. Dashed: proven bounds. Ring: this plan."),
    table([["size"], ["solver"], ["value", 1], ["gap", 1]], data.sweep.map((row) => (row.error
      ? [sizeText(row.fast_memory_bytes || 0), row.solver || "", row.error, "-"]
      : [sizeText(row.fast_memory_bytes), row.solver, objectiveText(row.value), row.gap === null ? "?" : gapText(row.gap)])))];
}

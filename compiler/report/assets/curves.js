// The best value so far over seconds of solving, a curve per solver (as `compare --plot` draws it).

const CURVE_INKS = ["pair0", "tier1", "pair4", "pair1", "pair2", "pair3", "compute", "tier3"];
const CURVE_DASHES = ["", "7 2", "2 2", "7 2 2 2", "4 2", "1 2"];
const APART = 3.5; // distance of equal curves, in units of the chart
const FAR = 3; // a final value this many times as far above the bound as the better ones is not drawn

/** Value of a curve at a time, undefined before its first plan. */
function valueAt(curve, time) {
  let value;
  for (const [at_, found] of curve) { if (at_ > time) break; value = found; }
  return value;
}

/** Whether two curves have the same value for some time. */
function meet(a, b, same) {
  return [...a, ...b].some(([time]) => {
    const [x, y] = [valueAt(a, time), valueAt(b, time)];
    return x !== undefined && y !== undefined && Math.abs(x - y) <= same;
  });
}

/** For each curve its place among those that it meets: 0 is where it belongs. */
function ranks(curves_, same) {
  const found = [];
  curves_.forEach((curve, i) => {
    const taken = new Set(found.filter((_, j) => meet(curve, curves_[j], same)));
    let rank = 0;
    while (taken.has(rank)) rank += 1;
    found[i] = rank;
  });
  return found;
}

const MOST_SECONDS = 6; // ticks on the axis of seconds

/** Ticks of a logarithmic axis: powers of ten, and 2 and 5 times them where these alone are few; else its ends. */
function logTicks(start, end) {
  const found = [];
  for (let power = Math.floor(Math.log10(start)); 10 ** power <= end; power += 1) {
    for (const k of [1, 2, 5]) if (k * 10 ** power >= start && k * 10 ** power <= end) found.push([k, Number(`${k}e${power}`)]);
  }
  if (found.length < 2) return [start, end];
  const kept = found.length <= MOST_SECONDS ? found : found.filter(([k]) => k === 1);
  const every = Math.ceil(kept.length / MOST_SECONDS);
  return kept.filter((_, i) => i % every === 0).map(([, seconds]) => seconds);
}

/** The chart, with what its curves are; nothing where no row says when it found its plans. */
function curves(rows) {
  const solved = rows.filter((row) => (row.anytime ?? []).length);
  if (!solved.length) return [];
  const bound = Math.max(...solved.map((row) => row.lower_bound ?? 0));
  let high = solved[0].value;
  for (const row of solved) {
    if (row.value - bound > FAR * Math.max(high - bound, 0.1 * Math.abs(bound))) break;
    high = row.value;
  }
  const shown = solved.filter((row) => row.value <= high);
  const width = 380, height = 230, left = 58, bottom = 30, top = 10, right = 8;
  const room = Math.max(high - bound, 0.01 * Math.abs(bound), 1e-12);
  const low = bound - 0.08 * room;
  const most = high + 0.16 * room;
  const start = Math.max(Math.min(...shown.map((row) => row.anytime[0][0])), 1e-4) / 1.5;
  const end = Math.max(...shown.map((row) => Math.max(row.solve_s ?? 0, row.anytime.at(-1)[0])), start) * 1.5;
  const X_ = (s) => left + Math.log(Math.max(s, start) / start) / Math.log(end / start) * (width - left - right);
  const Y_ = (value) => Math.max(height - bottom - (value - low) / (most - low) * (height - bottom - top), top);
  const made = svg("svg", { class: "chart", id: "curves", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Best value so far over seconds of solving" });
  for (const value of valueTicks(low, most, height - bottom - top)) made.append(
    svg("line", { x1: left, x2: width - right, y1: Y_(value), y2: Y_(value), stroke: "var(--line)" }),
    svg("text", { x: left - 5, y: Y_(value) + 3, "text-anchor": "end" }, objectiveText(value)));
  for (const seconds of logTicks(start, end)) made.append(
    svg("text", { class: "second", x: X_(seconds), y: height - 16, "text-anchor": "middle" }, timeText(seconds)));
  made.append(svg("text", { x: (left + width) / 2, y: height - 3, "text-anchor": "middle" }, "seconds of solving (logarithmic)"),
    svg("line", { x1: left, x2: width - right, y1: Y_(bound), y2: Y_(bound), stroke: "var(--stall)", "stroke-dasharray": "3 2" }));
  const places = ranks(shown.map((row) => row.anytime), 1e-4 * (most - low));
  const keys = shown.map((row, i) => {
    const ink = `var(--${CURVE_INKS[i % CURVE_INKS.length]})`, dash = CURVE_DASHES[i % CURVE_DASHES.length], up = places[i] * APART;
    const last = Math.max(row.solve_s ?? 0, row.anytime.at(-1)[0]);
    const points = row.anytime.flatMap(([s, value], j) => [...(j ? [[s, row.anytime[j - 1][1]]] : []), [s, value]]);
    const line = [...points, [last, row.value]].map(([s, value]) => `${X_(s)},${Y_(value) - up}`).join(" ");
    made.append(
      svg("polyline", { points: line, fill: "none", stroke: ink, "stroke-width": 2, "stroke-dasharray": dash }),
      svg("line", { x1: X_(last), x2: width - right, y1: Y_(row.value) - up, y2: Y_(row.value) - up, stroke: ink, "stroke-width": 0.8, "stroke-dasharray": "1 2" }),
      ...row.anytime.map(([s, value]) => svg("circle", { cx: X_(s), cy: Y_(value) - up, r: 2.4, fill: ink },
        svg("title", {}, `${row.solver} after ${timeText(s)}: ${objectiveText(value)}`))),
      svg("rect", { x: X_(last) - 3, y: Y_(row.value) - up - 3, width: 6, height: 6, fill: ink },
        svg("title", {}, `${row.solver} ended after ${timeText(last)}: ${objectiveText(row.value)}`)));
    const sample = svg("svg", { width: 26, height: 8 }, svg("line", { x1: 0, x2: 26, y1: 4, y2: 4, stroke: ink, "stroke-width": 2, "stroke-dasharray": dash }));
    return el("span", { class: "key" }, sample, row.solver);
  });
  const away = solved.filter((row) => row.value > high).map((row) => row.solver);
  return [el("h2", {}, "Best plan over seconds of solving"), made, el("p", { class: "keys" }, keys),
    el("p", { class: "soft" }, "Dots: a better plan was found. Squares: the solver ended. Dashed red: the bound."
      + (places.some((rank) => rank) ? " Equal curves are drawn side by side." : "")
      + (away.length ? ` Far above: ${away.join(", ")}.` : ""))];
}

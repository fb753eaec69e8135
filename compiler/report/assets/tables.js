// The table of tensors, and the legend.

const order = { key: "size", down: true };
const SHOWN = 200; // rows of the table of tensors

function tensorTable() {
  const read = {
    name: (b) => buffers.name[b], size: (b) => buffers.size_bytes[b],
    saves: (b) => buffers.saves_s[b], "would save": (b) => buffers.costs_s[b],
  };
  const of = read[order.key];
  const list = (view.hits ? [...view.hits] : buffers.name.map((_, b) => b)).sort((a, b) => {
    const compared = of(a) < of(b) ? -1 : Number(of(a) > of(b));
    return order.down ? -compared : compared;
  });
  const head = el("tr", {}, Object.keys(read).map((key) => el("th", {
    class: key === "name" ? "" : "n", scope: "col",
    "aria-sort": order.key === key ? (order.down ? "descending" : "ascending") : "none",
  }, el("button", {
    type: "button",
    onclick: () => {
      order.down = order.key === key ? !order.down : key !== "name";
      order.key = key;
      showPane("tensors");
    },
  }, key, order.key === key ? (order.down ? " \u2193" : " \u2191") : ""))));
  const body = list.slice(0, SHOWN).map((b) => el("tr", {},
    el("td", { class: "tensor" }, toTensor(b)),
    el("td", { class: "n" }, sizeText(buffers.size_bytes[b])), el("td", { class: "n" }, timeText(buffers.saves_s[b])),
    el("td", { class: "n" }, timeText(buffers.costs_s[b]))));
  const found = [
    el("p", { class: "soft" }, view.hits ? `${list.length} tensors match (Enter: next)` : `${list.length} tensors`),
    el("table", { id: "tensor-table" }, el("thead", {}, head), el("tbody", {}, body))];
  if (list.length > SHOWN) found.push(el("p", { class: "soft" }, `and ${list.length - SHOWN} more; search to find them`));
  const hits = view.found ? view.found.steps : [];
  if (hits.length) found.push(el("h2", {}, `${hits.length} operators match`),
    ...limited([["step"]], hits.map((t) => () => [toStep(t)])));
  return found;
}

/** The legend repeats the drawing's own colours and hatchings. */
function showLegend() {
  const swatch = (colour, kind) => {
    const ratio = view.ratio, box = el("canvas", { class: "swatch", width: 16 * ratio, height: 11 * ratio, "aria-hidden": true });
    const pen = box.getContext("2d");
    pen.scale(ratio, ratio);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 16, 11);
    if (kind) { pen.fillStyle = pattern(kind, kind === "stall" ? colours.stall : kind === "workspace" ? colours.soft : undefined, kind === "stall" ? 0.9 : kind === "workspace" ? 0.7 : 0.3); pen.fillRect(0, 0, 16, 11); }
    return box;
  };
  const key = (name, box) => el("span", { class: "key" }, box, name);
  const used = KINDS.filter((_, i) => buffers.kind.includes(i));
  const keys = used.map((kind) => key(kind, swatch(colours[kind], kind === "activation" ? null : kind)));
  if (cascades.length) keys.push(key("cascade, line buffer", swatch(colours.cascade, "line")));
  steps.bindings.forEach((name, i) => {
    if (name in data.binding_s) keys.push(key(`bound by ${name}`, swatch(bindingColour(i), isSlow(i) ? "weight" : null)));
  });
  keys.push(key("stall: waiting for data", swatch(colours.panel, "stall")));
  if (hasWorkspace) keys.push(key("workspace", swatch(colours.panel, "workspace")));
  data.target.pairs.forEach(([source, destination], i) => {
    if (!pairOf.includes(i)) return;
    const way = source > destination ? "\u2191" : "\u2193";
    const dashed = source > destination ? "" : " (dashed)";
    keys.push(key(`${way} ${tiers[source].name} \u2192 ${tiers[destination].name}${dashed}`, swatch(colours[pairColour(i)])));
  });
  keys.push(el("span", { id: "crowd" }));
  document.getElementById("legend").replaceChildren(...keys);
}

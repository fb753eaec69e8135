// A link that restores what is shown: axis, zoom, selection and pane in the fragment of the address.

let written = "", waiting = 0;

/** The fragment of a selection with the present axis. */
function linkTo({ buffer = -1, step = -1 }) {
  const parts = new URLSearchParams();
  if (step >= 0) parts.set("step", String(step));
  if (buffer >= 0) parts.set("tensor", buffers.name[buffer]);
  if (!view.seconds && total > 0) parts.set("axis", "steps");
  return `#${parts}`;
}

/** The fragment that restores the view as it is. */
function fragment() {
  const parts = new URLSearchParams(linkTo(view.selected).slice(1));
  const whole = view.to - view.from >= axisEnd() * 0.999;
  if (!whole) { parts.set("from", String(Number(view.from.toPrecision(6)))); parts.set("to", String(Number(view.to.toPrecision(6)))); }
  view.address.forEach((range, i) => {
    if (range) parts.append("addresses", `${tiers[i].name}:${Math.round(range[0])}-${Math.round(range[1])}`);
  });
  if (view.big !== 0) parts.set("tier", tiers[view.big].name);
  if (!["overview", "tensor"].includes(pane)) parts.set("pane", pane);
  return String(parts);
}

/** Keep the address up to date, a moment after the last change, so that it can be copied. */
function remember() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const now = fragment();
    if (now === written) return;
    written = now;
    document.getElementById("link").href = `#${now}`;
    // A page without an address of its own, as in a preview of mail, has nothing to change.
    if (location.protocol !== "about:" && location.protocol !== "data:") history.replaceState(null, "", now ? `#${now}` : location.href.split("#")[0]);
  }, 150);
}

/** Show what a fragment says; what it does not say, or says of another plan, is left as it is. */
function restore(text) {
  const parts = new URLSearchParams(text);
  const number = (key) => (parts.has(key) && parts.get(key) !== "" ? Number(parts.get(key)) : NaN);
  if (parts.has("axis")) useAxis(parts.get("axis") !== "steps"); else useAxis(true);
  const step = number("step");
  const buffer = parts.has("tensor") ? buffers.name.indexOf(parts.get("tensor")) : -1;
  const lost = (parts.has("tensor") && buffer < 0) || (parts.has("step") && !(Number.isInteger(step) && step >= 0 && step < T));
  view.notice = lost ? "The link names a tensor or a step that this plan does not have." : "";
  const [from, to] = [number("from"), number("to")];
  const zoomed = Number.isFinite(from) && Number.isFinite(to) && from < to;
  if (zoomed) show(from, to); else show(0, axisEnd());
  if (buffer >= 0) select({ buffer }, !zoomed);
  else if (!lost && parts.has("step")) select({ step }, !zoomed);
  else { select({}); if (lost) showPane("tensor"); }
  const tier = tiers.findIndex((t) => t.name === parts.get("tier"));
  if (tier >= 0 && view.maps.some((row) => row.tier === tier)) { view.big = tier; layOut(); }
  view.address.fill(null);
  for (const text_ of parts.getAll("addresses")) {
    const [, name, low, high] = /^(.*):(\d+)-(\d+)$/.exec(text_) || [];
    const at_ = tiers.findIndex((t) => t.name === name);
    if (at_ >= 0 && Number(low) < Number(high)) showAddresses(at_, Number(low), Number(high));
  }
  const wanted = parts.get("pane");
  if (wanted !== null && Object.hasOwn(PANES, wanted)) showPane(wanted);
}

/** Copy the link where the browser allows it; else the browser's own menu of the link does. */
async function copyLink(event) {
  event.preventDefault();
  history.replaceState(null, "", `#${fragment()}`);
  let said = "in the address bar";
  if (navigator.clipboard) await navigator.clipboard.writeText(location.href).then(() => { said = "copied"; }, () => {});
  const link = document.getElementById("link");
  link.textContent = `Link ${said}`;
  setTimeout(() => { link.textContent = "Link"; }, 1500);
}

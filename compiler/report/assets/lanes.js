// Lanes: what binds each step, how busy compute, ports and links are, live bytes.

/** Value of running sums at a fractional step. */
function sumAt(list, step) {
  const whole = Math.min(Math.floor(step), T - 1);
  return list[whole] + (list[whole + 1] - list[whole]) * (step - whole);
}

/** Call draw(x, width, firstStep, lastStep) for runs of pixels: one per step, or one per pixel. */
function columns(draw) {
  const left = GUTTER, right = view.width - RIGHT;
  const first = Math.floor(stepAt(view.from)), last = Math.min(Math.ceil(stepAt(view.to)), T);
  if (last - first < (right - left) / 2.5) {
    for (let t = first; t < last; t += 1) {
      const a = Math.max(px(at(t)), left), b = Math.min(px(at(t + 1)), right);
      if (b > a) draw(a, b - a, t, t + 1);
    }
    return;
  }
  let from = stepAt(position(left));
  for (let x = left; x < right; x += 1) {
    const to = stepAt(position(x + 1));
    draw(x, 1, from, to);
    from = to;
  }
}

const bindingSums = steps.bindings.map((_, i) =>
  sums(steps.elapsed_s.map((s, t) => (steps.binding[t] === i ? s : 0))));
const overheadSums = sums(steps.overhead_s);

function drawBinding(row) {
  const slow = pattern("weight");
  columns((x, width, a, b) => {
    const whole = sumAt(clock, b) - sumAt(clock, a);
    let y = row.top;
    if (!(whole > 0)) return;
    bindingSums.forEach((list, i) => {
      const height = row.height * (sumAt(list, b) - sumAt(list, a)) / whole;
      if (height < 0.05) return;
      ctx.fillStyle = bindingColour(i);
      ctx.fillRect(x, y, width + 0.5, height);
      if (isSlow(i)) {
        ctx.fillStyle = slow;
        ctx.fillRect(x, y, width + 0.5, height);
      }
      y += height;
    });
  });
}

/** Whether a binding is memory beyond the fastest tier: hatched, since colour alone is not enough. */
function isSlow(binding) {
  const name = steps.bindings[binding];
  return name.includes("->") || tiers.findIndex((tier) => tier.name === name) > 0;
}

/** Compute: busy from below, overhead above it, the rest of an operator's step is a stall. */
function drawCompute(row) {
  const stall = pattern("stall", colours.stall, 0.9);
  columns((x, width, a, b) => {
    const whole = sumAt(clock, b) - sumAt(clock, a);
    if (!(whole > 0)) return;
    const busy = (sumAt(row.sums.all, b) - sumAt(row.sums.all, a)) / whole * row.height;
    const fixed = (sumAt(overheadSums, b) - sumAt(overheadSums, a)) / whole * row.height;
    const bottom = row.top + row.height;
    ctx.fillStyle = colours.compute;
    ctx.fillRect(x, bottom - busy, width + 0.5, busy);
    ctx.fillStyle = colours.overhead;
    ctx.fillRect(x, bottom - busy - fixed, width + 0.5, fixed);
    const rest = row.height - busy - fixed;
    if (rest > 0.3) {
      ctx.fillStyle = stall;
      ctx.fillRect(x, row.top, width + 0.5, rest);
    }
  });
  labelSteps(row);
}

/** Names of operators in the compute lane, where they fit. */
function labelSteps(row) {
  const first = Math.floor(stepAt(view.from)), last = Math.min(Math.ceil(stepAt(view.to)), T);
  if (last - first > 200) return;
  ctx.font = "10px system-ui, sans-serif";
  for (let t = first; t < last; t += 1) {
    const a = Math.max(px(at(t)), GUTTER), b = Math.min(px(at(t + 1)), view.width - RIGHT);
    const kind = steps.kinds[steps.kind[t]];
    const room = Math.floor((b - a - 6) / 6);
    if (kind === "dma" || room < Math.min(kind.length, 7)) continue;
    const text = middleCut(kind, room);
    ctx.strokeStyle = colours.panel;
    ctx.lineJoin = "round";
    ctx.lineWidth = 3;
    ctx.strokeText(text, a + 3, row.top + row.height - 8);
    ctx.fillStyle = colours.ink;
    ctx.fillText(text, a + 3, row.top + row.height - 8);
  }
}

/** A port or a link: strong where it binds the step, pale where it is merely busy. */
function drawBusy(row) {
  columns((x, width, a, b) => {
    const whole = sumAt(clock, b) - sumAt(clock, a);
    if (!(whole > 0)) return;
    const busy = (sumAt(row.sums.all, b) - sumAt(row.sums.all, a)) / whole * row.height;
    const strong = (sumAt(row.sums.binding, b) - sumAt(row.sums.binding, a)) / whole * row.height;
    const bottom = row.top + row.height;
    ctx.fillStyle = colours[row.colour];
    ctx.globalAlpha = 0.38;
    ctx.fillRect(x, bottom - busy, width + 0.5, busy);
    ctx.globalAlpha = 1;
    ctx.fillRect(x, bottom - strong, width + 0.5, strong);
  });
}

/** Largest value of a list over fractional steps. */
function largest(list, a, b) {
  let most = 0;
  for (let t = Math.floor(a); t < Math.max(Math.ceil(b), Math.floor(a) + 1) && t < T; t += 1) {
    if (list[t] > most) most = list[t];
  }
  return most;
}

function drawLive(row) {
  const { live_bytes: live, top_bytes: top } = data.spaces[row.tier];
  const capacity = tiers[row.tier].capacity_bytes;
  const scale = Math.max(capacity <= 4 * Math.max(...peakOf(row.tier), 1) ? capacity : Math.max(...peakOf(row.tier)), 1);
  const bottom = row.top + row.height;
  columns((x, width, a, b) => {
    const used = largest(top, a, b) / scale * row.height, held = largest(live, a, b) / scale * row.height;
    ctx.fillStyle = colours.idle;
    ctx.fillRect(x, bottom - used, width + 0.5, used);
    ctx.fillStyle = colours[tierColour(row.tier)];
    ctx.fillRect(x, bottom - held, width + 0.5, held);
  });
}

/** Peak address and peak live bytes of a tier. */
function peakOf(tier) {
  return [summary.peak_bytes[tiers[tier].name], summary.load_bytes[tiers[tier].name]];
}

/** Ticks of an axis: about one per `room` pixels, at 1, 2 or 5 times a power of ten. */
function ticks(from, to, pixels, room, whole = false) {
  const rough = (to - from) * room / Math.max(pixels, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  let size = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough) || rough;
  if (whole) size = Math.max(1, Math.round(size));
  const found = [];
  for (let v = Math.ceil(from / size) * size; v <= to + size * 1e-9; v += size) found.push(v);
  return found;
}

function drawTimeAxis() {
  ctx.font = "10px system-ui, sans-serif";
  ctx.textAlign = "center";
  const inner = view.width - GUTTER - RIGHT;
  const bottom = view.minimap - 6;
  for (const tick of ticks(view.from, view.to, inner, 90, !view.seconds)) {
    const x = px(tick);
    ctx.strokeStyle = colours.line;
    ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(Math.round(x) + 0.5, AXIS - 6); ctx.lineTo(Math.round(x) + 0.5, bottom); ctx.stroke();
    ctx.fillStyle = colours.soft;
    ctx.fillText(view.seconds ? timeText(Number(tick.toPrecision(10))) : String(tick), Math.min(x, view.width - 20), 12);
  }
  ctx.textAlign = "left";
  ctx.fillText(view.seconds ? "time" : "step", 8, 12);
}

function drawMinimap() {
  const top = view.minimap, left = GUTTER, width = view.width - GUTTER - RIGHT, end = axisEnd();
  ctx.fillStyle = colours.sunken;
  ctx.fillRect(left, top, width, MINIMAP);
  const live = data.spaces[0].live_bytes;
  const scale = Math.max(peakOf(0)[1], 1);
  ctx.fillStyle = colours.idle;
  for (let x = 0, from = 0; x < width; x += 1) {
    const to = stepAt((x + 1) / width * end);
    const height = largest(live, from, to) / scale * (MINIMAP - 8);
    ctx.fillRect(left + x, top + MINIMAP - height, 1, height);
    from = to;
  }
  for (let x = 0, from = 0; x < width; x += 1) {
    const to = stepAt((x + 1) / width * end);
    const t = Math.min(Math.floor((from + to) / 2), T - 1);
    ctx.fillStyle = bindingColour(steps.binding[t]);
    ctx.fillRect(left + x, top, 1, 4);
    from = to;
  }
  const a = left + view.from / end * width, b = left + view.to / end * width;
  ctx.fillStyle = colours.accent;
  ctx.globalAlpha = 0.16;
  ctx.fillRect(a, top, b - a, MINIMAP);
  ctx.globalAlpha = 1;
  ctx.strokeStyle = colours.accent;
  ctx.lineWidth = 1.5;
  ctx.strokeRect(a + 0.75, top + 0.75, Math.max(b - a - 1.5, 2), MINIMAP - 1.5);
  ctx.fillStyle = colours.soft;
  ctx.font = "11px system-ui, sans-serif";
  ctx.fillText("overview", 8, top + MINIMAP / 2 + 4);
}

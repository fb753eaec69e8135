// Memory maps: a rectangle per residency, address by time, and transfers between them.

const KINDS = data.buffers.kinds;
const SHADES = data.palette.shades.length; // neighbours of one kind differ a little, so that edges are seen

// Line buffers have a colour of their own: bytes between the operators of a cascade.
const LOOKS_OF_KINDS = [...KINDS, "cascade"];
function lookOf(r) { return residencies.line_buffer[r] ? KINDS.length : buffers.kind[residencies.buffer[r]]; }

// Residencies by tier and by (kind, shade): few changes of colour while drawing.
const groups = tiers.map(() => []);
{
  const lists = new Map();
  for (let r = 0; r < R; r += 1) {
    const buffer = residencies.buffer[r];
    const key = (residencies.tier[r] * LOOKS_OF_KINDS.length + lookOf(r)) * SHADES + (buffer * 7 % SHADES);
    if (!lists.has(key)) lists.set(key, []);
    lists.get(key).push(r);
  }
  for (const [key, list] of lists) {
    const tier = Math.floor(key / SHADES / LOOKS_OF_KINDS.length);
    groups[tier].push({
      kind: LOOKS_OF_KINDS[Math.floor(key / SHADES) % LOOKS_OF_KINDS.length], shade: key % SHADES, list: Int32Array.from(list),
    });
  }
}

const LETTER = 6.7; // mean width of a letter of a name, in pixels; a digit's is less

/** Rectangle of a residency on a map: [x, y, width, height]; slivers stay one pixel. */
function rectangle(row, r) {
  const x = px(at(residencies.start[r])), right = px(at(residencies.end[r]));
  const bottom = py(row, residencies.offset[r]);
  const top = py(row, residencies.offset[r] + residencies.end_byte[r] - residencies.start_byte[r]);
  return [x, top, Math.max(right - x, 1), Math.max(bottom - top, 0.8)];
}

/** Fill the residencies of a map; returns the large ones, for hatching and labels. */
function fillResidencies(row) {
  const left = GUTTER, right = view.width - RIGHT, low = row.top, high = row.top + row.height;
  const scale = (view.width - GUTTER - RIGHT) / (view.to - view.from), base = GUTTER - view.from * scale;
  const [lowest, highest] = addressRange(row.tier);
  const tall = row.height / (highest - lowest);
  const large = [];
  for (const { kind, shade, list } of groups[row.tier]) {
    ctx.fillStyle = colours[kind];
    ctx.globalAlpha = data.palette.shades[shade];
    let lastX = -1, lastY = -1, lastW = -1, lastH = -1;
    for (let i = 0; i < list.length; i += 1) {
      const r = list[i];
      const x = base + at(residencies.start[r]) * scale, end = base + at(residencies.end[r]) * scale;
      if (end < left || x > right) continue;
      const offset = residencies.offset[r] - lowest;
      const bottom = high - offset * tall;
      const height = Math.max((residencies.end_byte[r] - residencies.start_byte[r]) * tall, 0.8);
      if (bottom < low || bottom - height > high) continue;
      const width = Math.max(end - x, 1);
      if (width > 4 && height > 4) { // on whole pixels, with a gap to the neighbours
        const a = Math.round(x), b = Math.round(bottom - height);
        ctx.fillRect(a, b, Math.round(end) - a - 1, Math.round(bottom) - b - 1);
      } else { // whole pixels here too: thousands of soft edges cost time
        const a = Math.round(x), b = Math.round(bottom - height);
        const w = Math.max(Math.round(end) - a, 1), h = Math.max(Math.round(bottom) - b, 1);
        if (a === lastX && b === lastY && w === lastW && h === lastH) continue;
        lastX = a; lastY = b; lastW = w; lastH = h;
        ctx.fillRect(a, b, w, h);
      }
      if (width > 7 && height > 7) large.push([kind, r, x, bottom - height, width, height]);
    }
  }
  ctx.globalAlpha = 1;
  return large;
}

/** Hatch by kind, show what is still arriving, and name what is large enough. */
function decorate(large) {
  const left = GUTTER, right = view.width - RIGHT;
  for (const [kind, r, x, y, width, height] of large) {
    if (kind !== "activation") {
      ctx.fillStyle = pattern(kind === "cascade" ? "line" : kind);
      ctx.fillRect(x + 0.5, y + 0.5, width - 1, height - 1);
    }
    if (residencies.ready[r] > residencies.start[r]) {
      const arrived = px(at(residencies.ready[r]));
      ctx.fillStyle = colours.panel;
      ctx.globalAlpha = 0.72;
      ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(arrived, y); ctx.lineTo(x, y + height); ctx.fill();
      ctx.globalAlpha = 1;
    }
  }
  const named = large.filter(([, , , , width, height]) => width > 42 && height > 12);
  if (named.length > 300) {
    named.sort((a, b) => b[4] * b[5] - a[4] * a[5]);
    named.length = 300;
  }
  ctx.font = "11px system-ui, sans-serif";
  for (const [kind, r, x, y, width, height] of named) {
    const a = Math.max(x, left), b = Math.min(x + width, right);
    const room = Math.floor((b - a - 8) / LETTER);
    if (room < 4) continue;
    const others = valuesAt(r).length - 1;
    const more = others > 0 ? ` +${others}` : "";
    const name = buffers.name[residencies.buffer[r]];
    if (room < Math.min(9, name.length) + more.length) continue; // what is left would say nothing
    const text = middleCut(name, room - more.length) + more;
    const middle = Math.min(Math.max(y + height / 2, y + 8), y + height - 3) + 4;
    if (kind !== "activation") { // a plain ground under the text
      ctx.fillStyle = colours[kind];
      ctx.fillRect(a + 2, middle - 10, ctx.measureText(text).width + 4, 13);
    }
    ctx.fillStyle = colours["on-rect"];
    ctx.fillText(text, a + 4, middle);
  }
}

function drawWorkspace(row) {
  if (row.tier !== 0 || !hasWorkspace) return;
  const capacity = tiers[0].capacity_bytes;
  const first = Math.floor(stepAt(view.from)), last = Math.min(Math.ceil(stepAt(view.to)), T);
  ctx.fillStyle = pattern("workspace", colours.soft, 0.7);
  for (let t = first; t < last; t += 1) {
    if (!steps.workspace_bytes[t]) continue;
    const top = py(row, capacity), bottom = py(row, capacity - steps.workspace_bytes[t]);
    const x = px(at(t));
    ctx.fillRect(x, top, Math.max(px(at(t + 1)) - x, 1), bottom - top);
  }
}

function drawMap(row) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(GUTTER, row.top, view.width - GUTTER - RIGHT, row.height);
  ctx.clip();
  const chosen = view.selected.buffer;
  decorate(fillResidencies(row));
  drawWorkspace(row);
  if (chosen >= 0 || view.hits) {
    ctx.fillStyle = colours.panel;
    ctx.globalAlpha = 0.55;
    ctx.fillRect(GUTTER, row.top, view.width, row.height);
    ctx.globalAlpha = 1;
    const lit = new Set(view.hits || []);
    if (chosen >= 0) lit.add(chosen);
    for (const buffer of lit) for (const r of residenciesOf[buffer]) {
      if (residencies.tier[r] === row.tier) drawLit(row, r, buffer === chosen);
    }
  }
  if (view.hovered >= 0 && residencies.tier[view.hovered] === row.tier) {
    ctx.strokeStyle = colours.ink;
    ctx.lineWidth = 1.5;
    ctx.strokeRect(...rectangle(row, view.hovered));
  }
  ctx.restore();
  drawAddressAxis(row);
}

/** A residency that is chosen or found, in full colour over the dimmed rest. */
function drawLit(row, r, chosen) {
  const [x, y, width, height] = rectangle(row, r);
  const kind = LOOKS_OF_KINDS[lookOf(r)];
  ctx.fillStyle = colours[kind];
  ctx.fillRect(x, y, width, height);
  if (width > 7 && height > 7) decorate([[kind, r, x, y, width, height]]);
  ctx.strokeStyle = chosen ? colours.accent : colours.ink;
  ctx.lineWidth = chosen ? 2.5 : 1;
  ctx.strokeRect(x, y, width, height);
}

function drawAddressAxis(row) {
  const [low, high] = addressRange(row.tier);
  ctx.font = "10px system-ui, sans-serif";
  ctx.fillStyle = colours.soft;
  ctx.textAlign = "right";
  const size = 2 ** Math.max(Math.ceil(Math.log2((high - low) * 36 / row.height)), 0);
  for (let tick = Math.ceil(low / size) * size; tick <= high; tick += size) {
    const y = py(row, tick);
    if (y < row.top + 24) continue;
    ctx.fillText(sizeText(tick), GUTTER - 6, Math.min(y + 3, row.top + row.height));
  }
  ctx.textAlign = "left";
  ctx.font = "600 12px system-ui, sans-serif";
  ctx.fillStyle = colours.ink;
  ctx.fillText(row.label, 8, row.top + 12);
}

// Where a transfer's arrow stands within its steps (they share the width), and how thick it is.
const slot = new Float64Array(X), thickness = new Float64Array(X);
{
  const peers = new Map();
  let most = 1;
  for (let x = 0; x < X; x += 1) {
    const key = `${firstMove[x]} ${lastMove[x]}`;
    if (!peers.has(key)) peers.set(key, []);
    peers.get(key).push(x);
    most = Math.max(most, transfers.end_byte[x] - transfers.start_byte[x]);
  }
  for (const list of peers.values()) list.forEach((x, i) => {
    slot[x] = (i + 1) / (list.length + 1);
    thickness[x] = 1.5 + 6 * Math.sqrt((transfers.end_byte[x] - transfers.start_byte[x]) / most);
  });
}

const MOST_ARROWS = 400; // more in view are hidden

/** Transfers in view: a band from the residency that is left to the one that fills. */
function drawTransfers() {
  if (!view.arrows || !view.maps || view.maps.length < 2) return;
  const left = GUTTER, right = view.width - RIGHT;
  const wanted = [];
  for (let x = 0; x < X; x += 1) {
    const a = px(at(firstMove[x])), b = px(at(lastMove[x] + 1));
    if (b >= left && a <= right && arrivesIn[x] >= 0 && leavesFrom[x] >= 0) wanted.push([x, a, b]);
  }
  const chosen = view.selected.buffer;
  const crowd = wanted.length;
  const hidden = chosen < 0 && crowd > MOST_ARROWS;
  const told = hidden ? `${crowd} transfers in view: zoom in, or choose a tensor, to see them` : "";
  const place = document.getElementById("crowd");
  if (place.textContent !== told) place.textContent = told;
  ctx.save();
  ctx.beginPath();
  const mapsTop = view.maps[0].top;
  ctx.rect(left, mapsTop, right - left, view.minimap - 6 - mapsTop);
  ctx.clip();
  for (const [x, a, b] of wanted) {
    const mine = transfers.buffer[x] === chosen;
    if (!mine && (chosen >= 0 || hidden)) continue;
    drawBand(x, a, b, mine ? 0.85 : Math.max(0.12, 0.5 - crowd / 900));
  }
  ctx.restore();
}

function drawBand(x, a, b, alpha) {
  const from = view.maps.find((row) => row.tier === transfers.source[x]);
  const to = view.maps.find((row) => row.tier === transfers.destination[x]);
  if (!from || !to) return;
  const rises = to.top < from.top; // the faster map is above
  const source = rectangle(from, leavesFrom[x]), target = rectangle(to, arrivesIn[x]);
  const clampTo = (row, y) => Math.min(Math.max(y, row.top), row.top + row.height);
  const start = clampTo(from, rises ? source[1] : source[1] + source[3]);
  const stop = clampTo(to, rises ? target[1] + target[3] : target[1]);
  const middle = a + (b - a) * slot[x];
  ctx.globalAlpha = alpha;
  ctx.strokeStyle = ctx.fillStyle = colours[pairColour(pairOf[x])];
  ctx.lineWidth = Math.min(Math.max((b - a) * 0.2, 1), thickness[x]);
  ctx.setLineDash(rises ? [] : [5, 3]);
  ctx.beginPath(); ctx.moveTo(middle, start); ctx.lineTo(middle, stop); ctx.stroke();
  ctx.setLineDash([]);
  const tip = rises ? -1 : 1, wing = Math.max(ctx.lineWidth * 0.9, 4);
  ctx.beginPath();
  ctx.moveTo(middle, stop + tip * 2);
  ctx.lineTo(middle - wing, stop - tip * (wing + 3));
  ctx.lineTo(middle + wing, stop - tip * (wing + 3));
  ctx.fill();
  ctx.globalAlpha = 1;
}

/** The residency under a point of a map, the smallest where slivers overlap; -1 for none. */
function residencyAt(row, x, y) {
  let best = -1, least = Infinity;
  const before = position(x - 2), after = position(x + 2);
  for (const { list } of groups[row.tier]) for (const r of list) {
    if (at(residencies.start[r]) > after || at(residencies.end[r]) < before) continue;
    const [a, b, width, height] = rectangle(row, r);
    const slack = height < 3 || width < 3 ? 1.5 : 0;
    if (x < a - slack || x > a + width + slack || y < b - slack || y > b + height + slack) continue;
    if (width * height < least) { least = width * height; best = r; }
  }
  return best;
}

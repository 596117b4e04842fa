"use strict";
// Draws the charts of a Framefleet report from the data that lies in the page. The plots are uPlot's; what is
// drawn onto the canvas of the first one, the slots' units, is drawn here.
(() => {
  const root = document.documentElement;
  const LEFT = 76, RIGHT = 52;  // pixels beside the plots, the same for both, so that their times are in line
  const SPLIT = 4, COPY = 8, KINDS = ["done", "probe", "wasted", "unfinished"];
  const wrong = (text) => { root.dataset.errors = `${root.dataset.errors || ""}${text}; `; };
  window.addEventListener("error", (event) => wrong(event.message));
  window.addEventListener("securitypolicyviolation", (event) => wrong(`refused ${event.blockedURI}`));

  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer;

  function unpack(job) {
    const raw = job.units;
    const units = {
      count: raw.count,
      lane: new Uint16Array(bytes(raw.lane)), start: new Float32Array(bytes(raw.start)),
      length: new Float32Array(bytes(raw.length)), video: new Int32Array(bytes(raw.video)),
      kind: new Uint8Array(bytes(raw.kind)), of: new Uint32Array(bytes(raw.of)),
      unit: new Uint32Array(bytes(raw.unit)), attempt: new Uint8Array(bytes(raw.attempt)),
      frames: new Uint32Array(bytes(raw.frames)), shares: new Uint8Array(bytes(raw.shares)),
    };
    // where each lane's units begin, for the search under the pointer
    units.offsets = new Uint32Array(job.lanes.length + 1);
    for (let i = 0; i < units.count; i++) units.offsets[units.lane[i] + 1]++;
    for (let i = 0; i < job.lanes.length; i++) units.offsets[i + 1] += units.offsets[i];
    // by colour: a change of colour costs more than a rectangle
    units.byColour = new Map();
    for (let i = 0; i < units.count; i++) {
      const colour = colourOf(job, units, i);
      if (!units.byColour.has(colour)) units.byColour.set(colour, []);
      units.byColour.get(colour).push(i);
    }
    const rare = units.byColour.get("--wasted");  // above all others, or a pixel of it would never be seen
    if (rare) { units.byColour.delete("--wasted"); units.byColour.set("--wasted", rare); }
    return units;
  }

  function colourOf(job, units, i) {
    const kind = units.kind[i] & 3, video = units.video[i];
    if (kind === 2 || kind === 3) return "--wasted";
    if (kind === 1) return "--probing";
    return video < job.hues ? `--hue-${video}` : `--other-${video % 2}`;
  }

  // ---- words -----------------------------------------------------------------------------------------

  function timeAxis(end) {
    if (end <= 180) return { label: "time since the start (s)", text: (t) => `${+t.toFixed(2)}` };
    const two = (n) => String(Math.floor(n)).padStart(2, "0");
    if (end <= 3 * 3600) {
      return { label: "time since the start (min:s)", text: (t) => `${Math.floor(t / 60)}:${two(t % 60)}` };
    }
    return { label: "time since the start (h:min)", text: (t) => `${Math.floor(t / 3600)}:${two((t % 3600) / 60)}` };
  }

  // steps between the marks of the axis, in seconds
  const STEPS = [0.001, 0.01, 0.1].flatMap((s) => [s, 2 * s, 5 * s]).concat([1, 2, 5, 10, 15, 30])
    .concat([1, 2, 5, 10, 15, 30].map((m) => 60 * m), [1, 2, 4, 6, 12, 24, 48, 96].map((h) => 3600 * h));

  const number = (value) => value.toLocaleString("en-GB");
  const duration = (s) => (s < 1 ? `${Math.round(s * 1000)} ms` : s < 120 ? `${s.toFixed(2)} s`
    : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`);

  function describe(job, units, i) {
    const kind = units.kind[i], lane = job.lanes[units.lane[i]], of = units.of[i];
    const lines = [];
    const name = (kind & 3) === 1 || units.video[i] < 0 ? "Probing files" : job.videos[units.video[i]];
    lines.push(of > 1 ? `${number(of)} units, the first of ${name}` : name);
    const marks = [];
    if (of === 1) marks.push(`unit ${units.unit[i]}`);
    if (units.attempt[i] > 1) marks.push(`attempt ${units.attempt[i]}`);
    if (kind & SPLIT) marks.push("split");
    if (kind & COPY) marks.push("a second copy");
    if ((kind & 3) >= 2) marks.push((kind & 3) === 2 ? "came to nothing" : "not finished");
    if (marks.length) lines.push(marks.join(", "));
    lines.push(`${lane.host}, slot ${lane.slot}; ${duration(units.length[i])} from ${duration(units.start[i])} on`);
    if ((kind & 3) === 0) {
      const [roll, decode, encode] = [0, 1, 2].map((k) => Math.round(units.shares[3 * i + k] / 2.55));
      lines.push(`${number(units.frames[i])} frames`);
      if (roll + decode + encode) lines.push(`roll-in ${roll} %, decoding ${decode} %, encoding ${encode} %`);
    }
    return lines;
  }

  // ---- plots -----------------------------------------------------------------------------------------

  const axis = (more) => ({
    stroke: () => style("--muted"), grid: { stroke: () => style("--line"), width: 1 },
    ticks: { stroke: () => style("--line"), width: 1, size: 4 }, font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif", labelSize: 18, ...more,
  });

  const xScale = (job) => ({
    time: false,
    range: (_, from, to) => (from === to ? [0, job.end_s] : [Math.max(0, from), Math.min(job.end_s, to)]),
  });

  function cursor(key) {
    return {
      y: false, points: { show: false }, drag: { x: true, y: false, setScale: true },
      sync: { key, scales: ["x", null] }, focus: { prox: -1 },
    };
  }

  function hatch(context, colour, back) {
    const tile = document.createElement("canvas"), size = 6 * devicePixelRatio;
    tile.width = tile.height = size;
    const pen = tile.getContext("2d");
    pen.fillStyle = back;
    pen.fillRect(0, 0, size, size);
    pen.strokeStyle = colour;
    pen.lineWidth = size / 4;
    pen.beginPath();
    for (const shift of [-size, 0, size]) { pen.moveTo(shift, size); pen.lineTo(shift + size, 0); }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  function paint(plot, job, units) {
    const { ctx, bbox } = plot, lanes = job.lanes.length, row = bbox.height / lanes;
    const gap = row > 6 * devicePixelRatio ? devicePixelRatio : 0;
    const x = (t) => plot.valToPos(t, "x", true);
    const from = plot.scales.x.min, to = plot.scales.x.max;
    const bar = (lane, start, end) => ctx.fillRect(x(start), bbox.top + lane * row, x(end) - x(start), row - gap);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    const starting = hatch(ctx, style("--start-line"), style("--idle"));
    job.lanes.forEach((lane, place) => {
      ctx.fillStyle = style("--idle");
      bar(place, 0, job.makespan_s);
      ctx.fillStyle = starting;
      bar(place, 0, lane.ready);
      ctx.fillStyle = style("--gone");
      for (const [start, end] of lane.away) bar(place, start, Math.min(end, job.makespan_s));
    });
    let drawn = 0;
    const perSecond = bbox.width / (to - from);
    for (const [colour, members] of units.byColour) {
      ctx.fillStyle = colour === "--wasted" ? hatch(ctx, style("--wasted"), style("--wasted-back")) : style(colour);
      const least = colour === "--wasted" ? 2 * devicePixelRatio : 0.5;
      for (const i of members) {
        const start = units.start[i], end = start + units.length[i];
        if (end < from || start > to) continue;
        const left = bbox.left + (start - from) * perSecond, width = units.length[i] * perSecond;
        const parting = width > 4 * devicePixelRatio ? devicePixelRatio : 0;
        ctx.fillRect(left, bbox.top + units.lane[i] * row, Math.max(width - parting, least), row - gap);
        drawn++;
      }
    }
    if (row > 5 * devicePixelRatio) marks(ctx, bbox, units, from, to, perSecond, row - gap, row);
    ctx.restore();
    return drawn;
  }

  // a notch at the end of units that were cut short; a frame around second copies
  function marks(ctx, bbox, units, from, to, perSecond, height, row) {
    ctx.fillStyle = ctx.strokeStyle = style("--text");
    ctx.lineWidth = devicePixelRatio;
    for (let i = 0; i < units.count; i++) {
      if (units.kind[i] < SPLIT || units.length[i] * perSecond < 5 * devicePixelRatio) continue;
      const start = units.start[i], end = start + units.length[i];
      if (end < from || start > to) continue;
      const right = bbox.left + (end - from) * perSecond, top = bbox.top + units.lane[i] * row;
      const size = Math.min(height / 2, 6 * devicePixelRatio);
      if (units.kind[i] & SPLIT) {
        ctx.beginPath();
        ctx.moveTo(right, top);
        ctx.lineTo(right - size, top);
        ctx.lineTo(right, top + size);
        ctx.fill();
      }
      if (units.kind[i] & COPY) ctx.strokeRect(right - units.length[i] * perSecond, top, units.length[i] * perSecond, height);
    }
  }

  function hostLabels(job, height) {
    const names = [], centres = [];
    let first = 0, room = -Infinity;
    const row = height / job.lanes.length;
    job.lanes.forEach((lane, place) => {
      if (place + 1 < job.lanes.length && job.lanes[place + 1].host === lane.host) return;
      const centre = (first + place + 1) / 2;
      first = place + 1;
      if (centre * row - room < 14) return;
      room = centre * row;
      names.push(lane.host.length > 11 ? `${lane.host.slice(0, 10)}…` : lane.host);
      centres.push(centre);
    });
    return { names, centres };
  }

  function ganttHeight(lanes) {
    return Math.round(Math.max(72, Math.min(900, lanes * Math.max(1.5, Math.min(32, 480 / lanes)))));
  }

  function drawGantt(holder, job, units, key) {
    const inner = ganttHeight(job.lanes.length), words = timeAxis(job.end_s);
    const labels = hostLabels(job, inner);
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    let inside = false;
    const plot = new uPlot({
      width: holder.clientWidth, height: inner + 52, padding: [6, RIGHT, 0, 0], legend: { show: false },
      cursor: cursor(key), scales: { x: xScale(job), y: { range: [0, job.lanes.length], dir: -1 } },
      series: [{}, { scale: "y", show: false }],
      axes: [
        axis({ label: words.label, incrs: STEPS, values: (_, splits) => splits.map(words.text), size: 28 }),
        axis({ scale: "y", size: LEFT, grid: { show: false }, ticks: { show: false },
               splits: () => labels.centres, values: () => labels.names }),
      ],
      hooks: {
        draw: [(u) => {
          const began = performance.now();
          holder.dataset.units = paint(u, job, units);
          holder.dataset.drawnMs = Math.round(performance.now() - began);
          tally();
        }],
        setCursor: [(u) => {
          const found = inside ? under(u, job, units) : -1;  // else the pointer is over another plot
          tip.hidden = found < 0;
          if (found < 0) return;
          tip.replaceChildren(...describe(job, units, found).map((line, place) => {
            const element = document.createElement(place ? "div" : "strong");
            element.textContent = line;
            return element;
          }));
          const room = u.over.clientWidth - tip.offsetWidth;
          tip.style.left = `${Math.max(0, Math.min(u.cursor.left + 12, room))}px`;
          tip.style.top = `${u.cursor.top + 16}px`;
        }],
      },
    }, [[0, job.end_s], [null, null]], holder);
    plot.over.append(tip);
    plot.over.addEventListener("mouseenter", () => { inside = true; });
    plot.over.addEventListener("mouseleave", () => { inside = false; tip.hidden = true; });
    return plot;
  }

  function under(plot, job, units) {
    const { left, top } = plot.cursor;
    if (left < 0 || top === undefined || top < 0) return -1;
    const lane = Math.min(job.lanes.length - 1, Math.floor(top / plot.over.clientHeight * job.lanes.length));
    const t = plot.posToVal(left, "x"), slack = 2 * (plot.scales.x.max - plot.scales.x.min) / plot.over.clientWidth;
    let low = units.offsets[lane], high = units.offsets[lane + 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (units.start[middle] <= t) low = middle + 1; else high = middle;
    }
    const found = low - 1;
    return found >= units.offsets[lane] && t <= units.start[found] + units.length[found] + slack ? found : -1;
  }

  const ends = (values) => [values[0], ...values, values[values.length - 1]];

  function drawRate(holder, job, key) {
    const words = timeAxis(job.end_s), soft = style("--rate-back");
    return new uPlot({
      width: holder.clientWidth, height: 210, padding: [10, 0, 0, 0], legend: { show: false }, cursor: cursor(key),
      scales: { x: xScale(job), rate: { range: (_, __, max) => [0, Math.max(1, (job.top || max) * 1.08)] }, busy: { range: [0, job.lanes.length] } },
      series: [
        {},
        { scale: "rate", stroke: style("--rate"), fill: soft, width: 1.5, points: { show: false } },
        { scale: "busy", stroke: style("--busy"), width: 1.5, dash: [4, 3], points: { show: false } },
      ],
      axes: [
        axis({ label: words.label, incrs: STEPS, values: (_, splits) => splits.map(words.text), size: 28 }),
        axis({ scale: "rate", label: "frames/s", size: LEFT - 18, incrs: [1, 2, 5].flatMap((n) => [0, 1, 2, 3, 4, 5, 6].map((e) => n * 10 ** e)).sort((a, b) => a - b), values: (_, splits) => splits.map(number) }),
        axis({ scale: "busy", side: 1, label: "busy slots", size: RIGHT - 18, grid: { show: false }, incrs: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] }),
      ],
    }, [[0, ...job.rate.t, job.end_s], ends(job.rate.frames), ends(job.rate.busy)], holder);
  }

  // for those who look at the page from outside: what is drawn now
  function tally() {
    const all = [...document.querySelectorAll(".gantt")];
    root.dataset.units = all.reduce((sum, each) => sum + Number(each.dataset.units || 0), 0);
  }

  // ---- the page --------------------------------------------------------------------------------------

  function start() {
    const jobs = [...document.querySelectorAll("script[type='application/json']")].map((each) => {
      const job = JSON.parse(each.textContent);
      return { job, units: unpack(job), section: each.parentElement };
    });
    const top = Math.max(...jobs.map(({ job }) => Math.max(0, ...job.rate.frames)));
    jobs.forEach(({ job }) => { job.top = top; });
    let plots = [];
    const build = () => {
      plots.forEach((plot) => plot.destroy());
      plots = jobs.flatMap(({ job, units, section }) => [
        drawGantt(section.querySelector(".gantt"), job, units, "time"),
        drawRate(section.querySelector(".rate"), job, "time"),
      ]);
      root.dataset.plots = plots.length;
    };
    build();
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      plots.forEach((plot) => plot.setSize({ width: plot.root.parentElement.clientWidth, height: plot.height }));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
  }
  start();
})();

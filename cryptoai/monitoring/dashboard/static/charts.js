// The live charts. Each is made once there is something to draw, fed afterwards, and made again when the colours change.
import * as say from "./format.js";
import { columns, store } from "./store.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
const made = new Map();
const sync = uPlot.sync("time");

// Without a pointer on the chart the legend shows the newest value.
const newest = (u, value, series) => value ?? u.data[series].at(-1);
const line = (label, colour, value, more = {}) => ({
  label, stroke: css(colour), width: 1.75, points: { show: false }, value: (u, v, i) => value(newest(u, v, i)), ...more,
});
const flat = (at, colour) => ({
  hooks: {
    draw: [(u) => {
      const { ctx, bbox } = u;
      const y = Math.round(u.valToPos(at, "y", true)) + 0.5;
      if (y < bbox.top || y > bbox.top + bbox.height) return;
      ctx.save();
      ctx.strokeStyle = css(colour); ctx.setLineDash([5, 4]); ctx.lineWidth = devicePixelRatio;
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
      ctx.restore();
    }],
  },
});

// A range that never touches the frame and is never empty.
const roomy = (least, around = null) => (_, low, high) => {
  if (low == null) return [0, 1];
  const [from, to] = around == null ? [low, high] : [Math.min(low, around), Math.max(high, around)];
  const pad = Math.max((to - from) * 0.08, least);
  return [from - pad, to + pad];
};

const axis = (more) => ({
  stroke: css("--soft"), font: "11px system-ui, 'DejaVu Sans', sans-serif", grid: { stroke: css("--grid"), width: 1 },
  ticks: { show: false }, gap: 6, ...more,
});
const shared = (values, digits) => (u, splits) => {
  const step = Math.abs((splits[1] ?? 1) - (splits[0] ?? 0)) || 1;
  return splits.map((v) => values(v, Math.max(digits, Math.min(6, Math.ceil(-Math.log10(step))))));
};

function options(spec, box) {
  const hours = [[3600, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
    [0.001, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]];
  return {
    width: box.clientWidth, height: box.clientHeight, tzDate: utc, padding: [8, 26, 0, 0],
    cursor: { sync: { key: sync.key, setSeries: false }, points: { size: 7 }, drag: { x: true, y: false } },
    legend: { live: true, markers: { width: 0, fill: (u, i) => u.series[i].stroke(u, i) } },
    scales: { x: { time: true }, y: { range: spec.range } },
    axes: [axis({ values: hours, space: 78, show: spec.times !== false, size: 28 }),
      axis({ values: shared(spec.ticks, spec.digits ?? 0), size: spec.size ?? 62, space: 34 })],
    series: [{ label: "Time", value: (u, t) => say.clock(newest(u, t, 0)) }, ...spec.series()],
    bands: spec.bands?.() ?? [], plugins: spec.plugins?.() ?? [],
  };
}

const bps = (v) => (v == null ? "–" : `${say.signed(v, 2)} bps`);
const SPECS = {
  "c-equity": {
    name: () => "equity", width: 2, empty: "No equity yet.", range: roomy(0.5), size: 76, times: false,
    ticks: (v, d) => say.number(v, Math.min(d, 2)), series: () => [line("Equity", "--a", (v) => say.number(v, 2), { fill: css("--a-fill") })],
  },
  "c-drawdown": {
    name: () => "equity", pick: ([t, , d]) => [t, d], width: 3, empty: "", size: 76, range: (_, low) => [Math.min((low ?? 0) * 1.15, -1e-6), 0],
    ticks: (v, d) => `${say.number(100 * v, Math.min(Math.max(d - 2, 0), 4))} %`,
    series: () => [line("Below the peak", "--b", (v) => say.percent(v, 4), { fill: css("--b-fill"), fillTo: 0 })],
  },
  "c-price": {
    name: (i) => `price/${i}`, width: 2, empty: "No price yet.", range: roomy(0.05), size: 76,
    ticks: (v, d) => say.number(v, Math.min(d, 4)), series: () => [line("Price", "--ink", say.price, { width: 1.4 })],
    plugins: () => [fills()],
  },
  "c-position": {
    name: (i) => `position/${i}`, pick: ([t, , s]) => [t, s], width: 3, empty: "No position yet.", range: roomy(0.005, 0), size: 58,
    ticks: (v, d) => `${say.number(100 * v, Math.max(d - 2, 0))} %`, plugins: () => [flat(0, "--soft")],
    series: () => [line("Share of equity", "--a", (v) => say.percent(v, 2), { paths: uPlot.paths.stepped({ align: 1 }), fill: css("--a-fill"), fillTo: 0 })],
  },
  "c-forecast": {
    name: (i) => `forecast/${i}`, pick: ([t, mean, low, high]) => [t, high, low, mean], width: 5, empty: "The model has not spoken yet.",
    range: roomy(0.05, 0), ticks: (v, d) => say.signed(v, Math.min(d, 3)), plugins: () => [flat(0, "--soft")], size: 54,
    series: () => [line("+1 sd", "--a", bps, { width: 0.6 }), line("−1 sd", "--a", bps, { width: 0.6 }), line("Mean", "--b", bps)],
    bands: () => [{ series: [1, 2], fill: css("--a-fill") }],
  },
  "c-risk": {
    name: (i) => `risk/${i}`, pick: ([t, v, e]) => [t, e, v], width: 5, empty: "No tail estimate yet.", range: roomy(0.1, 0), size: 54, times: false,
    ticks: (v, d) => say.number(v, Math.min(d, 2)),
    series: () => [line("Expected shortfall", "--b", bps, { fill: css("--b-fill") }), line("Value at risk", "--a", bps)],
  },
  "c-anomaly": {
    name: (i) => `risk/${i}`, pick: ([t, , , a]) => [t, a], width: 5, empty: "", range: roomy(0.05, 1), size: 54,
    ticks: (v, d) => say.number(v, Math.min(Math.max(d, 1), 2)), plugins: () => [flat(1, "--bad")],
    series: () => [line("Strangeness, 1 is the limit", "--d", (v) => say.number(v, 2))],
  },
};

// Triangles for fills: shape says the side, colour repeats it.
function fills() {
  return {
    hooks: {
      draw: [(u) => {
        const { ctx, bbox } = u;
        const size = 5.5 * devicePixelRatio;
        ctx.save();
        ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
        ctx.lineWidth = 1.5 * devicePixelRatio; ctx.strokeStyle = css("--paper");
        for (const fill of store.fills) {
          if (fill.instrument !== u.instrument) continue;
          triangle(ctx, u.valToPos(fill.t, "x", true), u.valToPos(+fill.price, "y", true), fill.side === "buy" ? size : -size);
          ctx.fillStyle = css(fill.side === "buy" ? "--a" : "--b");
          ctx.stroke(); ctx.fill();
        }
        ctx.restore();
      }],
    },
  };
}

function triangle(ctx, x, y, size) {
  ctx.beginPath();
  ctx.moveTo(x, y - size); ctx.lineTo(x + Math.abs(size), y + size * 0.8); ctx.lineTo(x - Math.abs(size), y + size * 0.8);
  ctx.closePath();
}

export function draw(instrument) {
  for (const [id, spec] of Object.entries(SPECS)) {
    const box = document.getElementById(id);
    const raw = columns(spec.name(instrument), spec.width);
    const data = spec.pick ? spec.pick(raw) : raw;
    if (data[0].length < 2) {
      drop(id);
      box.dataset.empty = data[0].length ? "One point so far." : spec.empty;
      continue;
    }
    delete box.dataset.empty;
    let chart = made.get(id);
    if (!chart) {
      chart = new uPlot(options(spec, box), data, box);
      made.set(id, chart);
      box.dataset.made = "";
    }
    chart.instrument = instrument;
    if (box.clientWidth && box.clientWidth !== chart.width) chart.setSize({ width: box.clientWidth, height: chart.height });
    chart.setData(data);
  }
}

function drop(id) {
  made.get(id)?.destroy();
  made.delete(id);
  delete document.getElementById(id).dataset.made;
}

export const forget = () => [...made.keys()].forEach(drop);

// Whether anything is drawn: for the tests, and for nothing else.
export const drawn = () => [...made.keys()];

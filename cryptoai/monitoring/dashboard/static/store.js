// What the page knows: a snapshot, then what changed. Bounded like the server's own view, so that a page can stay open for days.
const MOST_POINTS = 6000;
const MOST_ROWS = 200;
const MOST_FILLS = 600;

export const store = {
  type: null, title: "", journal: "", health: null, head: null, changed: 0, skew: 0,
  series: {}, fills: [], alerts: [], decisions: [], drift: null,
};

export function accept(message) {
  Object.assign(store, {
    type: message.type, title: message.title, journal: message.journal, health: message.health,
    head: message.head, changed: message.changed, skew: Date.now() / 1000 - message.now,
  });
  if (message.drift) store.drift = message.drift;
  if (message.type === "snapshot") replace(message);
  else extend(message);
}

function replace(message) {
  store.series = Object.fromEntries(Object.entries(message.series).map(([name, s]) => [name, s.points]));
  store.fills = message.fills;
  store.alerts = message.alerts;
  store.decisions = message.decisions;
}

function extend(message) {
  for (const [name, fresh] of Object.entries(message.series)) {
    const points = (store.series[name] ??= []);
    for (const point of fresh.points) {
      if (points.length && points.at(-1)[0] >= point[0]) points.pop();
      points.push(point);
    }
    if (points.length > MOST_POINTS) store.series[name] = thin(points);
  }
  store.fills = [...store.fills, ...message.fills].slice(-MOST_FILLS);
  store.alerts = [...store.alerts, ...message.alerts].slice(-MOST_ROWS);
  upsert(message.decisions);
}

const key = (row) => `${row.decision}|${row.instrument}`;

// Rows come oldest first; the list is newest first.
function upsert(rows) {
  const known = new Map(store.decisions.map((row, i) => [key(row), i]));
  const fresh = [];
  for (const row of rows) {
    if (known.has(key(row))) store.decisions[known.get(key(row))] = row;
    else fresh.unshift(row);
  }
  store.decisions = [...fresh, ...store.decisions].slice(0, MOST_ROWS);
}

const thin = (points) => {
  const half = points.length >> 1;
  return [...points.slice(0, half).filter((_, i) => i % 2 === 0), ...points.slice(half)];
};

// Points [[t, a, b], ...] as uPlot's columns [[t...], [a...], [b...]].
export function columns(name, width) {
  const points = store.series[name] ?? [];
  return Array.from({ length: width }, (_, column) => points.map((point) => point[column]));
}

export const instruments = () =>
  Object.keys(store.series).filter((name) => name.startsWith("price/")).map((name) => name.slice(6)).sort();

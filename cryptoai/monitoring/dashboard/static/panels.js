// Everything on the page that is not a canvas. Text enters the page as text only: nothing from a journal is ever parsed as HTML.
import * as say from "./format.js";
import { store } from "./store.js";

const $ = (id) => document.getElementById(id);
const make = (tag, { text, ...rest } = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) if (value != null) node.setAttribute(name, value);
  if (text != null) node.textContent = text;
  node.append(...children);
  return node;
};
const GROUPS = { onchain: "on-chain", answers: "answers" };
const SIGNS = { critical: "✕", warning: "!", info: "i" };

export function panels(instrument) {
  if (!store.head) return;
  masthead();
  tiles(instrument);
  alerts();
  drift();
  answer(store.head.latest?.[instrument]);
  decisions();
  summaries(instrument);
}

function masthead() {
  const { head, health } = store;
  document.title = `${store.title}${head.mode ? ` · ${head.mode}` : ""}`;
  $("title").textContent = store.title;
  $("mode").hidden = !head.mode;
  $("mode").textContent = (head.mode ?? "").toUpperCase();
  $("mode").dataset.mode = head.mode ?? "";
  $("health").dataset.level = health.level;
  if ($("sentence").textContent !== health.sentence) $("sentence").textContent = health.sentence;
  ages();
}

// Called every second too, so that an age is never a lie.
export function ages() {
  const { head } = store;
  if (!head) return;
  const newest = store.decisions[0];
  const facts = [
    head.bot && ["Bot", head.bot], head.revision && ["Bundle", head.revision.slice(0, 12)],
    newest && ["Last decision", `№ ${newest.decision}, ${say.age(Date.now() / 1000 - store.skew - store.changed)}`],
    newest && ["Market time", `${say.day(newest.t)} ${say.clock(newest.t)} UTC`],
  ].filter(Boolean);
  $("facts").replaceChildren(...facts.map(([name, text]) =>
    make("div", {}, make("dt", { text: name }), make("dd", { text, class: name === "Bundle" ? "mono" : null }))));
}

function tiles(instrument) {
  const { equity, counters: c } = store.head;
  const quantity = equity.positions?.[instrument];
  const share = store.series[`position/${instrument}`]?.at(-1)?.[2];
  const said = [
    ["Equity", say.number(equity.equity, 2), equity.equity ? `${signedChange(equity.change)} since the start` : "no equity yet"],
    ["Below the peak", equity.equity ? say.percent(-equity.drawdown, 3) : "–", equity.equity ? `worst ${say.percent(-equity.max_drawdown, 3)}` : ""],
    ["Position", quantity == null ? "–" : say.digits(quantity), share == null ? "" : `${say.percent(share, 2)} of equity`],
    ["Decisions", say.number(c.decisions ?? 0, 0), `${say.number(c.bound ?? 0, 0)} limited, ${say.number(c.safe ?? 0, 0)} safe`],
    ["Fills", say.number(c.fills ?? 0, 0), `${say.number(c.orders ?? 0, 0)} orders, ${say.number(c.maker_fills ?? 0, 0)} maker`],
    ["Fees paid", equity.fees == null ? "–" : say.number(equity.fees, 2), equity.funding && +equity.funding ? `funding ${say.signed(equity.funding, 2)}` : "inside equity already"],
  ];
  $("tiles").replaceChildren(...said.map(([name, value, more]) =>
    make("div", { class: "tile" }, make("span", { text: name }), make("b", { text: value, title: value }), make("span", { text: more || "\u00a0" }))));
}

const signedChange = (change) => say.signedPercent(change, Math.abs(change) < 0.001 ? 4 : 2);

function alerts() {
  $("n-alerts").textContent = store.alerts.length ? `${store.alerts.length}` : "";
  const rows = store.alerts.slice(-60).reverse().map((alert) => make("li", { class: alert.severity },
    make("span", { class: "sev", text: SIGNS[alert.severity] ?? "i", "aria-label": alert.severity, role: "img" }),
    make("p", { text: alert.message }), make("small", { text: `${alert.name.replaceAll("_", " ")} · ${say.clock(alert.t)} UTC` })));
  $("alerts").replaceChildren(...(rows.length ? rows : [make("li", { class: "hollow", text: "Nothing to report." })]));
}

function drift() {
  const { groups = [], reference, note } = store.drift ?? {};
  $("n-drift").textContent = groups.length ? `against ${reference}` : "of the features by group";
  $("drift").replaceChildren(...(groups.length ? groups.map(driftRow) : [make("li", { class: "hollow", text: note ?? "Not measured yet." })]));
  $("drift-note").textContent = groups.length ? note ?? "" : "";
}

function driftRow(group) {
  const blind = !group.measured && !group.drifted;
  const level = blind ? "blind" : group.share >= 0.5 ? "drifted" : group.share >= 0.15 ? "moving" : "steady";
  const said = blind ? "no data yet" : `${level}: ${group.drifted} of ${Math.max(group.measured, group.drifted)}`;
  const fill = make("div", { class: "fill" });
  fill.style.width = `${Math.max(blind ? 0 : 2, 100 * group.share)}%`;
  const worst = group.worst.length ? `; most: ${group.worst.join(", ")}` : "";
  const label = `${GROUPS[group.group] ?? group.group}: ${said}${worst}`;
  return make("li", { class: "row", "data-level": level, "data-group": group.group, title: blind ? label : `${label}; PSI up to ${say.number(group.psi, 2)}, KS up to ${say.number(group.ks, 2)}` },
    make("span", { text: GROUPS[group.group] ?? group.group }),
    make("div", { class: "track", role: "img", "aria-label": label }, fill), make("span", { class: "said", text: said }));
}

function answer(said) {
  if (!said) {
    $("answer").replaceChildren(make("p", { class: "hollow", text: "The model has not spoken yet." }));
    return;
  }
  const actions = ["direction", "size", "leverage", "timing"].map((name) => meter(name, said.action[name], true));
  const regimes = Object.entries(said.regime).sort((a, b) => b[1] - a[1]).slice(0, 4).map(([name, p]) => meter(name.replaceAll("_", " "), p, false));
  const quantiles = make("div", {}, make("h3", { text: "Return of the next step, quantiles in basis points" }), fan(said.quantiles_bps));
  $("answer").replaceChildren(make("div", { class: "split" },
    make("div", {}, make("h3", { text: "Action" }), ...actions),
    make("div", {}, make("h3", { text: "Regime, probability" }), ...regimes)), quantiles);
}

function meter(name, value, isSigned) {
  const fill = make("div", { class: value < 0 ? "fill minus" : "fill" });
  const width = Math.min(1, Math.abs(value)) * (isSigned ? 50 : 100);
  fill.style.width = `${width}%`;
  fill.style.left = isSigned ? `${value < 0 ? 50 - width : 50}%` : "0";
  const text = isSigned ? say.signed(value, 2) : say.percent(value, 0);
  return make("div", { class: isSigned ? "meter signed" : "meter" }, make("span", { text: name }),
    make("div", { class: "track", role: "img", "aria-label": `${name} ${text}` }, fill), make("span", { class: "num", text }));
}

// The middle half and the outer quantiles of the forecast on one line, with zero marked.
function fan(quantiles) {
  const known = Object.entries(quantiles).map(([p, v]) => [parseFloat(p.replace(/^p/, "")), v]).sort((a, b) => a[0] - b[0]);
  const values = known.map(([, v]) => v);
  if (!values.length) return make("p", { class: "note", text: "No quantiles." });
  const reach = Math.max(...values.map(Math.abs), 1e-6) * 1.08;
  const x = (v) => 50 + (50 * v) / reach;
  const at = (i) => values[Math.max(0, Math.min(values.length - 1, i))];
  const node = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text != null) made.textContent = text;
    return made;
  };
  const level = (v) => `${known[values.indexOf(v)][0]} %`;
  const box = (from, to, name, y, height) => node("rect", { x: `${x(from)}%`, width: `${Math.max(x(to) - x(from), 0.2)}%`, y, height, rx: 4, class: name });
  const svg = node("svg", { class: "fan", role: "img", "aria-label": known.map(([p, v]) => `${p} %: ${say.number(v, 2)}`).join(", ") });
  const middle = values.length >> 1;
  svg.append(node("line", { x1: "0%", x2: "100%", y1: 44, y2: 44 }), node("line", { x1: "50%", x2: "50%", y1: 4, y2: 44, class: "zero" }),
    box(values[0], values.at(-1), "outer", 12, 24), box(at(middle - 1), at(middle + 1), "inner", 16, 16),
    node("line", { x1: `${x(at(middle))}%`, x2: `${x(at(middle))}%`, y1: 9, y2: 39, class: "mid" }));
  for (const v of new Set([values[0], at(middle), values.at(-1)])) {
    const side = v === values[0] ? "start" : v === values.at(-1) ? "end" : "middle";
    svg.append(node("text", { x: `${x(v)}%`, y: 59, "text-anchor": side }, `${level(v)}: ${say.signed(v, 2)}`));
  }
  return svg;
}

function decisions() {
  const many = new Set(store.decisions.map((row) => row.instrument)).size > 1;
  const rows = store.decisions.slice(0, 60).map((row) => {
    const forecast = row.mean_bps == null ? "–" : `${say.signed(row.mean_bps, 2)} ± ${say.number(row.sd_bps, 2)}`;
    const when = make("td", {}, `${say.clock(row.t, true)} `, make("small", { text: `№ ${row.decision}${many ? ` ${row.instrument}` : ""}` }));
    return make("tr", { "data-safe": row.safe == null ? null : "", "data-bound": row.safe == null && row.bounds?.length ? "" : null, title: `state ${row.state_hash}` },
      when, cell("forecast", forecast), cell("wanted", row.wanted == null ? "–" : say.signed(row.wanted, 3)),
      cell("proposed", say.digits(row.proposed)), cell("approved", say.digits(row.approved)), make("td", { class: "why", text: row.reason }));
  });
  const empty = make("tr", {}, make("td", { colspan: 6, class: "why" }, make("p", { class: "hollow", text: "No decision yet." })));
  $("decisions").replaceChildren(...(rows.length ? rows : [empty]));
}

const cell = (label, text) => make("td", { class: "num", "data-label": label, text });

// What each chart says, for those who do not see it.
function summaries(instrument) {
  const { equity, latest } = store.head;
  const said = latest?.[instrument];
  const last = store.series[`price/${instrument}`]?.at(-1)?.[1];
  $("s-equity").textContent = equity.equity ? `Equity ${say.number(equity.equity, 2)}, ${signedChange(equity.change)} since the start, ${say.percent(-equity.drawdown, 3)} below its peak.` : "No equity yet.";
  $("s-price").textContent = last == null ? "No price yet." : `${instrument} at ${say.price(last)}, ${store.fills.length} fills shown.`;
  $("s-position").textContent = `Position ${say.digits(equity.positions?.[instrument])}.`;
  $("s-forecast").textContent = said ? `Forecast ${Object.entries(said.return_bps).map(([h, v]) => `${h}: ${say.signed(v, 2)} basis points`).join(", ")}.` : "No forecast yet.";
  $("s-risk").textContent = said ? `99 % value at risk ${say.number(said.var99_bps, 2)}, expected shortfall ${say.number(said.es99_bps, 2)} basis points, strangeness ${say.number(said.anomaly, 2)}.` : "No tail estimate yet.";
}

// The page's own loop: keep the stream, draw when something changed, and say so when the stream is gone.
import { draw, forget } from "./charts.js";
import { ages, panels } from "./panels.js";
import { accept, instruments, store } from "./store.js";

const $ = (id) => document.getElementById(id);
const THEMES = ["auto", "light", "dark"];
const dark = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;
let wait = 500;
let asked = false;
let up = false;

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.onmessage = (event) => {
    wait = 500;
    accept(JSON.parse(event.data));
    link(true);
    ask();
  };
  socket.onclose = () => {
    link(false);
    setTimeout(connect, wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, 8000);
  };
}

function link(isUp) {
  up = isUp;
  $("link").dataset.up = isUp ? "yes" : "no";
  $("link").lastElementChild.textContent = isUp ? "live" : "connection lost, trying again";
  state();
}

function state() {
  const level = store.health?.level;
  const word = !store.head ? "loading" : !up ? "lost" : level === "waiting" ? "empty" : level === "warning" ? "stale" : level;
  document.body.dataset.state = word;
}

function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; render(); });
}

function render() {
  const known = instruments();
  if (!known.includes(chosen)) chosen = known[0] ?? null;
  pick(known);
  panels(chosen);
  draw(chosen);
  state();
}

function pick(known) {
  $("instrument-pick").hidden = known.length < 2;
  const select = $("instrument");
  if (select.options.length !== known.length) {
    select.replaceChildren(...known.map((name) => new Option(name, name)));
  }
  select.value = chosen ?? "";
}

function theme(word) {
  const shown = word === "auto" ? (dark.matches ? "dark" : "light") : word;
  document.documentElement.dataset.theme = shown;
  $("theme").firstChild.textContent = `${{ auto: "◐", light: "○", dark: "●" }[word]} `;
  $("theme").lastElementChild.textContent = word[0].toUpperCase() + word.slice(1);
  $("theme").setAttribute("aria-label", `Colour theme: ${word === "auto" ? "automatic" : word}`);
  forget();
  if (store.head) ask();
}

const remembered = () => { try { return localStorage.getItem("theme") ?? "auto"; } catch { return "auto"; } };

$("instrument").addEventListener("change", (event) => { chosen = event.target.value; forget(); ask(); });
$("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(remembered()) + 1) % THEMES.length];
  try { localStorage.setItem("theme", next); } catch { /* private mode: the choice lasts as long as the page */ }
  theme(next);
});
dark.addEventListener("change", () => theme(remembered()));
addEventListener("resize", ask);
setInterval(ages, 1000);
theme(remembered());
draw(null);
connect();

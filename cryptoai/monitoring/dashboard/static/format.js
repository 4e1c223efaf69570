// Numbers and times as people read them. Amounts arrive as the journal's digits and are only grouped, never rounded, in tables.
const MINUS = "\u2212";

export const number = (value, digits = 2) =>
  value == null || !Number.isFinite(+value) ? "–"
    : (+value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", MINUS);

export const signed = (value, digits = 2) => (+value > 0 ? "+" : "") + number(value, digits);

export const percent = (share, digits = 2) => (share == null ? "–" : `${number(100 * share, digits)} %`);

export const signedPercent = (share, digits = 3) => (share == null ? "–" : `${signed(100 * share, digits)} %`);

// Enough digits for a price of that size.
export const price = (value) => number(value, Math.abs(+value) >= 1000 ? 1 : Math.abs(+value) >= 1 ? 3 : 6);

export const digits = (text) => (text == null || text === "" ? "–" : String(text).replace("-", MINUS));

const two = (n) => String(n).padStart(2, "0");

export const clock = (seconds, milli = false) => {
  const date = new Date(seconds * 1000);
  const time = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map(two).join(":");
  return milli ? `${time}.${String(date.getUTCMilliseconds()).padStart(3, "0")}` : time;
};

export const day = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

export const age = (seconds) => {
  const s = Math.max(0, seconds);
  if (s < 1.5) return "just now";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 172800) return `${Math.round(s / 3600)} h ago`;
  return `${Math.round(s / 86400)} days ago`;
};

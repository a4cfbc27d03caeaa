// How is a number said, and a time? In the reader's own zone and language, always with a unit.
import { say } from "./words.js";

const NONE = say("common.none");
const number = (digits) => new Intl.NumberFormat(undefined, { maximumFractionDigits: digits });
const [WHOLE, ONE, TWO, FOUR] = [0, 1, 2, 4].map(number);
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const DAY = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export const count = (value) => (value == null ? NONE : WHOLE.format(value));
export const share = (value) => (value == null ? NONE : `${(value === 1 ? WHOLE : ONE).format(value * 100)} %`);
export const rate = (value, of) => (value == null ? NONE : `${(value < 10 ? TWO : WHOLE).format(value)} ${of}/s`);

export function duration(ms) {
  if (ms == null) return NONE;
  if (ms < 1) return `${TWO.format(ms)} ms`;
  if (ms < 1000) return `${(ms < 10 ? ONE : WHOLE).format(ms)} ms`;
  if (ms < 120_000) return `${TWO.format(ms / 1000)} s`;
  return `${ONE.format(ms / 60_000)} min`;
}

/** Dollars, with as many digits as it takes to see that it is not nothing. */
export function usd(value) {
  if (value == null) return NONE;
  const amount = Number(value);
  if (amount === 0) return "$0";
  if (Math.abs(amount) >= 100) return `$${WHOLE.format(amount)}`;
  if (Math.abs(amount) >= 0.01) return `$${(Math.abs(amount) >= 1 ? TWO : FOUR).format(amount)}`;
  return `$${Number(amount.toPrecision(3)).toFixed(9).replace(/0+$/, "")}`;
}

/** A time on an axis whose times are so many seconds apart. */
export const tick = (ms, apart_s) => (apart_s >= 86_400 ? DATE : apart_s >= 60 ? MINUTE : TIME).format(new Date(ms));
export const exact = (iso) => `${EXACT.format(new Date(iso))} (${iso})`;
export const moment = (iso) => {
  const at = new Date(iso);
  return (Date.now() - at < 43_200_000 ? TIME : DAY).format(at);
};

// What would move a cursor, colour a terminal or turn a line around is shown, and does nothing.
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]/g;

/** Text from outside, so that one sees all of it. */
export function plain(text) {
  return String(text).replace(/\r\n/g, "\n").replace(CONTROLS, (one) => {
    const code = one.codePointAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `‹U+${code.toString(16).toUpperCase().padStart(4, "0")}›`;
  });
}

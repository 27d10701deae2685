"use strict";
/* Values as text, as bench/core/units.py and bench/report/text.py write them: tests hold both to one table. */
const format = (() => {
  const ABSENT = "—";
  const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
  const rounded = (value, digits) => Number(value.toPrecision(digits));
  // An exact half goes to the even neighbour, as in Python; toFixed takes the larger one.
  const fixed = (value, places) => {
    const text = value.toFixed(places);
    const rest = value.toFixed(Math.min(places + 30, 100)).split(".")[1].slice(places);
    if (!/^50*$/.test(rest)) return text;
    const step = 10 ** -places;
    return Number(text.slice(-1)) % 2 ? (value - Math.sign(value) * step * 0.5).toFixed(places) : text;
  };
  const grouped = (text) => text.replace(/^([-+]?)(\d+)/, (_, sign, whole) => sign + whole.replace(/\B(?=(\d{3})+$)/g, ","));
  const withoutZeros = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const whole = (value) => Number(fixed(value, 0));
  const exponent = (value) => Number(value.toExponential().split("e")[1]);

  const number = (value, digits = 3) => {
    if (!known(value)) return ABSENT;
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
    const clean = rounded(value, 12);
    const short = rounded(clean, digits);
    if (short === 0) return "0";
    const size = Math.abs(short);
    if (size < 1e-6) return clean > 0 ? "<0.000001" : ">-0.000001";
    if (size >= 1e15) return clean.toExponential(Math.max(digits - 1, 0));
    return withoutZeros(grouped(fixed(clean, Math.max(digits - 1 - exponent(size), 0))));
  };
  const percent = (fraction, digits = 3) => {
    const value = 100 * fraction;
    if (!known(fraction)) return ABSENT;
    if (!(value > 0 && value < 100)) return `${number(value, digits)} %`;
    if (value < 0.0001) return "<0.0001 %";
    if (100 - value < 0.0001) return ">99.9999 %";
    const places = Math.max(digits - 1 - exponent(value), -exponent(100 - value), 0);
    return `${withoutZeros(fixed(value, places))} %`;
  };
  const rate = (value, digits = 3) => (known(value) ? `${number(value, digits)}/s` : ABSENT);
  const two = (value) => String(value).padStart(2, "0");
  const seconds = (value, digits = 3) => {
    if (!known(value)) return ABSENT;
    if (!Number.isFinite(value)) return `${number(value)} s`;
    if (value < 0) return `-${seconds(-value, digits)}`;
    const shown = rounded(value, digits);
    if (shown === 0) return "0 s";
    for (const [factor, unit] of [[1e9, "ns"], [1e6, "µs"], [1e3, "ms"]]) {
      if (shown * factor < 1000 * (1 - 1e-12)) return `${number(value * factor, digits)} ${unit}`;
    }
    if (shown < 120) return `${number(value, digits)} s`;
    const all = whole(value);
    if (Math.floor(all / 60) < 120) return `${Math.floor(all / 60)} m ${two(all % 60)} s`;
    const minutes = whole(value / 60);
    return `${grouped(String(Math.floor(minutes / 60)))} h ${two(minutes % 60)} m`;
  };
  const bytes = (count, digits = 3) => {
    if (!known(count)) return ABSENT;
    if (!Number.isFinite(count)) return `${number(count)} B`;
    let left = count;
    for (const unit of ["B", "kB", "MB", "GB", "TB", "PB"]) {
      if (Math.abs(rounded(left, digits)) < 1000) return `${number(left, digits)} ${unit}`;
      left /= 1000;
    }
    return `${number(left, digits)} EB`;
  };

  const FIGURES = { s: seconds, B: bytes, share: percent, "1/s": rate };
  const figure = (unit) => FIGURES[unit] || ((value, digits = 3) => `${number(value, digits)} ${unit}`.trimEnd());
  const shown = (value, unit) => (known(value) ? figure(unit)(value, 3) : ABSENT);
  // With as many digits as distinguish two values that differ.
  const apart = (one, other, unit) => {
    let texts = [shown(one, unit), shown(other, unit)];
    for (let digits = 4; known(one) && known(other) && one !== other && texts[0] === texts[1] && digits < 10; digits += 1) {
      texts = [one, other].map((value) => figure(unit)(value, digits));
    }
    return texts;
  };

  const between = (lo, hi, text) => {
    if (!known(lo) && !known(hi)) return "";
    const [low, high] = [lo, hi].map((end) => (known(end) ? text(end) : ABSENT));
    const ends = [low, high].map((end) => /^([-+]?\d[\d.,]*)( ?[^\d\s]+)?$/.exec(end));
    // The unit appears once if both ends have the same.
    const once = ends[0] && ends[1] && ends[0][2] === ends[1][2];
    return `[${once ? ends[0][1] : low} … ${high}]`;
  };
  const interval = (lo, hi, unit) => between(lo, hi, (end) => shown(end, unit));

  // One decimal, or as many as show two digits.
  const changePlaces = (value, least) =>
    Math.abs(value) <= Math.max(least, 1e-7) ? 1 : Math.max(1 - Number(Math.abs(value).toExponential(1).split("e")[1]), 1);
  const signed = (value, least) => {
    const text = fixed(value, changePlaces(value, least));
    if (!/[1-9]/.test(text)) return text.replace("-", "");
    return `${text.startsWith("-") ? "" : "+"}${grouped(text)}`;
  };
  const changeText = (value, share, least) => {
    if (share) return `${signed(100 * value, 0)} points`;
    if (value >= 10) return `× ${number(value)}`;
    if (value > 0 && value < 0.0005) return `${fixed(100 * (value - 1), changePlaces(100 * value, 0) - 1)} %`;
    return `${signed(100 * (value - 1), least)} %`;
  };
  // The text of a change, a ratio or for shares a difference, and that of its interval.
  const change = (center, lo, hi, share) => {
    const sure = (known(lo) && lo > 1) || (known(hi) && hi < 1);
    const text = (value) => changeText(value, share, sure ? 0 : Infinity);
    return [known(center) ? text(center) : ABSENT, between(lo, hi, text)];
  };

  return { ABSENT, known, number, percent, rate, seconds, bytes, shown, apart, interval, change };
})();

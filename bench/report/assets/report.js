"use strict";
/* Draws the charts of a report from its data, and compares it with a second report that is dropped onto the page. */
(() => {
  const FORMAT = 1;
  const LARGEST = 5e6; // bytes of a file that is dropped
  const TICKS = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999, 0.99999, 0.999999, 0.9999999];
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const root = document.documentElement;
  const drawn = new Map(); // name -> Drawing
  const status = document.getElementById("status");

  // ---- text

  const { ABSENT, known, number, seconds, bytes, shown, interval } = format;
  const AXIS_UNITS = new Set(["s", "B"]); // the others stand in the axis' label
  const X_TEXT = {
    time: (value) => `${number(value, 4)} s`,
    percentile: (value) => `${number(100 * value, 7)} %`,
    words: (value) => `${number(value, 4)} words`,
    rate: (value) => `${number(value)} requests/s`,
    users: (value) => `${number(value)} users`,
  };
  const X_LABEL = {
    time: "time since the run began (s)",
    percentile: "percentile (%)",
    words: "words in a request",
    rate: "rate of Poisson arrivals (requests/s)",
    users: "users",
  };

  // ---- elements

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const color = (index) => getComputedStyle(root).getPropertyValue(`--c${index % 8}`).trim();
  const variable = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const table = (label, head, rows) => {
    const body = element("tbody");
    for (const row of rows) {
      const line = element("tr");
      row.forEach((cell, index) => {
        const attributes = index ? { class: "number" } : { scope: "row" };
        line.append(element(index ? "td" : "th", attributes, cell));
      });
      body.append(line);
    }
    const top = element("tr");
    head.forEach((cell, index) => top.append(element("th", { scope: "col", ...(index && { class: "number" }) }, cell)));
    const wide = element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": label });
    wide.append(element("table", {}, element("thead", {}, top), body));
    return wide;
  };

  // ---- axes

  // Each further nine has the same width.
  const tail = (fraction) => -Math.log10(1 - Math.min(fraction, 1 - 1e-9));
  const place = (kind, value) => (kind === "percentile" ? tail(value) : value);
  const placed = (chart) => chart.x.map((value) => place(chart.x_kind, value));
  const logSteps = (lo, hi) => {
    const factors = hi / lo > 3000 ? [1] : hi / lo > 30 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7];
    const found = [];
    for (let power = Math.floor(Math.log10(lo)); power <= Math.ceil(Math.log10(hi)); power += 1) {
      for (const factor of factors) {
        const value = Number(`${factor}e${power}`);
        if (value >= lo && value <= hi) found.push(value);
      }
    }
    return found;
  };
  const spaced = (u, key, values, gap) => {
    const kept = [];
    for (const value of values) {
      const at = u.valToPos(value, key);
      if (!kept.length || Math.abs(at - u.valToPos(kept[kept.length - 1], key)) >= gap) kept.push(value);
    }
    return kept;
  };

  // Lines of a second run have the colours of the first: solid ones are dashed there, dashed ones dotted. So are those
  // of further sides on a page of more sides than there are colours.
  const DASHES = ["", "dash", "dots", "dots"];
  const dashOf = (entry) => Number(entry.dash) + Number(Boolean(entry.second));

  class Drawing {
    constructor(figure, chart) {
      this.figure = figure;
      this.chart = chart; // as it is drawn, with the lines of a second run
      this.own = chart;
      this.box = figure.querySelector(".plot");
      this.keys = figure.querySelector(".keys");
      this.hidden = new Set();
      this.tip = element("div", { class: "tip", hidden: "" });
      figure.append(this.tip);
      this.box.tabIndex = 0;
      this.box.setAttribute("role", "group");
      this.box.setAttribute(
        "aria-label",
        `Chart: ${chart.title}. Arrow keys read the values, plus and minus zoom, 0 shows all; the table is below.`,
      );
      this.box.addEventListener("keydown", (event) => this.key(event));
      this.box.addEventListener("blur", () => this.hideTip());
      figure.querySelector("details.data").addEventListener("toggle", (event) => this.fill(event.target));
      new ResizeObserver(() => this.resize()).observe(this.box);
      this.draw();
    }

    get timed() {
      return this.chart.x_kind === "time";
    }

    full() {
      const { x, x_kind: kind } = this.chart;
      if (kind === "time") return shared.full;
      if (kind === "percentile") return [tail(Math.min(0.1, x[x.length - 1])), tail(x[x.length - 1]) * 1.02 + 0.02];
      const pad = Math.max((x[x.length - 1] - x[0]) * 0.04, 0.5);
      return [x[0] - pad, x[x.length - 1] + pad];
    }

    // -- drawing

    draw() {
      if (this.u) this.u.destroy();
      const range = this.timed ? shared.range : this.range;
      this.u = new uPlot(this.options(range || this.full()), this.data(), this.box);
      this.u.over.addEventListener("mouseleave", () => this.hideTip());
      this.legend();
      this.figure.dataset.drawn = "true";
    }

    data() {
      const { chart } = this;
      if (chart.heat) {
        const lows = chart.heat.latencies;
        return [chart.x, chart.x.map((_, index) => (index % 2 ? lows[0] : lows[lows.length - 1]))];
      }
      return [placed(chart), ...chart.series.map((entry) => entry.values)];
    }

    options([min, max]) {
      const { chart } = this;
      const ink = variable("ink");
      const font = "13px system-ui, sans-serif";
      const axis = { stroke: ink, font, labelFont: font, labelSize: 20, labelGap: 0, ticks: { stroke: variable("line"), width: 1 } };
      axis.grid = { stroke: variable("line"), width: 1 };
      return {
        width: Math.max(this.box.clientWidth, 280),
        height: this.height(),
        legend: { show: false },
        padding: [10, 12, 0, 0],
        cursor: {
          drag: { x: true, y: false, dist: 4 },
          points: chart.heat ? { show: false } : { size: 7 },
          sync: this.timed ? { key: "time", scales: ["x", null] } : undefined,
          bind: { dblclick: () => () => this.zoom(null) },
        },
        scales: {
          x: { time: false, min, max, range: (u, lo, hi) => [lo, hi] },
          y: { distr: chart.log ? 3 : 1, range: (u, lo, hi) => this.span(lo, hi) },
        },
        axes: [
          { ...axis, label: X_LABEL[chart.x_kind], size: 32, ...this.xTicks() },
          { ...axis, label: chart.y_label, size: 68, ...this.yTicks() },
        ],
        series: [{}, ...(chart.heat ? [this.heatSeries()] : chart.series.map((entry, at) => this.line(entry, at)))],
        hooks: {
          drawClear: [(u) => this.shade(u)],
          draw: [(u) => (chart.heat ? this.cells(u) : this.marks(u))],
          setCursor: [(u) => this.point(u)],
          setScale: [(u, key) => key === "x" && this.scaled(u)],
        },
      };
    }

    height() {
      return window.innerWidth < 600 ? 260 : 330;
    }

    span(lo, hi) {
      const { chart } = this;
      if (chart.heat) return [chart.heat.latencies[0], chart.heat.latencies[chart.heat.latencies.length - 1]];
      for (const mark of chart.marks) if (mark.hi) hi = Math.max(hi, mark.hi);
      if (chart.log) return [Math.max(lo, 1e-9) / 1.25, Math.max(hi, 1e-9) * 1.25];
      return [0, hi > 0 ? hi * 1.08 : 1];
    }

    xTicks() {
      const kind = this.chart.x_kind;
      const incrs = kind === "words" || kind === "users" ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200] } : {};
      if (kind !== "percentile") return { ...incrs, values: (u, values) => values.map((value) => number(value, 6)) };
      return {
        splits: (u, index, lo, hi) => {
          const inside = TICKS.map(tail).filter((value) => value >= lo - 1e-9 && value <= hi + 1e-9);
          return u.bbox.width ? spaced(u, "x", inside, 40) : inside;
        },
        values: (u, values) => values.map((value) => number(100 * (1 - 10 ** -value), 9)),
      };
    }

    yTicks() {
      const { chart } = this;
      const values = (u, ticks) => ticks.map((value) => shown(value, AXIS_UNITS.has(chart.y_unit) ? chart.y_unit : ""));
      if (!chart.log) {
        return { values };
      }
      return {
        values,
        filter: (u, ticks) => ticks,
        splits: (u, index, lo, hi) => (u.bbox.height ? spaced(u, "y", logSteps(lo, hi), 20) : logSteps(lo, hi)),
      };
    }

    line(entry, index) {
      const few = entry.values.filter((value) => value !== null && value !== undefined).length < 40;
      return {
        label: entry.label,
        show: !this.hidden.has(index),
        stroke: color(entry.color),
        width: entry.dash || entry.second ? 1.6 : 2.2,
        dash: [undefined, [6, 4], [2, 3], [1, 5]][dashOf(entry)],
        paths: entry.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
        points: { show: few && this.chart.x_kind !== "percentile", size: 5 },
      };
    }

    heatSeries() {
      return { paths: () => null, points: { show: false } };
    }

    // Warm-up and drain lie outside the measured part.
    shade(u) {
      if (!this.timed || page.begins === undefined) return;
      const { ctx, bbox } = u;
      ctx.save();
      ctx.fillStyle = variable("shade");
      for (const [from, to, label] of [[u.scales.x.min, page.begins, "warm-up"], [page.ends, u.scales.x.max, "drain"]]) {
        const left = Math.max(u.valToPos(Math.max(from, u.scales.x.min), "x", true), bbox.left);
        const right = Math.min(u.valToPos(Math.min(to, u.scales.x.max), "x", true), bbox.left + bbox.width);
        if (right - left < 1) continue;
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
        ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
        if (ctx.measureText(label).width + 8 < right - left) {
          ctx.save();
          ctx.fillStyle = variable("soft");
          ctx.textAlign = "center";
          ctx.fillText(label, (left + right) / 2, bbox.top + 14 * devicePixelRatio);
          ctx.restore();
        }
      }
      ctx.restore();
    }

    marks(u) {
      const { ctx, bbox } = u;
      const ratio = devicePixelRatio;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.setLineDash([]);
      // Marks of one place stand beside each other.
      const places = new Map();
      for (const mark of this.visibleMarks()) {
        const before = places.get(mark.x) || 0;
        places.set(mark.x, before + 1);
        const x = u.valToPos(place(this.chart.x_kind, mark.x), "x", true) + before * 6 * ratio;
        ctx.strokeStyle = ctx.fillStyle = color(mark.color);
        ctx.lineWidth = 1.6 * ratio;
        if (mark.lo !== null || mark.hi !== null) {
          const [top, bottom] = [bbox.top, bbox.top + bbox.height];
          const low = mark.lo === null ? Infinity : u.valToPos(mark.lo, "y", true);
          const high = mark.hi === null ? -Infinity : u.valToPos(mark.hi, "y", true);
          ctx.beginPath();
          ctx.moveTo(x, Math.min(low, bottom));
          ctx.lineTo(x, Math.max(high, top));
          // An end that is open or off the chart has an arrow, the others a cap.
          for (const [end, edge, back] of [[low, bottom, -6], [high, top, 6]]) {
            const off = back < 0 ? end > edge : end < edge;
            const [at, wings] = off ? [edge, edge + back * ratio] : [end, end];
            ctx.moveTo(x - 4 * ratio, wings);
            if (off) ctx.lineTo(x, at);
            ctx.lineTo(x + 4 * ratio, wings);
          }
          ctx.stroke();
        }
        ctx.beginPath();
        ctx.arc(x, u.valToPos(mark.center, "y", true), 4 * ratio, 0, 2 * Math.PI);
        // Those of a second run are hollow.
        if (mark.second) ctx.fillStyle = variable("page");
        else ctx.strokeStyle = variable("page");
        ctx.fill();
        ctx.stroke();
      }
      ctx.restore();
    }

    visibleMarks() {
      const kind = (entry) => `${entry.group || entry.color} ${Boolean(entry.second)}`;
      const off = new Set([...this.hidden].map((index) => kind(this.chart.series[index])));
      return this.chart.marks.filter((mark) => !off.has(kind(mark)));
    }

    cells(u) {
      const { times, latencies, counts } = this.chart.heat;
      const { ctx, bbox } = u;
      const most = Math.log1p(Math.max(...counts.map((column) => Math.max(...column))));
      const heat = variable("heat");
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      const ys = latencies.map((value) => u.valToPos(value, "y", true));
      counts.forEach((column, at) => {
        const left = u.valToPos(times[at], "x", true);
        const width = Math.max(u.valToPos(times[at + 1], "x", true) - left, 1);
        column.forEach((count, level) => {
          if (!count) return;
          ctx.fillStyle = `rgba(${heat}, ${0.14 + 0.86 * (Math.log1p(count) / most)})`;
          ctx.fillRect(left, ys[level + 1], width + 0.5, Math.max(ys[level] - ys[level + 1], 1) + 0.5);
        });
      });
      ctx.restore();
    }

    // -- legend, zoom

    legend() {
      const { chart } = this;
      this.keys.replaceChildren();
      for (const [label, members] of this.groups()) {
        const entry = chart.series[members[0]];
        const sample = element("i", { class: DASHES[dashOf(entry)] });
        sample.style.borderTopColor = color(entry.color);
        const pressed = String(!this.hidden.has(members[0]));
        const key = element("button", { type: "button", class: "key", "aria-pressed": pressed }, sample, label);
        key.addEventListener("click", () => this.toggle(members, key));
        this.keys.append(key);
      }
      if (chart.heat) {
        const most = Math.max(...chart.heat.counts.map((column) => Math.max(...column)));
        this.keys.append(element("span", { class: "note" }, "1", element("span", { class: "ramp" }), `${number(most)} requests`));
      }
      const zooms = element("span", { class: "zooms" });
      this.keys.append(zooms);
      for (const [sign, label, action] of [
        ["+", "Zoom in", () => this.scale(0.5)],
        ["−", "Zoom out", () => this.scale(2)],
        ["All", "Show all", () => this.zoom(null)],
      ]) {
        const name = `${label}: ${chart.title}`;
        const button = element("button", { type: "button", class: "zoom", "aria-label": name, title: label }, sign);
        button.addEventListener("click", action);
        zooms.append(button);
      }
    }

    // Indices of the series of each entry of the legend.
    groups() {
      const found = new Map();
      this.chart.series.forEach((entry, index) => {
        const label = entry.group || entry.label;
        found.set(label, [...(found.get(label) || []), index]);
      });
      return found;
    }

    toggle(members, key) {
      const show = this.hidden.has(members[0]);
      for (const index of members) {
        if (show) this.hidden.delete(index);
        else this.hidden.add(index);
        this.u.setSeries(index + 1, { show });
      }
      key.setAttribute("aria-pressed", String(show));
      const data = this.figure.querySelector("details.data");
      if (data.open) this.fill(data);
    }

    scale(factor) {
      const { min, max } = this.u.scales.x;
      const [first, last] = this.full();
      const at = this.u.cursor.left > 0 ? this.u.posToVal(this.u.cursor.left, "x") : (min + max) / 2;
      const lo = Math.max(at - (at - min) * factor, first);
      const hi = Math.min(at + (max - at) * factor, last);
      this.zoom([lo, hi]);
    }

    zoom(range) {
      const [min, max] = range || this.full();
      this.u.setScale("x", { min, max });
    }

    scaled(u) {
      const { min, max } = u.scales.x;
      const [first, last] = this.full();
      const range = min <= first && max >= last ? null : [min, max];
      this.figure.dataset.zoom = range ? range.map((end) => number(end, 6)).join(" ") : "";
      if (!this.timed) {
        this.range = range;
        return;
      }
      shared.range = range;
      for (const other of drawn.values()) {
        const there = other.timed && other !== this && other.u && other.u.scales.x;
        if (there && (there.min !== min || there.max !== max)) other.u.setScale("x", { min, max });
      }
    }

    resize() {
      const width = Math.max(this.box.clientWidth, 280);
      if (this.u && Math.abs(width - this.u.width) >= 1) this.u.setSize({ width, height: this.height() });
    }

    // -- reading values

    key(event) {
      const { u } = this;
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) {
        const xs = u.data[0];
        const inside = xs.map((_, at) => at).filter((at) => xs[at] >= u.scales.x.min && xs[at] <= u.scales.x.max);
        if (!inside.length) return;
        const now = u.cursor.idx ?? (step > 0 ? inside[0] - 1 : inside[inside.length - 1] + 1);
        const next = Math.min(Math.max(now + step, inside[0]), inside[inside.length - 1]);
        this.active = true;
        u.setCursor({ left: u.valToPos(xs[next], "x"), top: u.over.clientHeight / 2 });
        announce(this.tip.textContent);
      } else if (event.key === "+" || event.key === "=") this.scale(0.5);
      else if (event.key === "-") this.scale(2);
      else if (event.key === "0" || event.key === "Escape") this.zoom(null);
      else return;
      event.preventDefault();
    }

    hideTip() {
      this.active = false;
      this.tip.hidden = true;
    }

    point(u) {
      const here = u.over.matches(":hover") || this.active;
      const { left, top } = u.cursor;
      if (!here || left < 0) {
        this.tip.hidden = true;
        return;
      }
      const lines = this.chart.heat ? this.cellLines(u, left, top) : this.valueLines(u, left, top);
      this.tip.replaceChildren(...lines.map((line) => element("p", {}, line)));
      this.tip.hidden = !lines.length;
      const base = this.figure.getBoundingClientRect();
      const over = u.over.getBoundingClientRect();
      const x = over.left - base.left + left;
      const beside = x + 16 + this.tip.offsetWidth < base.width ? x + 16 : Math.max(x - 16 - this.tip.offsetWidth, 0);
      this.tip.style.left = `${beside}px`;
      this.tip.style.top = `${over.top - base.top + Math.max(top - this.tip.offsetHeight - 8, 0)}px`;
    }

    valueLines(u, left, top) {
      const { chart } = this;
      const at = u.cursor.idx;
      if (at === null || at === undefined) return [];
      const lines = [X_TEXT[chart.x_kind](chart.x[at])];
      chart.series.forEach((entry, index) => {
        const own = u.cursor.idxs ? u.cursor.idxs[index + 1] : at;
        const value = own === null || own === undefined ? null : entry.values[own];
        if (this.hidden.has(index) || !known(value)) return;
        const count = entry.counts ? entry.counts[own] : null;
        const short = count !== null && entry.needs > count ? `, needs ${number(entry.needs)}` : "";
        const of = count === null ? "" : ` (n = ${number(count)}${short})`;
        lines.push(`${entry.label}: ${shown(value, chart.y_unit)}${of}`);
      });
      for (const mark of this.visibleMarks()) {
        const x = u.valToPos(place(chart.x_kind, mark.x), "x");
        const y = u.valToPos(mark.center, "y");
        if (Math.abs(x - left) > 14 || (!this.active && Math.abs(y - top) > 24)) continue;
        const unit = chart.y_unit;
        lines.push(`${mark.label}: ${shown(mark.center, unit)} ${interval(mark.lo, mark.hi, unit)}, n = ${number(mark.n)}`);
      }
      return lines;
    }

    cellLines(u, left, top) {
      const { times, latencies, counts } = this.chart.heat;
      const time = u.posToVal(left, "x");
      const latency = u.posToVal(top, "y");
      const at = times.findIndex((edge, index) => index && time < edge) - 1;
      const level = latencies.findIndex((edge, index) => index && latency < edge) - 1;
      if (at < 0 || level < 0) return [];
      const lines = [`due ${number(times[at], 4)} to ${number(times[at + 1], 4)} s`];
      lines.push(`${seconds(latencies[level])} to ${seconds(latencies[level + 1])}: n = ${number(counts[at][level])}`);
      return lines;
    }

    // -- the table beside the chart

    fill(details) {
      if (!details.open) return;
      const { chart } = this;
      while (details.children.length > 1) details.lastChild.remove();
      const label = `Values of ${chart.title}`;
      if (chart.heat) {
        details.append(table(label, ["due", "requests", "fastest", "slowest"], this.heatRows()));
        return;
      }
      const lines = chart.series.map((entry, index) => [entry, index]).filter(([, index]) => !this.hidden.has(index));
      const counts = lines.length && lines[0][0].counts;
      const head = [chart.x_kind === "time" ? "time" : chart.x_kind, ...lines.map(([entry]) => entry.label)];
      const rows = chart.x.map((x, at) => {
        const cells = lines.map(([entry]) => shown(entry.values[at], chart.y_unit));
        return [X_TEXT[chart.x_kind](x), ...cells, ...(counts ? [number(counts[at])] : [])];
      });
      if (chart.marks.length) {
        const estimates = this.visibleMarks().map((mark) => {
          const ends = interval(mark.lo, mark.hi, chart.y_unit);
          return [mark.label, shown(mark.center, chart.y_unit), ends, number(mark.n)];
        });
        details.append(table(`Estimates of ${chart.title}`, ["estimate", "value", "95 % interval", "n"], estimates));
      }
      details.append(table(label, counts ? [...head, "n"] : head, rows));
    }

    heatRows() {
      const { times, latencies, counts } = this.chart.heat;
      return counts.map((column, at) => {
        const there = column.map((count, level) => (count ? level : -1)).filter((level) => level >= 0);
        const total = column.reduce((sum, count) => sum + count, 0);
        const ends = there.length ? [latencies[there[0]], latencies[there[there.length - 1] + 1]] : [null, null];
        return [`${number(times[at], 4)} to ${number(times[at + 1], 4)} s`, number(total), ...ends.map((end) => seconds(end))];
      });
    }

    // -- a second run

    overlay(other, label) {
      const { own } = this;
      if (!other || own.heat || other.x_kind !== own.x_kind || other.y_unit !== own.y_unit) return;
      const tables = [own, other].map((chart) => [chart.x, ...chart.series.map((entry) => entry.values)]);
      const joined = uPlot.join(tables);
      const first = own.series.length;
      const spread = (counts, xs) => {
        const by = new Map(xs.map((x, at) => [x, counts[at]]));
        return joined[0].map((x) => by.get(x) ?? null);
      };
      const series = [...own.series, ...other.series].map((entry, index) => {
        const second = index >= first;
        return {
          ...entry,
          label: second ? `${label}: ${entry.label}` : entry.label,
          second,
          values: joined[index + 1],
          counts: entry.counts && spread(entry.counts, second ? other.x : own.x),
        };
      });
      const marks = other.marks.map((mark) => ({ ...mark, label: `${label}: ${mark.label}`, second: true }));
      this.chart = { ...own, x: joined[0], series, marks: [...own.marks, ...marks], log: own.log || other.log };
      this.redo();
    }

    restore() {
      if (this.chart === this.own) return;
      this.chart = this.own;
      this.redo();
    }

    redo() {
      this.hidden.clear();
      this.draw();
      const details = this.figure.querySelector("details.data");
      if (details.open) this.fill(details);
    }
  }

  // ---- what all time charts share

  const shared = {
    range: null,
    full: (() => {
      const timed = page.charts.filter((chart) => chart.x_kind === "time" && chart.x.length);
      const last = Math.max(1, page.ends || 0, ...timed.map((chart) => chart.x[chart.x.length - 1]));
      return [0, last];
    })(),
  };
  const announce = (text) => {
    const live = document.getElementById("reader") || document.body.appendChild(
      element("div", { id: "reader", class: "skip", "aria-live": "polite" }),
    );
    live.textContent = text;
  };
  const redraw = () => drawn.forEach((drawing) => drawing.draw());

  // ---- theme

  const theme = document.getElementById("theme");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = (name) => {
    root.dataset.theme = name;
    theme.textContent = name === "dark" ? "Light" : "Dark";
    theme.setAttribute("aria-label", `Show the ${name === "dark" ? "light" : "dark"} theme`);
    redraw();
  };
  theme.hidden = false;
  theme.addEventListener("click", () => paint(root.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
  let before = "";
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    if (before === "dark") paint("light");
  });
  window.addEventListener("afterprint", () => before === "dark" && paint(before));

  // ---- comparison with a second file

  const section = document.getElementById("comparison");
  const say = (text) => {
    status.textContent = text;
  };
  const fromPage = (text) => {
    const found = new DOMParser().parseFromString(text, "text/html").getElementById("page-data");
    if (!found) throw new Error("it has no data of a report; drop a report.html or summary.csv of bertbench");
    const data = JSON.parse(found.textContent);
    if (data.kind !== "run") throw new Error("it is not the report of one run; drop that of a run");
    if (data.format !== FORMAT) throw new Error(`its data have format ${data.format}, this page reads ${FORMAT}; make both again`);
    return data;
  };
  const fromCsv = (text) => {
    const rows = [];
    let row = [""];
    let quoted = false;
    for (let at = 0; at < text.length; at += 1) {
      const sign = text[at];
      if (sign === '"' && quoted && text[at + 1] === '"') row[row.length - 1] += text[(at += 1)];
      else if (sign === '"') quoted = !quoted;
      else if (sign === "," && !quoted) row.push("");
      else if (sign === "\n" && !quoted) row = rows.push(row) && [""];
      else row[row.length - 1] += sign;
    }
    const [head, ...lines] = rows;
    if (!head || head.slice(0, 4).join() !== "run,valid,part,metric") throw new Error("it is not a summary.csv of bertbench");
    const entries = lines.map((line) => Object.fromEntries(head.map((name, at) => [name, line[at]])));
    const names = new Set(entries.map((entry) => entry.run));
    if (names.size !== 1) throw new Error(`it has ${names.size} runs; drop that of one run`);
    const value = (cell) => (cell === "" ? null : Number(cell));
    const metrics = {};
    for (const entry of entries.filter((one) => one.part === "")) {
      const own = page.metrics[entry.metric];
      const ends = { center: value(entry.center), lo: value(entry.lo), hi: value(entry.hi), n: value(entry.n) };
      metrics[entry.metric] = { title: own ? own.title : entry.metric, unit: entry.unit, better: entry.better || null, ...ends };
    }
    return { kind: "run", name: entries[0].run.replace(/^'(?='*[=+\-@\t\r\n])/, ""), valid: entries[0].valid === "true", metrics, facts: null, charts: [] };
  };
  // As `bertbench compare` has it for single runs, on logarithms for ratios: the widths of both intervals, and the
  // variation that is assumed between runs.
  const changeOf = (a, b) => {
    const share = a.unit === "share";
    if (a.center === null || b.center === null || (!share && !(a.center > 0 && b.center > 0))) return null;
    const center = share ? b.center - a.center : Math.log(b.center / a.center);
    const open = ({ lo, hi }) => lo === null || hi === null || (!share && lo <= 0);
    if (open(a) || open(b)) return { share, center, lo: null, hi: null };
    const half = ({ lo, hi }) => (share ? hi - lo : Math.log(hi / lo)) / 2;
    const around = Math.hypot(half(a), half(b), share ? 0 : page.run_noise);
    return { share, center, lo: center - around, hi: center + around };
  };
  const resultOf = (change, better) => {
    if (change === null || change.lo === null) return "?";
    if (change.lo <= 0 && change.hi >= 0) return "~";
    const direction = change.center > 0 ? "higher" : "lower";
    return better ? (direction === better ? "better" : "worse") : direction;
  };
  const changeCells = (a, b, decides) => {
    const change = changeOf(a, b);
    if (change === null) return [ABSENT, "", "?"];
    if (!decides) change.lo = change.hi = null;
    const back = (value) => (value === null || change.share ? value : Math.exp(value));
    const texts = format.change(back(change.center), back(change.lo), back(change.hi), change.share);
    return [...texts, resultOf(change, a.better)];
  };
  const compareWith = (other) => {
    const names = Object.keys(page.metrics).filter((name) => other.metrics[name]);
    const rows = names.map((name) => {
      const [a, b] = [page.metrics[name], other.metrics[name]];
      // The unit of a rate is in its title.
      const unit = a.title.endsWith("/s") ? "" : a.unit;
      const change = changeCells(a, b, page.valid && other.valid);
      const there = !["~", "?"].includes(change[2]);
      const values = there ? format.apart(a.center, b.center, unit) : [a, b].map((entry) => shown(entry.center, unit));
      const cells = [a, b].map((entry, at) => `${values[at]} ${interval(entry.lo, entry.hi, unit)}`);
      return [a.title, ...cells, ...change];
    });
    const facts = other.facts
      ? [...new Set([...Object.keys(page.facts), ...Object.keys(other.facts)])]
          .filter((name) => page.facts[name] !== other.facts[name])
          .map((name) => [name, page.facts[name] ?? ABSENT, other.facts[name] ?? ABSENT])
      : [];
    const close = element("button", { type: "button", id: "remove" }, "Remove the comparison");
    close.addEventListener("click", remove);
    const verdicts = [page, other].map((run) => `${run.name} is ${run.valid ? "VALID" : "INVALID"}`);
    const undecided = page.valid && other.valid ? "" : " An INVALID run decides nothing, so no change has an interval.";
    section.replaceChildren(
      element("h2", {}, "Comparison"),
      element("p", {}, `A: ${verdicts[0]}. B: ${verdicts[1]}.${undecided}`),
      element("p", { class: "note" }, "~ is a change that may be noise; ? has no interval. Single runs: the variation " +
        "between runs is assumed. Run bertbench compare on folders of repeats to have it measured."),
      table("Metrics of both runs", ["metric", "A", "B", "change", "95 % interval", "result"], rows),
    );
    if (facts.length) section.append(element("h3", {}, "What differs"), table("What differs", ["", "A", "B"], facts));
    else if (!other.facts) section.append(element("p", { class: "note" }, "A summary.csv does not say what was run."));
    section.append(close);
    section.hidden = false;
    const charts = new Map(other.charts.map((chart) => [chart.name, chart]));
    drawn.forEach((drawing, name) => drawing.overlay(charts.get(name), "B"));
    section.scrollIntoView({ block: "start" });
    say("");
  };
  const remove = () => {
    section.hidden = true;
    section.replaceChildren();
    drawn.forEach((drawing) => drawing.restore());
  };
  const take = async (file) => {
    if (!file) return;
    try {
      if (file.size > LARGEST) throw new Error(`it has ${bytes(file.size)}, at most ${bytes(LARGEST)} are read`);
      const text = await file.text();
      compareWith(text.startsWith("run,valid,") ? fromCsv(text) : fromPage(text));
    } catch (error) {
      say(`${file.name} cannot be compared: ${error.message}`);
    }
  };
  if (section) {
    const input = document.getElementById("compare");
    document.getElementById("compare-label").hidden = false;
    input.addEventListener("change", () => take(input.files[0]));
    let depth = 0;
    const drag = (step) => {
      depth = Math.max(depth + step, 0);
      document.body.classList.toggle("dragging", depth > 0);
    };
    document.addEventListener("dragenter", () => drag(1));
    document.addEventListener("dragleave", () => drag(-1));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      drag(-depth);
      take(event.dataTransfer.files[0]);
    });
  }

  // ---- tables that can be sorted

  const cellValue = (row, at) => {
    const cell = row.children[at];
    const data = cell.querySelector("data");
    return data ? Number(data.value) : cell.textContent.trim();
  };
  const compareCells = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sortBy = (sorted, at, head) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of sorted.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...sorted.tBodies[0].rows];
    rows.sort((a, b) => (down ? -1 : 1) * compareCells(cellValue(a, at), cellValue(b, at)));
    sorted.tBodies[0].append(...rows);
  };
  for (const sorted of document.querySelectorAll("table.sortable")) {
    [...sorted.tHead.rows[0].cells].forEach((head, at) => {
      if (head.classList.contains("picture")) return;
      const button = element("button", { type: "button" }, head.textContent);
      button.addEventListener("click", () => sortBy(sorted, at, head));
      head.replaceChildren(button);
    });
  }

  // ---- start

  paint(dark.matches ? "dark" : "light");
  for (const chart of page.charts) {
    const figure = document.querySelector(`[data-chart="${chart.name}"]`);
    if (figure && chart.x.length) drawn.set(chart.name, new Drawing(figure, chart));
  }
})();

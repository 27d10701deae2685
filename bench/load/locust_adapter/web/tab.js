// The tab of Locust's page with the figures of the run in progress. Draws what ./bertbench/figures gives.

const { tab, emptyHost, keptSeconds } = window.bertbench;
const PERCENTILES = ["p50", "p90", "p95", "p99", "p99.9"];
const CLOCKS = { from_due: "from due", from_send: "from send", start_delay: "start delay" };
const COLOURS = ["#2a7fb8", "#d9822b", "#b3245a", "#5b8c2a", "#7a5ba8", "#888888"];

const STYLE = `
#bertbench-tab { padding-bottom: 48px; font: 14px/1.5 Roboto, Helvetica, Arial, sans-serif; }
#bertbench-tab .run { margin: 4px 0; }
#bertbench-tab .outcome { white-space: pre-wrap; margin: 8px 0; }
#bertbench-tab .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 16px; }
#bertbench-tab figure { margin: 0; }
#bertbench-tab figcaption { font-weight: 500; }
#bertbench-tab .legend span { margin-right: 12px; }
#bertbench-tab table { border-collapse: collapse; margin: 8px 0 16px; }
#bertbench-tab th, #bertbench-tab td { padding: 3px 14px 3px 0; text-align: right; }
#bertbench-tab th:first-child, #bertbench-tab td:first-child { text-align: left; }
#bertbench-tab a { color: inherit; }
#bertbench-host { margin: 4px 14px 0; font: 12px/1.5 Roboto, Helvetica, Arial, sans-serif; opacity: .75; }
`;

const CHARTS = [
  { title: "Requests/s that ended", unit: "", lines: {
      ok: (s) => s.outcomes.ok ?? 0,
      failed: (s) => Object.entries(s.outcomes).reduce((sum, [name, n]) => sum + (name === "ok" ? 0 : n), 0) } },
  { title: "Latency from due, of the requests due in each second", unit: "s", lines: {
      p50: (s) => s.from_due.p50, p95: (s) => s.from_due.p95, p99: (s) => s.from_due.p99 } },
  { title: "Backlog", unit: "", lines: {
      open: (s) => s.open, "in flight": (s) => s.in_flight, waiting: (s) => s.waiting } },
  { title: "Start delay", unit: "s", lines: { p50: (s) => s.start_delay.p50, p99: (s) => s.start_delay.p99 } },
];

let run = "";
let state = null;
const seconds = new Map();

function seconds_of(value) {
  if (value === null || value === undefined) return "—";
  const [factor, unit] = value >= 1 ? [1, "s"] : value >= 1e-3 ? [1e3, "ms"] : [1e6, "µs"];
  return `${Number((value * factor).toPrecision(3))} ${unit}`;
}

function number(value) {
  return value === null || value === undefined ? "—" : Number(value.toPrecision(4)).toLocaleString("en");
}

function element(name, text = "", attributes = {}) {
  const found = document.createElement(name);
  found.textContent = text;
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
}

function estimate_text({ center, lo, hi }) {
  if (center === null) return "—";
  return lo === null && hi === null ? seconds_of(center) : `${seconds_of(center)} [${seconds_of(lo)} … ${seconds_of(hi)}]`;
}

function latencies(snapshot) {
  const table = element("table", "", { id: "bertbench-latencies" });
  const head = table.insertRow();
  for (const name of ["measured so far", ...PERCENTILES]) head.append(element("th", name));
  for (const [clock, title] of Object.entries(CLOCKS)) {
    const row = table.insertRow();
    row.append(element("td", title));
    for (const name of PERCENTILES) {
      const found = snapshot.estimates.find((entry) => entry.metric === `${clock}_${name}`);
      row.append(element("td", found ? estimate_text(found) : "—", { title: found?.warnings?.join("; ") ?? "" }));
    }
  }
  return table;
}

function objectives(snapshot) {
  const table = element("table", "", { id: "bertbench-objectives" });
  const head = table.insertRow();
  for (const name of ["objective", "so far", "value", ""]) head.append(element("th", name));
  for (const { objective, verdict, figure, remark } of snapshot.objectives) {
    const row = table.insertRow();
    for (const text of [objective, verdict, figure, remark]) row.append(element("td", text));
  }
  return table;
}

function counts(snapshot) {
  const parts = Object.entries(snapshot.requests).filter(([, n]) => n).map(([name, n]) => `${number(n)} ${name}`);
  const kinds = Object.entries(snapshot.wrong_kinds).filter(([, n]) => n).map(([name, n]) => `${number(n)} ${name}`);
  const warm = Object.values(snapshot.warmup_requests).reduce((sum, n) => sum + n, 0);
  const rate = snapshot.throughput === null ? "" : `; ${number(snapshot.throughput)} successful requests/s`;
  const wrong = kinds.length ? ` (wrong answers: ${kinds.join(", ")})` : "";
  return `${parts.join(", ") || "no answer yet"}${wrong}, ${number(warm)} of them in the warm-up${rate}`;
}

function chart({ title, unit, lines }, list) {
  const [width, height, left, bottom] = [560, 200, 58, 22];
  const series = Object.entries(lines).map(([name, of]) => [name, list.map((s) => [s.second, of(s)])]);
  const values = series.flatMap(([, points]) => points.map(([, y]) => y)).filter((y) => y !== null && y !== undefined);
  const top = Math.max(...values, unit === "s" ? 1e-6 : 1) * 1.05;
  const [first, last] = [list[0].second, Math.max(list.at(-1).second, list[0].second + 1)];
  const x = (second) => left + ((second - first) / (last - first)) * (width - left - 8);
  const y = (value) => (height - bottom) - (value / top) * (height - bottom - 8);
  const shown = (value) => (unit === "s" ? seconds_of(value) : number(value));
  const ticks = [0, top / 2, top].map((value) =>
    `<line x1="${left}" x2="${width - 8}" y1="${y(value)}" y2="${y(value)}" stroke="currentColor" opacity=".15"/>` +
    `<text x="${left - 6}" y="${y(value) + 4}" text-anchor="end">${shown(value)}</text>`);
  const ends = [first, last].map((second, index) =>
    `<text x="${x(second)}" y="${height - 4}" text-anchor="${index ? "end" : "start"}">${second} s</text>`);
  const paths = series.map(([, points], index) => {
    const known = points.filter(([, value]) => value !== null && value !== undefined);
    const path = known.map(([second, value]) => `${x(second).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    return `<polyline points="${path}" fill="none" stroke="${COLOURS[index]}" stroke-width="1.5"/>`;
  });
  const figure = element("figure");
  figure.append(element("figcaption", title));
  const drawing = element("div");
  drawing.innerHTML = `<svg viewBox="0 0 ${width} ${height}" width="100%" role="img" font-size="11" fill="currentColor">` +
    `<title>${title}</title>${ticks.join("")}${ends.join("")}${paths.join("")}</svg>`;
  const legend = element("div", "", { class: "legend" });
  series.forEach(([name, points], index) => {
    const label = element("span", `${name} ${shown(points.at(-1)[1])}`);
    label.prepend(element("b", "— ", { style: `color: ${COLOURS[index]}` }));
    legend.append(label);
  });
  figure.append(drawing, legend);
  return figure;
}

function draw() {
  const panel = document.getElementById("bertbench-tab");
  if (!panel || !state) return;
  const parts = [element("p", state.target ? `Tested: ${state.target}` : emptyHost, { class: "run", id: "bertbench-target" })];
  const { snapshot } = state;
  if (!snapshot) {
    parts.push(element("p", state.run ? "The run begins." : "No run yet: start one in this page."));
  } else {
    const position = `${Math.min(snapshot.time, snapshot.ends)} s of ${snapshot.ends} s, ${snapshot.phase}; run ${state.run}`;
    parts.push(element("p", position, { class: "run", id: "bertbench-position" }));
    parts.push(element("p", counts(snapshot), { class: "run", id: "bertbench-counts" }));
    if (state.outcome.length) parts.push(element("p", state.outcome.join("\n"), { class: "outcome", id: "bertbench-outcome" }));
    if (state.report) {
      const line = element("p");
      line.append(element("a", "Report of this run", { href: `./${tab}/report`, target: "_blank", id: "bertbench-report" }));
      parts.push(line);
    }
    // At the end the outcome has the verdicts.
    if (snapshot.objectives.length && !state.outcome.length) parts.push(objectives(snapshot));
    parts.push(latencies(snapshot));
    const list = [...seconds.values()].sort((a, b) => a.second - b.second);
    if (list.length) {
      const charts = element("div", "", { class: "charts" });
      charts.append(...CHARTS.map((each) => chart(each, list)));
      parts.push(charts);
    }
  }
  panel.replaceChildren(...parts);
}

async function poll() {
  try {
    const after = seconds.size ? Math.max(...seconds.keys()) : 0;
    const answer = await fetch(`./${tab}/figures?after=${after}`);
    if (answer.ok) {
      state = await answer.json();
      if (state.run !== run || (state.snapshot && state.snapshot.time < after)) seconds.clear();
      run = state.run;
      for (const second of state.snapshot?.newest ?? []) seconds.set(second.second, second);
      // A page that stays open for days would draw more and more.
      const first = (state.snapshot?.time ?? 0) - keptSeconds;
      for (const second of seconds.keys()) if (second < first) seconds.delete(second);
      draw();
    }
  } finally {
    setTimeout(poll, 1000);
  }
}

function arrange() {
  const chosen = [...document.querySelectorAll('[role="tab"][aria-selected="true"]')].some((each) => each.textContent === tab);
  const panel = document.getElementById("bertbench-tab");
  if (chosen && !panel) {
    const container = document.querySelector('[role="tablist"]').closest(".MuiContainer-root");
    container.append(element("section", "", { id: "bertbench-tab" }));
    draw();
  } else if (!chosen && panel) {
    panel.remove();
  }
  const field = document.querySelector('input[name="host"]');
  const line = document.getElementById("bertbench-host");
  if (field && !field.value && !line) {
    const place = field.closest(".MuiFormControl-root") ?? field;
    place.append(element("p", emptyHost, { id: "bertbench-host" }));
  } else if (line && (!field || field.value)) {
    line.remove();
  }
}

document.head.append(element("style", STYLE));
setInterval(arrange, 200);
poll();

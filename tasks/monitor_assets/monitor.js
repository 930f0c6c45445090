// The curves of the monitor: what is in the page's numbers, drawn with uPlot.
"use strict";
(() => {
  const numbers = JSON.parse(document.getElementById("numbers").textContent);
  const time = numbers.time, color = numbers.colors, charts = [];
  if (!time.length) return;
  const SENTENCE = text => text.charAt(0).toUpperCase() + text.slice(1);
  const utc = at => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC");
  const tick = v => v == null ? "" : Number(v.toPrecision(3)).toLocaleString("en").replace("-", "−");
  const round = v => v != null && /^[125](\.0*)?e/.test(v.toExponential(2)) ? tick(v) : "";
  const digits = v => v == null ? "–" : Number(v.toPrecision(3)).toLocaleString("en").replace("-", "−");
  const step = time.length > 1 ? time[time.length - 1] - time[time.length - 2] : 21600;
  const last = time[time.length - 1];

  // Mean over the last cycles; points that stand for many cycles stay as they are.
  const many = time.length - numbers.past >= 60;
  const rolling = (values, count = 20) => values.map((value, i) => {
    if (i < numbers.past || value == null) return value;
    const window = values.slice(Math.max(numbers.past, i - count + 1), i + 1).filter(v => v != null);
    return window.reduce((a, b) => a + b, 0) / window.length;
  });

  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const dates = (u, ticks, axis, space, increment) => ticks.map((at, i) => {
    const date = new Date(at * 1e3), month = MONTHS[date.getUTCMonth()], year = date.getUTCFullYear();
    if (increment >= 360 * 86400) return `${year}`;
    if (increment >= 28 * 86400) return i && date.getUTCMonth() ? month : `${month} ${year}`;
    if (increment >= 86400 || !(at % 86400)) return `${date.getUTCDate()} ${month}` + (i ? "" : ` ${year}`);
    return date.toISOString().slice(11, 16);
  });

  let zooming = false;
  const zoom = chart => {
    if (zooming) return;
    zooming = true;
    const {min, max} = chart.scales.x;
    charts.forEach(other => other !== chart && other.setScale("x", {min, max}));
    zooming = false;
  };

  const reach = (low, high, zero) => {
    if (low == null || !isFinite(low) || !isFinite(high)) return [0, 1];
    if (zero) low = Math.min(0, low);
    const room = 0.07 * (high - low) || Math.abs(high) || 1;
    return [low < 0 || !zero ? low - room : low, high + room];
  };

  function draw(section, title, lines, {wide = false, zero = true, log = false} = {}) {
    const box = document.createElement("div");
    box.className = "chart" + (wide ? " wide" : "");
    const name = document.createElement("h3");
    name.textContent = SENTENCE(title);
    box.append(name);
    document.querySelector(`#${section} .charts`).append(box);
    const told = document.createElement("p");
    told.className = "told";
    box.append(told);
    const axis = {stroke: "#333", grid: {stroke: "#e3e3e3", width: 1}, ticks: {stroke: "#aaa", width: 1, size: 4}, font: "12px system-ui, DejaVu Sans, sans-serif"};
    const chart = new uPlot({
      width: box.clientWidth, height: wide ? 250 : 185, tzDate: utc, legend: {show: false},
      cursor: {sync: {key: "losda"}, points: {size: 6}},
      scales: {y: {distr: log ? 3 : 1, range: (u, low, high) => log ? [low / 1.2, high * 1.2] : reach(low, high, zero)}},
      axes: [{...axis, size: 26, space: 70, values: dates}, {...axis, size: 54, space: 32, values: (u, ticks) => ticks.map(log ? round : tick)}],
      series: [
        {},
        ...lines.map(line => ({stroke: line.color, width: line.width || 1.6, dash: line.dash, fill: line.fill, alpha: line.alpha || 1, points: {show: time.length < 3}, spanGaps: true})),
      ],
      hooks: {setScale: [(u, key) => key === "x" && zoom(u)], setCursor: [u => tell(u.cursor.idx)]},
    }, [time, ...lines.map(line => line.values)], box);
    charts.push(chart);
    // What is under the cursor; the last cycle otherwise
    function tell(index) {
      const i = index ?? time.length - 1;
      const values = lines.filter(line => line.label).map(line => `${line.label} ${digits((line.shown || line.values)[i])}`);
      told.textContent = [new Date(time[i] * 1e3).toISOString().slice(0, 13).replace("T", " ") + " UTC", ...values].join(" · ");
    }
    tell(null);
  }

  function key(section, entries) {
    const place = document.querySelector(`#${section} .key`);
    for (const [label, stroke, dashed] of entries) {
      const entry = document.createElement("span"), mark = document.createElement("i");
      mark.style.borderColor = stroke;
      if (dashed) mark.style.borderTopStyle = "dashed";
      entry.append(mark, label);
      place.append(entry);
    }
  }

  // Errors
  if (many) document.querySelector("#errors p").append(" Thin: each cycle; bold: mean of 20 cycles.");
  const sources = {free: "free run", background: "background", analysis: "analysis"};
  key("errors", Object.entries(sources).map(([name, label]) => [label, color[name], name === "free"]));
  for (const [variable, errors] of Object.entries(numbers.errors)) {
    const all = Object.keys(sources).flatMap(name => errors[name]).filter(v => v != null);
    const log = Math.min(...all) > 0 && Math.max(...all) > 8 * Math.min(...all);
    const shown = Object.keys(sources).filter(name => errors[name].some(v => v != null));
    const lines = shown.flatMap(name => [
      ...(many ? [{values: errors[name], color: color[name], width: 0.8, alpha: 0.45}] : []),
      {label: sources[name], values: many ? rolling(errors[name]) : errors[name], shown: errors[name], color: color[name], width: 2, dash: name === "free" ? [6, 4] : undefined},
    ]);
    const title = variable === "all" ? "all variables" : numbers.titles[variable];
    draw("errors", title, lines, {wide: variable === "all", log});
  }

  // Departures and counts
  const names = new Set(numbers.departures.map(one => one.source));
  const own = one => (names.size > 1 ? `${one.source}: ` : "") + (one.title || one.variable);
  key("departures", [["RMS of O−B", color.background], ["expected", "#777", true], ["RMS of O−A", color.analysis], ["bias of O−B", "#111"]]);
  numbers.departures.forEach(one => draw("departures", `${own(one)} [${one.unit}]`, [
    {label: "O−B", values: one.rms, color: color.background},
    {label: "expected", values: one.expected, color: "#777", dash: [5, 4]},
    {label: "O−A", values: one.rms_a, color: color.analysis},
    {label: "bias", values: one.bias, color: "#111", width: 1.2},
  ]));
  const pick = i => color.palette[i % color.palette.length];
  key("counts", numbers.departures.map((one, i) => [own(one), pick(i)]));
  draw("counts", "used", numbers.departures.map((one, i) => ({label: one.variable, values: one.used, color: pick(i)})), {wide: true});
  draw("counts", "rejected", numbers.departures.map((one, i) => ({label: one.variable, values: one.rejected, color: pick(i)})), {wide: true});

  // Timings: the sums are drawn, what they add is told
  const stages = Object.entries(numbers.seconds);
  let base = time.map(() => 0);
  const sums = stages.map(([stage, values], i) => {
    base = base.map((sum, k) => sum + (values[k] || 0));
    return {label: stage, values: base, shown: values, color: pick(i), fill: pick(i) + "d0", width: 1};
  }).reverse();
  key("timings", stages.map(([stage], i) => [stage, pick(i)]));
  draw("timings", "work [s]", sums, {wide: true});
  if (numbers.delay.some(v => v != null)) draw("timings", "analysis after it was due [min]", [{label: "delay", values: numbers.delay, color: "#111"}], {wide: true});
  const cost = Object.entries(numbers.cost).filter(([, values]) => values.some(v => v != null));
  if (cost.length) draw("timings", "cost function after the last step", cost.map(([name, values], i) => ({label: name, values, color: pick(i)})), {wide: true});

  // A page that nobody refreshes must not say that all is well
  const state = document.querySelector(".state"), now = Date.now() / 1e3;
  if (numbers.next && now > numbers.next && now > numbers.refreshed + 600) {
    state.className = "state bad";
    state.prepend(`Not refreshed since ${new Date(numbers.refreshed * 1e3).toISOString().slice(0, 16).replace("T", " ")} UTC, although the next cycle is due. Then: `);
  }

  // Spans of time
  const bar = document.getElementById("spans");
  let chosen = null;
  const show = (button, from) => {
    bar.querySelectorAll("button").forEach(other => other.setAttribute("aria-pressed", other === button));
    charts.forEach(chart => chart.setScale("x", {min: Math.min(from, last - step), max: last}));
    chosen = button.textContent;
  };
  const first = time[numbers.past] ?? time[0];
  const spans = [["all", time[0]], ["recent", first], ["month", last - 30 * 86400], ["week", last - 7 * 86400], ["day", last - 86400]]
    .filter(([name, from]) => name === "all" || (name === "recent" ? numbers.past > 0 : from > first));
  bar.append("Show ");
  for (const [name, from] of spans) {
    const button = document.createElement("button");
    button.textContent = name;
    button.onclick = () => { show(button, from); sessionStorage.setItem("losda-span", name); };
    bar.append(button);
  }
  bar.append("Drag in a curve to look closer; double-click to see all.");
  const before = sessionStorage.getItem("losda-span");
  const buttons = [...bar.querySelectorAll("button")];
  const start = buttons.findIndex(b => b.textContent === before);
  const index = start >= 0 ? start : spans.length > 1 && spans[1][0] === "recent" ? 1 : 0;
  show(buttons[index], spans[index][1]);

  new ResizeObserver(() => charts.forEach(chart => {
    const width = chart.root.parentElement.clientWidth;
    if (width && width !== chart.width) chart.setSize({width, height: chart.height});
  })).observe(document.querySelector("main"));

  // The file changes after each cycle: look again every minute, unless somebody looks closely.
  setInterval(() => {
    const [min, max] = [charts[0].scales.x.min, charts[0].scales.x.max];
    const index = buttons.findIndex(b => b.textContent === chosen);
    const closely = min !== Math.min(spans[index][1], last - step) || max !== last;
    if (!document.hidden && !closely) location.reload();
  }, 60000);
})();

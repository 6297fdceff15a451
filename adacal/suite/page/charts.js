// Curves and bars, drawn by Observable Plot as SVG.
"use strict";
Page.HUES = 10;
Page.SYMBOLS = ["circle", "square", "diamond", "triangle", "star", "wye", "cross"];

// Every method keeps its colour and symbol whatever is filtered.
Page.scales = () => {
  const spiking = Page.board.rows.filter((row) => !Page.isControl(row)).map((row) => row.label);
  const controls = Page.board.rows.filter((row) => row.strictness === "quantised").map((row) => row.label);
  const [known, grey] = [[...new Set(spiking)].sort(), [...new Set(controls)].sort()];
  const symbol = (place) => Page.SYMBOLS[(place + Math.floor(place / Page.HUES)) % Page.SYMBOLS.length];
  return {
    domain: [...known, ...grey],
    colours: [...known.map((_, place) => `var(--hue-${place % Page.HUES})`), ...grey.map(() => "var(--control)")],
    symbols: [...known, ...grey].map((_, place) => symbol(place)),
  };
};

Page.points = (rows) => {
  const labels = [...new Set(rows.filter((row) => row.T).map((row) => row.label))].sort();
  // Methods at one T stand side by side, or their intervals would hide one another.
  const aside = (label) => 0.025 * (labels.indexOf(label) - (labels.length - 1) / 2);
  return rows.map((row) => {
    const [low, high] = Page.interval(row);
    const ends = row.interval === "none" ? "" : ` [${Page.score(low)}, ${Page.score(high)}]`;
    const { uj, low_uj, high_uj, front } = Page.energyOf(row);
    return { row, label: row.label, T: row.T, near: row.T * 2 ** aside(row.label), score: row.score,
      low, high, ends, uj, low_uj, high_uj, front, control: Page.isControl(row) };
  }).filter((point) => point.score !== null && point.uj !== null);
};

// Where the metric's axis ends, so that far losers do not press the rest into a line.
Page.domain = (points) => {
  const sign = Page.board.higher_is_better ? 1 : -1;
  const scores = points.map((point) => sign * point.score);
  const [least, most] = d3.extent(scores);
  const fine = Page.board.unit === "%" ? 0.4 : 0.02 * Math.abs(most) || 1;
  const usual = most - 2.5 * Math.max(most - d3.quantile(scores, 0.35), fine);
  const floor = Page.state.far ? least : Math.max(least, usual);
  const margin = 0.06 * Math.max(most - floor, fine);
  return [sign * (floor - margin), sign * (most + margin)].sort((a, b) => a - b);
};

Page.within = (points, [least, most]) =>
  points.filter((point) => point.score >= least && point.score <= most);

Page.told = (point) =>
  `${point.label}\n${point.T ? `T=${point.T}, ` : ""}`
    + `${Page.board.metric} ${Page.score(point.score)}${point.ends} ${Page.unit()}\n${Page.energy(point.uj)} µJ`;

// One curve a method over its T; `x` is the point's key of the other axis. Points that stand out have
// their intervals, the others are faint; methods chosen have their line in full, too.
Page.curve = (holder, points, standing, x, scale, more, described) => {
  const { domain, colours, symbols } = Page.scales();
  const drawn = points.filter((point) => point.T);
  const ann = points.filter((point) => point.row.strictness === "none").slice(0, 1);
  const range = Page.domain(points);
  const inside = Page.within(drawn, range);
  const isFull = (point) => standing.rows.has(point.row);
  const isWhole = (point) => isFull(point) && (standing.whole || point.control);
  const line = (some, dash, strokeOpacity) => Plot.line(some, { x, y: "score", z: "label", stroke: "label", sort: "T",
    strokeWidth: strokeOpacity < 1 ? 1 : 1.5, strokeOpacity, strokeDasharray: dash, clip: true });
  const lines = [[(point) => !point.control, null], [(point) => point.control, "2 3"]].flatMap(([kind, dash]) =>
    [line(drawn.filter((point) => kind(point) && !isWhole(point)), dash, 0.22), line(drawn.filter((point) => kind(point) && isWhole(point)), dash, 1)]);
  const width = Math.max(holder.clientWidth, 260);
  const plot = Plot.plot({
    width, height: Math.round(Math.min(400, Math.max(280, width * 0.62))),
    marginLeft: 48, marginRight: 16, marginBottom: 42, insetLeft: 8, insetRight: 8,
    style: { fontSize: "12px", background: "transparent", color: "inherit", overflow: "visible" },
    ariaLabel: described, ariaDescription: "The same numbers stand in the table below.",
    x: { ...scale, grid: true }, color: { domain, range: colours }, symbol: { domain, range: symbols },
    y: { domain: range, grid: true, label: `↑ ${Page.titled()}` },
    marks: [
      Plot.ruleY(ann, { y: "score", strokeDasharray: "5 4", strokeOpacity: 0.6, clip: true }),
      ...lines,
      Plot.dot(inside.filter((point) => !isFull(point)), { x, y: "score", fill: "label", symbol: "label", r: 2.6, fillOpacity: 0.3,
        ariaDescription: "faint rows" }),
      ...more,
      Plot.ruleX(drawn.filter(isFull), { x, y1: "low", y2: "high", stroke: "label", strokeOpacity: 0.5, clip: true }),
      Plot.dot(inside.filter(isFull), { x, y: "score", stroke: "label", fill: "label", symbol: "label", r: 3.8,
        ariaDescription: "rows in full" }),
      Plot.tip([...inside, ...(x === "uj" ? ann : [])], Plot.pointer({ x, y: "score", title: Page.told,
        lineWidth: 32, fill: "var(--paper)", stroke: "var(--line)" })),
    ],
  });
  plot.addEventListener("click", () => plot.value && Page.change({ run: plot.value.row.runs[0] }));
  holder.replaceChildren(plot);
};

// The ANN stays in the curves whatever is filtered: it is what all else is measured against.
Page.showCurves = (rows) => {
  const ann = Page.board.rows.filter((row) => row.strictness === "none" && !rows.includes(row));
  const points = rows.length ? Page.points([...rows, ...ann]) : [];
  const metric = Page.board.metric;
  const at = (id) => document.getElementById(id);
  at("energy-title").textContent = `${metric} against energy (${Page.state.energy.replace("_", " ")}), `
    + "numbers at the points are T, bars their intervals";
  at("steps-title").textContent = `${metric} against T (of controls: their levels); the dashed line is the ANN`;
  for (const id of ["energy-chart", "steps-chart", "cut", "full"]) at(id).replaceChildren();
  if (!points.length) at("legend").replaceChildren();
  if (!points.length) return;
  const inside = Page.within(points, Page.domain(points));
  const standing = Page.standing(points.map((point) => point.row));
  Page.showEnergy(at("energy-chart"), points, standing, inside);
  Page.showSteps(at("steps-chart"), points, standing);
  Page.showLegend(points, standing);
  at("full").textContent = `Drawn in full: ${standing.why || "every row"}${standing.why ? "; the rest is faint" : ""}. `
    + "Choose methods above, or rows of the table, to draw them alone in full.";
  const worse = points.length - inside.length;
  const rest = worse === 1 ? "row far worse than the rest is" : "rows far worse than the rest are";
  if (worse) at("cut").textContent = `${worse} ${rest} not drawn.`;
};

Page.showEnergy = (holder, points, standing, inside) => {
  const spiking = points.filter((point) => !point.control);
  const front = spiking.filter((point) => point.front).sort((a, b) => a.uj - b.uj);
  const ann = points.filter((point) => point.row.strictness === "none");
  const known = inside.filter((point) => point.T && standing.rows.has(point.row));
  const numbered = known.filter((point) => (standing.whole ? !point.control || Page.state.lit : point.front));
  const isPositive = points.every((point) => point.uj > 0);
  const [least, most] = d3.extent(inside, (point) => point.uj);
  const scale = { type: isPositive ? "log" : "linear", label: "energy a sample (µJ) →", tickFormat: "~g",
    domain: isPositive ? [least / 1.15, most * 1.15] : [0, most * 1.1 || 1],
    ticks: holder.clientWidth < 420 ? 3 : 6 };
  Page.curve(holder, points, standing, "uj", scale, [
    Plot.line(front, { x: "uj", y: "score", strokeWidth: 9, strokeOpacity: 0.2, strokeLinecap: "round",
      strokeLinejoin: "round", clip: true }),
    Plot.ruleY(known, { y: "score", x1: "low_uj", x2: "high_uj", stroke: "label", strokeOpacity: 0.5, clip: true }),
    Plot.text(numbered, { x: "uj", y: "score", text: (point) => String(point.T), dx: 6, dy: -8,
      fill: "label", fontSize: 10.5 }),
    Plot.dot(ann, { x: "uj", y: "score", symbol: () => "star", r: 7, fill: "currentColor" }),
  ], `${Page.board.metric} against energy`);
};

Page.showSteps = (holder, points, standing) => {
  const times = [...new Set(points.map((point) => point.T).filter(Boolean))].sort((a, b) => a - b);
  if (!times.length) return;
  const scale = { type: "log", base: 2, domain: [times[0] / 1.25, times.at(-1) * 1.25], ticks: times,
    tickFormat: "d", label: "T, methods side by side →" };
  Page.curve(holder, points, standing, "near", scale, [], `${Page.board.metric} against T`);
};

// Bars of one quantity, a layer each.
Page.bars = (title, names, values, format) => {
  const rows = names.map((name, place) => ({ name: `${place + 1} ${name}`, value: values[place] }));
  const short = (name) => (name.length > 24 ? `${name.slice(0, 8)}…${name.slice(-15)}` : name);
  const plot = Plot.plot({
    width: 340, height: 34 + 17 * rows.length, marginLeft: 150, marginRight: 52, marginTop: 4, marginBottom: 6,
    style: { fontSize: "11px", background: "transparent", color: "inherit" }, ariaLabel: title,
    x: { axis: null, domain: [0, d3.max(rows, (row) => row.value) || 1] },
    y: { domain: rows.map((row) => row.name), label: null, tickFormat: short, tickSize: 0 },
    marks: [
      Plot.barX(rows, { x: "value", y: "name", fill: "var(--hue-0)", insetTop: 1, insetBottom: 1 }),
      Plot.text(rows, { x: (row) => row.value ?? 0, y: "name", text: (row) => format(row.value), textAnchor: "start", dx: 4 }),
    ],
  });
  return Page.make("figure", {}, Page.make("figcaption", {}, title), plot);
};

// How many samples stopped after how many steps.
Page.exits = (histogram, T) => {
  const total = d3.sum(histogram);
  const rows = d3.range(1, T + 1).map((step) => ({ step, share: (100 * (histogram[step] ?? 0)) / total }));
  const plot = Plot.plot({
    width: 340, height: 190, marginLeft: 40, style: { fontSize: "11px", background: "transparent", color: "inherit" },
    ariaLabel: "early exits", x: { label: "steps until the answer →" }, y: { label: "↑ samples (%)", grid: true },
    marks: [Plot.barY(rows, { x: "step", y: "share", fill: "var(--hue-2)" }),
      Plot.text(rows.filter((row) => row.share), { x: "step", y: "share", dy: -6, text: (row) => Page.number(row.share, 1) }),
      Plot.ruleY([0])],
  });
  return Page.make("figure", {}, Page.make("figcaption", {}, "early exits: samples by steps used"), plot);
};

Page.bySteps = (values, ann) => {
  const rows = values.map((value, place) => ({ step: place + 1, value }));
  const plot = Plot.plot({
    width: 340, height: 190, marginLeft: 44, style: { fontSize: "11px", background: "transparent", color: "inherit" },
    ariaLabel: "metric after each step", x: { label: "steps →", ticks: rows.map((row) => row.step).slice(0, 16), tickFormat: "d" },
    y: { label: `↑ ${Page.titled()}`, grid: true, nice: true },
    marks: [Plot.ruleY([ann], { strokeDasharray: "5 4" }), Plot.line(rows, { x: "step", y: "value", stroke: "var(--hue-0)" }),
      Plot.dot(rows, { x: "step", y: "value", fill: "var(--hue-0)", r: 3 })],
  });
  return Page.make("figure", {}, Page.make("figcaption", {}, "this run after each of its steps; the dashed line is the ANN"), plot,
    Page.make("p", { class: "small" }, `Thresholds are set for all ${rows.length} steps: step t of this run is not a run at T=t, `
      + "except where thresholds do not depend on T (max_norm, percentile_norm)."));
};

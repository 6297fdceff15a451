// Tables: columns, what passes the filters, the order. Text goes in as text, never as HTML.
"use strict";
const Page = { data: null, board: null };

// Makes an element. Keys of `about` that begin with "on" are listeners, the others attributes.
Page.make = (tag, about = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(about)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

Page.number = (value, digits) => {
  if (value === null || value === undefined) return "–";
  if (value && Math.abs(value) < 10 ** -digits) return value.toPrecision(1);
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};

Page.count = (value) => {
  if (value === null) return "–";
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return Number((value / size).toPrecision(3)) + letter;
  }
  return String(Number(value.toPrecision(3)));
};

// The metric's unit; a metric that has none may be said to be in units of 1.
Page.unit = () => (Page.board.unit === "1" ? "" : Page.board.unit);
Page.energy = (uj) => (uj !== null && uj < 0.1 ? String(Number(uj.toPrecision(3))) : Page.number(uj, 3));
Page.score = (value) => Page.number(value, Page.board.unit === "%" ? 2 : 4);
Page.titled = () => Page.board.metric + (Page.unit() ? ` (${Page.unit()})` : "");

// Text that may break after the signs that names are made of, rather than within a word.
Page.breakable = (text) => text.split(/(?<=[_(,=/])/).flatMap((part) => [part, document.createElement("wbr")]);

Page.isControl = (row) => row.strictness === "none" || row.strictness === "quantised";
Page.energyOf = (row) => row.energy[Page.state.energy];
Page.rankOf = (row) => Page.energyOf(row)[Page.state.order === "energy" ? "rank_by_energy" : "rank"];

// The metric's interval, from that of the drop: ends [low, high], units of the metric.
Page.interval = (row) => {
  const sign = Page.board.higher_is_better ? 1 : -1;
  const ends = [row.drop_low, row.drop_high].map((end) => row.score + sign * (row.drop - end));
  return ends.sort((a, b) => a - b);
};

Page.columns = () => {
  const points = Page.unit() === "%" ? "points" : Page.unit();
  const intervals = new Set(Page.board.rows.map((row) => row.interval));
  const ends = intervals.has("bootstrap") ? " [95 %]" : intervals.has("range") ? " [range of seeds]" : "";
  const lost = `${Page.board.higher_is_better ? "drop" : "rise"}${points ? ` (${points})` : ""}${ends}`;
  const { score: shown, count, energyOf } = Page;
  const rank = (row) => Page.rankOf(row) || (Page.isControl(row) ? "control" : "–");
  // Older records have the range over seeds where newer ones have an interval.
  const seeds = (row) => (intervals.has("bootstrap") && row.interval === "range" ? " seeds" : "");
  const drop = (row) =>
    row.strictness === "none" ? "–"
      : row.interval === "none" ? shown(row.drop)
      : `${shown(row.drop)} [${shown(row.drop_low)}, ${shown(row.drop_high)}${seeds(row)}]`;
  const score = (row) =>
    shown(row.score) + (row.score_std === null ? "" : ` ± ${shown(row.score_std)}`);
  // 2: on the Pareto front; 1: there, but a quantised ANN beats it.
  const mark = (row) => (energyOf(row).front ? (energyOf(row).beaten ? 1 : 2) : 0);
  const columns = [
    { key: "rank", title: "#", value: (row) => Page.rankOf(row) || Infinity, text: rank },
    { key: "label", title: "method", value: (row) => row.label, text: (row) => row.label, name: true },
    { key: "spikes-are", title: "spikes are", value: (row) => row.strictness, left: true, minor: true },
    { key: "T", title: "T", value: (row) => row.T || null, text: (row) => row.T || "–" },
    { key: "score", title: Page.titled(), value: (row) => row.score, text: score,
      falls: Page.board.higher_is_better },
    { key: "drop", title: lost, value: (row) => row.drop, text: drop },
    { key: "energy", title: "energy (µJ)", value: (row) => energyOf(row).uj,
      text: (row) => Page.energy(energyOf(row).uj) },
    { key: "to-ann", title: "× ANN", value: (row) => energyOf(row).to_ann, digits: 2 },
    { key: "memory", title: "× ANN, memory", value: (row) => row.energy.memory.to_ann, digits: 2 },
    { key: "to-quantised", title: "× quantised", value: (row) => energyOf(row).to_quantised, digits: 2 },
    { key: "phi", title: "mean φ", value: (row) => row.mean_max_spikes, digits: 2, minor: true },
    { key: "steps", title: "mean steps", value: (row) => row.mean_timesteps || null, digits: 2 },
    { key: "seen", title: "seen (ms)", value: (row) => row.recording_ms, digits: 0, minor: true },
    { key: "spikes", title: "spikes", value: (row) => row.spikes, text: (row) => count(row.spikes), minor: true },
    { key: "sops", title: "SOPs", value: (row) => row.sops, text: (row) => count(row.sops), minor: true },
    { key: "macs", title: "MACs", value: (row) => row.macs, text: (row) => count(row.macs), minor: true },
    { key: "calibration", title: "calibration (s)", value: (row) => row.calibration_s, digits: 1, minor: true },
    { key: "wall", title: "ms/sample", value: (row) => row.snn_ms, digits: 2, minor: true },
    { key: "time", title: "× ANN, time", value: (row) => row.time_to_ann, digits: 2, minor: true },
    { key: "seeds", title: "seeds", value: (row) => row.seeds, minor: true },
    { key: "front", title: "front", falls: true, text: (row) => ["", "○", "●"][mark(row)], value: mark },
  ];
  const seen = Page.board.rows.some((row) => row.recording_ms !== null);
  return columns.filter((column) => column.key !== "seen" || seen);
};

Page.cell = (column, row) => {
  if (column.text) return String(column.text(row));
  const value = column.value(row);
  return column.digits === undefined ? String(value ?? "–") : Page.number(value, column.digits);
};

// Rows that pass the filters, in the order chosen; what has no number comes last either way.
Page.visible = () => {
  const { text, spikes, steps, front, sort, down } = Page.state;
  const rows = Page.board.rows.filter((row) =>
    row.label.toLowerCase().includes(text.toLowerCase())
      && (!spikes || row.strictness === spikes)
      && (!steps || String(row.T) === steps)
      && (!front || Page.energyOf(row).front));
  const { value } = Page.columns().find((column) => column.key === sort) ?? Page.columns()[0];
  return Page.sorted(rows, value, down);
};

// Sorted by `value`; what has none comes last either way, equals keep their order.
Page.sorted = (rows, value, down) => {
  const missing = (cell) => cell === null || cell === Infinity;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    const order = typeof x === "string" ? x.localeCompare(y, "en") : x - y;
    return down ? -order : order;
  };
  return rows
    .map((row, place) => [row, place])
    .sort(([a, i], [b, j]) => compare(a, b) || i - j)
    .map(([row]) => row);
};

Page.classes = (column) => ["name", "left", "minor", "long"].filter((kind) => column[kind]).join(" ");

// The heads of a table, each a button that sorts; the focus stays where it was.
Page.heads = (table, columns, sort, down, turn) => {
  const focused = table.contains(document.activeElement) && document.activeElement.closest("thead button")?.dataset.key;
  table.tHead.replaceChildren(Page.make("tr", {}, ...columns.map((column) => {
    const button = Page.make("button", { type: "button", "data-key": column.key, onclick: () => turn(column) }, column.title);
    const about = { scope: "col", class: Page.classes(column) };
    if (sort === column.key) about["aria-sort"] = down ? "descending" : "ascending";
    return Page.make("th", about, button);
  })));
  if (focused) table.tHead.querySelector(`[data-key="${focused}"]`)?.focus();
};

Page.showTable = (rows) => {
  const { sort, down } = Page.state;
  const columns = Page.columns();
  const { classes } = Page;
  const chosen = Page.chosen();
  const table = document.getElementById("table");
  table.classList.toggle("every", Page.state.columns);
  Page.heads(table, columns, sort, down, (column) =>
    Page.change({ sort: column.key, down: sort === column.key ? !down : Boolean(column.falls) }));
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const cells = columns.map((column) => {
      const text = Page.cell(column, row);
      if (!column.name) return Page.make("td", { class: classes(column) }, text);
      const open = () => Page.change({ run: row.runs[0] });
      const button = Page.make("button", { type: "button", class: "open", "data-run": row.runs[0], onclick: open },
        ...Page.breakable(text));
      return Page.make("th", { scope: "row", class: classes(column) }, Page.make("span", { class: "keyed" }, Page.key(row.label, null), button));
    });
    const kind = Page.isControl(row) ? "control" : Page.rankOf(row) === 1 ? "first" : "";
    const lit = chosen.has(row.label) ? " lit" : "";
    // A row is a large place to hit; the keyboard has the button with the symbol.
    const turn = (event) => row.strictness !== "none" && !event.target.closest("button") && Page.turn(row.label);
    return Page.make("tr", { class: kind + lit, "data-label": row.label, onclick: turn }, ...cells);
  }));
  document.getElementById("count").textContent = `${rows.length} of ${Page.board.rows.length} rows`;
};

// The page's state (it lives in the address, so that a view can be kept and sent), and one run.
"use strict";
Page.DEFAULTS = {
  board: 0, energy: "per_spike", order: "accuracy", text: "", spikes: "", steps: "", front: false,
  columns: false, far: false, every: false, lit: "", sort: "rank", down: false, run: "", theme: "",
  published: false, scope: "", find: "", order2: "", down2: false,
};
Page.state = { ...Page.DEFAULTS };

Page.unpack = async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
};

Page.nameOf = (board) => `${board.task}/${board.dataset}/${board.model}`;

Page.readAddress = () => {
  const given = new URLSearchParams(location.hash.slice(1));
  const state = { ...Page.DEFAULTS };
  for (const key of Object.keys(state)) {
    if (!given.has(key)) continue;
    state[key] = typeof state[key] === "boolean" ? given.get(key) === "1" : given.get(key);
  }
  const { boards, energy_models } = Page.data;
  const named = boards.findIndex((board) => Page.nameOf(board) === state.board);
  state.board = named >= 0 ? named : Math.min(Number(state.board) || 0, boards.length - 1);
  if (!energy_models.includes(state.energy)) state.energy = Page.DEFAULTS.energy;
  const ofRun = boards.findIndex((board) => board.rows.some((row) => row.runs.includes(state.run)));
  if (ofRun >= 0) state.board = ofRun;
  else state.run = "";
  Page.state = state;
};

Page.writeAddress = () => {
  const { boards } = Page.data;
  const names = boards.map(Page.nameOf);
  const words = new URLSearchParams();
  for (const [key, value] of Object.entries(Page.state)) {
    if (value === Page.DEFAULTS[key]) continue;
    const name = names[Page.state.board];
    const alone = names.filter((other) => other === name).length === 1;
    words.set(key, key === "board" ? (alone ? name : value) : value === true ? "1" : value);
  }
  history.replaceState(null, "", `#${words}`);
};

Page.change = (some) => {
  const board = "board" in some && Number(some.board) !== Page.state.board;
  // Filters name what the last board had; another board starts without them.
  const cleared = board ? { text: "", spikes: "", steps: "", front: false, sort: "rank", down: false, run: "", lit: "" } : {};
  Object.assign(Page.state, cleared, some);
  Page.state.board = Number(Page.state.board);
  Page.writeAddress();
  const keys = Object.keys(some);
  // A table that stays as it is keeps the place of the keyboard's focus.
  if (keys.every((key) => key === "run")) Page.showRun();
  else if (keys.every((key) => key === "lit")) Page.showLit();
  else if (keys.every((key) => ["published", "scope", "find", "order2", "down2"].includes(key))) Page.showPublished();
  else if (keys.every((key) => key === "theme")) Page.showTheme();
  else Page.show();
};

Page.options = (id, entries, chosen) => {
  document.getElementById(id).replaceChildren(...entries.map(([value, text]) =>
    Page.make("option", { value, selected: String(value) === String(chosen) }, text)));
};

Page.show = () => {
  const { state, data } = Page;
  Page.board = data.boards[state.board];
  const unique = (values) => [...new Set(values)].filter((value) => value !== 0);
  const { rows } = Page.board;
  const title = (board) => `${board.dataset} / ${board.model} (${board.task})`;
  const kinds = unique(rows.map((row) => row.strictness)).sort();
  const times = unique(rows.map((row) => row.T)).sort((a, b) => a - b);
  Page.options("which", data.boards.map((board, place) => [place, title(board)]), state.board);
  Page.options("energy", data.energy_models.map((name) => [name, name.replace("_", " ")]), state.energy);
  Page.options("spikes", [["", "anything"], ...kinds.map((kind) => [kind, kind])], state.spikes);
  Page.options("steps", [["", "any"], ...times.map((T) => [T, T])], state.steps);
  document.getElementById("order").value = state.order;
  const text = document.getElementById("text");
  if (text.value !== state.text) text.value = state.text;
  for (const id of ["front", "columns", "far", "every"]) document.getElementById(id).checked = state[id];
  Page.showTheme();
  document.getElementById("title").textContent = title(Page.board);
  const limit = state.order === "energy"
    ? ` Ranked are rows that lose at most ${data.max_drop} against the ANN, by energy.` : "";
  document.getElementById("about").textContent =
    `${Page.board.n_test.toLocaleString("en")} test samples; ${Page.titled()}`
    + `, ${Page.board.higher_is_better ? "more" : "less"} is better.${limit}`;
  document.getElementById("measured").textContent = Page.board.measured;
  const shown = Page.visible();
  Page.showTable(shown);
  Page.showCurves(shown);
  Page.showPublished();
  Page.showRun();
};

Page.showTheme = () => {
  const { theme } = Page.state;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.getElementById("theme").textContent = `theme: ${theme || "system"}`;
};

Page.showRun = () => {
  const dialog = document.getElementById("run");
  const { run } = Page.state;
  const row = run && Page.board.rows.find((one) => one.runs.includes(run));
  if (!row) {
    if (dialog.open) dialog.close();
    return;
  }
  const isAtSeeds = document.activeElement?.closest(".seeds");
  document.getElementById("run-body").replaceChildren(...Page.describe(row, run));
  if (!dialog.open) dialog.showModal();
  if (isAtSeeds) dialog.querySelector('[aria-pressed="true"]').focus();
};

Page.describe = (row, id) => {
  const { make, number } = Page;
  const run = Page.data.runs[id];
  const shared = (place) => Page.data.shared[place];
  const seeds = row.runs.map((other) => make("button", { type: "button", "aria-pressed": String(other === id),
    "data-run": other, onclick: () => Page.change({ run: other }) }, `seed ${Page.data.runs[other].seed}`));
  const close = make("button", { type: "button", onclick: () => Page.change({ run: "" }) }, "close");
  const title = `${row.label}${row.T ? `, T=${row.T}` : ""}`;
  const figures = [];
  if (run.sites) {
    const names = shared(run.sites.names);
    const whole = (value) => (value === null ? "–" : String(value));
    if (names.length && row.strictness !== "quantised") {
      figures.push(Page.bars("φ: most spikes of a neuron in a step", names, run.sites.max_spikes, whole));
      figures.push(Page.bars("θ-ratio ρ of SSC (1: uncompressed)", names, run.sites.ratio, (value) => number(value, 2)));
      figures.push(Page.bars("rate: spikes of a neuron a step", names, run.sites.rate, (value) => number(value, 3)));
    } else if (names.length) {
      figures.push(Page.bars("levels of an activation, less one", names, run.sites.max_spikes, whole));
    }
    const layers = shared(run.layers.names);
    if (layers.length) figures.push(Page.bars("energy (nJ a sample, per spike)", layers, run.layers.energy_nj, Page.count));
  }
  if (run.metric_by_step.length > 1) figures.push(Page.bySteps(run.metric_by_step, run.ann));
  if (row.T > 1 && run.histogram.filter(Boolean).length > 1) figures.push(Page.exits(run.histogram, row.T));
  const known = Page.columns().filter((column) => !column.name)
    .map((column) => [column.title === "#" ? "rank" : column.title, Page.cell(column, row)]);
  return [
    make("div", { class: "top" }, make("h2", { id: "run-title" }, title), close),
    make("div", { class: "seeds" }, ...seeds,
      make("span", {}, `${Page.board.metric} ${Page.score(run.score)} ${Page.unit()}, ANN ${Page.score(run.ann)}`)),
    run.sites ? make("h3", {}, "Layer by layer") : null,
    make("div", { class: "bars" }, ...figures),
    make("h3", {}, "Where this row comes from"), Page.origin(id, run),
    make("h3", {}, "All numbers of the row (mean over seeds)"), Page.list(known),
  ].filter(Boolean);
};

Page.list = (entries) =>
  Page.make("dl", {}, ...entries.flatMap(([name, value]) => [Page.make("dt", {}, name), Page.make("dd", {}, value)]));

Page.threads = ({ threads }) => `${threads} thread${threads === 1 ? "" : "s"}`;

Page.origin = (id, run) => {
  const shared = (place) => Page.data.shared[place];
  const place = shared(run.environment);
  const folder = Page.data.results ? ` --results ${Page.data.results}` : "";
  const config = Object.fromEntries(Object.entries(run.config).map(([key, where]) => [key, shared(where)]));
  const latency = run.latency === undefined ? null : shared(run.latency);
  return Page.make("div", {}, Page.list([
    ["run it again", Page.make("code", { class: "command" }, `adacal verify ${id}${folder}`)],
    ["record", id], ["recorded", run.created], ["seed", String(run.seed)],
    ["data fingerprint", shared(run.data)], ["checkpoint sha256", shared(run.checkpoint) || "none"],
    ["calibration", `${run.calibration.samples} samples in ${Page.number(run.calibration.seconds, 1)} s; `
      + `sha256 of their positions ${shared(run.calibration.indices_sha256)}`],
    ["versions", `adacal ${place.adacal}, torch ${place.torch}, numpy ${place.numpy}, Python ${place.python}`
      + Object.entries(place.libraries ?? {}).map(([name, version]) => `, ${name} ${version}`).join("")],
    ["plug-ins", run.plug_ins === null ? "not recorded then" : shared(run.plug_ins).join("; ") || "none"],
    ["commit", place.commit ? place.commit + (place.dirty ? ", with changes" : "") : "unknown"],
    ["machine", `${place.accelerator || place.processor}, ${place.platform}, ${place.device}, ${Page.threads(place)}`],
    ["wall time", !latency ? "not measured"
      : `median of ${latency.repeats} calls, ${latency.batch} samples a call, ${Page.threads(latency)}, ${latency.device}`],
  ]), Page.make("details", {}, Page.make("summary", {}, "config of the run"),
    Page.make("pre", {}, JSON.stringify(config, null, 1))));
};

Page.listen = () => {
  const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  for (const [id, key] of [["which", "board"], ["energy", "energy"], ["order", "order"], ["spikes", "spikes"], ["steps", "steps"],
    ["scope", "scope"]]) {
    on(id, "change", (event) => Page.change({ [key]: event.target.value }));
  }
  for (const id of ["text", "find"]) on(id, "input", (event) => Page.change({ [id]: event.target.value }));
  for (const id of ["front", "columns", "far", "every", "published"]) on(id, "change", (event) => Page.change({ [id]: event.target.checked }));
  // They stand below a long table: whoever asks for them is taken there.
  on("published", "change", (event) => event.target.checked && document.getElementById("apart-title").focus());
  on("theme", "click", () => Page.change({ theme: { "": "light", light: "dark", dark: "" }[Page.state.theme] }));
  on("run", "close", () => Page.state.run && Page.change({ run: "" }));
  on("run", "click", (event) => event.target.id === "run" && Page.change({ run: "" }));
  addEventListener("hashchange", () => { Page.readAddress(); Page.show(); });
  let [width, timer] = [innerWidth, 0];
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => Page.showCurves(Page.visible()), 150);
  });
};

if (!("DecompressionStream" in window)) {
  document.getElementById("about").textContent =
    "This browser cannot unpack the page's data; open it with one of 2024 or newer.";
} else Page.unpack().then((data) => {
  Page.data = data;
  Page.readAddress();
  Page.listen();
  Page.show();
  document.documentElement.dataset.ready = "yes";
});

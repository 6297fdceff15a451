// Published numbers: a table of their own, on request, with the gap to ours where both exist.
"use strict";
Page.SCOPES = {
  here: { text: "this dataset and model", keep: (row) => row.boards.includes(Page.state.board) },
  task: { text: "this task", keep: (row) => row.task === Page.board.task },
  all: { text: "all tasks", keep: () => true },
};

// Without a wish, the nearest that has any.
Page.scope = () => {
  const { rows } = Page.data.published;
  if (Page.state.scope in Page.SCOPES) return Page.state.scope;
  return Object.keys(Page.SCOPES).find((name) => rows.some(Page.SCOPES[name].keep)) ?? "all";
};

// Columns about ours are there where a row has one.
Page.publishedColumns = (pairs) => {
  const plain = (value) => (value === null ? "–" : Page.number(value, 2));
  const drop = ({ row }) => (row.ann === null ? null : row.ann - row.value);
  const open = (ours) => Page.make("button", { type: "button", class: "open",
    onclick: () => Page.change({ board: ours.board, run: ours.run }) }, ...Page.breakable(ours.label));
  const source = (row) => (row.address
    ? Page.make("a", { href: row.address, target: "_blank", rel: "noopener noreferrer" }, row.source) : row.source);
  const columns = [
    { key: "method", title: "published method", name: true, value: ({ row }) => row.method, text: ({ row }) => row.method },
    { key: "dataset", title: "dataset", left: true, value: ({ row }) => row.dataset, text: ({ row }) => row.dataset || "–" },
    { key: "model", title: "model", left: true, value: ({ row }) => row.model, text: ({ row }) => row.model || "–" },
    { key: "T", title: "T", value: ({ row }) => row.steps, text: ({ row }) => row.T || "–" },
    { key: "metric", title: "metric", left: true, value: ({ row }) => row.metric,
      text: ({ row }) => row.metric + (row.unit ? ` (${row.unit})` : "") },
    { key: "value", title: "published", falls: true, value: ({ row }) => row.value,
      text: ({ row }) => plain(row.value) + (row.secondary ? "*" : "") },
    { key: "ann", title: "its ANN", falls: true, value: ({ row }) => row.ann, text: ({ row }) => plain(row.ann) },
    { key: "drop", title: "its drop", value: drop, text: (pair) => plain(drop(pair)) },
    { key: "ours", title: "ours", falls: true, value: ({ ours }) => ours?.score ?? null, text: ({ ours }) => plain(ours?.score ?? null) },
    { key: "gap", title: "gap: ours − published", value: ({ ours }) => ours?.gap ?? null,
      text: ({ ours }) => (ours ? (ours.gap > 0 ? "+" : "") + plain(ours.gap) : "–") },
    { key: "row", title: "our row", left: true, value: ({ ours }) => ours?.label ?? null, text: ({ ours }) => (ours ? open(ours) : "–") },
    { key: "source", title: "source", left: true, long: true, value: ({ row }) => row.source, text: ({ row }) => source(row) },
    { key: "paper", title: "paper", left: true, long: true, value: ({ row }) => row.paper, text: ({ row }) => row.paper },
    { key: "note", title: "note", left: true, long: true, value: ({ row }) => row.note || null, text: ({ row }) => row.note || "–" },
  ];
  const met = pairs.some(({ ours }) => ours);
  return columns.filter(({ key }) => met || !["ours", "gap", "row"].includes(key));
};

Page.publishedPairs = () => {
  const { keep } = Page.SCOPES[Page.scope()];
  const words = Page.state.find.toLowerCase();
  const said = (row) => `${row.method} ${row.dataset} ${row.model} ${row.paper} ${row.source}`.toLowerCase();
  const pairs = Page.data.published.rows.filter((row) => keep(row) && said(row).includes(words))
    .flatMap((row) => (row.ours.length ? row.ours : [null]).map((ours) => ({ row, ours })));
  const column = Page.publishedColumns(pairs).find((one) => one.key === Page.state.order2);
  if (column) return Page.sorted(pairs, column.value, Page.state.down2);
  return Page.sorted(pairs, ({ ours }) => (ours ? 0 : 1), false); // what we measured, too, comes first
};

Page.showPublished = () => {
  const { published, order2, down2 } = Page.state;
  const { rows, note } = Page.data.published;
  const at = (id) => document.getElementById(id);
  at("published").checked = published;
  at("apart").hidden = !published;
  if (!published) return;
  const scope = Page.scope();
  Page.options("scope", Object.entries(Page.SCOPES).map(([name, { text, keep }]) => [name, `${text} (${rows.filter(keep).length})`]), scope);
  if (at("find").value !== Page.state.find) at("find").value = Page.state.find;
  at("apart-note").textContent = note;
  const pairs = Page.publishedPairs();
  const columns = Page.publishedColumns(pairs);
  const table = at("published-table");
  const turn = (column) => Page.change({ order2: column.key, down2: order2 === column.key ? !down2 : Boolean(column.falls) });
  Page.heads(table, columns, order2, down2, turn);
  table.tBodies[0].replaceChildren(...pairs.map((pair) => Page.make("tr", { class: pair.ours ? "both" : null },
    ...columns.map((column) => Page.make(column.name ? "th" : "td",
      { scope: column.name ? "row" : null, class: Page.classes(column) }, column.text(pair))))));
  const met = pairs.filter((pair) => pair.ours).length;
  at("published-count").textContent = `${pairs.length} rows, ${met} of them beside one measured here`
    + (met ? "" : ": dataset, model, method and T must be the same for a gap");
};

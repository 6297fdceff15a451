// Which rows stand out: those a reader chose, else the front and the best row of each method.
"use strict";
Page.CROWD = 8; // up to so many labels, curves can be told apart as they are

Page.chosen = () => new Set(Page.state.lit ? Page.state.lit.split("|") : []);

Page.turn = (label) => {
  const chosen = Page.chosen();
  if (!chosen.delete(label)) chosen.add(label);
  Page.change({ lit: [...chosen].join("|") });
};

// Says what is drawn in full: rows, why these, and whether the others fade.
Page.standing = (rows) => {
  const spiking = rows.filter((row) => !Page.isControl(row));
  const controls = rows.filter(Page.isControl);
  const chosen = Page.chosen();
  if (chosen.size) {
    return { rows: new Set(rows.filter((row) => chosen.has(row.label))), why: "the methods chosen", whole: true };
  }
  if (Page.state.every || new Set(spiking.map((row) => row.label)).size <= Page.CROWD) {
    return { rows: new Set(rows), why: "", whole: true };
  }
  const front = spiking.filter((row) => Page.energyOf(row).front);
  const best = d3.groups(spiking, (row) => row.method).map(([, group]) => d3.least(group, Page.better));
  return { rows: new Set([...front, ...best, ...controls]), why: "the Pareto front and the best row of each method", whole: false };
};

// Less lost is better, then less energy; ranked by energy, less energy at a loss that is allowed.
Page.better = (a, b) => {
  const [lost, energy] = [a.drop - b.drop, Page.energyOf(a).uj - Page.energyOf(b).uj];
  if (Page.state.order !== "energy") return lost || energy;
  const beyond = (row) => Number(row.drop > Page.data.max_drop);
  return beyond(a) - beyond(b) || (beyond(a) ? lost || energy : energy || lost);
};

// A method's symbol in its colour.
Page.symbol = (symbol, colour) => {
  const shape = d3.create("svg").attr("width", 16).attr("height", 16).attr("viewBox", "-8 -8 16 16").attr("aria-hidden", "true");
  const kind = d3[`symbol${symbol[0].toUpperCase()}${symbol.slice(1)}`];
  shape.append("path").attr("d", d3.symbol(kind, 60)()).attr("fill", colour);
  return shape.node();
};

// The button that draws a method in full, with its symbol; `text` is what it says beside.
Page.key = (label, text) => {
  const { domain, colours, symbols } = Page.scales();
  const place = domain.indexOf(label);
  if (place < 0) return null;
  return Page.make("button", { type: "button", class: "key", "data-label": label, title: "draw in full",
    "aria-label": `draw ${label} in full`, "aria-pressed": String(Page.chosen().has(label)),
    onclick: () => Page.turn(label) }, Page.symbol(symbols[place], colours[place]), text);
};

Page.showLegend = (points, standing) => {
  const legend = document.getElementById("legend");
  const focused = document.activeElement?.closest("#legend button")?.dataset.label;
  const full = new Set([...standing.rows].map((row) => row.label));
  const entries = Page.scales().domain.flatMap((label) => {
    const point = points.find((one) => one.label === label);
    if (!point) return [];
    const entry = Page.key(label, point.control ? `${label} (control)` : label);
    entry.classList.toggle("faint", !full.has(label));
    return [entry];
  });
  if (points.some((point) => point.row.strictness === "none")) {
    entries.push(Page.make("span", {}, Page.symbol("star", "currentColor"), "ANN"));
  }
  if (Page.state.lit) {
    entries.push(Page.make("button", { type: "button", class: "clear", "data-label": "", onclick: () => Page.change({ lit: "" }) },
      "none of these"));
  }
  legend.replaceChildren(...entries);
  if (focused === undefined) return;
  const again = entries.find((entry) => entry.dataset.label === focused) ?? entries[0];
  again.focus();
};

// Only the curves and the marks in the table change, so the keyboard's focus stays.
Page.showLit = () => {
  const chosen = Page.chosen();
  for (const row of document.querySelectorAll("#table tbody tr")) {
    const isChosen = chosen.has(row.dataset.label);
    row.classList.toggle("lit", isChosen);
    row.querySelector(".key")?.setAttribute("aria-pressed", String(isChosen));
  }
  Page.showCurves(Page.visible());
};

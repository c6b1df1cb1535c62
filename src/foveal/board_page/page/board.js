// Requests the list of runs again and again, and shows what changed. All text is inserted as text, never as HTML.
"use strict";
const POLL_INTERVAL = 1500; // milliseconds
const RETRY_INTERVAL = 5000; // milliseconds, after the board did not answer

const query = (selector) => document.querySelector(selector);
const create = (name, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};
const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

const selected = new Set(); // ids of ticked runs and groups
const rows = new Map(); // id -> table row
const cards = new Map(); // id -> { element, drawn }, where `drawn` is the state that its charts show
let sorting = { column: 8, descending: true }; // by the column "begun", the newest first
let listing = null; // the last list of runs
let listingText = ""; // the same as JSON text
let groupsText = ""; // the groups that the table shows, as JSON text

async function request(path) {
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Error(`${response.status}`);
  return response.text();
}

// ---- the table

function createHeading(text, column, isNumber) {
  const button = create("button", { type: "button", textContent: text[0].toUpperCase() + text.slice(1) });
  const cell = create("th", { scope: "col", className: isNumber ? "number" : "" }, button);
  button.addEventListener("click", () => {
    sorting = { column, descending: sorting.column === column ? !sorting.descending : isNumber };
    sortRows();
  });
  return cell;
}

function createHeadings() {
  const row = query("#runs thead tr");
  if (row.cells.length) return;
  row.append(create("th", { scope: "col" }, create("span", { className: "unseen", textContent: "Choose" })));
  listing.header.forEach((text, column) => row.append(createHeading(text, column, listing.right.includes(column))));
  row.append(create("th", { scope: "col" }, create("span", { className: "unseen", textContent: "Report" })));
}

function createCheckbox(id, name) {
  const box = create("input", { type: "checkbox" });
  box.setAttribute("aria-label", `Choose ${name}`);
  box.addEventListener("change", () => {
    if (box.checked) selected.add(id); else selected.delete(id);
    updateSelection();
  });
  return create("td", {}, box);
}

function createRow(run) {
  const row = create("tr", {}, createCheckbox(run.id, run.cells[0]));
  row.append(create("th", { scope: "row" }, create("bdi")));
  run.cells.slice(1).forEach((_, index) =>
    row.append(create("td", { className: listing.right.includes(index + 1) ? "number" : "" })));
  row.append(create("td"));
  rows.set(run.id, row);
  return row;
}

function fillRow(row, run) {
  const [name, state] = run.cells;
  setText(row.querySelector("bdi"), name);
  run.cells.slice(1).forEach((text, index) => setText(row.cells[index + 2], text));
  row.cells[2].className = `state ${state === "training" && !run.live ? "gone" : state}`;
  const reportCell = row.cells[row.cells.length - 1];
  if (run.report && !reportCell.firstChild) {
    const link = create("a", { href: `/runs/${run.id}/report`, target: "_blank", rel: "noopener", textContent: "Report" });
    link.setAttribute("aria-label", `Report of ${name}`);
    reportCell.append(link);
  } else if (!run.report) {
    reportCell.replaceChildren();
  }
}

function sortRows() {
  const { column, descending } = sorting;
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = [...listing.runs].sort((first, second) => {
    const [a, b] = [first.keys[column], second.keys[column]];
    const byName = compare(first.keys[0], second.keys[0]);
    if (a === null || b === null) return a === b ? byName : a === null ? 1 : -1;
    return (descending ? compare(b, a) : compare(a, b)) || byName;
  });
  const body = query("#runs tbody");
  sorted.forEach((run, index) => { // rows that are in their place stay untouched, and keep the focus
    const row = rows.get(run.id);
    if (body.rows[index] !== row) body.insertBefore(row, body.rows[index] ?? null);
  });
  [...query("#runs thead tr").cells].forEach((cell, index) => {
    if (index === column + 1) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

function showNotes() {
  query("#notes").replaceChildren(...listing.runs.filter((run) => run.reason !== null).map((run) =>
    create("li", {}, create("strong", {}, create("bdi", { textContent: run.cells[0] })), `: ${run.reason}`)));
}

function showGroups() {
  const text = JSON.stringify(listing.groups);
  if (text === groupsText) return;
  groupsText = text;
  query("#groups tbody").replaceChildren(...listing.groups.map((group) => {
    const row = create("tr", {}, createCheckbox(group.id, group.cells[0]));
    row.querySelector("input").checked = selected.has(group.id);
    row.append(create("th", { scope: "row" }, create("bdi", { textContent: group.cells[0] })));
    group.cells.slice(1).forEach((cell, index) =>
      row.append(create("td", { textContent: cell, className: index > 0 ? "number" : "" })));
    return row;
  }));
  query("#grouped").hidden = listing.groups.length === 0;
}

// ---- learning curves

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 440, HEIGHT = 210, LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 26;

function createShape(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function chooseTicks(low, high, maxTicks, integers) {
  const minStep = (high - low) / maxTicks || 1;
  const power = 10 ** Math.floor(Math.log10(minStep));
  let step = [1, 2, 5, 10].find((factor) => factor * power >= minStep * 0.999) * power;
  if (integers) step = Math.max(1, Math.round(step));
  const ticks = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) ticks.push(value);
  return ticks;
}

function chooseRange(values, metric) {
  const minimum = Math.min(...values), maximum = Math.max(...values);
  const margin = (maximum - minimum) * 0.06 || Math.abs(maximum) * 0.1 || 1;
  const low = Math.max(0, minimum - margin);
  const high = metric === "accuracy" ? Math.min(1, maximum + margin) : maximum + margin;
  return [high <= low ? high - margin : low, high];
}

function drawChart(title, epochs, metric, format) {
  const series = [["training", metric], ["validation", `validation_${metric}`]]
    .map(([name, key]) => [name, epochs.filter((epoch) => epoch[key] !== null).map((epoch) => [epoch.epoch, epoch[key]])])
    .filter(([, points]) => points.length);
  const [low, high] = chooseRange(series.flatMap(([, points]) => points.map(([, value]) => value)), metric);
  const lastEpoch = Math.max(2, epochs[epochs.length - 1].epoch);
  const x = (epoch) => LEFT + (WIDTH - LEFT - RIGHT) * (epoch - 1) / (lastEpoch - 1);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low);
  const svg = createShape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  for (const value of chooseTicks(low, high, 4, false)) {
    svg.append(createShape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(createShape("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  for (const epoch of chooseTicks(1, lastEpoch, 6, true)) {
    svg.append(createShape("text", { x: x(epoch), y: HEIGHT - 7, "text-anchor": "middle" }, String(epoch)));
  }
  const descriptions = [];
  for (const [name, points] of series) {
    const group = createShape("g", { class: name });
    const path = points.map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    group.append(createShape("polyline", { class: "curve", points: path }));
    const [epoch, value] = points[points.length - 1];
    group.append(createShape("circle", { cx: x(epoch), cy: y(value), r: 3.2 }));
    group.append(createShape("title", {}, `${name}: ${format(value, true)} at epoch ${epoch}`));
    svg.append(group);
    descriptions.push(`${name} ${format(value, true)} at epoch ${epoch}`);
  }
  svg.setAttribute("aria-label", `${title} by epoch: ${descriptions.join(", ")}`);
  const legend = create("span", { className: "key" }, ...series.map(([name]) =>
    create("span", { className: name, textContent: name })));
  return create("figure", {}, create("figcaption", {}, create("span", { textContent: title }), legend), svg);
}

const formatShort = (value) => (value >= 10 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : String(Number(value.toPrecision(2))));
const formatLoss = (value, exactly) => (exactly ? value.toFixed(4) : formatShort(value));
const formatPercent = (value, exactly) => (exactly ? `${(100 * value).toFixed(2)} %` : `${Number((100 * value).toFixed(1))} %`);

function drawCard(card, run, history) {
  const epochs = history.epochs;
  setText(card.querySelector("bdi"), run.cells[0]);
  const summary = card.querySelector("p");
  const charts = card.querySelector(".charts");
  if (!epochs.length) {
    setText(summary, history.refused ?? "No epoch is finished yet.");
    charts.replaceChildren();
    return;
  }
  const last = epochs[epochs.length - 1];
  const parts = [`${run.cells[1]}, epoch ${last.epoch}`, `training loss ${formatLoss(last.loss, true)}`];
  if (last.validation_accuracy !== null) parts.push(`validation accuracy ${formatPercent(last.validation_accuracy, true)}`);
  parts.push(`learning rate ${Number(last.learning_rate.toPrecision(3))}`);
  setText(summary, parts.join(" · "));
  charts.replaceChildren(drawChart("Loss", epochs, "loss", formatLoss), drawChart("Accuracy", epochs, "accuracy", formatPercent));
}

async function updateCards() {
  const runs = listing.runs.filter((run) => run.live || selected.has(run.id));
  const ids = new Set(runs.map((run) => run.id));
  for (const [id, card] of cards) if (!ids.has(id)) { card.element.remove(); cards.delete(id); }
  for (const run of runs) {
    let card = cards.get(run.id);
    if (!card) {
      const element = create("div", { className: "card" }, create("h3", {}, create("bdi")), create("p"), create("div", { className: "charts" }));
      card = { element, drawn: null };
      cards.set(run.id, card);
    }
    const parent = query(run.live ? "#live .cards" : "#selected .cards");
    if (card.element.parentNode !== parent) parent.append(card.element);
    const current = JSON.stringify(run.cells);
    if (card.drawn !== current) {
      drawCard(card.element, run, JSON.parse(await request(`/api/runs/${run.id}/history`)));
      card.drawn = current;
    }
  }
  for (const section of ["#live", "#selected"]) query(section).hidden = !query(`${section} .cards`).firstChild;
}

// ---- comparisons

function updateSelection() {
  query("#compare").disabled = selected.size < 2;
  setText(query("#hint"), selected.size < 2 ? "Tick one to see its curves, two or more to compare them." : `${selected.size} are ticked.`);
  updateCards().catch(showDisconnected);
}

function createTable(header, body, name) {
  const head = create("tr", {}, ...header.map((text, index) => create("th", { scope: "col", textContent: text, className: index ? "number" : "" })));
  const lines = body.map((cells) => create("tr", {}, ...cells.map((text, index) =>
    index ? create("td", { textContent: text, className: "number" })
      : create("th", { scope: "row" }, create("bdi", { textContent: text })))));
  const table = create("table", {}, create("thead", {}, head), create("tbody", {}, ...lines));
  const region = create("div", { className: "scroll", tabIndex: 0 }, table);
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", name);
  return region;
}

function createOutcome(comparison) {
  if (comparison.refused !== null) return [create("p", { textContent: comparison.refused })];
  const parts = [
    create("p", { className: "caption", textContent: comparison.images }),
    create("ul", { className: "findings" }, ...comparison.sentences.map((text) => create("li", { textContent: text }))),
    createTable(comparison.header, comparison.rows, "What was compared"),
  ];
  const classes = comparison.classes;
  if (classes && classes.rows.length) {
    parts.push(create("h3", { textContent: "Classes whose recall differs by more than chance" }));
    parts.push(createTable(classes.header, classes.rows, "Classes"));
  } else if (classes) {
    parts.push(create("p", { textContent: `No class's recall differs by more than chance (${classes.n} classes, Holm's correction).` }));
  }
  if (comparison.note) parts.push(create("p", { className: "caption", textContent: comparison.note }));
  return parts;
}

query("#compare").addEventListener("click", async () => {
  const outcome = query("#comparison .outcome");
  const compared = [...listing.runs, ...listing.groups].filter(({ id }) => selected.has(id));
  const parameters = new URLSearchParams([...compared.map(({ id }) => ["run", id]), ["split", query("#split").value]]);
  query("#comparison").hidden = false;
  outcome.replaceChildren(create("p", { className: "caption", textContent: "Comparing …" }));
  query("#comparison-title").focus();
  try {
    outcome.replaceChildren(...createOutcome(JSON.parse(await request(`/api/compare?${parameters}`))));
  } catch (error) {
    outcome.replaceChildren(create("p", { textContent: "The board did not answer." }));
  }
});

// ---- polling

function showDisconnected() {
  setText(query("#status"), "The board does not answer; this is what it said last.");
}

async function showListing() {
  createHeadings();
  const runIds = new Set(listing.runs.map((run) => run.id));
  const allIds = new Set([...runIds, ...listing.groups.map((group) => group.id)]);
  for (const [id, row] of rows) if (!runIds.has(id)) { row.remove(); rows.delete(id); }
  for (const run of listing.runs) fillRow(rows.get(run.id) ?? createRow(run), run);
  sortRows();
  showNotes();
  showGroups();
  setText(query("#folder"), listing.folder);
  query("#list").hidden = listing.runs.length === 0;
  const goneIds = [...selected].filter((id) => !allIds.has(id));
  if (goneIds.length) {
    for (const id of goneIds) selected.delete(id);
    updateSelection();
  }
  await updateCards();
}

async function update() {
  const text = await request("/api/runs");
  if (text !== listingText) {
    listing = JSON.parse(text);
    await showListing();
    listingText = text;
  }
  const live = listing.runs.filter((run) => run.live).length;
  const n = listing.runs.length;
  setText(query("#status"), n === 0 ? "No runs yet; “foveal train DIR” makes one."
    : `${n.toLocaleString("en")} ${n === 1 ? "run" : "runs"}${live ? `, ${live} in progress` : ""}`);
}

async function poll() {
  let wait = POLL_INTERVAL;
  if (!document.hidden) {
    try {
      await update();
    } catch (error) {
      showDisconnected();
      listingText = "";
      wait = RETRY_INTERVAL;
    }
  }
  setTimeout(poll, wait);
}
poll();

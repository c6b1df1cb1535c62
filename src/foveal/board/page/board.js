// Asks the board for its list again and again, and shows what changed. Every text is put in as text.
"use strict";
const EVERY = 1500; // milliseconds
const AGAIN = 5000; // when nobody answered

const find = (selector) => document.querySelector(selector);
const make = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};
const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };

const chosen = new Set(); // ids of ticked runs and groups
const rows = new Map(); // id -> table row
const cards = new Map(); // id -> { element, seen }
let sorting = { column: 8, down: true }; // begun, the newest first
let listing = null; // what the board said last
let said = "";

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.text();
}

// ---- the table

function heading(text, column, right) {
  const button = make("button", { type: "button", textContent: text[0].toUpperCase() + text.slice(1) });
  const cell = make("th", { scope: "col", className: right ? "number" : "" }, button);
  button.addEventListener("click", () => {
    sorting = { column, down: sorting.column === column ? !sorting.down : right };
    order();
  });
  return cell;
}

function headings() {
  const row = find("#runs thead tr");
  if (row.cells.length) return;
  row.append(make("th", { scope: "col" }, make("span", { className: "unseen", textContent: "Choose" })));
  listing.header.forEach((text, column) => row.append(heading(text, column, listing.right.includes(column))));
  row.append(make("th", { scope: "col" }, make("span", { className: "unseen", textContent: "Report" })));
}

function tick(id, name) {
  const box = make("input", { type: "checkbox" });
  box.setAttribute("aria-label", `Choose ${name}`);
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(id); else chosen.delete(id);
    choose();
  });
  return make("td", {}, box);
}

function addRow(run) {
  const row = make("tr", {}, tick(run.id, run.cells[0]));
  row.append(make("th", { scope: "row" }, make("bdi")));
  run.cells.slice(1).forEach((_, place) =>
    row.append(make("td", { className: listing.right.includes(place + 1) ? "number" : "" })));
  row.append(make("td"));
  rows.set(run.id, row);
  return row;
}

function fill(row, run) {
  const [name, state] = run.cells;
  put(row.querySelector("bdi"), name);
  run.cells.slice(1).forEach((text, place) => put(row.cells[place + 2], text));
  row.cells[2].className = `state ${state === "training" && !run.live ? "gone" : state}`;
  const last = row.cells[row.cells.length - 1];
  if (run.report && !last.firstChild) {
    const link = make("a", { href: `/runs/${run.id}/report`, target: "_blank", rel: "noopener", textContent: "Report" });
    link.setAttribute("aria-label", `Report of ${name}`);
    last.append(link);
  } else if (!run.report) {
    last.replaceChildren();
  }
}

function order() {
  const { column, down } = sorting;
  const before = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = [...listing.runs].sort((one, other) => {
    const [a, b] = [one.keys[column], other.keys[column]];
    if (a === null || b === null) return a === b ? before(one.keys[0], other.keys[0]) : a === null ? 1 : -1;
    return (down ? before(b, a) : before(a, b)) || before(one.keys[0], other.keys[0]);
  });
  const body = find("#runs tbody");
  sorted.forEach((run, place) => { // what is in its place stays untouched, and keeps the focus
    const row = rows.get(run.id);
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
  });
  [...find("#runs thead tr").cells].forEach((cell, place) => {
    if (place === column + 1) cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
}

function notes() {
  find("#notes").replaceChildren(...listing.runs.filter((run) => run.reason !== null).map((run) =>
    make("li", {}, make("strong", {}, make("bdi", { textContent: run.cells[0] })), `: ${run.reason}`)));
}

function groups() {
  const body = find("#groups tbody");
  body.replaceChildren(...listing.groups.map((group) => {
    const row = make("tr", {}, tick(group.id, group.cells[0]));
    row.querySelector("input").checked = chosen.has(group.id);
    row.append(make("th", { scope: "row" }, make("bdi", { textContent: group.cells[0] })));
    group.cells.slice(1).forEach((text, place) =>
      row.append(make("td", { textContent: text, className: place > 0 ? "number" : "" })));
    return row;
  }));
  find("#grouped").hidden = listing.groups.length === 0;
}

// ---- curves

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 440, HEIGHT = 210, LEFT = 52, RIGHT = 12, TOP = 10, BOTTOM = 26;

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function ticks(low, high, most, whole) {
  const rough = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-6; value += step) found.push(value);
  return found;
}

function chart(title, epochs, figure, format) {
  const series = [["training", figure], ["validation", `validation_${figure}`]].map(([name, key]) =>
    [name, epochs.filter((each) => each[key] !== null).map((each) => [each.epoch, each[key]])]);
  const values = series.flatMap(([, points]) => points.map(([, value]) => value));
  let low = Math.min(...values), high = Math.max(...values);
  const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  low = Math.max(0, low - room);
  high = figure === "accuracy" ? Math.min(1, high + room) : high + room;
  if (high <= low) low = high - room;
  const last = Math.max(2, epochs[epochs.length - 1].epoch);
  const x = (epoch) => LEFT + (WIDTH - LEFT - RIGHT) * (epoch - 1) / (last - 1);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low);
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  for (const value of ticks(low, high, 4, false)) {
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(shape("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  for (const epoch of ticks(1, last, 6, true)) {
    svg.append(shape("text", { x: x(epoch), y: HEIGHT - 7, "text-anchor": "middle" }, String(epoch)));
  }
  const told = [];
  for (const [name, points] of series) {
    if (!points.length) continue;
    const group = shape("g", { class: name });
    const path = points.map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    group.append(shape("polyline", { class: "curve", points: path }));
    const [epoch, value] = points[points.length - 1];
    group.append(shape("circle", { cx: x(epoch), cy: y(value), r: 3.2 }));
    group.append(shape("title", {}, `${name}: ${format(value, true)} at epoch ${epoch}`));
    svg.append(group);
    told.push(`${name} ${format(value, true)} at epoch ${epoch}`);
  }
  svg.setAttribute("aria-label", `${title} by epoch: ${told.join(", ")}`);
  const key = make("span", { className: "key" }, ...series.filter(([, points]) => points.length).map(([name]) =>
    make("span", { className: name, textContent: name })));
  return make("figure", {}, make("figcaption", {}, make("span", { textContent: title }), key), svg);
}

const plain = (value) => (value >= 10 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : String(Number(value.toPrecision(2))));
const loss = (value, exactly) => (exactly ? value.toFixed(4) : plain(value));
const share = (value, exactly) => (exactly ? `${(100 * value).toFixed(2)} %` : `${Number((100 * value).toFixed(1))} %`);

function draw(card, run, history) {
  const epochs = history.epochs;
  put(card.querySelector("bdi"), run.cells[0]);
  const line = card.querySelector("p");
  const charts = card.querySelector(".charts");
  if (!epochs.length) {
    put(line, history.refused ?? "No epoch is finished yet.");
    charts.replaceChildren();
    return;
  }
  const last = epochs[epochs.length - 1];
  const parts = [`${run.cells[1]}, epoch ${last.epoch}`, `training loss ${loss(last.loss, true)}`];
  if (last.validation_accuracy !== null) parts.push(`validation accuracy ${share(last.validation_accuracy, true)}`);
  parts.push(`learning rate ${Number(last.learning_rate.toPrecision(3))}`);
  put(line, parts.join(" · "));
  charts.replaceChildren(chart("Loss", epochs, "loss", loss), chart("Accuracy", epochs, "accuracy", share));
}

async function curves() {
  const shown = listing.runs.filter((run) => run.live || chosen.has(run.id));
  const wanted = new Set(shown.map((run) => run.id));
  for (const [id, card] of cards) if (!wanted.has(id)) { card.element.remove(); cards.delete(id); }
  for (const run of shown) {
    let card = cards.get(run.id);
    if (!card) {
      const element = make("div", { className: "card" }, make("h3", {}, make("bdi")), make("p"), make("div", { className: "charts" }));
      card = { element, seen: null };
      cards.set(run.id, card);
    }
    const place = find(run.live ? "#live .cards" : "#chosen .cards");
    if (card.element.parentNode !== place) place.append(card.element);
    const now = JSON.stringify(run.cells);
    if (card.seen !== now) {
      draw(card.element, run, JSON.parse(await ask(`/api/runs/${run.id}/history`)));
      card.seen = now;
    }
  }
  for (const part of ["#live", "#chosen"]) find(part).hidden = !find(`${part} .cards`).firstChild;
}

// ---- comparisons

function choose() {
  find("#compare").disabled = chosen.size < 2;
  put(find("#hint"), chosen.size < 2 ? "Tick one to see its curves, two or more to compare them." : `${chosen.size} are ticked.`);
  curves().catch(lost);
}

function simpleTable(header, body, name) {
  const head = make("tr", {}, ...header.map((text, place) => make("th", { scope: "col", textContent: text, className: place ? "number" : "" })));
  const lines = body.map((cells) => make("tr", {}, ...cells.map((text, place) =>
    place ? make("td", { textContent: text, className: "number" })
      : make("th", { scope: "row" }, make("bdi", { textContent: text })))));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines));
  const around = make("div", { className: "scroll", tabIndex: 0 }, table);
  around.setAttribute("role", "region");
  around.setAttribute("aria-label", name);
  return around;
}

function outcome(found) {
  if (found.refused !== null) return [make("p", { textContent: found.refused })];
  const parts = [
    make("p", { className: "caption", textContent: found.images }),
    make("ul", { className: "findings" }, ...found.sentences.map((text) => make("li", { textContent: text }))),
    simpleTable(found.header, found.rows, "What was compared"),
  ];
  if (found.classes && found.classes.rows.length) {
    parts.push(make("h3", { textContent: "Classes whose recall differs by more than chance" }));
    parts.push(simpleTable(found.classes.header, found.classes.rows, "Classes"));
  } else if (found.classes) {
    parts.push(make("p", { textContent: `No class's recall differs by more than chance (${found.classes.n} classes, Holm's correction).` }));
  }
  if (found.note) parts.push(make("p", { className: "caption", textContent: found.note }));
  return parts;
}

find("#compare").addEventListener("click", async () => {
  const section = find("#comparison"), place = find("#comparison .outcome");
  const listed = [...listing.runs, ...listing.groups].filter((each) => chosen.has(each.id));
  const query = new URLSearchParams([...listed.map((each) => ["run", each.id]), ["split", find("#split").value]]);
  section.hidden = false;
  place.replaceChildren(make("p", { className: "caption", textContent: "Comparing …" }));
  find("#comparison-title").focus();
  try {
    place.replaceChildren(...outcome(JSON.parse(await ask(`/api/compare?${query}`))));
  } catch (error) {
    place.replaceChildren(make("p", { textContent: "The board did not answer." }));
  }
});

// ---- again and again

function lost() {
  put(find("#status"), "The board does not answer; this is what it said last.");
}

async function look() {
  const text = await ask("/api/runs");
  if (text !== said) {
    listing = JSON.parse(text);
    headings();
    const there = new Set(listing.runs.map((run) => run.id));
    const all = new Set([...there, ...listing.groups.map((group) => group.id)]);
    for (const [id, row] of rows) if (!there.has(id)) { row.remove(); rows.delete(id); }
    for (const run of listing.runs) fill(rows.get(run.id) ?? addRow(run), run);
    order();
    notes();
    if (JSON.stringify(listing.groups) !== find("#groups").told) {
      groups();
      find("#groups").told = JSON.stringify(listing.groups);
    }
    put(find("#folder"), listing.folder);
    find("#list").hidden = listing.runs.length === 0;
    if ([...chosen].some((id) => !all.has(id))) {
      for (const id of [...chosen]) if (!all.has(id)) chosen.delete(id);
      choose();
    }
    await curves();
    said = text;
  }
  const live = listing.runs.filter((run) => run.live).length;
  const n = listing.runs.length;
  put(find("#status"), n === 0 ? "No runs yet; “foveal train DIR” makes one."
    : `${n.toLocaleString("en")} ${n === 1 ? "run" : "runs"}${live ? `, ${live} in progress` : ""}`);
}

async function watch() {
  let wait = EVERY;
  if (!document.hidden) {
    try {
      await look();
    } catch (error) {
      lost();
      said = "";
      wait = AGAIN;
    }
  }
  setTimeout(watch, wait);
}
watch();

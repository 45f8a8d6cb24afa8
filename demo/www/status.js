// Shows what "xspace_status json" counts, and asks again every two seconds while the page is visible.
"use strict";

const INTERVAL = 2000;
const TOP = 20;

const message = document.getElementById("message");
const numbers = new Intl.NumberFormat("en");
let titles = new Map();

start();

async function start() {
  titles = await readTitles();
  await update();
  setInterval(() => document.hidden || update(), INTERVAL);
  document.addEventListener("visibilitychange", () => document.hidden || update());
}

// The page works without titles: counts are by id.
async function readTitles() {
  try {
    const recordings = await read("recordings.json");
    return new Map(recordings.map(({ id, title }) => [id, title]));
  } catch {
    return new Map();
  }
}

async function update() {
  try {
    show(await read(`status?top=${TOP}`));
    message.textContent = "";
    message.hidden = true;
    document.getElementById("counts").hidden = false;
  } catch (error) {
    message.textContent = `The counts could not be loaded (${error.message}).`;
    message.hidden = false;
  }
  document.querySelector("main").setAttribute("aria-busy", "false");
}

async function read(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`status ${response.status}`);
  }
  return response.json();
}

function show(status) {
  const since = document.getElementById("since");
  const created = new Date(status.created_timestamp_seconds * 1000);
  since.dateTime = created.toISOString();
  since.textContent = created.toLocaleString();

  const sums = [
    ["Plays", numbers.format(status.plays)],
    ["Downloads", numbers.format(status.downloads)],
    ["Sent", size(status.sent_bytes)],
    ["Spaces", numbers.format(status.spaces)],
  ];
  document.getElementById("sums").replaceChildren(...sums.map(([name, value]) => {
    const group = document.createElement("div");
    group.append(element("dt", name), element("dd", value));
    return group;
  }));

  fill("spaces", status.top, "Nothing was played yet.", ({ id, counts }) => [
    space(id), numbers.format(counts.plays), numbers.format(counts.downloads),
    size(counts.sent_bytes),
  ]);
  const outcomes = Object.entries(status.requests).filter(([, count]) => count > 0);
  fill("outcomes", outcomes, "There was no request yet.", ([outcome, count]) =>
    [outcome, numbers.format(count)]);
  const catalogs = Object.entries(status.catalog_entries ?? {});
  fill("catalogs", catalogs, "There is no catalog.", ([path, entries]) => [
    path, numbers.format(entries), numbers.format(status.catalog_unusable_entries[path]),
    age(status.catalog_last_success_timestamp_seconds[path]),
  ]);
  for (const cell of document.querySelectorAll("#catalogs td:nth-child(3)")) {
    cell.classList.toggle("bad", cell.textContent !== "0");
  }
}

function fill(id, rows, none, cells) {
  const body = document.getElementById(id);
  const trs = rows.map((row) => {
    const [first, ...others] = cells(row);
    const tr = document.createElement("tr");
    const th = element("th", first);
    th.scope = "row";
    tr.append(th, ...others.map((text) => element("td", text)));
    return tr;
  });
  if (trs.length === 0) {
    const td = element("td", none);
    td.colSpan = body.parentElement.tHead.rows[0].cells.length;
    const tr = document.createElement("tr");
    tr.append(td);
    trs.push(tr);
  }
  body.replaceChildren(...trs);
}

function element(name, content) {
  const made = document.createElement(name);
  made.append(content);
  return made;
}

// The title if it is known, and the id.
function space(id) {
  const title = titles.get(id);
  const span = element("span", title ?? id ?? "(id not stored yet)");
  if (title !== undefined) {
    span.append(document.createElement("br"), element("code", id));
  }
  return span;
}

function age(seconds) {
  if (seconds === 0) {
    return "never";
  }
  const passed = Math.max(0, Math.round(Date.now() / 1000 - seconds));
  return passed < 120 ? `${passed} s ago` : `${Math.round(passed / 60)} min ago`;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1000 && unit + 1 < units.length; unit += 1) {
    bytes /= 1000;
  }
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

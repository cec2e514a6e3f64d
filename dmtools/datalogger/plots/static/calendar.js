"use strict";
// Devices x days: how much of each day is here. Colours run from dark to light, and what is missing has a pattern.
const CELL = { tall: 14, top: 18 };
const KINDS = [
  ["x", "lost"], ["e", "error"], ["o", "owed"], ["z", "empty"], ["s", "no statistics yet"],
  ["0", "under 50 %"], ["1", "50 to 90 %"], ["2", "90 to 99 %"], ["3", "99 to 99.9 %"], ["4", "nearly all"], ["5", "all samples"], ["?", "had, rate not known"],
];
const SAID = Object.fromEntries(KINDS);
const calendar = { year: 0, wide: 4, from: 0, number: 0, at: null };

function cell(pen, letter, x, y, wide, tall) {
  if (letter === ".") return;
  const w = Math.max(1, wide - (wide > 3 ? 1 : 0)), h = tall - 2;
  if ("012345?".includes(letter)) {
    pen.fillStyle = letter === "?" ? colours["c4"] : colours["c" + letter];
    pen.fillRect(x, y, w, h);
    return;
  }
  const tint = { x: "#d55e00", e: "#e69f00", o: "#56b4e9", z: "#8a949e", s: "#009e73" }[letter];
  pen.fillStyle = pen.strokeStyle = tint;
  if (letter === "x") pen.fillRect(x, y, w, h);
  else if (letter === "e") { pen.fillRect(x, y, w, h / 2); }
  else if (letter === "o") { pen.fillRect(x, y, w, 2); pen.fillRect(x, y + h - 2, w, 2); }
  else if (letter === "z") pen.fillRect(x, y + h / 2 - 1, w, 2);
  else pen.fillRect(x, y + h / 2, w, h / 2);
  if (letter === "x") { pen.fillStyle = colours.card; pen.fillRect(x + w / 2 - 0.5, y + 3, 1, h - 6); }
}

let colours = {};

function drawCalendar() {
  colours = Object.fromEntries(["c0", "c1", "c2", "c3", "c4", "c5", "card", "ink", "soft", "line"].map((name) => [name, colour(name)]));
  const place = byId("days"), canvas = byId("cells"), from = Date.UTC(calendar.year, 0, 1);
  calendar.from = Math.max(from, page.first - (page.first % DAY));
  const to = Math.min(Date.UTC(calendar.year + 1, 0, 1), page.last);
  calendar.number = Math.max(1, Math.round((to - calendar.from) / DAY));
  calendar.wide = Math.max(matchMedia("(pointer: coarse)").matches ? 6 : 3, Math.min(14, Math.floor(place.clientWidth / calendar.number)));
  const wide = calendar.wide * calendar.number, tall = CELL.top + CELL.tall * page.chosen.length, sharp = devicePixelRatio || 1;
  canvas.width = wide * sharp; canvas.height = tall * sharp;
  canvas.style.width = wide + "px"; canvas.style.height = tall + "px";
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.clearRect(0, 0, wide, tall);
  pen.font = "11px sans-serif";
  for (let n = 0; n < calendar.number; n++) {
    const date = new Date(calendar.from + n * DAY);
    if (date.getUTCDate() !== 1 && n) continue;
    pen.fillStyle = colours.line; pen.fillRect(n * calendar.wide - 1, 0, 1, tall);
    pen.fillStyle = colours.soft; pen.fillText(date.toLocaleString("en", { month: "short", timeZone: "UTC" }), n * calendar.wide + 2, 12);
  }
  page.chosen.forEach((device, line) => {
    const shift = Math.round((calendar.from - device.begin) / DAY);
    for (let n = 0; n < calendar.number; n++) cell(pen, device.days[n + shift] || ".", n * calendar.wide, CELL.top + line * CELL.tall, calendar.wide, CELL.tall);
    for (const [day] of device.odd) {
      const n = day - shift;
      if (n < 0 || n >= calendar.number) continue;
      pen.strokeStyle = "#cc79a7"; pen.lineWidth = 2;
      pen.strokeRect(n * calendar.wide, CELL.top + line * CELL.tall, Math.max(3, calendar.wide - 1), CELL.tall - 2);
    }
  });
  if (calendar.at) {
    pen.strokeStyle = colours.ink; pen.lineWidth = 2;
    pen.strokeRect(calendar.at.n * calendar.wide - 1, CELL.top + calendar.at.line * CELL.tall - 1, calendar.wide + 1, CELL.tall);
  }
}

function drawNames() {
  byId("names").replaceChildren(...page.chosen.map((device) => {
    const link = document.createElement("a");
    link.href = "#";
    link.textContent = device.title.replace(": seconds between two", "");
    link.title = device.title;
    link.addEventListener("click", (event) => { event.preventDefault(); showPanel(device); });
    return link;
  }));
}

function tellCell(line, n) {
  const device = page.chosen[line], day = calendar.from + n * DAY;
  if (!device || n < 0 || n >= calendar.number) return null;
  const at = Math.round((day - device.begin) / DAY), letter = device.days[at] || ".";
  const why = "xeozs".includes(letter) ? whyOf(device, at) : "", odd = device.odd.find(([number]) => number === at);
  const said = letter === "." ? "nothing is known" : SAID[letter];
  byId("cell").textContent = device.title + ", " + dayText(day) + ": " + said + (why ? ": " + why : "") + (odd ? ". " + odd[1] + ": " + odd[2] : "");
  return { line, n };
}

function cellAt(event) {
  const box = byId("cells").getBoundingClientRect();
  return [Math.floor((event.clientY - box.top - CELL.top) / CELL.tall), Math.floor((event.clientX - box.left) / calendar.wide)];
}

function showCell(line, n) {
  const day = calendar.from + n * DAY;
  if (!page.chosen[line]) return;
  setRange(day - 15 * DAY, day + 16 * DAY);
  showPanel(page.chosen[line]);
}

function onCalendarKey(event) {
  const at = calendar.at || { line: 0, n: calendar.number - 1 };
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [0, -30], PageDown: [0, 30], Home: [0, -999], End: [0, 999] };
  if (event.key === "Enter") showCell(at.line, at.n);
  if (!steps[event.key]) return;
  event.preventDefault();
  const [down, right] = steps[event.key];
  const line = Math.min(page.chosen.length - 1, Math.max(0, at.line + down)), n = Math.min(calendar.number - 1, Math.max(0, at.n + right));
  calendar.at = tellCell(line, n);
  drawCalendar();
  byId("days").scrollLeft = n * calendar.wide - byId("days").clientWidth / 2;
}

function drawYears() {
  const years = [];
  for (let year = new Date(page.first).getUTCFullYear(); year <= new Date(page.last - 1).getUTCFullYear(); year++) years.push(year);
  byId("years").replaceChildren(...years.map((year) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = year;
    button.setAttribute("aria-pressed", String(year === calendar.year));
    button.addEventListener("click", () => { calendar.year = year; calendar.at = null; drawYears(); drawCalendar(); showNewest(); });
    return button;
  }));
}

function drawKey() {
  colours = Object.fromEntries(["c0", "c1", "c2", "c3", "c4", "c5", "card"].map((name) => [name, colour(name)]));
  byId("key").replaceChildren(...KINDS.map(([letter, said]) => {
    const item = document.createElement("li"), canvas = document.createElement("canvas");
    canvas.width = canvas.height = 14;
    cell(canvas.getContext("2d"), letter, 0, 1, 14, 14);
    item.append(canvas, said);
    return item;
  }));
  const odd = document.createElement("li");
  odd.textContent = "framed: anomaly";
  odd.className = "odd";
  byId("key").append(odd);
}

function drawSum() {
  const counts = {};
  let days = 0;
  for (const device of page.chosen) for (const letter of device.days) if (letter !== ".") { days++; counts[letter] = (counts[letter] || 0) + 1; }
  const told = ["x", "e", "o", "z", "s"].filter((letter) => counts[letter]).map((letter) => counts[letter].toLocaleString("en") + " " + SAID[letter]);
  const whole = ["4", "5", "?"].reduce((sum, letter) => sum + (counts[letter] || 0), 0);
  byId("sum").textContent = page.chosen.length + " devices, " + days.toLocaleString("en") + " device-days, " + (days ? (100 * whole / days).toFixed(1) : "0") + " % of them whole" + (told.length ? "; " + told.join(", ") : "");
}

function beginCalendar() {
  calendar.year = new Date(page.last - 1).getUTCFullYear();
  const canvas = byId("cells");
  canvas.addEventListener("mousemove", (event) => tellCell(...cellAt(event)));
  canvas.addEventListener("click", (event) => { const [line, n] = cellAt(event); if (tellCell(line, n)) showCell(line, n); });
  byId("days").addEventListener("keydown", onCalendarKey);
  page.listeners.push((what) => {
    if (what === "range") return;
    if (what === "devices") { calendar.at = null; drawNames(); drawSum(); } else drawKey();
    drawCalendar();
  });
  addEventListener("resize", drawCalendar);
  drawYears();
  drawKey();
}

function showNewest() {
  byId("days").scrollLeft = byId("days").scrollWidth;
}

"use strict";
// What the parts of the page share: the devices, the time that is shown, and who is told when one of them changes.
const DAY = 86400000;
const page = { range: null, preset: "365", find: "", only: "all", listeners: [], chosen: [] };
const byId = (id) => document.getElementById(id);
const dayText = (time) => new Date(time).toISOString().slice(0, 10);
const dayTime = (text) => Date.parse(text.slice(0, 10) + "T00:00:00Z");
// Plotly takes wall-clock texts without a zone; here they are counted as if they were UTC.
const wallTime = (text) => Date.parse(String(text).replace(" ", "T") + (String(text).length > 10 ? "Z" : "T00:00Z"));

for (const device of dmCatalogue.devices) {
  device.begin = device.first ? dayTime(device.first) : NaN;
  device.end = device.begin + device.days.length * DAY;
  device.reason = new Map(device.why);
}
page.first = Math.min(...dmCatalogue.devices.map((one) => one.begin).filter((time) => !isNaN(time)), Infinity);
page.last = Math.max(...dmCatalogue.devices.map((one) => one.end).filter((time) => !isNaN(time)), -Infinity);
if (!isFinite(page.first)) { page.first = Date.now() - 30 * DAY; page.last = Date.now(); }

function whyOf(device, n) {
  for (let at = n; at >= 0; at--) {
    if (device.days[at] !== device.days[n]) return "";
    if (device.reason.has(at)) return device.reason.get(at);
  }
  return "";
}

function presetRange(preset) {
  return preset === "all" ? [page.first, page.last] : [page.last - Number(preset) * DAY, page.last];
}

function setRange(from, to, preset) {
  const least = DAY / 24;
  if (!(to > from)) return;
  if (to - from < least) to = from + least;
  page.range = [from, to];
  page.preset = preset || "";
  for (const one of document.querySelectorAll("[data-range]")) one.setAttribute("aria-pressed", String(one.dataset.range === page.preset));
  byId("span").textContent = dayText(from) + " to " + dayText(to - 1);
  keep();
  for (const listener of page.listeners) listener("range");
}

function move(how) {
  const [from, to] = page.range, size = to - from;
  if (how === "earlier") setRange(from - size / 2, to - size / 2);
  else if (how === "later") setRange(from + size / 2, to + size / 2);
  else if (how === "closer") setRange(from + size / 4, to - size / 4);
  else setRange(from - size / 2, to + size / 2);
}

function recent(device, test) {
  for (let n = Math.max(0, Math.round((page.last - 30 * DAY - device.begin) / DAY)); n < device.days.length; n++) if (test(n)) return true;
  return false;
}

const isOddNow = (device) => device.odd.some(([n]) => device.begin + n * DAY >= page.last - 30 * DAY);
const lacksNow = (device) => recent(device, (n) => "xeozs01".includes(device.days[n]));

function choose() {
  const words = page.find.toLowerCase().split(/\s+/).filter(Boolean);
  page.chosen = dmCatalogue.devices.filter((one) => {
    const name = (one.title + " " + one.name + " " + one.units).toLowerCase();
    if (words.length && !words.some((word) => name.includes(word))) return false;
    return page.only === "all" || (page.only === "odd" ? isOddNow(one) : lacksNow(one));
  });
  keep();
  for (const listener of page.listeners) listener("devices");
}

// The address holds what is shown, so that it can be sent around.
function keep() {
  if (!page.range) return;
  const told = new URLSearchParams();
  if (page.find) told.set("find", page.find);
  if (page.only !== "all") told.set("only", page.only);
  if (page.preset) { if (page.preset !== "365") told.set("range", page.preset); }
  else told.set("range", dayText(page.range[0]) + ".." + dayText(page.range[1]));
  try { history.replaceState(null, "", "#" + told); } catch { /* some shares forbid it; then the address stays */ }
}

function recall() {
  const told = new URLSearchParams(location.hash.slice(1));
  page.find = told.get("find") || "";
  page.only = told.get("only") || "all";
  byId("find").value = page.find;
  byId("only").value = page.only;
  const range = told.get("range") || "365", [from, to] = range.split("..");
  if (to && dayTime(from) < dayTime(to)) setRange(dayTime(from), dayTime(to));
  else { const preset = ["30", "365", "all"].includes(range) ? range : "365"; setRange(...presetRange(preset), preset); }
}

function tellAge() {
  const made = Date.parse(document.body.dataset.made), age = (Date.now() - made) / 1000;
  const words = age < 7200 ? Math.max(0, Math.round(age / 60)) + " min" : age < 172800 ? Math.round(age / 3600) + " h" : Math.round(age / 86400) + " days";
  const place = byId("made");
  place.dataset.text = place.dataset.text || place.textContent;
  place.textContent = "made " + words + " ago" + place.dataset.text.slice("made".length).replace(/^ [^ ]+/, " (" + document.body.dataset.made.slice(0, 16).replace("T", " ") + " UTC)");
  const old = byId("old"), isOld = age > Number(document.body.dataset.old);
  old.hidden = !isOld;
  if (isOld) old.textContent = "This page is " + words + " old: what came since is not in it. See “What to do”.";
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("dm-theme", theme); } catch { /* some shares forbid it */ }
  for (const listener of page.listeners) listener("theme");
}

const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

function begin() {
  let theme = "";
  try { theme = localStorage.getItem("dm-theme") || ""; } catch { /* then as the system has it */ }
  if (theme) document.documentElement.dataset.theme = theme;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.listeners.forEach((one) => one("theme")));
  byId("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  for (const one of document.querySelectorAll("[data-range]")) one.addEventListener("click", () => setRange(...presetRange(one.dataset.range), one.dataset.range));
  for (const one of document.querySelectorAll("[data-move]")) one.addEventListener("click", () => move(one.dataset.move));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("find").addEventListener("input", (event) => { page.find = event.target.value.trim(); choose(); });
  byId("only").addEventListener("change", (event) => { page.only = event.target.value; choose(); });
  document.addEventListener("keydown", onKey);
  tellAge();
  setInterval(tellAge, 30000);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, #days")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const moves = { ArrowLeft: "earlier", ArrowRight: "later", "+": "closer", "=": "closer", "-": "wider" };
  if (event.key === "/") { event.preventDefault(); byId("find").focus(); }
  else if (event.key === "0") setRange(...presetRange("all"), "all");
  else if (moves[event.key]) { event.preventDefault(); move(moves[event.key]); }
}

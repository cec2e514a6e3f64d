"use strict";
// Keeps the page new: told by server-sent events, else by asking; says since when the server can't be reached, and comes back by
// itself. Without this script the page is whole all the same.
const live = document.getElementById("live");
const lost = document.getElementById("lost");
const prefix = live.dataset.prefix;
const site = live.dataset.site;
const every = 1000 * Number(live.dataset.refresh);
const stuck = Number(live.dataset.stuck);
const BEAT = 7000; // the server says something each 2 s; silent for longer, and it is asked
const PATIENCE = 20000; // so long a marked text holds up a new page
let taken = performance.now(); // when what is shown came, by this page's clock
let heard = -Infinity; // when an event came last
let lostSince = null;
let asking = false;
let again = false;
let held = null;
let source = null;

function words(seconds) {
  const whole = Math.floor(Math.max(0, seconds));
  if (whole < 120) return whole + " s";
  if (whole < 7200) return Math.floor(whole / 60) + " min";
  if (whole < 172800) return Math.floor(whole / 3600) + " h" + (whole % 3600 >= 60 ? " " + Math.floor((whole % 3600) / 60) + " min" : "");
  return Math.floor(whole / 86400) + " d";
}

function spoken(seconds) {
  for (const [size, word] of [[86400, "days"], [3600, "hours"], [60, "minutes"]]) {
    if (seconds >= 2 * size) return Math.floor(seconds / size) + " " + word;
  }
  return Math.floor(seconds) + (Math.floor(seconds) === 1 ? " second" : " seconds");
}

function tick() {
  const passed = (performance.now() - taken) / 1000;
  for (const one of live.querySelectorAll("time.age")) {
    const age = Number(one.dataset.age) + passed;
    const text = one.classList.contains("words") ? spoken(age) : words(age);
    if (one.textContent !== text) one.textContent = text;
    if ("runs" in one.dataset && age > stuck && !one.nextElementSibling) {
      const badge = document.createElement("span");
      badge.className = "badge stuck";
      badge.textContent = "! no news";
      one.after(" ", badge);
    }
  }
}

// ---- sorting and sifting, kept over a refresh ---------------------------------------------------------------------------

const view = { key: "", down: false, text: "", state: "" };
const NUMBERS = ["at", "age", "lumi", "rss", "events"];
const WORST = { crashed: 0, unknown: 1, running: 2, stopped: 3 };

function value(row, key) {
  const cell = row.cells[["at", "age", "host", "state", "tag", "lumi", "rss", "events"].indexOf(key)];
  if (key === "at" || key === "age") {
    const age = row.querySelector("time.age");
    return age ? Number(age.dataset.age) : Infinity;
  }
  if (key === "state") return WORST[row.className];
  if (NUMBERS.includes(key)) {
    const found = parseFloat(cell.textContent.replace(/,/g, ""));
    return Number.isNaN(found) ? -1 : found;
  }
  return cell.textContent;
}

function name(row) {
  return row.cells[2].textContent + " " + row.cells[4].textContent;
}

function sort() {
  const body = live.querySelector("table.jobs tbody");
  if (!body) return;
  for (const one of live.querySelectorAll("table.jobs thead th[aria-sort]")) {
    const mine = one.firstElementChild.dataset.key === view.key;
    one.setAttribute("aria-sort", !mine ? "none" : view.down ? "descending" : "ascending");
  }
  if (!view.key) return;
  const rows = [...body.rows].map((row) => [value(row, view.key), name(row), row]);
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  rows.sort((a, b) => (view.down ? -1 : 1) * compare(a[0], b[0]) || compare(a[1], b[1]));
  body.append(...rows.map((one) => one[2]));
}

function sift() {
  const wanted = view.text.toLowerCase();
  for (const row of live.querySelectorAll("table.jobs tbody tr")) {
    row.hidden = (view.state && row.className !== view.state) || (wanted && !row.textContent.toLowerCase().includes(wanted));
  }
  for (const one of live.querySelectorAll("#legend button")) one.setAttribute("aria-pressed", one.dataset.state === view.state);
}

function dress() {
  const jobs = live.querySelector("#jobs .head");
  if (!jobs) return;
  for (const one of live.querySelectorAll("#legend li")) {
    const button = document.createElement("button");
    const state = one.querySelector(".job").classList[1];
    button.type = "button";
    button.id = "only-" + state;
    button.dataset.state = state;
    button.title = "only the " + state + " ones";
    button.append(...one.childNodes);
    one.append(button);
    button.addEventListener("click", () => {
      view.state = view.state === state ? "" : state;
      sift();
    });
  }
  const place = document.createElement("div");
  place.className = "sift";
  const input = document.createElement("input");
  input.id = "sift";
  input.type = "search";
  input.placeholder = "host, tag, state";
  input.setAttribute("aria-label", "show only rows that hold");
  input.value = view.text;
  const clear = document.createElement("button");
  clear.type = "button";
  clear.id = "clear";
  clear.textContent = "Show all";
  input.addEventListener("input", () => {
    view.text = input.value;
    sift();
  });
  clear.addEventListener("click", () => {
    view.text = view.state = input.value = "";
    sift();
  });
  place.append(input, clear);
  jobs.after(place);
  for (const one of live.querySelectorAll("table.jobs thead a")) {
    one.addEventListener("click", (event) => {
      event.preventDefault();
      view.down = view.key === one.dataset.key && !view.down;
      view.key = one.dataset.key;
      sort();
    });
  }
  sort();
  sift();
}

// ---- crashed since you looked -------------------------------------------------------------------------------------------

function keep(name, found) {
  try {
    if (found === undefined) return JSON.parse(localStorage.getItem(name) || "null");
    localStorage.setItem(name, JSON.stringify(found));
  } catch {
    // a browser that keeps nothing: notices last as long as the page
  }
  return null;
}

let seen = null;
function crashes() {
  const strip = document.getElementById("state");
  const run = live.querySelector(".strip .run");
  if (!strip || !run) return;
  const place = document.getElementById("news");
  const shelf = "dqm-seen " + prefix + " " + site;
  const kept = seen || keep(shelf);
  const rows = [...live.querySelectorAll("table.jobs tbody tr.crashed")];
  const now = rows.map((row) => row.dataset.key);
  if (!kept) {
    seen = { run: run.textContent, keys: now };
    keep(shelf, seen);
    return;
  }
  seen = kept.run === run.textContent ? kept : { run: run.textContent, keys: [] };
  const fresh = rows.filter((row) => !seen.keys.includes(row.dataset.key));
  const told = fresh.map((row) => row.dataset.key).join(" ");
  if (place.dataset.told === told) return;
  place.dataset.told = told;
  place.replaceChildren();
  if (!fresh.length) return;
  const box = document.createElement("div");
  box.className = "banner notice";
  const text = document.createElement("span");
  const names = fresh.slice(0, 3).map(name).join(", ");
  const more = fresh.length > 3 ? " and " + (fresh.length - 3) + " more" : "";
  text.textContent = "✕ Crashed since you looked: " + names + more;
  const button = document.createElement("button");
  button.type = "button";
  button.id = "seen";
  button.textContent = "I have seen it";
  button.addEventListener("click", () => {
    seen = { run: run.textContent, keys: now };
    keep(shelf, seen);
    place.dataset.told = "";
    place.replaceChildren();
    document.getElementById("main").focus();
  });
  box.append(text, button);
  place.append(box);
}

// ---- new pages ----------------------------------------------------------------------------------------------------------

function inUse() {
  const marked = document.getSelection();
  return marked && !marked.isCollapsed && live.contains(marked.anchorNode);
}

function show(html) {
  if (inUse() && live.querySelector("#state")) {
    held = held === null ? performance.now() : held;
    if (performance.now() - held < PATIENCE && html.includes('data-state="' + live.querySelector("#state").dataset.state + '"')) return;
  }
  held = null;
  const focus = live.contains(document.activeElement) ? document.activeElement.id : "";
  const caret = focus === "sift" ? document.activeElement.selectionStart : 0;
  const across = live.querySelector("#jobs-scroll");
  const left = across ? across.scrollLeft : 0;
  live.innerHTML = html;
  taken = performance.now();
  dress();
  if (live.querySelector("#jobs-scroll")) live.querySelector("#jobs-scroll").scrollLeft = left;
  const one = focus && document.getElementById(focus);
  if (one) {
    one.focus({ preventScroll: true });
    if (focus === "sift") one.setSelectionRange(caret, caret);
  }
  crashes();
}

function clockwise(at) {
  return at.toLocaleTimeString("en-GB") + " (" + Intl.DateTimeFormat().resolvedOptions().timeZone + ")";
}

function alive() {
  if (lostSince === null) return;
  lostSince = null;
  lost.hidden = true;
  document.body.classList.remove("lost");
}

function gone(why) {
  if (lostSince !== null) return;
  lostSince = new Date();
  lost.textContent = "⚡ connection lost since " + clockwise(lostSince) + ": " + why + ". What stands below is from before that. It is tried again by itself.";
  lost.hidden = false;
  document.body.classList.add("lost");
}

async function refresh() {
  if (asking) {
    again = true;
    return;
  }
  asking = true;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), 10000);
  try {
    const answer = await fetch(prefix + "/sites/" + site + "/fragment", { cache: "no-store", signal: limit.signal });
    const html = await answer.text();
    if (!answer.ok || !html.includes('id="state"')) gone("the server answered " + answer.status);
    else {
      show(html);
      alive();
    }
  } catch {
    gone("the server does not answer");
  } finally {
    clearTimeout(timer);
    asking = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

let last = "";
function listen() {
  if (!window.EventSource) return;
  source = new EventSource(prefix + "/events");
  source.onmessage = (event) => {
    heard = performance.now();
    const mine = JSON.stringify(JSON.parse(event.data).sites[site]);
    const news = mine !== last || lostSince !== null;
    last = mine;
    if (news) refresh();
  };
  source.onerror = () => {
    heard = -Infinity; // asked soon, whether it comes back or not
    refresh();
  };
}

setInterval(() => {
  if (performance.now() - heard > BEAT) refresh();
}, every);
setInterval(() => {
  if (source && source.readyState === EventSource.CLOSED) listen(); // refused for good: tried again all the same
}, 30000);
setInterval(tick, 500);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
dress();
crashes();
listen();

"use strict";
// Fetches the figures anew, and says how old they are. Without it the page is whole all the same.
const live = document.getElementById("live");
const every = 1000 * Number(live.dataset.refresh);
let taken = performance.now(); // when the figures shown here came, by this page's clock
let trouble = "";

function age() {
  const fresh = document.getElementById("fresh");
  return Number(fresh ? fresh.dataset.age : 0) + (performance.now() - taken) / 1000;
}

function words(seconds) {
  return seconds < 120 ? Math.round(seconds) + " s" : seconds < 7200 ? Math.round(seconds / 60) + " min" : Math.round(seconds / 3600) + " h";
}

function tell() {
  if (!trouble) return;
  const place = document.getElementById("asof");
  if (!place) return;
  document.getElementById("fresh").classList.add("old");
  place.textContent = "These data are " + words(age()) + " old: " + trouble;
}

function show(html) {
  const open = [...live.querySelectorAll("details[open]")].map((one) => one.id);
  live.innerHTML = html;
  for (const id of open) {
    const one = document.getElementById(id);
    if (one) one.open = true;
  }
  taken = performance.now();
  trouble = "";
}

// Whoever marks a text to copy it, or is about to press a button there, is left in peace.
function inUse() {
  const marked = document.getSelection();
  const inside = marked && !marked.isCollapsed && live.contains(marked.anchorNode);
  return inside || (document.activeElement !== document.body && live.contains(document.activeElement));
}

async function refresh() {
  if (document.hidden || inUse()) return;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), 10000);
  try {
    const answer = await fetch("/fragment", { cache: "no-store", credentials: "same-origin", signal: limit.signal });
    if (answer.status === 401) location.reload();
    else if (!answer.ok) trouble = "the status page answered " + answer.status;
    else show(await answer.text());
  } catch {
    trouble = "the status page does not answer";
  } finally {
    clearTimeout(timer);
  }
}

async function again() {
  await refresh();
  tell();
  setTimeout(again, every);
}

setTimeout(again, every);
setInterval(tell, 1000);

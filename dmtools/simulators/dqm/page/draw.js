// Brings a tree of the page to the state of another one and keeps the nodes that are there: canvases, boxes, what is selected.

export function morph(old, text) {
  const wanted = document.createElement("template");
  wanted.innerHTML = text;
  children(old, wanted.content);
}

function children(old, wanted) {
  const kept = new Map([...old.childNodes].filter(key).map((node) => [key(node), node]));
  let place = old.firstChild;
  for (const next of [...wanted.childNodes]) {
    const was = key(next) ? kept.get(key(next)) : place;
    if (!was || was.nodeName !== next.nodeName || key(was) !== key(next)) {
      old.insertBefore(next, place);
      continue;
    }
    if (was === place) place = place.nextSibling;
    else old.insertBefore(was, place);
    if (was.nodeType === Node.ELEMENT_NODE) element(was, next);
    else if (was.nodeValue !== next.nodeValue) was.nodeValue = next.nodeValue;
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

const key = (node) => (node.getAttribute && node.getAttribute("data-key")) || "";

function element(was, next) {
  for (const { name, value } of [...next.attributes]) if (was.getAttribute(name) !== value) was.setAttribute(name, value);
  for (const { name } of [...was.attributes]) if (!next.hasAttribute(name)) was.removeAttribute(name);
  if (was.nodeName === "INPUT") was.checked = next.hasAttribute("checked");
  children(was, next);
}

const SIGNS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

export const safe = (text) => String(text ?? "").replace(/[&<>"']/g, (sign) => SIGNS[sign]);

export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s.`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min.`;
  return `${Math.floor(whole / 3600)} h.`;
}

export function ageLabel(timestamp) {
  const old = Date.now() / 1000 - timestamp;
  const colour = old < 60 ? "success" : old < 300 ? "info" : old < 600 ? "warning" : "danger";
  return `<span class="label label-${colour} ng-binding" title="${safe(moment(timestamp))}">${age(old)}</span>`;
}

export function moment(timestamp) {
  const at = new Date(1000 * timestamp);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

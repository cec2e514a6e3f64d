// The page: reads what is wanted from the address, draws what is known, follows the newest run.

import { ageLabel, morph, safe } from "./draw.js";
import * as graphs from "./graphs.js";
import * as jobs from "./jobs.js";
import { Link, broken } from "./sync.js";

const RUN_LABELS = 15;
const VIEW = document.getElementById("view");
const shown = new Map(); // document id -> what is open below its row: log or graph
let link = null;
let wanted = null;

function address() {
  const query = new URLSearchParams(location.hash.split("?")[1] || "");
  const hosts = query.get("hosts") || "production_local";
  return { query, hosts, track: query.has("trackRun"), run: query.get("run") || "" };
}

function go(changes) {
  const { query } = address();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  const text = [...query].map(([name, value]) => {
    const bare = value === "" && name !== "run";
    return bare ? name : `${name}=${encodeURIComponent(value)}`;
  });
  location.hash = "#/lumi/?" + text.join("&");
}

function readAddress() {
  wanted = address();
  if (!link || link.hosts !== wanted.hosts) {
    if (link) link.close();
    link = new Link(wanted.hosts, later);
  }
  render();
}

function state() {
  const headers = [...link.headers.values()];
  const runs = [...new Set(headers.map((header) => header.run))].filter((run) => run !== null).sort((a, b) => b - a);
  const run = wanted.track || !wanted.run ? runs[0] : Number(wanted.run) || undefined;
  const here = headers.filter((header) => header.run === run);
  link.want(here);
  const documents = here.map((header) => link.documents.get(header._id)).filter((one) => one);
  const of = (type) => documents.filter((one) => one.type === type);
  const known = of("dqm-source-state").sort((a, b) => (a.tag || "").localeCompare(b.tag || "") || a.pid - b.pid);
  return { runs, run, jobs: known, files: of("dqm-files"), playbacks: of("dqm-playback") };
}

function render() {
  const now = state();
  const parts = [navigation(now), servers(), now.playbacks.map(playback).join("\n"), known(now)];
  const graph = (flag, name, title) => (wanted.query.has(flag) ? now.files.map((one) => figure(one, name, title)).join("\n") : "");
  parts.push(graph("showTimestampsGraph", "timestamps", "File delivery delay"), graph("showEventsGraph", "events", "Accepted events"));
  const text = `<div class="container-fluid ng-scope">${parts.filter((part) => part).join("\n")}</div>`;
  morph(VIEW, broken.markup ? otherMarkup(text) : text);
  for (const canvas of VIEW.querySelectorAll("canvas")) paint(canvas, now);
}

function paint(canvas, now) {
  const files = now.files.find((one) => one._id === canvas.dataset.files);
  const job = now.jobs.find((one) => one._id === canvas.dataset.job);
  if (files) graphs[canvas.dataset.graph](canvas, files);
  if (job) graphs.memory(canvas, job);
}

function navigation({ runs, run }) {
  const labels = runs.slice(0, RUN_LABELS).map((one) =>
    `<span class="run${one === run ? " active" : ""}"><a class="label-run label label-info ng-binding ng-scope" ` +
    `ng-repeat="run in runs" ng-click="setRun(${safe(one)})">${safe(one)}</a></span>`);
  const tab = (hosts, text) => `<a class="tab${wanted.hosts === hosts ? " active" : ""}" ng-click="setHosts('${hosts}')">${text}</a>`;
  return `<div class="navbar"><b class="brand">DQM<sup>2</sup></b>${tab("production_local", "production")}${tab("playback_local", "playback")}</div>
<div class="runs"><label class="track"><input type="checkbox" ng-model="trackRun"${wanted.track ? " checked" : ""}> track newest run</label>
${labels.join("\n")}</div>`;
}

function servers() {
  return `<div class="servers"><a class="ng-binding" ng-click="reconnect()">${safe(link.name)}
<strong class="label label-${link.colour} ng-binding">${safe(link.label)}</strong></a></div>`;
}

function known(now) {
  const count = jobs.counts(now.jobs);
  const legend = Object.entries({ running: "success", stopped: "warning", crashed: "danger" }).map(([name, colour]) =>
    `<li class="legend"><span class="label label-${colour} ng-binding">${name} ${count[name]}</span></li>`);
  return `<ol class="breadcrumb"><li>Run <strong class="ng-binding">${safe(now.run ?? wanted.run)}</strong></li>
<li><span>Known cmssw jobs</span> <span class="badge ng-binding">${now.jobs.length}</span></li>
${legend.join("\n")}</ol>
${jobs.table(now.jobs, shown)}`;
}

function playback(one) {
  const map = (one.extra || {}).ls_map || {};
  const many = (one.config || {}).number_of_ls;
  const file = map[one.ls] || Object.values(map).pop() || "";
  return `<div ng-controller="CachedDocumentCtrl" doc-id="playback_id" class="playback ng-scope">
<span>Simulator</span> <span class="label label-primary ng-binding">${safe(one.state)}</span>
lumi <span class="ng-binding">${safe(one.ls)}</span> of <span class="ng-binding">${safe(many ?? "?")}</span>
file <strong class="ng-binding" title="${safe(file)}">${safe(file.split("/").pop())}</strong>
${ageLabel(one.timestamp)}</div>`;
}

function figure(files, name, title) {
  return `<div class="graph ng-scope" data-key="${safe(files._id)} ${name}"><h4>${title} <small class="ng-binding">${safe(files.hostname)}</small>
${ageLabel(files.timestamp)}</h4>
<canvas data-files="${safe(files._id)}" data-graph="${name}" width="1100" height="240"></canvas></div>`;
}

// A fault on demand: the page as a next version might have it.
function otherMarkup(text) {
  const words = { "ng-binding": "bound", breadcrumb: "crumbs", "label-run": "run-tag", "hover-hide btn": "act", "ng-if": "data-if", "<tbody>": "<tbody role=\"rows\">" };
  return Object.entries(words).reduce((page, [old, other]) => page.replaceAll(old, other), text);
}

function click(event) {
  const clicked = event.target.closest("[ng-click]");
  if (!clicked) return;
  const [, action, value] = clicked.getAttribute("ng-click").match(/^(setRun|setHosts|reconnect|_show_inline)(?: = |\()'?([^')]*)'?\)?$/);
  if (action === "setRun") go({ run: value, trackRun: null });
  if (action === "setHosts") go({ hosts: value, run: "", trackRun: "" });
  if (action === "reconnect") link.socket.close();
  if (action === "_show_inline") {
    const row = clicked.closest("tr").getAttribute("data-id");
    if (value === "null") shown.delete(row);
    else shown.set(row, value);
    render();
  }
}

function later() {
  if (later.asked) return;
  later.asked = true;
  setTimeout(() => { later.asked = false; render(); }, 50);
}

document.addEventListener("click", click);
document.addEventListener("change", (event) => {
  if (event.target.getAttribute("ng-model") === "trackRun") go({ trackRun: event.target.checked ? "" : null });
});
window.addEventListener("hashchange", readAddress);
// A browser may keep a page that was left, with its websocket.
window.addEventListener("pagehide", () => link.close());
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
setInterval(render, 1000); // ages go on
readAddress();

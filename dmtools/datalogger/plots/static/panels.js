"use strict";
// A panel a device, drawn when it comes near the screen; all show the same time.
const panels = new Map(); // by the stem of the device's files
const waiting = [];
let busy = false, first = true;
// plotly.js is the last script of the page: the first figures may be here before it.
const ready = new Promise((done) => { if (window.Plotly) done(); else addEventListener("DOMContentLoaded", done); });

// Each script in data/ calls this with its figure.
function dmFigure(stem, figure) {
  const panel = panels.get(stem);
  if (panel) panel.figure = figure;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function makePanel(device) {
  const box = element("section", "panel" + (isOddNow(device) ? " now" : "")), facts = element("p", "facts"), plot = element("div", "plot");
  box.id = "panel-" + device.file;
  box.tabIndex = -1;
  const json = element("a", "", "JSON");
  json.href = "data/" + encodeURIComponent(device.file) + ".json";
  const last = device.days.length ? dayText(device.end - DAY) : "none";
  facts.append(json, (device.units ? "in " + device.units + "; " : "") + device.points.toLocaleString("en") + " windows, the last of " + last);
  box.append(element("h3", "", device.title), facts, plot);
  if (device.odd.length) box.append(anomalies(device));
  return { device, box, plot, figure: null, state: "", drawn: false };
}

function anomalies(device) {
  const details = element("details"), list = element("ul");
  const now = device.odd.filter(([n]) => device.begin + n * DAY >= page.last - 30 * DAY).length;
  details.append(element("summary", "", "◇ " + device.odd.length + (device.odd.length === 1 ? " anomaly, " : " anomalies, ") + now + " in the last 30 days: the rule and each of them"));
  details.append(element("p", "rule", dmCatalogue.rule), list);
  details.addEventListener("toggle", () => {
    if (list.childElementCount) return;
    for (const [n, rule, said] of [...device.odd].reverse()) list.append(element("li", "", dayText(device.begin + n * DAY) + " " + rule + ": " + said));
  });
  return details;
}

const near = new IntersectionObserver((seen) => {
  for (const one of seen) {
    const panel = panels.get(one.target.id.slice("panel-".length));
    panel.near = one.isIntersecting;
    if (panel.near) want(panel);
  }
}, { rootMargin: "250px" });

function want(panel) {
  if (panel.state === "drawing" || (panel.state === "drawn" && panel.shown === shown())) return;
  if (!waiting.includes(panel)) waiting.push(panel);
  if (!busy) { busy = true; next(); }
}

const shown = () => page.range.join() + isDark();

function next() {
  const panel = waiting.shift();
  if (!panel) {
    busy = false;
    if (first) { first = false; performance.mark("first-panels"); }
    document.documentElement.dataset.idle = shown();
    return;
  }
  delete document.documentElement.dataset.idle;
  if (!panel.near || !panel.box.isConnected) return next();
  load(panel).then(() => ready).then(() => draw(panel)).catch((problem) => fail(panel, problem)).then(() => setTimeout(next, 0));
}

function load(panel) {
  if (panel.figure) return Promise.resolve();
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = panel.device.script.split("/").map(encodeURIComponent).join("/");
    script.onload = done;
    script.onerror = () => failed(new Error("its file is gone: this page is older than what is kept; load it anew"));
    document.head.append(script);
  });
}

function fail(panel, problem) {
  panel.state = "";
  panel.plot.className = "plot bad";
  panel.plot.textContent = "It can't be drawn: " + problem.message;
}

// The least and the greatest value in the time that is shown, with a little room.
function heights(figure, [from, to]) {
  const lowest = dayText(from), highest = dayText(to + DAY);
  let least = Infinity, most = -Infinity;
  for (const trace of figure.data.slice(0, 5)) trace.y.forEach((value, n) => {
    if (value === null || trace.x[n] < lowest || trace.x[n] > highest) return;
    if (value < least) least = value;
    if (value > most) most = value;
  });
  if (most < least) return [0, 1];
  const room = (most - least) * 0.06 || Math.abs(most) * 0.01 || 1;
  return [least - room, most + room];
}

const wallText = (time) => new Date(time).toISOString().slice(0, 19).replace("T", " ");

function axes(panel) {
  return { x: page.range.map(wallText), y: heights(panel.figure, page.range) };
}

function draw(panel) {
  const { x, y } = axes(panel), theme = { ink: colour("ink"), grid: colour("grid"), card: colour("card") };
  const axis = { color: theme.ink, gridcolor: theme.grid, zeroline: false };
  const given = panel.figure.layout;
  const layout = {
    ...given,
    title: { text: "" }, height: 230, margin: { l: 62, r: 10, t: 8, b: 40 }, showlegend: false, uirevision: 1,
    paper_bgcolor: theme.card, plot_bgcolor: theme.card, font: { color: theme.ink, size: 12 },
    hoverlabel: { bgcolor: theme.card, font: { color: theme.ink } },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { ...given.xaxis, ...axis, title: { text: "" }, range: x },
    yaxis: { ...given.yaxis, ...axis, range: y },
  };
  const data = panel.figure.data.map((trace) => trace.name === "mode" ? { ...trace, line: { ...trace.line, color: colour("mode") } } : trace);
  const state = shown();
  panel.state = "drawing";
  return Plotly.react(panel.plot, data, layout, { displayModeBar: false, responsive: true, doubleClick: false, showTips: false }).then(() => {
    panel.state = "drawn";
    panel.shown = state;
    if (!panel.drawn) {
      panel.drawn = true;
      panel.plot.on("plotly_relayout", (change) => {
        const from = change["xaxis.range[0]"], to = change["xaxis.range[1]"];
        if (from !== undefined) setRange(wallTime(from), wallTime(to));
      });
      panel.plot.on("plotly_doubleclick", () => setRange(...presetRange("all"), "all"));
    }
    if (state !== shown()) want(panel);
  });
}

function showPanels() {
  const boxes = page.chosen.map((device) => {
    if (!panels.has(device.file)) {
      const panel = makePanel(device);
      panels.set(device.file, panel);
      near.observe(panel.box);
    }
    return panels.get(device.file).box;
  });
  byId("panels").replaceChildren(...boxes);
  byId("number").textContent = boxes.length === dmCatalogue.devices.length ? boxes.length + " devices" : boxes.length + " of " + dmCatalogue.devices.length + " devices";
  if (!boxes.length) byId("number").textContent += dmCatalogue.devices.length ? ": none is called so; empty the search to see all" : ": there are no statistics yet; datalogger-distill makes them";
}

function showPanel(device) {
  const box = byId("panel-" + device.file);
  box.scrollIntoView({ block: "center" });
  box.focus({ preventScroll: true });
}

page.listeners.push((what) => {
  if (what === "devices") showPanels();
  for (const panel of panels.values()) if (panel.near && panel.state) want(panel);
});

begin();
beginCalendar();
recall();
choose();
showNewest();
addEventListener("hashchange", () => { recall(); choose(); });

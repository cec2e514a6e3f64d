// Runs in the page: waits until it has news and shows what is wanted, opens each job's log, gives all of it at once.
//
// wish: {news, show: milliseconds to wait at most for news and for what is to be seen; run: the run that is to be shown or
// null; jobs: how many jobs it has, or null; fresh: give the content even when it is as at the last grab}.
// Answer: {same} or {html, graphs: [data URLs], print}, and {run, runs, running, link, lacking: [what was not seen in time]}.
const wish = arguments[0];
const LOG_BUTTON = "a[ng-click=\"_show_inline = 'log'\"]";
const LOG_ROW = "[ng-if=\"_show_inline == 'log'\"]";
const CLOCKS = "dqm-timediff-field, .clock, time, script, style";  // what goes on by itself tells nothing new
const AGE = /^\s*\d+\s*(s|sec|min|h|d)\.?\s*$/;
const MOST_GRAPHS = 16;
const CALM = 150, CALM_WITHOUT_JOBS = 700, CALM_AT_MOST = 1000;  // of a page just opened: until nothing more comes

const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const text = (node) => (node ? node.textContent.trim() : "");
const ticks = (node) => {
  const element = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
  return !element || Boolean(element.closest(CLOCKS)) || (element.childElementCount === 0 && AGE.test(element.textContent));
};

// One watcher a page, which lives as long as the page does.
const watch = window.dmWatch || (window.dmWatch = { news: true, at: performance.now(), warm: false, givenUp: new Set(), print: null });
if (!watch.observer) {
  watch.heard = (changes) => {
    if (!changes.some((one) => !ticks(one.target))) return;
    watch.news = true;
    watch.at = performance.now();
  };
  watch.observer = new MutationObserver((changes) => watch.heard(changes));
  watch.observer.observe(document, { subtree: true, childList: true, characterData: true });
}

// ---- what the page shows ---------------------------------------------------------------------------------------------

const links = () => all("a.ng-binding:not([href]):not([ng-href]) > strong").map(text);
const breadcrumb = () => all("ol.breadcrumb").find((one) => one.textContent.includes("Known cmssw jobs"));
const shownRun = () => Number(text(breadcrumb() && breadcrumb().querySelector("strong.ng-binding"))) || null;
const jobs = () => all("tr").filter((row) => row.querySelector(LOG_BUTTON));
const drawn = new WeakSet();
const isDrawn = (canvas) => {  // a small copy tells it, in a hundredth of the time
  if (drawn.has(canvas)) return true;
  const small = document.createElement("canvas");
  [small.width, small.height] = [64, 16];
  const pen = small.getContext("2d", { willReadFrequently: true });
  pen.drawImage(canvas, 0, 0, 64, 16);
  const found = pen.getImageData(0, 0, 64, 16).data.some((one) => one);
  if (found) drawn.add(canvas);
  return found;
};
const graphs = () => all("canvas").slice(0, MOST_GRAPHS);

function logsOf(row) {  // the rows between this job and the next one
  const found = [];
  for (let next = row.nextElementSibling; next && !next.querySelector(LOG_BUTTON); next = next.nextElementSibling) {
    if (next.matches(LOG_ROW)) found.push(next);
  }
  return found;
}

function keyOf(row) {
  const link = all("a[href*='/show_log/'], a[ng-href*='/show_log/']", row)[0];
  const href = link && (link.getAttribute("href") || link.getAttribute("ng-href"));
  return (href && decodeURIComponent(href.split("/show_log/")[1])) || row.getAttribute("data-id") || "";
}

function isRunning(row) {
  const cell = row.cells[3];
  const hidden = cell ? all(".ng-hide", cell).map((one) => one.textContent).join("") : "";
  return Boolean(cell) && ["R", "", "kill"].includes(cell.textContent.replace(hidden, "").trim().split(/\s/)[0]);
}

// ---- what is waited for ----------------------------------------------------------------------------------------------

function lacking() {
  const found = [];
  const state = links();
  if (!state.length) found.push("the state of the link");
  else if (!state.every((one) => one.startsWith("live"))) found.push("a live link");
  const run = shownRun();
  if (!run || (wish.run && run !== wish.run)) found.push(wish.run ? `run ${wish.run}` : "a run");
  const rows = jobs();
  if (wish.jobs !== null && rows.length < wish.jobs) found.push("all jobs");
  for (const row of rows) if (row.classList.contains("info") && !text(row.cells[2])) found.push("the data of all jobs");
  for (const row of rows) {
    if (logsOf(row).length) continue;
    row.querySelector(LOG_BUTTON).click();
    if (!logsOf(row).length) found.push("all logs");
  }
  if (graphs().some((one) => !isDrawn(one)) || /\bLoading\.\.\./.test(text(document.body))) found.push("all graphs");
  const expected = ["showTimestampsGraph", "showEventsGraph"].filter((flag) => location.hash.includes(flag)).length;
  if (rows.length && graphs().length < expected && !/No streams|not available/.test(text(document.body))) found.push("all graphs");
  return [...new Set(found)].filter((one) => !watch.givenUp.has(one));
}

const soon = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function forNews() {
  const end = performance.now() + wish.news;
  while (!watch.news && performance.now() < end) await soon(20);
}

async function forAll() {
  const begin = performance.now();
  let whole = null;
  let missed = [];
  for (;;) {
    missed = lacking();
    const now = performance.now();
    if (missed.length === 0) {
      whole = whole ?? now;
      const calm = jobs().length ? CALM : CALM_WITHOUT_JOBS;
      if (watch.warm || wish.jobs !== null || now - watch.at >= calm || now - whole >= CALM_AT_MOST) break;
    } else {
      whole = null;
    }
    if (now - begin >= wish.show) break;
    await soon(20);
  }
  // What did not come in its time is not waited for again; it is told, and taken when it comes.
  for (const one of missed) watch.givenUp.add(one);
  watch.warm = true;
}

// ---- what is given ---------------------------------------------------------------------------------------------------

function print() {
  const words = [];
  const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.nodeValue.trim() && !ticks(node)) words.push(node.nodeValue + (node.parentElement.closest(".ng-hide") ? "-" : "+"));
  }
  return words.join("\n");
}

function stamp() {
  for (const row of jobs()) {
    const key = keyOf(row);
    row.setAttribute("data-dm-job", key);
    for (const log of logsOf(row)) log.setAttribute("data-dm-log-of", key);
  }
  graphs().forEach((one, place) => one.setAttribute("data-dm-graph", `graph-${place + 1}.png`));
}

return (async () => {
  await forNews();
  await forAll();
  watch.heard(watch.observer.takeRecords());
  watch.news = false;
  const late = [...watch.givenUp];
  watch.givenUp.clear();
  const missed = lacking();
  for (const one of missed) if (late.includes(one)) watch.givenUp.add(one);
  const found = { run: shownRun(), runs: all("a.label-run").map((one) => Number(text(one))).filter(Boolean), link: links().join(", ") };
  Object.assign(found, { jobs: jobs().length, running: jobs().filter(isRunning).length, lacking: missed });
  const pictures = graphs().map((one) => one.toDataURL("image/png"));
  const now = [JSON.stringify(found), print(), ...pictures].join("\n");
  if (now === watch.print && !wish.fresh) return { ...found, same: true };
  watch.print = now;
  stamp();
  const html = document.documentElement.outerHTML;
  watch.observer.takeRecords();
  return { ...found, html, graphs: pictures, print: now };
})();

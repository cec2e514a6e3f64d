// The graphs, on canvases: how late each stream's files came, how many events were accepted, a job's memory.

const COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f"];
const EDGE = { left: 62, right: 200, top: 16, bottom: 34 };

export function timestamps(canvas, files) {
  const { streams = {}, global_start = 0, lumi = 23.31 } = files.extra || {};
  const series = Object.entries(streams).map(([name, one]) => ({
    name,
    points: one.lumis.map((number, place) => [number, one.mtimes[place] - global_start - number * lumi]),
  }));
  draw(canvas, series, "delay, s", "LS", false);
}

export function events(canvas, files) {
  const series = Object.entries((files.extra || {}).streams || {}).map(([name, one]) => ({
    name,
    points: one.lumis.map((number, place) => [number, one.evt_accepted[place]]),
  }));
  draw(canvas, series, "accepted events", "LS", true);
}

export function memory(canvas, job) {
  const points = Object.entries((job.extra || {}).mem_info || {}).map(([at, size]) => [Number(at), size / 1024]);
  const first = points.length ? points[0][0] : 0;
  draw(canvas, [{ name: job.tag, points: points.map(([at, size]) => [at - first, size]) }], "RSS, MB", "s", false);
}

function draw(canvas, series, what, along, steps) {
  const all = series.flatMap((one) => one.points);
  const print = JSON.stringify([series, canvas.width]);
  if (canvas.print === print) return; // nothing new: the picture stays
  canvas.print = print;
  const pen = canvas.getContext("2d");
  const right = canvas.width - EDGE.right;
  const low = canvas.height - EDGE.bottom;
  const most = Math.max(1, ...all.map(([, value]) => value)) * 1.1;
  const from = Math.min(...all.map(([place]) => place), along === "LS" ? 1 : 0);
  const to = Math.max(from + 1, ...all.map(([place]) => place));
  const x = (place) => EDGE.left + ((right - EDGE.left) * (place - from)) / (to - from);
  const y = (value) => low - ((low - EDGE.top) * Math.max(0, value)) / most;
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.font = "12px sans-serif";
  axes(pen, { x, y, from, to, most, right, low, what, along });
  series.forEach((one, number) => {
    pen.strokeStyle = pen.fillStyle = COLOURS[number % COLOURS.length];
    line(pen, one.points.map(([place, value]) => [x(place), y(value)]), steps);
    pen.fillRect(right + 16, EDGE.top + 20 * number, 12, 12);
    pen.fillStyle = "#333";
    pen.textAlign = "left";
    pen.fillText(one.name, right + 34, EDGE.top + 20 * number + 10, EDGE.right - 38);
  });
}

function axes(pen, { x, y, from, to, most, right, low, what, along }) {
  pen.strokeStyle = "#ddd";
  pen.fillStyle = "#555";
  pen.lineWidth = 1;
  for (let part = 0; part <= 4; part += 1) {
    const value = (most * part) / 4;
    pen.textAlign = "right";
    pen.fillText(value < 10 ? value.toFixed(1) : String(Math.round(value)), EDGE.left - 8, y(value) + 4);
    pen.beginPath();
    pen.moveTo(EDGE.left, Math.round(y(value)) + 0.5);
    pen.lineTo(right, Math.round(y(value)) + 0.5);
    pen.stroke();
    pen.textAlign = "center";
    const place = from + ((to - from) * part) / 4;
    pen.fillText(String(Math.round(place)), x(place), low + 16);
  }
  pen.fillText(along, (EDGE.left + right) / 2, low + 31);
  pen.save();
  pen.translate(13, (EDGE.top + low) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText(what, 0, 0);
  pen.restore();
}

function line(pen, points, steps) {
  pen.lineWidth = 1.5;
  pen.beginPath();
  points.forEach(([across, up], place) => {
    if (place === 0) return pen.moveTo(across, up);
    if (steps) pen.lineTo(across, points[place - 1][1]);
    pen.lineTo(across, up);
  });
  pen.stroke();
  for (const [across, up] of points.length < 80 ? points : []) pen.fillRect(across - 1.5, up - 1.5, 3, 3);
}

// The table of the jobs of a run.

import { ageLabel, moment, safe } from "./draw.js";

export const running = (job) => job.exit_code === undefined || job.exit_code === null;
const stopped = (job) => String(job.exit_code) === "0";
const colour = (job) => (running(job) ? "success" : stopped(job) ? "warning" : "danger");

// Of two values one is shown; the other stays in the page, hidden.
const twins = (one, other, first) => {
  const hidden = (no) => (no ? " ng-hide" : "");
  return `<span class="ng-binding${hidden(!first)}">${one}</span>\n<span class="ng-binding${hidden(first)}">${other}</span>`;
};

const button = (action, text) =>
  `<a class="hover-hide btn btn-default btn-xs" ng-click="${action}">${text}</a>`;

export function counts(jobs) {
  const of = (which) => jobs.filter(which).length;
  return { running: of(running), stopped: of(stopped), crashed: of((job) => !running(job) && !stopped(job)) };
}

export function table(jobs, shown) {
  const rows = jobs.map((job) => row(job) + inline(job, shown.get(job._id))).join("\n");
  return `<table class="table table-condensed table-hover table-jobs">
<thead class="ng-scope"><tr><th>Timestamp</th><th>Hostname</th><th>Pid</th><th>State</th><th>Tag</th><th>LS</th><th>RSS</th>
<th>Total Ev.</th><th>&nbsp;</th></tr></thead>
<tbody>
${rows}
</tbody>
</table>`;
}

function row(job) {
  const extra = job.extra || {};
  const events = Number(job.events_total ?? NaN); // null is no count
  const rate = Number(job.events_rate || 0).toFixed(1);
  const oddly = extra.lumi_stats && extra.lumi_stats.closed_abnormally;
  const lumi = `<span class="label label-${oddly ? "warning" : "info"} ng-binding">${safe(job.cmssw_lumi ?? "-")}</span>`;
  const size = parseInt((extra.ps_info || {}).VmRSS, 10);
  return `<tr class="ng-scope ${colour(job)}" data-key="${safe(job._id)}" data-id="${safe(job._id)}">
<td class="nowrap"><span class="ng-binding">${moment(job.timestamp)}</span>
${ageLabel(job.timestamp)}</td>
<td class="ng-binding">${safe(job.hostname)}</td>
<td class="ng-binding">${safe(job.pid)}</td>
<td class="state">${twins(safe(job.exit_code), "R", !running(job))}</td>
<td class="ng-binding" title="${safe((job.cmdline || []).join(" "))}">${safe(job.tag)}</td>
<td>${lumi}</td>
<td class="ng-binding">${Number.isNaN(size) ? "-" : Math.round(size / 1024) + " mb"}</td>
<td>${twins(`${safe(events)} (${rate} evt/s)`, "--", Number.isFinite(events))}</td>
<td class="nowrap">${button("_show_inline = 'log'", "log")}
${button("_show_inline = 'graph'", "graph")}
<a class="btn btn-default btn-xs" href="/utils/show_log/${encodeURIComponent(job._id)}" target="_blank">show_log</a></td>
</tr>`;
}

function inline(job, what) {
  const extra = job.extra || {};
  const hide = `<a class="btn btn-default btn-xs hide-inline" ng-click="_show_inline = null">hide</a>`;
  const log = (lines) => `<dqm-log class="ng-isolate-scope">${safe((lines || []).join("\n"))}</dqm-log>`;
  const key = `data-key="${safe(job._id)} ${what}" data-id="${safe(job._id)}"`;
  if (what === "log") {
    return `\n<tr class="ng-scope" ng-if="_show_inline == 'log'" ${key}><td colspan="9">${hide}
${log(extra.stdlog_start)}
${log(extra.stdlog_end)}</td></tr>`;
  }
  if (what === "graph") {
    return `\n<tr class="ng-scope" ng-if="_show_inline == 'graph'" ${key}><td colspan="9">${hide}
<canvas class="graph-memory" data-job="${safe(job._id)}" width="900" height="160"></canvas></td></tr>`;
  }
  return "";
}

"""dqm's entry in the register of pipelines."""

from __future__ import annotations

from dmtools.control.entry import Component, Pipeline
from dmtools.dqm import pages
from dmtools.dqm import states as s

PIPELINE = Pipeline(
    name="dqm",
    meaning="a page that is live inside, mirrored outside, clean of what is private",
    states=s.STATES,
    open=(),  # a page is never done
    done=(),
    bad=(),  # what is Down or Broken is told by the pages' own figures
    components=(  # all optional: robber, parser and server may be three machines
        Component("robber", "the live pages as a browser shows them", "* * * * *", "--loop", optional=True, loop=True),
        Component(
            "robber-oldruns", "their old runs", "* * * * *", "--old-runs --loop", optional=True, command="dqm-robber", loop=True
        ),
        Component("parser", "grabs become public pages; old ones are removed", "* * * * *", "--loop", optional=True, loop=True),
    ),
    oldest=pages.oldest,
    trace="dmtools.dqm.traces:trace",
    search="dmtools.dqm.traces:search",
    near="dmtools.dqm.traces:near",
    check="dmtools.dqm.check:check",
    repair="dmtools.dqm.repair:repair",
    probes="dmtools.dqm.probes:figures",
    buffers="dmtools.dqm.outlook:buffers",
    stuck="dmtools.dqm.outlook:stuck",
    notes="dmtools.dqm.outlook:notes",
    person="dm-monitoring dqm",
    counts="dmtools.dqm.outlook:counts",
    works="dmtools.dqm.outlook:works",
)  # fmt: skip

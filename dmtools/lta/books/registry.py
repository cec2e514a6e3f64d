"""Which function carries out which ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dmtools.lta.api import Ask, sites
from dmtools.lta.api import bundles as b
from dmtools.lta.api import directories as d
from dmtools.lta.api import dump as p
from dmtools.lta.api import errands as e
from dmtools.lta.api import files as f
from dmtools.lta.api import tokens as t
from dmtools.lta.books import bundles, claiming, directories, disks, due, errands, inventory, moving, persons, standing, tokens

FUNCTIONS: dict[type[Ask], Callable[..., Any]] = {
    b.ListBundles: bundles.listed,
    b.GetBundle: bundles.get,
    b.Known: bundles.known_names,
    b.Glance: bundles.glance,
    b.AddBundles: bundles.add,
    b.Claim: claiming.claim,
    b.Extend: claiming.extend,
    b.Release: claiming.release,
    b.Advance: moving.advance,
    b.Quarantine: persons.quarantine,
    b.Reset: persons.reset,
    b.Set: persons.set_state,
    b.Audited: bundles.audited,
    b.BundleHistory: bundles.history,
    f.AddFiles: bundles.add_files,
    f.ListFiles: bundles.files,
    f.FindFiles: bundles.find_files,
    e.ListErrands: errands.listed,
    e.AddErrands: errands.add,
    e.ClaimErrands: errands.claim,
    e.AdvanceErrands: errands.advance,
    e.ExtendErrands: errands.extend,
    e.ReleaseErrands: errands.release,
    e.DueForAudit: due.due,
    p.ListDisks: disks.listed,
    p.ListSlots: disks.slots,
    p.ListTargets: disks.targets,
    p.Inventory: inventory.take,
    p.ClaimDisks: disks.claim,
    p.AdvanceDisks: disks.advance,
    p.ExtendDisks: disks.extend,
    p.SetDisk: disks.set_state,
    d.ListDirectories: directories.listed,
    d.Expect: directories.expect,
    d.Full: directories.full,
    d.ClaimDirectories: directories.claim,
    d.AdvanceDirectories: directories.advance,
    d.ExtendDirectories: directories.extend,
    d.SetDirectory: directories.set_state,
    d.LoadCatalogue: directories.load,
    d.LookUp: directories.look_up,
    sites.ListSites: standing.sites,
    sites.Heartbeat: standing.heartbeat,
    sites.Control: standing.control,
    sites.Say: standing.say,
    sites.Status: standing.status,
    t.ListTokens: tokens.listed,
    t.AddToken: tokens.add,
    t.RevokeToken: tokens.revoke,
}

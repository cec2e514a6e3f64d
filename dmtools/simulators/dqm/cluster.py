"""What the two clusters are: their hosts, tags, streams, and what their jobs write into their logs."""

from __future__ import annotations

from msgspec import Struct

TAGS = (
    *("beam", "beamhlt", "ecal", "ecalcalib", "es", "hcal", "hcalcalib", "sistrip", "pixel", "pixellumi", "dt4ml", "csc"),
    *("rpc", "gem", "ctpps", "l1tstage2", "l1tstage2emulator", "hlt", "lumi", "mutracking", "fed", "info", "visualization"),
)
STREAMS = ("streamDQM", "streamDQMHistograms", "streamDQMEventDisplay", "streamDQMOnlineBeamspot")
CRASHES = (139, 134, 65, 92)
MODULES = ("SiStripMonitorCluster", "EcalRecHitProducer", "HcalDigiProducer", "BeamMonitor", "DQMFileSaverOnline", "L1TStage2")


class Cluster(Struct, frozen=True, kw_only=True):
    """One cluster: `hosts` is its alias in the page's address; run numbers begin at `first_run`."""

    name: str
    hosts: str
    builder: str
    units: tuple[str, ...]
    first_run: int
    base: str
    original: int | None = None


PRODUCTION = Cluster(
    name="production",
    hosts="production_local",
    builder="dqmrubu-c2a06-01-01.cms",
    units=tuple(f"dqmfu-c2b0{rack}-45-01.cms" for rack in range(1, 5)),
    first_run=380001,
    base="/fff/BU0/output",
)
PLAYBACK = Cluster(
    name="playback",
    hosts="playback_local",
    builder="dqmrubu-c2a06-03-01.cms",
    units=tuple(f"dqmfu-c2b1{rack}-45-01.cms" for rack in range(1, 3)),
    first_run=500101,
    base="/fff/BU0/playback_files",
    original=379866,
)


def command_line(cluster: Cluster, tag: str, run: int) -> list[str]:
    """As hltd starts such a job."""
    return [
        "/opt/cmssw/el8_amd64_gcc12/cms/cmssw/CMSSW_14_0_6/bin/el8_amd64_gcc12/cmsRun",
        f"/dqmdata/dqm_cmssw/CMSSW_14_0_6/src/DQM/Integration/python/clients/{tag}_dqm_sourceclient-live_cfg.py",
        f"runInputDir={cluster.base}",
        f"runNumber={run}",
        "runkey=pp_run",
        "scanOnce=False",
        "datafnPosition=3",
    ]


def first_lines(cluster: Cluster, tag: str, run: int, host: str, pid: int) -> list[str]:
    """How a job's log begins."""
    return [
        f"[dqmpro@{host.partition('.')[0]} ~]$ {' '.join(command_line(cluster, tag, run))}",
        f"started pid {pid} as uid=37563(dqmpro) gid=1399(zh), HOME=/nfshome0/dqmpro, X509_USER_PROXY=/tmp/x509up_u37563",
        "Running scram runtime -sh in /dqmdata/dqm_cmssw/CMSSW_14_0_6/src",
        "process.dqmSaver.path = '/fff/BU0/dqm/upload'",
        f"process.source = cms.Source('DQMStreamerReader', runInputDir='{cluster.base}', runNumber={run})",
        "GlobalTag: 140X_dataRun3_HLT_v3, frontier proxies at http://cmsfrontier.cms:8000/FrontierOnProd",
        f"%MSG-i DqmStreamer: (NoModuleName) watching {cluster.base}/run{run} for new lumisections",
        "%MSG",
        "Types known: std::vector<edm::EventID>, edm::Wrapper<std::map<int, double>> & friends",
    ]


def lumi_lines(cluster: Cluster, module: str, run: int, lumi: int, events: int) -> list[str]:
    """What a job says of a lumi section."""
    file = f"{cluster.base}/run{run}/run{run}_ls{lumi:04d}_streamDQM_{cluster.builder.partition('.')[0]}.dat"
    return [
        f"%MSG-i {module}: opened {file}, events so far: {events}",
        f"Begin processing the {events}th record. Run {run}, Event {events * 97 + 13}, LumiSection {lumi} on stream 0",
    ]


def last_lines(exit_code: int, module: str) -> list[str]:
    """How a log ends."""
    if exit_code == 0:
        return ["DQMFileSaver::globalEndRun: /fff/BU0/dqm/upload/ is written", "cmsRun finished, exit code 0"]
    signal = "A fatal system signal has occurred: segmentation violation"
    return [
        signal if exit_code == 139 else "----- Begin Fatal Exception -----",
        f"An exception of category 'LogicError' occurred while [1] calling method for module {module}/'{module.lower()}'",
        "#4  0x00007f2ab34c1e21 in edm::Worker::doWork<edm::OccurrenceTraits<edm::EventPrincipal>> () from libFWCoreFramework.so",
        "Current Modules: see /dqmdata/dqm_cmssw/CMSSW_14_0_6/src; reported to dqm-expert@example.org",
        f"cmsRun ended, exit code {exit_code}",
    ]

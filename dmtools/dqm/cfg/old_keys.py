"""What became of each key of a dqmsquare_mirror.cfg, of its version for python 2 and of the port to python 3."""

from __future__ import annotations

from collections.abc import Mapping

# Numbers: the key here, and what one of theirs is in ours; `why` tells what is otherwise.
NUMBERS: Mapping[str, tuple[str, float, str]] = {
    "SLEEP_TIME": ("sleep_seconds", 1.0, "the longest wait; what the page shows ends it"),
    "TMP_FILES_LIFETIME": ("lifetime_hours", 1.0, "the newest grab and page stay, whatever their age"),
    "SERVER_RELOAD_TIME": ("page_seconds", 0.001, "milliseconds there; only where news can't be told at once"),
    "ROBBER_OLDRUNS_UPDATE_TIME": ("old_run_seconds", 3600.0, "hours there; a finished run is grabbed once"),
    "PARSER_MAX_OLDRUNS": ("old_runs", 1.0, "the newest"),
    "FIREFOX_RELOAD_NITERS": ("browser_grabs", 1.0, "grabs, not loops"),
}
PROGRAMS = {"ROBBER_GECKODRIVER_PATH": "driver_path", "ROBBER_FIREFOX_PATH": "browser_path"}
NO_OLD_RUNS = ("ROBBER_GRAB_OLDRUNS", "PARSER_PARSE_OLDRUNS")
SITES, PATHS = "ROBBER_TARGET_SITES", "ROBBER_OUTPUT_PATHS"
BACKEND, PREFIX, CLEAN = "ROBBER_BACKEND", "PARSER_LINK_PREFIX", "TMP_CLEAN_FILES"

_PLACES = "directories are fixed: HOME/dqm/raw and HOME/dqm/public"
_LOGS = "each command writes HOME/log/NAME.log"
_DEBUG = "-v of each command says every step"
_ALWAYS = "logs and graphs are always grabbed: it costs milliseconds"
NOTHING: Mapping[str, str] = {
    "SLEEP_TIME_LONG": "old runs are waited for by what the page shows; what failed waits a second, then ever longer",
    "LOGGER_ROTATION_TIME": "[log] rotate_hours, for all commands of this HOME",
    "LOGGER_MAX_N_LOG_FILES": "[log] keep, for all commands of this HOME",
    "TMP_FOLDER_TO_CLEAN": "only HOME/dqm/raw and HOME/dqm/public are cleaned",
    "SERVER_DEBUG": _DEBUG,
    "SERVER_HOST": "dqm-server --host; without it the server listens to this machine alone",
    "SERVER_PORT": "dqm-server --port, or port_base",
    "SERVER_LOCAL": "dqm-server --host",
    "SERVER_PATH_TO_PRODUCTION_PAGE": _PLACES,
    "SERVER_PATH_TO_PLAYBACK_PAGE": _PLACES,
    "SERVER_LOG_PATH": _LOGS,
    "SERVER_K8": "behind a proxy: [dqm] prefix, and dqm-server --behind-proxy",
    "SERVER_DATA_PATH": _PLACES,
    "PARSER_DEBUG": _DEBUG,
    "PARSER_RANDOM": "the simulator moves by itself: dm-sim dqm",
    "PARSER_OLDRUNS_UPDATE_TIME": "an old run is read again when its grab, or the rules of reading, are newer",
    "PARSER_LOG_UPDATE_TIME": "dm-monitoring dqm tells at any time",
    "PARSER_INPUT_PATHS": _PLACES,
    "PARSER_OUTPUT_PATHS": _PLACES,
    "PARSER_LOG_PATH": _LOGS,
    "ROBBER_DEBUG": _DEBUG,
    "ROBBER_GRAB_LOGS": _ALWAYS,
    "ROBBER_GRAB_GRAPHS": _ALWAYS,
    "ROBBER_RELOAD_NITERS": "a page is opened anew when its link is lost or it fails, each site by itself",
    "ROBBER_LOG_PATH": _LOGS,
    "ROBBER_OLDRUNS_LOG_PATH": _LOGS,
    "ROBBER_GECKODRIVER_LOG_PATH": "[dqm] driver_log_bytes limits the drivers' logs",
    "ROBBER_OLDRUNS_GECKODRIVER_LOG_PATH": "[dqm] driver_log_bytes limits the drivers' logs",
    "ROBBER_FIREFOX_PROFILE_PATH": "each browser gets an empty profile; cookies come from [dqm] cookie_file",
    "ROBBER_K8": "cookies of a login come from [dqm] cookie_file",
    "ROBBER_K8_LOGIN_PAGE": "cookies of a login come from [dqm] cookie_file",
}
KNOWN = (*NUMBERS, *PROGRAMS, *NO_OLD_RUNS, SITES, PATHS, BACKEND, PREFIX, CLEAN, *NOTHING)

"""A real nagios runs dm-train-ok and reads its verdicts and its performance data."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, environment, run, wait_until

pytestmark = [pytest.mark.needs("nagios"), pytest.mark.slow]

MAIN = """\
cfg_file={0}/objects.cfg
log_file={0}/nagios.log
object_cache_file={0}/objects.cache
precached_object_file={0}/objects.precache
status_file={0}/status.dat
lock_file={0}/pid
temp_file={0}/tmp
temp_path={0}
check_result_path={0}/results
query_socket={0}/q
command_file={0}/cmd
state_retention_file={0}/retention.dat
nagios_user={1}
nagios_group={2}
interval_length=1
status_update_interval=1
service_inter_check_delay_method=n
host_inter_check_delay_method=n
max_service_check_spread=1
max_host_check_spread=1
check_for_updates=0
retain_state_information=0
execute_host_checks=0
enable_notifications=0
use_syslog=0
service_check_timeout=60
"""

OBJECTS = """\
define command {{
    command_name  dmtools
    command_line  {command}
}}
define timeperiod {{
    timeperiod_name  always
    alias            always
    monday           00:00-24:00
    tuesday          00:00-24:00
    wednesday        00:00-24:00
    thursday         00:00-24:00
    friday           00:00-24:00
    saturday         00:00-24:00
    sunday           00:00-24:00
}}
define contact {{
    contact_name                   nobody
    host_notification_commands     dmtools
    service_notification_commands  dmtools
    host_notification_period       always
    service_notification_period    always
}}
define host {{
    host_name           farm
    address             127.0.0.1
    max_check_attempts  1
    check_period        always
    contacts            nobody
    notifications_enabled 0
}}
define service {{
    host_name              farm
    service_description    TrainOK
    check_command          dmtools
    check_period           always
    max_check_attempts     1
    check_interval         2
    retry_interval         2
    contacts               nobody
    notifications_enabled  0
}}
"""


@pytest.fixture
def nagios(home: Path, short_tmp: Path) -> Iterator[Callable[[], dict[str, str]]]:
    """Starts it on its own tree; gives what status.dat says of the service. The offset of the check's clock is in `offset`."""
    for name in ("producer", "consumer", "monitor"):
        run(f"migrate-{name}", home=home).ok()
    place = short_tmp / "n"
    (place / "results").mkdir(parents=True)
    (place / "offset").write_text("0")
    script = place / "check"
    script.write_text(
        f"#!/bin/sh\nDMTOOLS_CLOCK_OFFSET=$(cat {place}/offset) exec {sys.executable} {ROOT}/bin/dm-train-ok --home {home}\n"
    )
    script.chmod(0o755)
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    (place / "nagios.cfg").write_text(MAIN.format(place, user, group))
    (place / "objects.cfg").write_text(OBJECTS.format(command=script))
    env = environment(extra={"PATH": f"{os.environ['PATH']}:/usr/sbin"})
    proved = subprocess.run(["nagios4", "-v", place / "nagios.cfg"], env=env, capture_output=True, text=True)
    assert proved.returncode == 0, proved.stdout
    with (place / "out").open("wb") as out:
        process = subprocess.Popen(["nagios4", place / "nagios.cfg"], env=env, stdout=out, stderr=out)

    def service() -> dict[str, str]:
        path = place / "status.dat"
        text = path.read_text() if path.exists() else ""
        found = re.search(r"servicestatus \{(.*?)\n\t\}", text, re.DOTALL)
        return dict(re.findall(r"^\t(\w+)=(.*)$", found[1], re.MULTILINE)) if found else {}

    yield service
    process.terminate()
    process.wait(60)


def test_each_verdict_in_turn_with_its_performance_data(
    home: Path, short_tmp: Path, nagios: Callable[[], dict[str, str]]
) -> None:
    def has(state: int, word: str) -> dict[str, str]:
        def there() -> dict[str, str]:
            now = nagios()
            return now if now.get("current_state") == str(state) and word in now["plugin_output"] else {}

        found: dict[str, str] = wait_until(there, 60, f"nagios has the state {state}; now {nagios()}")
        return found

    well = has(0, "TRAINOK OK - migrate: all is well")
    assert "migrate_monitor_last_success_age=" in well["performance_data"]
    assert ";14400;43200;0" in well["performance_data"]
    assert "OK: migrate-monitor: last success" in well["long_plugin_output"]
    (short_tmp / "n/offset").write_text("18000")
    late = has(1, "TRAINOK WARNING - migrate-producer: last success 5 h ago")
    assert "WARNING: migrate-monitor: last success 5 h ago" in late["long_plugin_output"]
    (short_tmp / "n/offset").write_text("50000")
    has(2, "TRAINOK CRITICAL - migrate-producer: last success 13 h")
    (home / "dmtools.db").rename(home / "away.db")
    gone = has(3, "TRAINOK UNKNOWN - no database")
    assert gone["performance_data"] == ""

"""FTS3's REST protocol: the unmodified client and its tools through every call, the recorded key sets, texts and codes."""

from __future__ import annotations

import json
import uuid
import warnings
from typing import Any

import pytest
import requests

from tests.simulators.fts_client import Fts, tool, url
from tests.support import wait_until

BASE_ID = uuid.UUID("01874efb-4735-4595-bc9c-591aef8240c9")
# The key sets of answers recorded from a real server.
JOB = {
    "verify_checksum",
    "submit_host",
    "internal_job_params",
    "user_dn",
    "dst_file_report",
    "job_metadata",
    "job_id",
    "cred_id",
    "overwrite_flag",
    "retry",
    "source_se",
    "vo_name",
    "job_finished",
    "retry_delay",
    "dest_se",
    "reason",
    "copy_pin_lifetime",
    "os_project_id",
    "source_spacetoken",
    "job_state",
    "submit_time",
    "bring_online",
    "job_type",
    "priority",
    "archive_timeout",
    "destination_spacetoken",
    "cancel_job",
    "max_time_in_queue",
    "target_qos",
}
FILE = {
    "file_index",
    "transfer_host",
    "finish_time",
    "throughput",
    "bringonline_token",
    "job_id",
    "source_surl",
    "start_time",
    "retry",
    "log_file",
    "dest_surl_uuid",
    "dest_surl",
    "archive_start_time",
    "user_filesize",
    "activity",
    "log_debug",
    "vo_name",
    "staging_host",
    "archive_finish_time",
    "file_metadata",
    "scitag",
    "recoverable",
    "source_se",
    "reason",
    "internal_file_params",
    "staging_metadata",
    "src_token_id",
    "dest_se",
    "filesize",
    "pid",
    "archive_metadata",
    "dst_token_id",
    "file_id",
    "priority",
    "checksum",
    "staging_start",
    "staging_finished",
    "file_state_initial",
    "hashed_id",
    "file_state",
    "tx_duration",
    "selection_strategy",
}
FAR = ("https://src.example/a/f1", "https://dst.example/b/f1")


@pytest.fixture(scope="module")
def easy() -> Any:
    warnings.simplefilter("ignore", DeprecationWarning)
    import fts3.rest.client.easy as module

    return module


def held(fts: Fts, **params: Any) -> str:
    """A job that stays SUBMITTED: it waits for the delay of a retry."""
    fts.faults('[[fault]]\nmatch = "held.example"\nop = "fail"\nreason = "TRANSFER [110] Connection timed out"\n')
    job_id = fts.submit(("https://held.example/a", "https://held.example/b"), retry=3, retry_delay=900, **params)
    wait_until(lambda: fts.job(job_id)["files"][0]["retry"] == 1, what="the first attempt failed")
    return job_id


def message(answer: requests.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["status"], answer.json()["message"]


def test_who_am_i(fts: Fts, easy: Any) -> None:
    context = fts.context
    assert all(isinstance(context.endpoint_info["api"][part], int) for part in ("major", "minor", "patch"))
    me = easy.whoami(context)
    assert me["base_id"] == str(BASE_ID)
    assert me["vos_id"] == [str(uuid.uuid5(BASE_ID, me["vos"][0]))]
    assert set(me) >= {"user_dn", "dn", "voms_cred", "roles", "level", "delegation_id", "method", "is_root"}
    assert easy.delegate(context) == ""


def test_a_client_without_tokens_delegates_and_submits(fts: Fts, easy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("X509_USER_PROXY", "X509_USER_CERT"):
        monkeypatch.delenv(name, raising=False)
    with_password = fts.url.replace("http://", f"http://x:{fts.address['token']}@")
    context = easy.Context(with_password)
    assert easy.delegate(context) == easy.whoami(context)["delegation_id"]
    job_id = easy.submit(context, easy.new_job([easy.new_transfer(*FAR)]))
    assert fts.get(f"/jobs/{job_id}/job_metadata") == {"auth_method": "certificate"}


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic !"}, {"Authorization": "Bearer "}]
)
@pytest.mark.parametrize("path", ["/", "/jobs", "/sim/copies", "/whoami"])
def test_only_its_token_is_taken(fts: Fts, header: dict[str, str], path: str) -> None:
    answer = requests.get(fts.url + path, headers=header, timeout=60)
    assert answer.status_code == 401
    assert answer.json()["status"] == "401 Unauthorized"


def test_keys_of_a_job_and_a_file(fts: Fts, easy: Any) -> None:
    transfer = easy.new_transfer(*FAR, checksum="adler32:1a2b3c4d", filesize=123, activity="x", metadata={"k": "v"})
    job = easy.new_job([transfer], overwrite=True, verify_checksum=True, retry=2, retry_delay=1, priority=9, metadata={"m": 1})
    found = easy.get_job_status(fts.context, easy.submit(fts.context, job), list_files=True)
    file = found["files"][0]
    assert set(found) == JOB | {"http_status", "files", "dm"}
    assert set(file) == FILE
    assert found["dm"] == []
    assert found["job_metadata"] == {"m": 1, "auth_method": "oauth2"}
    assert {key: found[key] for key in ("verify_checksum", "overwrite_flag", "priority", "retry", "internal_job_params")} == {
        "verify_checksum": "b",
        "overwrite_flag": "Y",
        "priority": 5,
        "retry": 2,
        "internal_job_params": "nostreams:1",
    }
    assert (found["source_se"], found["dest_se"]) == ("https://src.example", "https://dst.example")
    assert found["dst_file_report"] is False
    assert found["cancel_job"] is False
    assert isinstance(file["file_id"], int)
    assert file["file_id"] > 2**32
    assert (file["user_filesize"], file["activity"], file["file_metadata"]) == (123, "x", {"k": "v"})


def test_deterministic_ids_and_409(fts: Fts, easy: Any) -> None:
    context, sid = fts.context, str(uuid.uuid4())
    job = easy.new_job([easy.new_transfer(*FAR)], id_generator=easy.JobIdGenerator.deterministic, sid=sid)
    job_id = easy.submit(context, job)
    assert job_id == str(uuid.uuid5(uuid.UUID(easy.whoami(context)["vos_id"][0]), sid))
    with pytest.raises(easy.exceptions.ClientError) as caught:
        easy.submit(context, job)
    assert caught.value.reason == "409"
    body = {"params": {"id_generator": "deterministic", "sid": sid}, "files": [{"sources": [FAR[0]], "destinations": [FAR[1]]}]}
    assert message(fts.raw("PUT", "//jobs", body)) == (409, "409 Conflict", "The sid provided by the user is duplicated")
    assert [row["job_id"] for row in fts.get(f"/sim/submissions?sid={sid}")] == [job_id]


REFUSED = [
    ({}, "No transfers operations specified"),
    ([], "Expecting a dictionary"),
    ({"files": []}, "No valid pairs available"),
    (
        {"files": [{"sources": ["abc"], "destinations": ["https://h/p"]}]},
        "Invalid value within the request: Missing scheme (abc)",
    ),
    (
        {"files": [{"sources": ["https://h"], "destinations": ["https://h/p"]}]},
        "Invalid value within the request: Missing path (https://h)",
    ),
    (
        {"files": [{"sources": ["https:///p"], "destinations": ["https://h/p"]}]},
        "Invalid value within the request: Missing host (https:///p)",
    ),
    ({"files": [{"sources": ["https://h/p"]}]}, "Missing parameter: 'destinations'"),
    ({"files": [{}], "params": {"id_generator": "deterministic"}}, "Need sid for deterministic job id generation"),
    (
        {
            "files": [{"sources": ["https://h/p"], "destinations": ["https://h/q"]}],
            "params": {"overwrite": True, "overwrite_on_retry": True},
        },
        "Incompatible overwrite flags used at the same time",
    ),
    (
        {"files": [{"sources": ["https://h/p"], "destinations": ["https://h/q"], "metadata": {"x": "y" * 2000}}]},
        "Invalid value within the request: Job Submission Refused, metadata exceeds size limit of 1024",
    ),
]


@pytest.mark.parametrize(("body", "text"), REFUSED)
def test_refused_submissions(fts: Fts, body: Any, text: str) -> None:
    assert message(fts.raw("POST", "/jobs", body)) == (400, "400 Bad Request", text)


@pytest.mark.parametrize(
    "body",
    [
        {"files": 5},
        {"files": [5]},
        {"files": [{"sources": "https://h/p", "destinations": ["https://h/p"]}]},
        {"files": [{"sources": [7], "destinations": ["https://h/p"]}]},
        {"files": [{"sources": ["https://h/p"], "destinations": ["https://h/p"], "filesize": "x"}]},
        {"files": [{"sources": ["https://h/p"], "destinations": ["https://h/p"]}], "params": {"retry": "x"}},
        {"files": [{"sources": ["https://h/p"], "destinations": ["https://h/p"]}], "params": [1]},
        {"files": [{"sources": ["https://h/p"], "destinations": ["https://h/p"], "checksum": 7}]},
        {"files": [{"sources": ["https://h/p"], "destinations": ["https://h/p"], "activity": 7}]},
    ],
)
def test_nonsense_is_400_and_says_so(fts: Fts, body: Any) -> None:
    before = fts.get("/sim/submissions")
    assert fts.raw("POST", "/jobs", body).status_code == 400
    assert fts.get("/sim/submissions") == before
    assert "Traceback" not in fts.said


def test_bad_json_and_content_type(fts: Fts) -> None:
    json_type = {"Content-Type": "application/json"}
    assert message(fts.raw("POST", "/jobs", data=b"{nope", headers=json_type))[2] == "Badly formatted JSON request"
    wrong = fts.raw("POST", "/jobs", data=b"{}", headers={"Content-Type": "text/plain"})
    assert message(wrong)[2] == "Expecting application/json or application/x-www-form-urlencoded"
    assert message(fts.raw("POST", "/jobs", {"delete": ["https://h/p"]}))[0] == 405
    assert (
        fts.raw(
            "POST", "/jobs", {"files": [{"sources": ["https://h/" + "p" * 1200], "destinations": ["https://h/p"]}]}
        ).status_code
        == 500
    )


def test_what_the_real_server_takes_too(fts: Fts) -> None:
    files = [{"sources": [FAR[0]], "destinations": [FAR[1]], "checksum": "foo", "what": 1}] * 2
    job_id = fts.raw("POST", "/jobs", {"files": files, "params": {"unknown": 1, "verify_checksum": "weird"}}).json()["job_id"]
    assert fts.get(f"/jobs/{job_id}/verify_checksum") == "w"


@pytest.mark.parametrize(
    ("given", "checksum", "mode"),
    [
        (False, None, "n"),
        (False, "adler32:1", "t"),
        (True, None, "b"),
        ("source", None, "s"),
        ("none", "adler32:1", "n"),
        (None, None, "n"),
    ],
)
def test_verify_modes(fts: Fts, given: Any, checksum: str | None, mode: str) -> None:
    job_id = fts.submit(FAR, verify_checksum=given, checksum=checksum)
    assert fts.get(f"/jobs/{job_id}/verify_checksum") == mode


def test_status_of_one_of_many_of_none(fts: Fts, easy: Any) -> None:
    one, two = fts.submit(FAR, metadata="lbl"), fts.submit(FAR)
    context = fts.context
    assert easy.get_jobs_statuses(context, [one])["job_id"] == one
    many = easy.get_jobs_statuses(context, [one, two, one], list_files=True)
    assert [job["job_id"] for job in many] == [one, two, one]
    assert {job["http_status"] for job in many} == {"200 Ok"}
    fields = ["file_state", "dest_surl", "finish_time", "start_time", "reason", "source_surl", "file_metadata"]
    assert set(many[0]["files"][0]) == set(fields)
    assert many[0]["files"][0]["file_metadata"] == {"label": "lbl"}
    mixed = fts.raw("GET", f"/jobs/{one},nope?files=file_state,zzz")
    assert mixed.status_code == 207
    good, bad = mixed.json()
    assert set(good) == JOB | {"http_status", "files"}
    assert set(good["files"][0]) == {"file_state"}
    assert bad == {"job_id": "nope", "http_status": "404 Not Found", "http_message": 'No job with the id "nope" has been found'}
    with pytest.raises(easy.exceptions.ClientError) as caught:
        easy.get_jobs_statuses(context, [one, "nope"])
    assert {item["job_id"] for item in json.loads(caught.value.reason)} == {one, "nope"}
    with pytest.raises(easy.exceptions.ClientError, match=r'"x" has been found\n.*"y" has been found'):
        easy.get_jobs_statuses(context, ["x", "y"])
    with pytest.raises(easy.exceptions.NotFound, match="nope"):
        easy.get_job_status(context, "nope")


def test_parts_of_a_job(fts: Fts) -> None:
    job_id = fts.submit(FAR)
    assert isinstance(fts.get(f"/jobs/{job_id}/job_state"), str)
    assert message(fts.raw("GET", f"/jobs/{job_id}/zzz")) == (404, "404 Not Found", "No such field")
    assert message(fts.raw("GET", "/jobs/nope/files"))[2] == 'No job with the id "nope" has been found'
    assert fts.raw("GET", "/jobs/nope").json()["http_message"] == 'No job with the id "nope" has been found'
    assert fts.raw("GET", "/nowhere/at/all").json()["status"] == "404 Not Found"
    assert fts.raw("DELETE", "/whoami").status_code == 405


def test_lists(fts: Fts, easy: Any) -> None:
    live = held(fts)
    dead = fts.submit(("https://listed.example/a", "https://listed.example/b"))
    fts.done(dead)
    context, me = fts.context, fts.get("/whoami")

    def ids(**filters: Any) -> set[str]:
        return {job["job_id"] for job in easy.list_jobs(context, **filters)}

    assert live in ids()
    assert dead not in ids()
    assert live in ids(
        source_se="https://held.example", vo=me["vos"][0], user_dn=me["user_dn"], delegation_id=me["delegation_id"]
    )
    assert live not in ids(source_se="https://other.example")
    assert dead not in ids(state_in=["FAILED"])
    shown = fts.get("/jobs?state_in=FAILED,FINISHED&time_window=1:30")
    assert dead in {job["job_id"] for job in shown}
    assert set(shown[0]) == JOB
    assert len(fts.get("/jobs?state_in=FAILED&limit=1")) == 1
    assert fts.get("/jobs?state_in=FAILED&limit=1&fields=job_id,zzz,job_state")[0].keys() == {"job_id", "job_state"}
    assert message(fts.raw("GET", "/jobs?limit=501"))[2] == "The limit must be positive and less or equal than 500"
    assert fts.raw("GET", "/jobs?dlg_id=other").status_code == 403
    assert fts.raw("GET", "/jobs?user_dn=other").status_code == 400


def test_cancel(fts: Fts, easy: Any) -> None:
    live, dead = held(fts), fts.submit(FAR)
    fts.done(dead)
    context = fts.context
    again = easy.cancel(context, dead)
    assert (again["http_status"], again["http_message"]) == ("304 Not Modified", "The job is in a terminal state")
    answer = fts.raw("DELETE", f"/jobs/{live},{dead},nope")
    assert answer.status_code == 207
    assert [item["job_id"] for item in answer.json()] == [dead, "nope", live]
    assert [item["http_status"] for item in answer.json()] == ["304 Not Modified", "404 Not Found", "200 Ok"]
    job = fts.job(live)
    assert (job["job_state"], job["reason"], job["cancel_job"]) == ("CANCELED", "Job canceled by the user", True)
    assert job["job_finished"]
    assert (job["files"][0]["file_state"], job["files"][0]["reason"]) == ("CANCELED", "Job canceled by the user")
    assert job["files"][0]["finish_time"]
    assert fts.raw("DELETE", "/jobs/nope").json()["http_status"] == "404 Not Found"


def test_cancel_files_and_all(fts: Fts, easy: Any) -> None:
    job_id = held(fts)
    file_id = fts.job(job_id)["files"][0]["file_id"]
    context = fts.context
    assert easy.cancel(context, job_id, [file_id]) == "CANCELED"
    assert easy.cancel(context, job_id, [file_id, 1]) == ["CANCELED", "File does not belong to the job"]
    assert fts.job(job_id)["job_state"] == "CANCELED"
    assert fts.job(job_id)["files"][0]["reason"] is None
    hop = fts.submit(FAR, FAR, multihop=True)
    assert fts.raw("DELETE", f"/jobs/{hop}/files/1").status_code == 400
    live = held(fts)
    assert easy.cancel_all(context, "othervo") == {"affected_files": 0, "affected_dm": 0, "affected_jobs": 0}
    assert easy.cancel_all(context)["affected_jobs"] >= 1
    assert fts.job(live)["job_state"] == "CANCELED"


def test_priority(fts: Fts) -> None:
    job_id = held(fts)
    answer = fts.raw("POST", f"/jobs/{job_id}", {"params": {"priority": 5}}).json()
    assert (answer["priority"], answer["http_status"]) == (5, "200 Ok")
    assert fts.get(f"/jobs/{job_id}/files")[0]["priority"] == 5
    assert fts.raw("POST", f"/jobs/{job_id}", {"params": {"priority": "x"}}).status_code == 400


def test_bans(fts: Fts, easy: Any) -> None:
    context = fts.context
    live = held(fts)
    assert live in easy.ban_se(context, "https://held.example")
    assert (fts.job(live)["job_state"], fts.job(live)["files"][0]["reason"]) == ("CANCELED", "Storage banned")
    with pytest.raises(easy.exceptions.Unauthorized, match=r"held\.example is banned"):
        easy.submit(context, easy.new_job([easy.new_transfer("https://held.example/a", "https://held.example/b")]))
    easy.unban_se(context, "https://held.example")
    assert easy.ban_se(context, "https://wait.example", status="wait", allow_submit=True) == []
    waiting = fts.submit(("https://wait.example/a", "https://dst.example/b"))
    assert fts.job(waiting)["files"][0]["file_state"] == "ON_HOLD"
    assert [ban["name"] for ban in fts.get("/ban/se")] == ["https://wait.example"]
    easy.unban_se(context, "https://wait.example")
    assert fts.done(waiting)["job_state"] == "FAILED"
    with pytest.raises(easy.exceptions.ClientError, match="409"):
        easy.ban_dn(context, fts.get("/whoami")["user_dn"])
    assert easy.ban_dn(context, "/CN=somebody") == []
    easy.unban_dn(context, "/CN=somebody")
    assert fts.get("/ban/dn") == []


def test_archive(fts: Fts) -> None:
    sid = str(uuid.uuid4())
    names = {"id_generator": "deterministic", "sid": sid}
    job_id = fts.submit(FAR, **names)
    fts.done(job_id)
    assert fts.raw("GET", f"/archive/{job_id}").status_code == 404
    assert fts.raw("POST", f"/sim/archive/{job_id}").status_code == 200
    assert fts.raw("GET", f"/jobs/{job_id}").status_code == 404
    old = fts.get(f"/archive/{job_id}")
    assert set(old) == (JOB - {"retry_delay", "os_project_id"}) | {"files"}
    gone = {
        "activity",
        "vo_name",
        "priority",
        "recoverable",
        "dest_surl_uuid",
        "hashed_id",
        "log_file",
        "src_token_id",
        "dst_token_id",
    }
    assert set(old["files"][0]) == (FILE - gone) | {"current_failures"}
    assert fts.submit(FAR, **names) == job_id
    assert message(fts.raw("GET", "/archive/nope"))[2] == 'No job with the id "nope" has been found in the archive'


def test_initial_states(fts: Fts) -> None:
    replicas = fts.submit((["https://one.example/a", "https://two.example/a"], FAR[1]))
    files = fts.get(f"/jobs/{replicas}/files")
    assert fts.get(f"/jobs/{replicas}/job_type") == "R"
    assert [file["file_index"] for file in files] == [0, 0]
    hops = fts.submit(FAR, ("https://dst.example/b/f1", "https://end.example/c"), multihop=True)
    job = fts.get(f"/jobs/{hops}")
    assert (job["job_type"], job["source_se"], job["dest_se"]) == ("H", "https://src.example", "https://end.example")
    assert fts.get(f"/jobs/{fts.submit(FAR, FAR, reuse=True)}/job_type") == "Y"
    assert fts.get(f"/jobs/{fts.submit(FAR, max_time_in_queue=1)}/max_time_in_queue") > 1_700_000_000


def test_the_clients_own_tools(fts: Fts) -> None:
    source, target = fts.source(), fts.target()
    tokens = ("--src-access-token", "s", "--dst-access-token", "d")
    made = tool(fts, "fts-rest-transfer-submit", *tokens, "-K", url(source), url(target))
    assert "Job successfully submitted." in made.stdout, made
    job_id = made.stdout.split("Job id: ")[1].strip()
    assert fts.done(job_id)["job_state"] == "FINISHED"
    assert target.read_bytes() == source.read_bytes()
    shown = tool(fts, "fts-rest-transfer-status", job_id)
    assert f"Request ID: {job_id}\nStatus: FINISHED" in shown.stdout
    assert json.loads(tool(fts, "fts-rest-transfer-status", "-j", job_id).stdout)["files"][0]["file_state"] == "FINISHED"
    live = held(fts)
    assert f"Request ID: {live}" in tool(fts, "fts-rest-transfer-list").stdout
    file_id = fts.job(live)["files"][0]["file_id"]
    assert tool(fts, "fts-rest-transfer-cancel", f"{live}:{file_id}").stdout.strip() == "CANCELED"
    assert tool(fts, "fts-rest-transfer-cancel", job_id).stdout.strip() == "FINISHED"
    assert "VO: demo" in tool(fts, "fts-rest-whoami").stdout
    assert "active: 0" in tool(fts, "fts-rest-server-status").stdout
    assert "Delegation id: " in tool(fts, "fts-rest-delegate").stdout
    assert "No jobs affected" in tool(fts, "fts-rest-ban", "--storage", "https://x.example").stdout
    assert tool(fts, "fts-rest-ban", "--storage", "https://x.example", "--unban").returncode == 0
    deletion = tool(fts, "fts-rest-delete-submit", "https://h.example/f")
    assert "no longer supported" in deletion.stdout + deletion.stderr


def test_a_request_that_is_too_long(fts: Fts) -> None:
    job_id = fts.submit(FAR)
    assert fts.raw("GET", "/jobs/" + ",".join([job_id] * 200)).status_code == 200
    assert fts.raw("GET", "/jobs/" + ",".join([job_id] * 300)).status_code == 414

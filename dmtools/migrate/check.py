"""dm-check for migrate: directories against tables, each disagreement by the rule that says who wins. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from dmtools import names
from dmtools.control import checking
from dmtools.control.checking import Finding, Inspection
from dmtools.control.passes import Pass
from dmtools.ledger import tables
from dmtools.ledger.chunks import chunks
from dmtools.migrate.home import Home, known_homes
from dmtools.spool import folders as at
from dmtools.spool import listfile
from dmtools.spool.listfile import ListFile, ListUnreadable
from dmtools.transfers import lists, project
from dmtools.transfers.lists import ListRow
from dmtools.transfers.submit import INTENT, SUBMITTED

J, T, F = tables.ftsjob.c, tables.transfer.c, tables.filelist.c
DONE_FOLDERS = (at.OKAY, at.BAD, at.MISSING)
CHUNK = 500


def note(rule: str, subject: str, says: str, next: str = "") -> Finding:
    """Something that the next pass settles: no disagreement."""
    return Finding("migrate", rule, subject, says, next=next, note=True)


def finding(rule: str, subject: str, says: str, mend: str = "", next: str = "") -> Finding:
    """A disagreement of migrate."""
    return Finding("migrate", rule, subject, says, mend, next)


@dataclass
class Scene:
    """What stands in the directories, and which lists another command has under its hands just now."""

    this: Pass
    home: Home
    todo: set[str] = field(default_factory=set)
    doing: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, this: Pass) -> Scene:
        """Directories before tables: what moved in between is gone at the second look."""
        home = home_of(this)
        return cls(this, home, set(home.folders.names(at.TODO)), set(home.folders.names(at.DOING)), checking.held(this))

    def where(self, name: str) -> str:
        """The folder names in which an open list stands."""
        return (
            " and ".join(folder for folder, there in (("TODO", self.todo), ("DOING", self.doing)) if name in there) or "no folder"
        )


def home_of(this: Pass) -> Home:
    """The HOME that is looked at; when run/home-id is gone and the tables know one HOME only, that one."""
    path = this.home / "run" / "home-id"
    if path.exists():
        return Home(this, path.read_text("ascii").strip())
    known = known_homes(this)
    return Home(this, known[0] if len(known) == 1 else "")


def check(inspection: Inspection) -> Iterator[Finding]:
    """Every disagreement of this HOME's migrate part."""
    from dmtools.migrate import check_rows, check_storage

    this = inspection.this
    yield from _places(this)
    scene = Scene.of(this)
    if tables_are_lost(this, scene.home):
        says = "the tables know no list of this HOME, and its directories hold lists that were booked"
        yield finding("tables-lost", str(scene.home.folders.root), says, "the tables are rebuilt from the directories")
        return
    yield from open_lists(scene)
    yield from in_doing(scene)
    yield from in_todo(scene)
    yield from in_done(scene)
    yield from check_rows.check(scene)
    yield from checking.leftovers(this, "migrate", places(scene.home))
    if inspection.storage != "no":
        yield from check_storage.check(scene, inspection.storage, inspection.seed)


# ---- places


def places(home: Home) -> tuple[Path, ...]:
    """The directories of the queue."""
    return (*(home.folders.root / folder for folder in at.ALL), home.masters, home.masters / "Done")


def _places(this: Pass) -> Iterator[Finding]:
    for path in places(Home(this, "")):
        if not path.is_dir():
            says = "the directory is not there" if not path.exists() else "there is something else in its place"
            mend = "it is made" if not path.exists() else ""
            yield finding("no-directory", str(path.relative_to(this.home)), says, mend, "move away what stands there")
    if not (this.home / "run" / "home-id").exists() and known_homes(this):
        yield finding("no-home-id", "run/home-id", "the file that says which HOME this is, is gone", "it is written again")


def tables_are_lost(this: Pass, home: Home) -> bool:
    """Lists that carry our notes, and not one row of this HOME."""
    return not home.is_known(this) and home.was_booked() and not home.is_known(this)


# ---- open lists


def open_lists(scene: Scene) -> Iterator[Finding]:
    """Lists that are not done: each stands in its folder, there only, with the files that the tables say."""
    with scene.this.ledger.read() as connection:
        rows = lists.by_state(connection, "migrate", scene.home.id, lists.OPEN)
    for row in rows:
        if row.resource not in scene.held:
            yield from _open_list(scene, row)
    planned = [row for row in rows if row.planned and row.resource not in scene.held and row.state in (lists.TODO, lists.DOING)]
    for start in range(0, len(planned), CHUNK):
        with scene.this.ledger.read() as connection:
            contents = project.load(connection, planned[start : start + CHUNK])
        for content in contents:
            yield from _content(scene, content)


def _open_list(scene: Scene, row: ListRow) -> Iterator[Finding]:
    if row.state in (lists.SETTLING, lists.CUT):
        says = (
            "its outcome is booked, its files have not followed"
            if row.state == lists.SETTLING
            else "it is booked, not proved to be there"
        )
        yield finding("half-done", row.name, f"the list is {row.state}: {says}", "the directories follow the tables")
        return
    right, wrong = (scene.doing, scene.todo) if row.state == lists.DOING else (scene.todo, scene.doing)
    here, there = row.name in right, row.name in wrong
    other = "TODO" if row.state == lists.DOING else "DOING"
    if here and there:
        says = f"it stands in TODO and in DOING; the tables say {row.state}"
        yield finding("two-directories", row.name, says, f"the copy in {other} is set aside")
    elif there and row.state == lists.DOING:
        says = f"it stands in TODO, the tables say that attempt {row.attempt} is open"
        yield finding("open-attempt-in-todo", row.name, says, "it goes to DOING; it is not submitted again")
    elif there:
        yield finding("no-attempt-in-doing", row.name, "it stands in DOING, the tables know no open attempt", "it goes to TODO")
    elif not here and row.state == lists.TODO and not row.planned and row.master_id is None:
        says = f"it waits in TODO with {row.files} files, but it is gone and the tables have not read it yet"
        yield finding("gone-unread", row.name, says, "it is closed; nothing of it was moved", "put its file back to move it")
    elif not here:
        yield finding("in-no-directory", row.name, f"the tables say {row.state}; it stands nowhere", "it is written again")


def _content(scene: Scene, content: project.Content) -> Iterator[Finding]:
    row = content.row
    folder = at.DOING if row.state == lists.DOING else at.TODO
    if row.name not in (scene.doing if folder == at.DOING else scene.todo):
        return
    expected, found = project.text(content, folder), _read(scene.home.folders.path(folder, row.name))
    if expected is None and row.state == lists.DOING and not project.is_open(content):
        return  # no attempt: the rows say so
    if expected is None:
        says = f"the list is {row.state}, but no file of it is"
        yield finding("no-files", row.name, says, "the list is closed")
    elif found is None or lines(found) != lines(expected):
        says = f"its file in {folder} has other lines than the tables"
        yield finding("other-lines", row.name, says, "it is set aside and written again from the tables")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None


def lines(data: bytes) -> list[bytes]:
    """What two texts of one list must have in common: all but our notes, in any order."""
    return sorted(line for line in data.splitlines() if line and not line.startswith(b"#dm "))


# ---- what stands in the directories


def in_doing(scene: Scene) -> Iterator[Finding]:
    """Entries of DOING that no open row accounts for."""
    for name, row in _rows(scene, sorted(scene.doing)):
        if row is not None and (row.state != lists.DONE or row.resource in scene.held):
            continue
        content = _list(scene.home.folders.path(at.DOING, name))
        if isinstance(content, str):
            yield finding("no-list", f"DOING/{name}", f"it {content}", "it is set aside")
        elif _has_attempt(scene.this, row, content):
            continue  # the rows disagree about it
        elif is_unknown_attempt(scene.this, content):
            says = (
                f"it says that job {content.notes['job']} at {content.notes['server']} moves it; the tables know no such attempt"
            )
            yield finding("unknown-attempt", name, says, "the attempt is booked as the list says it; nothing is sent anew")
        else:
            yield finding("no-attempt-in-doing", name, "it stands in DOING, the tables know no open attempt", "it goes to TODO")


def _has_attempt(this: Pass, row: ListRow | None, content: ListFile) -> bool:
    """Is an attempt of this list open, though its row is done, or gone?"""
    query = select(J.id).outerjoin(tables.filelist, F.id == J.list_id).where(J.state.in_((INTENT, SUBMITTED)))
    mine = (J.list_id == row.id,) if row is not None else (J.job == content.notes.get("job", ""), F.id.is_(None))
    with this.ledger.read() as connection:
        return connection.execute(query.where(*mine).limit(1)).first() is not None


def is_unknown_attempt(this: Pass, content: ListFile) -> bool:
    """Does the list carry an attempt of ours that the tables have lost?"""
    notes = content.notes
    if not all(notes.get(word) for word in ("sid", "job", "server", "attempt")):
        return False
    with this.ledger.read() as connection:
        return connection.execute(select(J.id).where(J.job == notes["job"]).limit(1)).first() is None


def in_todo(scene: Scene) -> Iterator[Finding]:
    """Entries of TODO that no row, or only a done one, accounts for: a person's own, taken by the next consumer."""
    for name, row in _rows(scene, sorted(scene.todo)):
        if row is not None and row.state != lists.DONE:
            continue
        content = _list(scene.home.folders.path(at.TODO, name))
        if isinstance(content, str):
            yield finding("no-list", f"TODO/{name}", f"it {content}", "it is set aside")
        elif not name.isascii() or not name.isprintable() or " " in name:
            says = "it has a name that no list may have; names are printable ASCII without blanks"
            yield finding("no-list", f"TODO/{names.printable(name)}", says, "it is set aside")
        elif row is None:
            yield note(
                "put-by-hand", name, f"put into TODO by hand, {len(content.pairs)} files; not booked yet", "the consumer takes it"
            )
        else:
            yield note("requeued-by-hand", name, "put back into TODO by hand", "the consumer takes it; what is Okay is skipped")


def _list(path: Path) -> ListFile | str:
    """The list, or why it is none."""
    try:
        return listfile.read(path)
    except ListUnreadable as problem:
        return str(problem)
    except FileNotFoundError:
        return ListFile()  # moved meanwhile


def _rows(scene: Scene, found: Sequence[str]) -> Iterator[tuple[str, ListRow | None]]:
    for part in chunks(found):
        with scene.this.ledger.read() as connection:
            rows = lists.by_names(connection, "migrate", scene.home.id, part)
        for name in part:
            yield name, rows.get(name)


def in_done(scene: Scene) -> Iterator[Finding]:
    """DONE/{Okay,Bad,Missing}: each list's files there are those of the tables, with their reasons."""
    there = {folder: set(scene.home.folders.names(folder)) for folder in DONE_FOLDERS}
    last = 0
    while True:
        with scene.this.ledger.read() as connection:
            rows = _next_rows(connection, scene.home, last)
            contents = project.load(connection, rows)
        if not rows:
            break
        last = rows[-1].id
        for content in contents:
            for folder in DONE_FOLDERS:
                if (found := _in_done(scene, content, folder, there)) is not None:
                    yield found
                there[folder].discard(content.row.name)
    for folder, left in there.items():
        for name in sorted(left):
            yield _nobodys(scene, folder, name)


def _next_rows(connection: Connection, home: Home, last: int) -> list[ListRow]:
    where = (F.pipeline == "migrate", F.home == home.id, F.id > last)
    ids = list(connection.execute(select(F.id).where(*where).order_by(F.id).limit(CHUNK)).scalars())
    return sorted(lists.by_ids(connection, ids).values(), key=lambda row: row.id)


def _in_done(scene: Scene, content: project.Content, folder: str, there: dict[str, set[str]]) -> Finding | None:
    row = content.row
    expected = project.text(content, folder)
    if (
        row.resource in scene.held
        or row.state in (lists.SETTLING, lists.CUT)
        or (expected is None and row.name not in there[folder])
    ):
        return None
    if expected is not None and row.name not in there[folder]:
        if folder != at.OKAY and row.state == lists.DONE and row.name in scene.todo:
            return None  # a person moved it to TODO: the consumer books that
        says = f"the tables say that files of it are in {folder}; it is not there"
        return finding("done-gone", f"{folder}/{row.name}", says, "it is written again from the tables")
    found = _read(scene.home.folders.path(folder, row.name)) or b""
    if expected is None:
        return finding("done-too-much", f"{folder}/{row.name}", "the tables say no file of it there", "it is set aside")
    if lines(found) == lines(expected):
        return None
    says = "it has other lines than the tables"
    return finding("done-differs", f"{folder}/{row.name}", says, "it is set aside and written again from the tables")


def _nobodys(scene: Scene, folder: str, name: str) -> Finding:
    content = _list(scene.home.folders.path(folder, name))
    if not isinstance(content, str) and content.notes.get("list"):
        mend = "its files are booked as the list says, as far as no other list has them"
        return finding("unknown-list", f"{folder}/{name}", "the tables know no such list", mend)
    says = "no list of ours: nobody reads it here"
    return note("not-ours", f"{folder}/{name}", says, "move it to TODO if its files are to be moved, else away")

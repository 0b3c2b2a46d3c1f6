"""Many batteries from one table: created, loaded, or both; first looked at, then all or none."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells import limits, services, technologies
from web_server.cells.models import Battery
from web_server.lab.models import Station
from web_server.lib import fields
from web_server.lib.errors import Refused, ServiceError

# What one table may hold; more is a mistake in the file.
ROWS_MAX = 1000
CHARACTERS_MAX = 2_000_000
_WHOLE = ("cells_in_series", "hazard_level")
_PARTS = tuple(dict.fromkeys(name for names in technologies.FIELDS.values() for name in names))
_NUMBERS = (*limits.NUMBERS, *_WHOLE, "capacity_ah", "electrode_size_cm2")
COLUMNS = tuple(
    dict.fromkeys(
        ["id", "station", *(name for name in services.COLUMNS if name != "owner"), *_PARTS],
    )
)
# A table saved by a German or French spreadsheet has commas in its numbers.
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


@dataclass
class Row:
    """One line of the table and what becomes of it."""

    line: int
    name: str = ""
    errors: list[fields.Error] = field(default_factory=list)
    created: bool = False
    station: str = ""
    battery: Battery | None = None


@dataclass
class Table:
    """What became of all lines."""

    rows: list[Row]
    done: bool = False

    @property
    def valid(self) -> bool:
        """Whether no line has an error."""
        return not any(row.errors for row in self.rows)

    @property
    def created(self) -> int:
        """How many batteries are new."""
        return sum(row.created and not row.errors for row in self.rows)

    @property
    def loaded(self) -> int:
        """How many were put into a station."""
        return sum(bool(row.station) and not row.errors for row in self.rows)


class _Undo(Exception):
    """Ends the transaction of a look, or of a table with errors, without a trace."""


def take(by: Person, text: str, *, like: Battery | None = None, dry_run: bool = False) -> Table:
    """Create and load the batteries of a CSV table; with ``dry_run`` say what would become of each line.

    The first line names the columns (`COLUMNS`). A line with ``id``, or whose barcode, serial number
    or name is recorded and that says nothing else, names a battery that is there; any other makes a
    new one, with what it leaves out taken from ``like``. ``station`` (name, barcode or id) loads it.
    Every line is really done, one after the other, and undone again: so a dry run finds what the act
    itself would, two lines that want the same holder included. All lines or none.

    Raises:
        NotAllowed: the role is too low.
        Refused: the table cannot be read, or (not ``dry_run``) a line has an error; each with ``line``.
    """
    require(by, Role.OPERATOR, "record batteries")
    lines = _read(text)
    table = Table([])
    try:
        with transaction.atomic():
            for number, cells in lines:
                table.rows.append(_line(by, number, cells, like))
            if dry_run or not table.valid:
                raise _Undo
            table.done = True
    except _Undo:
        pass
    if not dry_run and not table.valid:
        raise Refused([{**error, "line": row.line} for row in table.rows for error in row.errors])
    return table


def _read(text: str) -> list[tuple[int, dict[str, str]]]:
    """Return the lines as (number, cells by column); the header is line 1."""
    if len(text) > CHARACTERS_MAX:
        raise Refused.one(f"The table has {len(text):,} characters; at most {CHARACTERS_MAX:,} fit.", "csv")
    text = text.lstrip("\ufeff").strip("\r\n")
    if not text.strip():
        raise Refused.one("The table is empty.", "csv")
    first = text.splitlines()[0]
    mark = max(";\t,", key=first.count) if any(sign in first for sign in ";\t,") else ","
    rows = _cells(text, mark)
    header = [name.strip().lower() for name in rows[0][1]]
    _check_header(header)
    if len(rows) > ROWS_MAX + 1:
        raise Refused.one(f"The table has {len(rows) - 1} lines; at most {ROWS_MAX} fit.", "csv")
    found = []
    for number, cells in rows[1:]:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):
            raise Refused.one(
                f"The line has {len(cells)} cells, the first line names {len(header)} columns.",
                "csv",
                line=number,
            )
        given = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
        if mark != ",":
            given = {name: _point(name, cell) for name, cell in given.items()}
        found.append((number, given))
    if not found:
        raise Refused.one("The table has a first line and nothing below it.", "csv")
    return found


def _cells(text: str, mark: str) -> list[tuple[int, list[str]]]:
    """Return the lines' cells, each with the number of the line where it begins."""
    reader = csv.reader(io.StringIO(text), delimiter=mark, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            # A forgotten quotation mark would make one battery of several lines.
            if any("\n" in cell or "\r" in cell for cell in cells):
                raise Refused.one(
                    "A cell goes on over several lines: is a quotation mark open?", "csv", line=line
                )
            rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise Refused.one(f"The line cannot be read: {error}.", "csv", line=line) from None
    return rows


def _point(name: str, cell: str) -> str:
    return cell.replace(",", ".") if name in _NUMBERS and _DECIMAL_COMMA.fullmatch(cell) else cell


def _check_header(header: list[str]) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    if unknown:
        known = ", ".join(COLUMNS)
        raise Refused.one(f"No such column: {', '.join(unknown)}. There are {known}.", "csv", line=1)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise Refused.one(f"The column {twice[0]} is there twice.", "csv", line=1)


def _line(by: Person, number: int, cells: dict[str, str], like: Battery | None) -> Row:
    """Do one line inside a savepoint: what fails leaves nothing behind."""
    row = Row(number, cells.get("name") or cells.get("barcode") or cells.get("serial_number") or "")
    try:
        with transaction.atomic():
            row.battery = _there(cells)
            if row.battery is None:
                row.battery = services.add(by, **_body(cells, like))
                row.created = True
            row.name = row.battery.name
            if cells.get("station"):
                station = _station(cells["station"])
                services.load(by, row.battery, station)
                row.station = station.name
            elif not row.created:
                raise Refused.one(f"{row.name} is recorded already; name the station to load it.", "station")
    except Refused as error:
        row.errors = [{**each, "field": _column(each.get("field"))} for each in error.errors]
    except ServiceError as error:
        row.errors = [fields.error(None, str(error))]
    return row


def _column(name: Any) -> Any:
    """Return the column that an error of ``lithium.capacity_ah`` belongs to."""
    return str(name).rpartition(".")[2] if name else name


def _there(cells: dict[str, str]) -> Battery | None:
    """Return the battery that a line names, or None when it describes a new one."""
    rows = Battery.objects.filter(retired_at=None)
    if "id" in cells:
        found = rows.filter(uuid=cells["id"]).first() if services.is_uuid(cells["id"]) else None
        if found is None:
            raise Refused.one(f"There is no battery with the id {cells['id']}.", "id")
        return found
    if set(cells) - {"name", "barcode", "serial_number", "station"}:
        return None
    for name in ("barcode", "serial_number", "name"):
        found = rows.filter(**{name: cells[name]}).first() if name in cells else None
        if found is not None:
            return found
    return None


def _body(cells: dict[str, str], like: Battery | None) -> dict[str, Any]:
    """Return the body of a new battery: what the line says, over what it has from ``like``."""
    body: dict[str, Any] = {}
    if like is not None:
        own = ("name", "barcode", "serial_number", "owner")
        body = {name: value for name, value in services.as_body(like).items() if name not in own}
    given = {
        name: _typed(name, cell) for name, cell in cells.items() if name not in ("station", "id", *_PARTS)
    }
    if given.get("technology", body.get("technology")) != body.get("technology"):
        body = {name: value for name, value in body.items() if name not in technologies.MODELS}
    body |= given
    body.setdefault("name", cells.get("barcode") or cells.get("serial_number") or "")
    technology = body.get("technology")
    if technology in technologies.FIELDS:
        part = {name: _typed(name, cells[name]) for name in technologies.FIELDS[technology] if name in cells}
        body[technology] = {**(body.get(technology) or {}), **part}
    return {name: value for name, value in body.items() if value is not None}


def _typed(name: str, cell: str) -> Any:
    if name == "tags":
        return [word.strip() for word in re.split(r"[|,;]", cell) if word.strip()]
    if name not in _NUMBERS:
        return cell
    try:
        return int(cell) if name in _WHOLE else float(cell)
    except ValueError:
        raise Refused.one(
            f"{name} must be a {'whole ' * (name in _WHOLE)}number; got {cell!r}.", name
        ) from None


def _station(text: str) -> Station:
    rows = Station.objects.filter(retired_at=None)
    found = rows.filter(barcode=text).first() or rows.filter(name=text).first()
    if found is None and services.is_uuid(text):
        found = rows.filter(uuid=text).first()
    if found is None:
        raise Refused.one(f"There is no station {text!r}.", "station")
    return found

"""Which columns of a table have the paths, the labels, the splits and the groups of images."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from foveal.data.table import Table, list_some
from foveal.errors import DataError
from foveal.files.typed_json import nearest
from foveal.progress import printable

Role = Literal["path", "label", "split", "group"]
"""What a column can be for."""
Columns = str | Iterable[str] | Mapping[str, str]
"""Columns as a caller may name them: `"path=file,label=species"`, a list of such, or a dictionary."""
ROLES: tuple[Role, ...] = get_args(Role)
N_SAMPLED_ROWS = 50
"""The number of rows whose paths are looked up where several columns may hold paths."""
_IMAGE_NAME = re.compile(r".*\.(jpe?g|png|bmp|gif|webp|tiff?|avif|heic)", re.IGNORECASE)


def _read_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names are compared without case, spaces and punctuation. The second ones count where the first are absent.
_NAMES: Mapping[Role, tuple[frozenset[str], frozenset[str]]] = {
    "path": (
        _read_words("""
            path paths file files filename filenames filepath filepaths fname fpath image images imagepath
            imagepaths imagefile imagefiles imagefilename imagefilepath imagename imagenames imageid imageids
            img imgs imgpath imgfile imgfilename imgname imgid relpath relativepath fullpath picture pictures
            photo photos photopath picturepath photoid photofile imagerelativepath imageurl url uri datei
            dateiname bild fichier imagen archivo
        """),
        _read_words("id ids name names key uid uuid guid sample sampleid index location src source"),
    ),
    "label": (
        _read_words("""
            label labels class classes category categories target targets labelname classname categoryname
            targetname labeltext classtext labelid classid categoryid targetid labelindex classindex
            classlabel imagelabel truelabel goldlabel klasse etiqueta etiquette classe
        """),
        _read_words("""
            y ytrue truth groundtruth gt species diagnosis dx disease breed tag tags annotation
            annotations finding findings variety genus family expression emotion
        """),
    ),
    "split": (
        _read_words("""
            split splits splitname set subset subsets fold folds partition datasetsplit dataset setname
            traintest trainvaltest traintestsplit usage phase
        """),
        _read_words("stage mode purpose"),
    ),
    "group": (
        _read_words("""
            group groups groupid patient patients patientid patientnumber subject subjects subjectid
            participant participantid individual individualid
        """),
        _read_words("""
            case caseid slide slideid video videoid lesion lesionid session sessionid person personid animalid
            donor donorid specimen specimenid sequence sequenceid burst burstid study studyid exam examid
            examination examinationid
        """),
    ),
}


@dataclass(frozen=True, kw_only=True)
class ColumnChoice:
    """The columns that a table is read by."""

    path: str
    """The column of paths, or of images inside the file."""
    label: str
    """The column of labels."""
    split: str | None
    """The column of splits, or None."""
    group: str | None
    """The column of groups, or None."""
    chosen_split: bool
    """Whether the user named the column of splits."""

    def __str__(self) -> str:
        roles = (("labels", self.label), ("splits", self.split), ("groups", self.group))
        names = [f"{role} from {name!r}" for role, name in roles if name is not None]
        return f"paths from {self.path!r}, {', '.join(names)}"


def parse_columns(columns: Columns | None) -> dict[Role, str]:
    """Return the column that was named for each role; "none" stands for no column.

    >>> parse_columns("path=file, label=species")
    {'path': 'file', 'label': 'species'}

    Raises:
        DataError: A text is not of the form ROLE=COLUMN, or a role is unknown or named twice.
    """
    if columns is None:
        return {}
    if isinstance(columns, Mapping):
        pairs = list(columns.items())
    else:
        texts = [columns] if isinstance(columns, str) else list(columns)
        parts = [part for text in texts for part in re.split(r",(?=\s*\w+=)", text)]
        pairs = []
        for part in parts:
            role, equals, name = part.partition("=")
            if not equals or not name.strip():
                raise DataError(
                    f"--columns {part!r} is not of the form ROLE=COLUMN, such as path=file,label=class"
                )
            pairs.append((role.strip(), name.strip()))
    named: dict[Role, str] = {}
    for role, name in pairs:
        known = next((each for each in ROLES if each == role), None)
        if known is None:
            raise DataError(f"--columns {role}=… is unknown; {nearest(str(role), ROLES)}")
        if known in named:
            raise DataError(f"--columns names the column of the {role} twice: {named[known]!r} and {name!r}")
        if known in ("path", "label") and name.casefold() == "none":
            raise DataError(f"--columns {known}=none: a table of labels needs a column for the {known}")
        named[known] = name
    return named


def choose_columns(table: Table, named: Mapping[Role, str], has_file: Callable[[str], bool]) -> ColumnChoice:
    """Choose the columns of a table by their names, as named by the user first.

    Args:
        table: The table.
        named: The columns that the user named, from `parse_columns`.
        has_file: A function that tells whether a cell names a file. It decides between columns of paths.

    Raises:
        DataError: A column is missing or ambiguous. The message lists the columns.
    """
    chosen = {role: _find_named(table, name) for role, name in named.items() if name.casefold() != "none"}
    free = [name for name in table.columns if name and name not in chosen.values()]
    path = chosen.get("path") or _choose_path(table, free, has_file)
    free = [name for name in free if name != path and name not in table.images]
    label = chosen.get("label") or _choose_label(table, free)
    free = [name for name in free if name != label]
    split = chosen.get("split") or (None if "split" in named else _choose_one(table, free, "split"))
    free = [name for name in free if name != split]
    group = chosen.get("group") or (None if "group" in named else _choose_group(table, free))
    return ColumnChoice(path=path, label=label, split=split, group=group, chosen_split="split" in chosen)


def get_cells(table: Table, column: str) -> list[str]:
    """Return the cells of a column."""
    index = table.columns.index(column)
    return [row[index] for row in table.rows]


def _normalise(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _find_named(table: Table, name: str) -> str:
    """Return the column that the user named, in the table's spelling."""
    matches = [column for column in table.columns if column == name]
    if not matches:
        matches = [column for column in table.columns if column.casefold() == name.casefold()]
    if len(matches) > 1:
        raise table.refuse(f"has two columns {printable(name)!r}; rename one")
    if not matches:
        raise table.refuse(f"has no column {printable(name)!r}; its columns are {_list_columns(table)}")
    return matches[0]


def _list_columns(table: Table) -> str:
    return list_some([repr(printable(name, 60)) for name in table.columns], 40)


def _find_candidates(columns: list[str], role: Role) -> list[str]:
    """Return the columns whose names stand for a role: the plain names, or else the less plain ones."""
    for names in _NAMES[role]:
        if candidates := [column for column in columns if _normalise(column) in names]:
            return candidates
    return []


def _refuse_role(table: Table, role: Role, candidates: list[str]) -> DataError:
    """Return the error that asks for a column: none has a usual name for a role, or several have."""
    if len(set(candidates)) < len(candidates):
        return table.refuse(f"has two columns {candidates[0]!r}; rename one")
    if candidates:
        problem = f"has several columns that may hold the {role}: {', '.join(map(repr, candidates))}"
    else:
        problem = f"has no column with a usual name for the {role}; its columns are {_list_columns(table)}"
    example = repr(candidates[0] if candidates else table.columns[-1]).strip("'\"")
    return table.refuse(f"{problem}; name the right one, such as --columns '{role}={example}'")


def _choose_path(table: Table, columns: list[str], has_file: Callable[[str], bool]) -> str:
    inside = [name for name in columns if name in table.images]
    if len(inside) == 1:
        return inside[0]
    candidates = inside or _find_candidates(columns, "path")
    if len(candidates) == 1 and table.columns.count(candidates[0]) == 1:
        return candidates[0]
    if not candidates:
        header = next((name for name in table.columns if _IMAGE_NAME.fullmatch(name)), None)
        if header is not None:
            raise table.refuse(
                f"has no header: its first line has the path {printable(header)!r}; "
                f"add a line before it that names the columns, such as path,label"
            )
        raise _refuse_role(table, "path", [])
    if not inside and len(set(candidates)) == len(candidates):
        leading = [name for name in candidates if _leads_to_files(table, name, has_file)]
        if len(leading) == 1:
            return leading[0]
        candidates = leading or candidates
    raise _refuse_role(table, "path", candidates)


def _leads_to_files(table: Table, column: str, has_file: Callable[[str], bool]) -> bool:
    """Tell whether at least half of a column's cells name files, among evenly chosen rows."""
    cells = get_cells(table, column)
    sample = cells[:: max(1, len(cells) // N_SAMPLED_ROWS)]
    return 2 * sum(has_file(cell) for cell in sample) >= len(sample)


def _choose_label(table: Table, columns: list[str]) -> str:
    """Choose the column of labels. Of columns that say the same, the texts are taken."""
    candidates = _find_candidates(columns, "label")
    if not candidates:
        if one_hot := _find_one_hot(table, columns):
            raise table.refuse(
                f"has a column for each class ({list_some(one_hot, 5)}); "
                f"make one column named label that holds the class of each image"
            )
        raise _refuse_role(table, "label", [])
    first, *others = candidates
    cells = get_cells(table, first)
    if len(set(candidates)) < len(candidates) or any(
        not _says_the_same(cells, get_cells(table, other)) for other in others
    ):
        raise _refuse_role(table, "label", candidates)
    if not others:
        return first
    texts = [name for name in candidates if not all(map(_is_number, get_cells(table, name)))]
    if len(texts) > 1:
        raise _refuse_role(table, "label", texts)
    return texts[0] if texts else first


def _says_the_same(cells: list[str], others: list[str]) -> bool:
    """Tell whether each value of one column stands for one value of the other, both ways."""
    pairs = set(zip(cells, others, strict=True))
    return len(pairs) == len(set(cells)) == len(set(others))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*-?\d+(\.\d*)?\s*", cell) is not None


def _find_one_hot(table: Table, columns: list[str]) -> list[str]:
    """Return columns that hold zeros and ones alone, with a single one in every row."""
    marks = [
        name for name in columns if set(get_cells(table, name)) <= {"0", "1", "0.0", "1.0", "false", "true"}
    ]
    if len(marks) < 2:
        return []
    rows = zip(*(get_cells(table, name) for name in marks), strict=True)
    return marks if all(sum(cell in ("1", "1.0", "true") for cell in row) == 1 for row in rows) else []


def _choose_one(table: Table, columns: list[str], role: Role) -> str | None:
    candidates = _find_candidates(columns, role)
    if len(candidates) > 1:
        raise _refuse_role(table, role, candidates)
    return candidates[0] if candidates else None


def _choose_group(table: Table, columns: list[str]) -> str | None:
    """Choose the column of groups: of several the one whose groups contain those of all others."""
    candidates = _find_candidates(columns, "group")
    for name in dict.fromkeys(candidates):
        cells = get_cells(table, name)
        if len(set(candidates)) == len(candidates) and all(
            _contains_groups(cells, get_cells(table, other)) for other in candidates
        ):
            return name
    if candidates:
        raise _refuse_role(table, "group", candidates)
    return None


def _contains_groups(groups: list[str], others: list[str]) -> bool:
    """Tell whether each of the other groups lies in one group."""
    counts = Counter(other for _, other in set(zip(groups, others, strict=True)))
    return all(count == 1 for count in counts.values())

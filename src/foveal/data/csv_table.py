"""CSV and TSV files -> tables of texts. No cell is converted: `007` stays `007`, and `NA` is a text."""

import codecs
import csv
import io
import re
from pathlib import Path

from foveal.data.table import Table, list_some
from foveal.errors import DataError
from foveal.files.atomic import outside_faults
from foveal.progress import printable

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
"""What may separate cells, with its name in messages."""
MAX_TABLE_BYTES = 2_000_000_000
"""The largest size of a text table. It is read into memory."""
_MAX_CELL = 1_000_000  # characters; longer cells come from a quote that is never closed
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN_FILES = (
    (
        b"PK\x03\x04",
        "a ZIP file, as Excel workbooks (.xlsx) are; save the table as CSV, or unpack the archive",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file; save the table as CSV"),
    (b"\x1f\x8b", "compressed (gzip); unpack it first"),
    (b"BZh", "compressed (bzip2); unpack it first"),
    (b"\xfd7zXZ", "compressed (xz); unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd); unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"%PDF", "a PDF file"),
    (b"\x89PNG", "one image (PNG)"),
    (b"\xff\xd8\xff", "one image (JPEG)"),
    (b"GIF8", "one image (GIF)"),
    (b"RIFF", "one image (WebP)"),
    (b"II*\x00", "one image (TIFF)"),
    (b"MM\x00*", "one image (TIFF)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"ARROW1", "an Arrow (Feather) file; write it as Parquet"),
    (b"\xff\xff\xff\xff", "an Arrow stream; write it as Parquet"),
)
"""What other files begin with, and what is said of them."""
NEEDED = "name a folder of class folders, or a table of labels (CSV, TSV or Parquet)"
"""What data can be, in refusals."""


def read_csv(path: Path) -> Table:
    """Read a CSV or TSV file. The delimiter is found from the header and checked in every row.

    Raises:
        DataError: The file is no such table; the message names the line.
    """
    with outside_faults(path):
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise DataError(f"{path} has {size:,} bytes, too many for a table; divide it, or write Parquet")
        content = path.read_bytes()
    text = _decode(path, content)
    delimiter = None
    if match := re.match(r"sep=(.)\r?\n", text):  # a line that Excel writes and reads
        delimiter, text = match[1], "\n" + text[match.end() :]
    if not text.strip():
        raise DataError(f"{path} is empty; {NEEDED}")
    return _parse(path, text, delimiter or _find_delimiter(path, text))


def _decode(path: Path, content: bytes) -> str:
    """Return the text of a file in UTF-8 or UTF-16.

    Raises:
        DataError: The file is no text, or in another encoding.
    """
    for magic, kind in _FOREIGN_FILES:
        if content.startswith(magic):
            raise DataError(f"{path} is no table: it is {kind}. {NEEDED[0].upper()}{NEEDED[1:]}")
    encoding = next((name for bom, name in _BOMS if content.startswith(bom)), None)
    if encoding is None:
        encoding = _guess_utf16(content) or "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(_describe_encoding(path, content, encoding, error)) from error
    control = re.search(r"[\x00-\x08\x0e-\x1f]", text)
    if control is not None:
        raise DataError(f"{path} is no table: it holds binary data. {NEEDED[0].upper()}{NEEDED[1:]}")
    if text.lstrip().startswith(("{", "[{")):
        raise DataError(
            f"{path} holds JSON; write its labels as CSV, with a column of paths and one of labels"
        )
    if text.lstrip()[:200].lower().startswith(("<?xml", "<!doctype", "<html")):
        raise DataError(f"{path} is no table: it is a page of HTML or XML. {NEEDED[0].upper()}{NEEDED[1:]}")
    return text


def _guess_utf16(content: bytes) -> str | None:
    """Return the UTF-16 that a text without a byte order mark is in: every other byte is zero."""
    start = content[:200]
    if len(start) < 4 or b"\0" not in start:
        return None
    for name, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0::2])):
        if zeros.count(0) > 0.7 * len(zeros):
            return name
    return None


def _describe_encoding(path: Path, content: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    """Say in which encoding a text seems to be that cannot be read."""
    if encoding != "utf-8":
        return f"{path} is damaged: it begins as {encoding.upper()}, but is not; save it as UTF-8"
    line = content.count(b"\n", 0, error.start) + 1
    name, iconv = "an encoding other than UTF-8", "ENCODING"
    high = {byte for byte in content if byte >= 0x80}
    for candidate, words, codes in (
        ("SHIFT_JIS", "Shift JIS", "shift_jis"),
        ("GB18030", "GB 18030", "gb18030"),
        ("BIG5", "Big5", "big5"),
        ("EUC-KR", "EUC-KR", "euc_kr"),
    ):
        try:
            decoded = content.decode(codes)
        except UnicodeDecodeError:
            continue
        if re.search(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4}", decoded):
            name, iconv = f"{words} or another East Asian encoding", candidate
            break
    else:
        if high and min(high) >= 0xA0:
            name, iconv = "Latin-1 (ISO 8859-1) or another 8-bit encoding", "LATIN1"
        elif high:
            name, iconv = "Windows-1252 or another 8-bit encoding", "WINDOWS-1252"
    return (
        f"{path} is not UTF-8: line {line} holds the byte 0x{content[error.start]:02x}. "
        f"It looks like {name}; save it as UTF-8, for example: iconv -f {iconv} -t UTF-8"
    )


def _find_delimiter(path: Path, text: str) -> str:
    """Return what separates the cells of a text.

    Raises:
        DataError: The first line has one column only, or several delimiters are possible.
    """
    first_line = next(line for line in text.splitlines() if line.strip())
    candidates = [delimiter for delimiter in DELIMITERS if _count_cells(first_line, delimiter) > 1]
    if not candidates:
        raise DataError(
            f"{path} has one column only, {printable(first_line.strip(), 100)!r}; a table of labels has a "
            f"column of paths and one of labels, separated by commas, tabs, semicolons or vertical bars"
        )
    if len(candidates) == 1:
        return candidates[0]
    regular = [delimiter for delimiter in candidates if _is_regular(text, delimiter)]
    if len(regular) == 1:
        return regular[0]
    names = " or ".join(DELIMITERS[each] for each in regular or candidates)
    raise DataError(
        f"{path} may be separated by {names}: both stand in its first line, "
        f"{printable(first_line.strip(), 100)!r}; put the names of columns in quotes"
    )


def _count_cells(line: str, delimiter: str) -> int:
    try:
        return max((len(row) for row in csv.reader([line], delimiter=delimiter)), default=0)
    except csv.Error:
        return 0


def _is_regular(text: str, delimiter: str) -> bool:
    """Tell whether all rows have as many cells as the header."""
    counts = set()
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            if row:
                counts.add(len(row))
    except csv.Error:
        return False
    return len(counts) == 1


def _parse(path: Path, text: str, delimiter: str) -> Table:
    """Return the rows of a text.

    Raises:
        DataError: A row has more or fewer cells than the header, or a quote is not closed.
    """
    before = csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: tuple[str, ...] | None = None
    rows, lines = [], []
    try:
        line = 1
        for row in reader:
            if any(cell.strip() for cell in row):
                if columns is None:
                    columns = tuple(cell.strip() for cell in row)
                elif len(row) != len(columns):
                    raise DataError(
                        f"{path}, line {line}: {len(row)} cells in place of {len(columns)} "
                        f"({list_some([printable(cell, 40) for cell in row], 6)}); "
                        f"put cells that contain {DELIMITERS.get(delimiter, repr(delimiter))} in quotes"
                    )
                else:
                    rows.append(tuple(row))
                    lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}, line {line}: {error}; is a quotation mark missing there?") from error
    finally:
        csv.field_size_limit(before)
    assert columns is not None  # an empty text was refused
    if not rows:
        raise DataError(f"{path} has a header, {list_some(list(columns))}, but no rows")
    return Table(path=path, columns=columns, rows=tuple(rows), lines=tuple(lines), unit="line")

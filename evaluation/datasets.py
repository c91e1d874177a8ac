"""Data sets: samples from CSV, TSV, JSON lines or Parquet, gzipped or not, from MLflow, and those that are shipped."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taleward.core.errors import ConfigurationError, InvalidFile, MissingExtra, UnknownName
from taleward.core.records import (
    TEXT_SUFFIXES,
    format_line_numbers,
    parse_records,
    problems_error,
    read_content,
    suffix_without_gz,
)
from taleward.core.yaml_files import did_you_mean
from taleward.evaluation.labeled_passages import example_path, passage_record
from taleward.evaluation.sample import Sample, as_samples
from taleward.evaluation.tracking.recorder import quiet

EXAMPLES = ("stories", "passages")
"""The data sets that are shipped; see `evaluation/data/README.md`."""

_WHAT = "the data set"
_ALIASES = {"reference": "references", "outputs": "output"}
_LISTS = ("inputs", "references")
_MLFLOW = "mlflow:"
_TEXTS = ("id", "label", "prediction")


@dataclass(frozen=True)
class Dataset(Sequence[Sample]):
    """Samples with a name; a sequence of them.

    Attributes:
        name: The file's name, or the data set's.
        sha256: SHA-256 of the file, unzipped, or of the samples as JSON, in hexadecimal.
        samples: The samples, in order.
    """

    name: str
    sha256: str
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, at: Any) -> Any:
        """A sample, or several as a tuple."""
        return self.samples[at]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What a system is given, a row a sample."""
        return [dict(s.inputs) for s in self.samples]


def load_dataset(
    source: str | Path | Iterable[Sample | Mapping[str, Any]] | Any,
    *,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    band: str = "6-8",
    tracking_uri: str | None = None,
) -> Dataset:
    """Read a data set.

    Without `columns`, a column that is called like a field of `Sample` (or `reference`, or `outputs`) is that field.
    The others are inputs by their names, unless there is a column `inputs` that holds them all. Rows without an id get
    their number.

    Args:
        source: A path that ends in `.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.parquet`, with or without `.gz`; `stories`
            or `passages`, which are shipped; `mlflow:NAME`, an evaluation data set in MLflow's tracking store; an
            MLflow data set; a pandas data frame; or rows.
        columns: Fields of `Sample` to the columns that they are read from, several for `inputs` and `references`;
            columns that are not named are left out.
        band: The age band whose labels the shipped `passages` get.
        tracking_uri: The MLflow tracking URI where `mlflow:NAME` is; by default MLflow's own, as set by
            `mlflow.set_tracking_uri` or `MLFLOW_TRACKING_URI`.

    Raises:
        InvalidFile: The file cannot be read, has no rows, or rows that are wrong; each with its line.
        UnknownName: There is no such file and no such shipped data set.
        ConfigurationError: The columns are none of the data set's, or the source is none.
        MissingExtra: A library is not installed.
    """
    _check(columns)
    if isinstance(source, str) and source in EXAMPLES:
        return _example(source, band)
    if isinstance(source, str) and source.startswith(_MLFLOW):
        return _mlflow_named(source.removeprefix(_MLFLOW), columns, tracking_uri)
    if isinstance(source, (str, Path)):
        return _file(Path(source), columns)
    if _comes_from(source, "mlflow"):
        return _mlflow(source, columns)
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        return _rows("data frame", _frame(source), columns)
    if isinstance(source, Iterable):
        return _rows("rows", list(source), columns)
    raise ConfigurationError(
        f"a data set is a path, the name of a shipped one ({', '.join(EXAMPLES)}), 'mlflow:NAME', an MLflow data set, "
        f"a data frame or rows; got a {type(source).__name__}."
    )


def _check(columns: Mapping[str, str | Sequence[str]] | None) -> None:
    for field, named in (columns or {}).items():
        taken = list(Sample.model_fields)
        if field not in taken:
            raise ConfigurationError(
                f"columns: {field!r} is no field of a sample;{did_you_mean(field, taken)} taken: {', '.join(taken)}."
            )
        if not isinstance(named, str) and field not in _LISTS:
            raise ConfigurationError(
                f"columns: {field!r} is one column; got {list(named)}. Several: {', '.join(_LISTS)}."
            )


def _example(name: str, band: str) -> Dataset:
    path = example_path(name)
    if name == "stories":
        return _file(path, None)
    content = read_content(path, _WHAT)
    rows = [passage_record(record, band) for _, record in parse_records(path, content, _WHAT)]
    return Dataset(f"{path.name}/{band}", hashlib.sha256(content).hexdigest(), as_samples(rows))


def _file(path: Path, columns: Mapping[str, str | Sequence[str]] | None) -> Dataset:
    if not path.exists() and not path.suffix:
        raise UnknownName("data set", str(path), EXAMPLES, hint="Or give the path of a file.")
    content = read_content(path, _WHAT)
    if suffix_without_gz(path) == ".parquet":
        found = _parquet(path, content)
    elif suffix_without_gz(path) in TEXT_SUFFIXES:
        found = parse_records(path, content, _WHAT)
    else:
        taken = ", ".join([*TEXT_SUFFIXES, ".parquet"])
        raise InvalidFile(f"{_WHAT} {path} ends in {suffix_without_gz(path)!r}; taken: {taken}, and .gz.")
    samples = _samples(path, found, columns)
    return Dataset(path.name, hashlib.sha256(content).hexdigest(), samples)


def _parquet(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("Parquet", "evaluation") from error
    try:
        yield from enumerate(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist(), 1)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise InvalidFile(f"{_WHAT} {path} is no Parquet: {error}") from error


def _rows(name: str, rows: Sequence[Any], columns: Mapping[str, str | Sequence[str]] | None) -> Dataset:
    samples = _samples(Path(name), enumerate(rows, 1), columns)
    told = json.dumps([s.model_dump(mode="json") for s in samples], sort_keys=True)
    return Dataset(name, hashlib.sha256(told.encode()).hexdigest(), samples)


def _mlflow_named(name: str, columns: Mapping[str, str | Sequence[str]] | None, tracking_uri: str | None) -> Dataset:
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtra("a data set in MLflow", "mlflow") from error
    place = tracking_uri or mlflow.get_tracking_uri()
    try:
        with quiet():
            client = mlflow.MlflowClient(tracking_uri=place)
            found = client.search_datasets(
                filter_string=f"name = '{name.replace(chr(39), chr(39) * 2)}'", max_results=2
            )
            if len(found) == 1:
                # An EvaluationDataset reads its records from MLflow's own store, whichever it came from.
                found[0]._records, _ = client._tracking_client.store._load_dataset_records(found[0].dataset_id)
    except MlflowException as error:
        raise ConfigurationError(f"the data set {name!r} cannot be read from MLflow: {error}") from error
    if len(found) != 1:
        raise ConfigurationError(
            f"there {'are several data sets' if found else 'is no data set'} called {name!r} in MLflow at {place}.",
            hint="Say where it is with tracking_uri=... (in the terminal --tracking-uri), or give the data set itself.",
        )
    return _mlflow(found[0], columns)


def _mlflow(source: Any, columns: Mapping[str, str | Sequence[str]] | None) -> Dataset:
    """An evaluation data set, or one of `mlflow.data`, whose targets are references and predictions outputs."""
    if hasattr(source, "to_df"):
        rows = [
            {"id": row["dataset_record_id"], "inputs": row["inputs"], "references": _expected(row.get("expectations"))}
            for row in _frame(source.to_df())
        ]
        return _rows(source.name, rows, columns)
    frame = getattr(source, "df", None)
    if frame is None:
        raise ConfigurationError(
            f"an MLflow {type(source).__name__} has no rows to read here.", hint="Give its data frame instead."
        )
    named = dict(columns or {})
    for field, role in (("references", "targets"), ("output", "predictions")):
        if not columns and getattr(source, role, None) is not None:
            named[field] = getattr(source, role)
    if named and not columns:
        named["inputs"] = [c for c in frame.columns if c not in named.values()]
    return _rows(source.name or "mlflow", _frame(frame), named or None)


def _frame(frame: Any) -> list[dict[str, Any]]:
    """The rows of a data frame; a missing value is `None`."""
    rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    return rows


def _expected(expectations: Any) -> list[str]:
    """What MLflow calls the expected response, or references."""
    given = expectations if isinstance(expectations, Mapping) else {}
    found = given.get("references", given.get("expected_response", []))
    return [found] if isinstance(found, str) else list(found)


def _comes_from(value: object, package: str) -> bool:
    return type(value).__module__.partition(".")[0] == package


def _samples(
    path: Path, rows: Iterable[tuple[int, Any]], columns: Mapping[str, str | Sequence[str]] | None
) -> tuple[Sample, ...]:
    made: list[Sample] = []
    seen: set[str] = set()
    wrong: dict[str, list[int]] = {}
    for number, (line, record) in enumerate(rows, 1):
        try:
            if isinstance(record, ValueError):
                msg = f"is no JSON: {record}"
                raise ConfigurationError(msg)
            values = record if isinstance(record, Sample) else {"id": str(number), **_values(record, columns)}
            sample = as_samples([values])[0]
            if sample.id in seen:
                msg = f"the id {sample.id!r} is there already"
                raise ConfigurationError(msg)
        except ConfigurationError as error:
            wrong.setdefault(str(error).removeprefix("row 1: "), []).append(line)
        else:
            made.append(sample)
            seen.add(sample.id)
    problems = [f"{format_line_numbers(numbers)}: {said}" for said, numbers in wrong.items()]
    if not made and not problems:
        problems.append("it has no rows")
    if problems:
        raise problems_error(path, _WHAT, problems)
    return tuple(made)


def _values(record: Any, columns: Mapping[str, str | Sequence[str]] | None) -> dict[str, Any]:
    """A record as fields of a sample."""
    if not isinstance(record, Mapping):
        raise ConfigurationError(f"holds a {type(record).__name__}; taken: an object with named values")
    read = _named(record, columns) if columns else _by_name(record)
    values = {k: v for k, v in read.items() if v is not None and (v != "" or k == "output")}
    for field in _TEXTS:
        if isinstance(values.get(field), (bool, int, float)):
            value = values[field]
            values[field] = str(value).lower() if isinstance(value, bool) else f"{value:g}"
    found = values.get("references", ())
    found = [found] if isinstance(found, str) else list(found)
    values["references"] = tuple(r for r in found if r is not None and r != "")
    return values


def _named(record: Mapping[str, Any], columns: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for field, named in columns.items():
        for column in [named] if isinstance(named, str) else named:
            if column not in record:
                near = did_you_mean(column, [str(c) for c in record])
                raise ConfigurationError(f"has no column {column!r};{near} columns here: {', '.join(map(str, record))}")
        if isinstance(named, str):
            whole = field != "inputs" or isinstance(record[named], Mapping)
            read[field] = record[named] if whole else {named: record[named]}
        else:
            read[field] = {c: record[c] for c in named} if field == "inputs" else [record[c] for c in named]
    return read


def _by_name(record: Mapping[str, Any]) -> dict[str, Any]:
    fields = {_ALIASES.get(str(c), str(c)): value for c, value in record.items()}
    others = {c: value for c, value in fields.items() if c not in Sample.model_fields}
    if others and fields.get("inputs") is not None:
        raise ConfigurationError(
            f"has `inputs` and columns beside it that are no fields of a sample: {', '.join(others)}; name the columns "
            "to read with columns={...}"
        )
    return {**{c: v for c, v in fields.items() if c not in others}, **({"inputs": others} if others else {})}

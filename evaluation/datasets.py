"""Load evaluation datasets from CSV, TSV, JSON lines, Parquet, data frames or MLflow, and the shipped ones."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taleward.backends.base.mlflow_store import quiet
from taleward.core.errors import ConfigurationError, InvalidFile, MissingExtra, UnknownName
from taleward.core.record_files import (
    TEXT_SUFFIXES,
    format_line_numbers,
    parse_records,
    problems_error,
    read_content,
    suffix_without_gz,
)
from taleward.core.redaction import redact
from taleward.core.yaml_files import did_you_mean
from taleward.evaluation.example_passages import example_path, sample_fields
from taleward.evaluation.sample import Sample, as_samples
from taleward.evaluation.sample_selection import select_samples

SHIPPED_DATASETS = ("stories", "passages")
"""The datasets that come with the package; see `evaluation/data/README.md`."""

_NOUN = "the dataset"
_ALIASES = {"reference": "references", "outputs": "output"}
_MULTI_COLUMN_FIELDS = ("inputs", "references")
_TEXT_FIELDS = ("id", "split", "label", "prediction")
_MAX_LISTED_IDS = 20
_MLFLOW_PREFIX = "mlflow:"

ColumnMapping = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Dataset(Sequence[Sample]):
    """A named sequence of samples.

    `dataset[0]` is the first sample, `dataset["fox"]` the one with that id, `dataset[:9]` a dataset of the first nine.

    Attributes:
        name: The name of the file or dataset.
        sha256: SHA-256, in hexadecimal, of the uncompressed file, or of the samples as JSON.
        samples: The samples, in order.
    """

    name: str
    sha256: str
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        """Return the sample at a position or with an id, or a dataset for a slice.

        Raises:
            UnknownName: If there is no sample with that id.
        """
        if isinstance(index, slice):
            return self._part(self.samples[index])
        if not isinstance(index, str):
            return self.samples[index]
        sample = next((sample for sample in self.samples if sample.id == index), None)
        if sample is None:
            raise UnknownName(f"sample of {self.name}", index, (sample.id for sample in self.samples[:_MAX_LISTED_IDS]))
        return sample

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def version(self) -> str:
        """The version of the content: the first 12 characters of `sha256`."""
        return self.sha256[:12]

    @property
    def label(self) -> str:
        """The name and the version, as in `stories.jsonl@1f2e3d4c5b6a`."""
        return f"{self.name}@{self.version}"

    def select(self, *where: str, limit: int | None = None) -> Dataset:
        """Return the samples that match all expressions, as a dataset with a version of its own.

        Args:
            where: Expressions `FIELD=VALUE`, such as `split=test` or `id=fox-*`. The field is `id`, `split`, `label`,
                `prediction` or the name of an input; in the value `*` stands for any characters and `?` for one.
            limit: The most samples to return: the first ones; by default all.

        Raises:
            ConfigurationError: If an expression is invalid, nothing matches, or `limit` is below 1.
        """
        if limit is not None and limit < 1:
            raise ConfigurationError(f"limit must be at least 1; got {limit}.")
        return self._part(select_samples(self.samples, where)[:limit])

    def _part(self, samples: tuple[Sample, ...]) -> Dataset:
        """Return some of the samples as a dataset; all of them are this one."""
        return self if samples == self.samples else Dataset(self.name, _samples_sha256(samples), samples)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The system's inputs for each sample."""
        return [dict(sample.inputs) for sample in self.samples]


def load_dataset(
    source: str | Path | Iterable[Sample | Mapping[str, Any]] | Any,
    *,
    columns: ColumnMapping | None = None,
    band: str = "6-8",
    tracking_uri: str | None = None,
) -> Dataset:
    """Load a dataset.

    Without `columns`, a column named like a field of `Sample` (or `reference`, or `outputs`) is that field. All other
    columns are inputs, unless a column `inputs` holds all of them. Rows without an id get their number.

    Args:
        source: A path that ends in `.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.parquet`, with or without `.gz`; the name
            of a shipped dataset, `stories` or `passages`; `mlflow:NAME`, an evaluation dataset in MLflow; an MLflow
            dataset; a pandas data frame; or rows.
        columns: Maps fields of `Sample` to the columns that they are read from; `inputs` and `references` may have
            several. All other columns are ignored.
        band: The age band in which the shipped `passages` are labeled.
        tracking_uri: The MLflow tracking URI of `mlflow:NAME`; by default MLflow's own, as set by
            `mlflow.set_tracking_uri` or `MLFLOW_TRACKING_URI`.

    Raises:
        InvalidFile: If the file cannot be read, has no rows, or has invalid ones; the message lists their lines.
        UnknownName: If there is neither a file nor a shipped dataset of that name.
        ConfigurationError: If `source` or `columns` is invalid, or MLflow has no such dataset.
        MissingExtra: If a library is not installed.
    """
    _check_columns(columns)
    if isinstance(source, str) and source in SHIPPED_DATASETS:
        return _load_shipped(source, band)
    if isinstance(source, str) and source.startswith(_MLFLOW_PREFIX):
        return _load_from_mlflow(source.removeprefix(_MLFLOW_PREFIX), columns, tracking_uri)
    if isinstance(source, (str, Path)):
        return _load_file(Path(source), columns)
    # By module name, so that MLflow is not imported for other sources.
    if type(source).__module__.partition(".")[0] == "mlflow":
        return _from_mlflow_dataset(source, columns)
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        return _from_rows("data frame", _frame_rows(source), columns)
    if isinstance(source, Dataset) and not columns:
        return source
    if isinstance(source, Iterable):
        return _from_rows("rows", list(source), columns)
    raise ConfigurationError(
        f"cannot load a dataset from a {type(source).__name__}; expected a path, a shipped dataset "
        f"({', '.join(SHIPPED_DATASETS)}), 'mlflow:NAME', an MLflow dataset, a data frame or rows."
    )


def _check_columns(columns: ColumnMapping | None) -> None:
    fields = list(Sample.model_fields)
    for field, names in (columns or {}).items():
        if field not in fields:
            raise ConfigurationError(
                f"columns: {field!r} is not a field of a sample;{did_you_mean(field, fields)} "
                f"known: {', '.join(fields)}."
            )
        if not isinstance(names, str) and field not in _MULTI_COLUMN_FIELDS:
            raise ConfigurationError(
                f"columns: {field!r} needs one column name; got {list(names)}. "
                f"Only {' and '.join(_MULTI_COLUMN_FIELDS)} can have several."
            )


def _load_shipped(name: str, band: str) -> Dataset:
    path = example_path(name)
    if name == "stories":
        return _load_file(path, None)
    content = read_content(path, _NOUN)
    rows = [sample_fields(record, band) for _, record in parse_records(path, content, _NOUN)]
    return Dataset(f"{path.name}/{band}", hashlib.sha256(content).hexdigest(), as_samples(rows))


def _load_file(path: Path, columns: ColumnMapping | None) -> Dataset:
    if not path.exists() and not path.suffix:
        raise UnknownName("dataset", str(path), SHIPPED_DATASETS, hint="Or give the path of a file.")
    content = read_content(path, _NOUN)
    if suffix_without_gz(path) == ".parquet":
        records = _parquet_records(path, content)
    elif suffix_without_gz(path) in TEXT_SUFFIXES:
        records = parse_records(path, content, _NOUN)
    else:
        expected = ", ".join([*TEXT_SUFFIXES, ".parquet"])
        raise InvalidFile(
            f"{_NOUN} {path} ends in {suffix_without_gz(path)!r}; expected {expected}, with or without .gz."
        )
    samples = _parse_samples(path, records, columns)
    return Dataset(path.name, hashlib.sha256(content).hexdigest(), samples)


def _parquet_records(path: Path, content: bytes) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("Parquet", "evaluation") from error
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
        names = table.column_names
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise InvalidFile(f"{_NOUN} {path} has two columns named {repeated!r}.", hint="Rename one of them.")
        for number, row in enumerate(table.to_pylist(), 1):
            yield number, {name: None if _is_nan(value) else value for name, value in row.items()}
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise InvalidFile(f"{_NOUN} {path} is not valid Parquet: {error}") from error


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _from_rows(name: str, rows: Sequence[Any], columns: ColumnMapping | None) -> Dataset:
    samples = _parse_samples(Path(name), enumerate(rows, 1), columns)
    return Dataset(name, _samples_sha256(samples), samples)


def _samples_sha256(samples: Iterable[Sample]) -> str:
    content = json.dumps([sample.model_dump(mode="json") for sample in samples], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _load_from_mlflow(name: str, columns: ColumnMapping | None, tracking_uri: str | None) -> Dataset:
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtra("a dataset in MLflow", "mlflow") from error
    uri = tracking_uri or mlflow.get_tracking_uri()
    quoted_name = name.replace("'", "''")
    try:
        with quiet():
            client = mlflow.MlflowClient(tracking_uri=uri)
            # Two results are enough to see that the name is ambiguous.
            datasets = client.search_datasets(filter_string=f"name = '{quoted_name}'", max_results=2)
            if len(datasets) == 1:
                # An EvaluationDataset reads its records from MLflow's current store, whichever store it came from.
                store = client._tracking_client.store
                datasets[0]._records, _ = store._load_dataset_records(datasets[0].dataset_id)
    except MlflowException as error:
        raise ConfigurationError(f"cannot read the dataset {name!r} from MLflow: {redact(str(error))}") from error
    if len(datasets) != 1:
        raise ConfigurationError(
            f"there {'are several datasets' if datasets else 'is no dataset'} named {name!r} in MLflow at "
            f"{redact(uri)}.",
            hint="Name its store with tracking_uri=... (on the command line --tracking-uri), or pass the dataset "
            "itself.",
        )
    return _from_mlflow_dataset(datasets[0], columns)


def _from_mlflow_dataset(source: Any, columns: ColumnMapping | None) -> Dataset:
    """Convert an evaluation dataset, or one of `mlflow.data`, whose targets are references and predictions outputs."""
    if hasattr(source, "to_df"):
        rows = [
            {
                "id": row["dataset_record_id"],
                "inputs": row["inputs"],
                "references": _references(row.get("expectations")),
            }
            for row in _frame_rows(source.to_df())
        ]
        return _from_rows(source.name, rows, columns)
    frame = getattr(source, "df", None)
    if frame is None:
        raise ConfigurationError(
            f"cannot read the rows of an MLflow {type(source).__name__}.", hint="Pass its data frame instead."
        )
    all_columns = dict(columns or {})
    if not columns:
        for field, role in (("references", "targets"), ("output", "predictions")):
            if getattr(source, role, None) is not None:
                all_columns[field] = getattr(source, role)
        if all_columns:
            all_columns["inputs"] = [column for column in frame.columns if column not in all_columns.values()]
    return _from_rows(source.name or "mlflow", _frame_rows(frame), all_columns or None)


def _frame_rows(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a data frame, with `None` for missing values."""
    rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    return rows


def _references(expectations: Any) -> list[str]:
    """Return the references of a record's expectations: `references`, or MLflow's `expected_response`."""
    expectations = expectations if isinstance(expectations, Mapping) else {}
    references = expectations.get("references", expectations.get("expected_response", []))
    return [references] if isinstance(references, str) else list(references)


def _parse_samples(path: Path, records: Iterable[tuple[int, Any]], columns: ColumnMapping | None) -> tuple[Sample, ...]:
    """Convert records with their lines to samples, or raise one error with all problems."""
    samples: list[Sample] = []
    ids: set[str] = set()
    lines_by_problem: dict[str, list[int]] = {}
    for number, (line, record) in enumerate(records, 1):
        try:
            if isinstance(record, ValueError):
                raise ConfigurationError(str(record)) from record
            values = record if isinstance(record, Sample) else {"id": str(number), **_sample_values(record, columns)}
            sample = as_samples([values])[0]
            if sample.id in ids:
                msg = f"duplicate id {sample.id!r}"
                raise ConfigurationError(msg)
        except ConfigurationError as error:
            lines_by_problem.setdefault(str(error).removeprefix("row 1: "), []).append(line)
        else:
            samples.append(sample)
            ids.add(sample.id)
    problems = [f"{format_line_numbers(lines)}: {problem}" for problem, lines in lines_by_problem.items()]
    if not samples and not problems:
        problems.append("it has no rows")
    if problems:
        raise problems_error(path, _NOUN, problems)
    return tuple(samples)


def _sample_values(record: Any, columns: ColumnMapping | None) -> dict[str, Any]:
    """Convert a record to the fields of a sample."""
    if not isinstance(record, Mapping):
        raise ConfigurationError(f"is a {type(record).__name__}; expected an object with named values")
    fields = _select_columns(record, columns) if columns else _match_columns(record)
    # An empty cell is a missing value, but an empty output is one that can be measured.
    values = {name: v for name, v in fields.items() if v is not None and (v != "" or name == "output")}
    for field in _TEXT_FIELDS:
        value = values.get(field)
        if isinstance(value, bool):  # before int, of which bool is a subclass
            values[field] = str(value).lower()
        elif isinstance(value, (int, float)):
            values[field] = f"{value:g}"
    references = values.get("references", ())
    references = [references] if isinstance(references, str) else list(references)
    values["references"] = tuple(r for r in references if r is not None and r != "")
    return values


def _select_columns(record: Mapping[str, Any], columns: ColumnMapping) -> dict[str, Any]:
    """Read the fields from the named columns."""
    fields: dict[str, Any] = {}
    for field, names in columns.items():
        for column in [names] if isinstance(names, str) else names:
            if column not in record:
                suggestion = did_you_mean(column, [str(name) for name in record])
                raise ConfigurationError(
                    f"has no column {column!r};{suggestion} its columns: {', '.join(map(str, record))}"
                )
        if isinstance(names, str):
            is_complete = field != "inputs" or isinstance(record[names], Mapping)
            fields[field] = record[names] if is_complete else {names: record[names]}
        elif field == "inputs":
            fields[field] = {column: record[column] for column in names}
        else:
            fields[field] = [record[column] for column in names]
    return fields


def _match_columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Read the fields from columns of the same name; all other columns are inputs."""
    values = {_ALIASES.get(str(column), str(column)): value for column, value in record.items()}
    inputs = {name: value for name, value in values.items() if name not in Sample.model_fields}
    if inputs and values.get("inputs") is not None:
        raise ConfigurationError(
            f"has the column `inputs` and others that are not fields of a sample: {', '.join(inputs)}; select the "
            "columns with columns={...}"
        )
    fields = {name: value for name, value in values.items() if name not in inputs}
    return {**fields, **({"inputs": inputs} if inputs else {})}

"""Evaluations as JUnit XML, which continuous integration shows as tests."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

from taleward.evaluation.gates import GateResult
from taleward.evaluation.result import Evaluation
from taleward.evaluation.sample import Sample

# XML 1.0 has no way to write these characters, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAX_OUTPUT_CHARACTERS = 2_000


def junit_report(evaluations: Evaluation | Sequence[Evaluation], gates: Iterable[GateResult] = ()) -> str:
    """Return a JUnit XML report of one or several evaluations, with a test suite for each.

    Each of `Evaluation.samples` is a test case. It is an error if the system raised, and a failure if the prediction is
    not the label, a guard released nothing, or, without a label, a judge did not pass it. What a partial evaluation
    misses is skipped.

    Args:
        evaluations: The evaluations.
        gates: The results of `check_gates`, which get a suite of their own.
    """
    root = ET.Element("testsuites", name="taleward")
    for evaluation in [evaluations] if isinstance(evaluations, Evaluation) else evaluations:
        root.append(_evaluation_suite(evaluation))
    results = list(gates)
    if results:
        suite = ET.SubElement(root, "testsuite", name="gates")
        for result in results:
            case = ET.SubElement(suite, "testcase", classname="gates", name=_xml_text(result.metric))
            if not result.passed:
                _add_problem(case, "failure", result.message)
        _count(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _evaluation_suite(evaluation: Evaluation) -> ET.Element:
    name = _xml_text(evaluation.name)
    seconds = (evaluation.finished_at - evaluation.started_at).total_seconds()
    suite = ET.Element(
        "testsuite", name=name, timestamp=f"{evaluation.started_at:%Y-%m-%dT%H:%M:%S}", time=f"{seconds:.3f}"
    )
    properties = ET.SubElement(suite, "properties")
    scores = {
        metric: "no value" if score.value is None else f"{score.value:.6g} [{score.low:.6g}, {score.high:.6g}]"
        for metric, score in evaluation.scores.items()
    }
    for key, value in {"dataset": evaluation.dataset, **scores}.items():
        ET.SubElement(properties, "property", name=_xml_text(key), value=_xml_text(value))
    for sample in evaluation.samples:
        case = ET.SubElement(suite, "testcase", classname=name, name=_xml_text(sample.id))
        if sample.latency_s is not None:
            case.set("time", f"{sample.latency_s:.3f}")
        if sample.error is not None:
            _add_problem(case, "error", sample.error)
        elif (problem := _failure(sample)) is not None:
            _add_problem(case, "failure", problem, (sample.output or "")[:_MAX_OUTPUT_CHARACTERS])
    for sample_id in evaluation.missing:
        case = ET.SubElement(suite, "testcase", classname=name, name=_xml_text(f"{sample_id} (missing)"))
        _add_problem(case, "skipped", evaluation.stopped or "not run")
    _count(suite)
    return suite


def _failure(sample: Sample) -> str | None:
    """Return why a sample counts as failed; `None` if it does not."""
    if sample.label is not None and sample.prediction is not None:
        wrong = sample.prediction != sample.label
        return f"predicted {sample.prediction!r} instead of {sample.label!r}" if wrong else None
    if sample.tale is not None and not sample.tale.released:
        return f"nothing was released after {len(sample.tale.attempts)} drafts"
    if sample.verdict is not None and not sample.verdict.passed:
        categories = f" ({', '.join(sample.verdict.categories)})" if sample.verdict.categories else ""
        return f"the verdict is {sample.verdict.outcome}{categories}"
    return None


def _add_problem(case: ET.Element, kind: str, message: str, text: str = "") -> None:
    ET.SubElement(case, kind, message=_xml_text(message)).text = _xml_text(text) or None


def _count(suite: ET.Element) -> None:
    """Set the counts of a suite from its test cases."""
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(kind) is not None for case in cases)))


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)

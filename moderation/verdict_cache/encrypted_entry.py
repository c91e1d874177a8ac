"""The cached form of a verdict: readable only with the text that was judged.

A judge's remarks quote and retell the text, so the whole entry is encrypted with a key stream that is derived from the
text and its context. Whoever looks a verdict up has both; the file has neither.
"""

from __future__ import annotations

import hashlib
import json
import os

from taleward.core.frozen_model import FrozenMapping, FrozenModel
from taleward.core.policy import Probability
from taleward.core.verdict import Finding, Outcome, Passage, Verdict

_NONCE_BYTES = 16


class VerdictEntry(FrozenModel):
    """What is cached of a verdict.

    Attributes:
        outcome: `pass` or `fail`.
        calibration: The id of the judge's calibration, if it has one.
        scores: Score per category, 0..1.
        findings: The findings.
        detail: The verdict's detail.
    """

    outcome: Outcome
    calibration: str | None
    scores: FrozenMapping[str, Probability]
    findings: tuple[Finding, ...]
    detail: str

    @classmethod
    def from_verdict(cls, verdict: Verdict, passage: Passage) -> VerdictEntry | None:
        """Return the entry of a verdict; `None` if it is neither pass nor fail, or a quote is not in the text."""
        if verdict.outcome not in ("pass", "fail"):
            return None
        if any(f.quote is not None and f.quote != passage.text[f.start : f.end] for f in verdict.findings):
            return None
        return cls(
            outcome=verdict.outcome,
            calibration=verdict.calibration,
            scores=verdict.scores,
            findings=verdict.findings,
            detail=verdict.detail,
        )

    def to_verdict(self, judge: str, policy: str, band: str) -> Verdict:
        """Restore the verdict."""
        return Verdict(
            outcome=self.outcome,
            judge=judge,
            policy=policy,
            band=band,
            scores=self.scores,
            findings=self.findings,
            detail=self.detail,
            cached=True,
            calibration=self.calibration,
        )

    def seal(self, passage: Passage) -> bytes:
        """Encrypt the entry; only `unseal` with the same passage reads it."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + _xor_key_stream(self.model_dump_json().encode(), nonce, passage)

    @classmethod
    def unseal(cls, sealed: bytes, passage: Passage) -> VerdictEntry:
        """Decrypt an entry.

        Raises:
            ValueError: If it was sealed with another passage.
        """
        nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return cls.model_validate_json(_xor_key_stream(encrypted, nonce, passage))


def _xor_key_stream(content: bytes, nonce: bytes, passage: Passage) -> bytes:
    # The SHA-256 of the text is in the file, so the key must come from the text itself. The nonce keeps two entries of
    # the same passage from sharing a key stream.
    key = b"taleward verdict\0" + nonce + json.dumps([passage.text, passage.context]).encode()
    stream = hashlib.shake_256(key).digest(len(content))
    return (int.from_bytes(content) ^ int.from_bytes(stream)).to_bytes(len(content))

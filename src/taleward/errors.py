"""Exceptions that Taleward raises."""

from taleward.core.errors import (
    BackendError,
    ConfigurationError,
    ContentFiltered,
    ContextTooLong,
    DeadlineExceeded,
    IntegrityError,
    InvalidFile,
    InvalidInputs,
    MissingExtra,
    MissingKey,
    NotErased,
    RateLimited,
    Refused,
    RequestRejected,
    TalewardError,
    UnknownName,
)

__all__ = [
    "BackendError",
    "ConfigurationError",
    "ContentFiltered",
    "ContextTooLong",
    "DeadlineExceeded",
    "IntegrityError",
    "InvalidFile",
    "InvalidInputs",
    "MissingExtra",
    "MissingKey",
    "NotErased",
    "RateLimited",
    "Refused",
    "RequestRejected",
    "TalewardError",
    "UnknownName",
]

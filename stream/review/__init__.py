"""Reviewing a finished record beside its video: look, correct, take back, save, render again."""

from __future__ import annotations

from stream.review.corrections import Corrections, NeedsConsent
from stream.review.review import Review

__all__ = ["Corrections", "NeedsConsent", "Review"]

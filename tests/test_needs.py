"""What must be there makes a test fail that misses it; anything else lets it skip."""

from __future__ import annotations

import pytest
from _pytest.outcomes import Failed, Skipped

from tests.needs import REQUIRED, need


def test_what_is_missing_is_skipped_or_where_it_must_be_there_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRED, "ffprobe rtsp")
    need("rtsp", True, "no server")
    with pytest.raises(Failed, match="no server"):
        need("rtsp", None, "no server")
    with pytest.raises(Skipped, match="no browser"):
        need("browser", None, "no browser")
    monkeypatch.delenv(REQUIRED)
    with pytest.raises(Skipped):
        need("rtsp", None, "no server")

"""Panels in files: the same panel bit for bit, mapped by whoever is on the node, refused when damaged."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_ray.data import CacheFolder, MappedFields, OwnBars, Panel, build_panel, in_files, read_raw
from forge_ray.data.build import _own_bars
from forge_ray.errors import DataError
from harness import history, raw_market

sys.path.insert(0, str(Path(__file__).parent / "bench"))
from market import make_market, ticker

FIRST = date(2020, 1, 1)
PRICES = {
    "GAP": [(FIRST + timedelta(days=d), 1.0 + d) for d in (0, 1, 3, 4, 5)],
    "LATE": [(FIRST + timedelta(days=d), 5.0 + d) for d in (3, 4, 5)],
    "WHOLE": [(FIRST + timedelta(days=d), 9.0 + d) for d in range(6)],
    "OVER": [(FIRST + timedelta(days=d), 2.0 + d) for d in (1, 3)],
}


@pytest.fixture
def folder(tmp_path: Path) -> CacheFolder:
    return CacheFolder(tmp_path / "cache" / "panels")


def panels(folder: CacheFolder, calendar: str = "intersection") -> tuple[Panel, Panel]:
    market = raw_market(PRICES, ["GAP", "LATE", "OVER"], ["WHOLE"], calendar)
    return market.panel(), market.panel(in_files(folder))


def own_arrays(own: OwnBars) -> dict[str, np.ndarray]:
    return {"dates": own.dates, "close": own.close, "shown": own.shown, "carried": own.carried, **own.others}


def assert_same(one: Panel, two: Panel) -> None:
    assert one.fingerprint == two.fingerprint and one.tickers == two.tickers
    assert one.dropped == two.dropped and one.filled == two.filled
    assert_same_arrays(one.fields, two.fields)
    for left, right in zip(one.bars, two.bars, strict=True):
        assert left.ticker == right.ticker
        assert_same_arrays(own_arrays(left), own_arrays(right))


def assert_same_arrays(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray]) -> None:
    assert list(one) == list(two)
    for name, values in one.items():
        assert values.dtype == two[name].dtype and values.tobytes() == two[name].tobytes(), name


@pytest.mark.parametrize("calendar", ["intersection", "union"])
def test_a_panel_in_files_is_the_panel_in_memory(folder: CacheFolder, calendar: str):
    one, two = panels(folder, calendar)
    assert isinstance(two.fields, MappedFields)
    assert_same(one, two)
    assert_same(one, two.in_memory())
    for own in two.bars:
        assert not any(values.flags.writeable for values in (two.dates, two.close, *own_arrays(own).values()))


def test_a_pickled_panel_is_its_files(folder: CacheFolder):
    one, two = panels(folder)
    again = pickle.loads(pickle.dumps(two))
    assert_same(one, again)
    assert again.bars.fields is again.fields and not again.close.flags.owndata


def test_a_pickled_panel_does_not_grow_with_its_fields(tmp_path: Path, folder: CacheFolder):
    """2,000 × 20 bars more are 320 kB of prices."""
    sizes = []
    for n_bars in (500, 2_500):
        market = read_raw(make_market(tmp_path / str(n_bars), 20, n_bars), [ticker(k) for k in range(20)])
        panel = market.panel(in_files(folder))
        sizes.append(len(pickle.dumps(panel)) - panel.dates.nbytes)
        assert len(pickle.dumps(panel.in_memory())) > 20 * n_bars * 8
    assert sizes[1] < sizes[0] + 200


def test_damaged_fields_are_refused(folder: CacheFolder):
    _, two = panels(folder)
    data = pickle.dumps(two)
    (file,) = (Path(entry.path) for entry in folder.files())
    good = file.read_bytes()
    for content in (good[:9] + bytes([good[9] ^ 4]) + good[10:], good[:-8], good + bytes(8), b""):
        file.unlink()  # whoever has mapped the file keeps it
        file.write_bytes(content)
        again = pickle.loads(data)
        with pytest.raises(DataError, match=r"is not the field of the panel|cannot be mapped"):
            _ = again.close
    file.unlink()
    assert not pickle.loads(data).fields.are_here()
    assert two.fields["close"].tobytes() == good


def test_without_a_writable_folder_the_panel_is_in_memory_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        one, two = panels(CacheFolder(tmp_path / "file"))
    assert isinstance(two.fields, dict)
    assert_same(one, two)
    assert len(caplog.messages) == 1 and "FORGE_RAY_CACHE" in caplog.messages[0]


def test_nothing_is_left_of_a_panel_that_cannot_be_reserved(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    one, two = panels(folder)
    assert_same(one, two)
    assert folder.files() == []


@given(
    st.lists(st.sets(st.integers(1, 25), min_size=1), min_size=1, max_size=5),
    st.sampled_from(["intersection", "union"]),
)
def test_stretches_are_the_own_bars_of_each_history(lives: list[set[int]], calendar: str):
    """A ticker without a gap has no array of its own, and yet the same bars as one that has."""
    histories = [
        history(f"T{k}", [(FIRST + timedelta(days=d), 1.0 + d) for d in sorted(life)]) for k, life in enumerate(lives)
    ]
    panel = build_panel(histories, calendar=calendar)
    for own, of in zip(panel.bars, histories, strict=True):
        expected = _own_bars(of, panel.dates)
        assert_same_arrays(own_arrays(own), own_arrays(expected))
        is_stretch = set(of.dates) <= set(panel.dates) and own.n_dropped == 0 and not own.carried.any()
        assert np.shares_memory(own.close, panel.close) == is_stretch
    own_bytes = sum(sum(a.nbytes for a in own_arrays(own).values())
                    for own in panel.bars if not np.shares_memory(own.close, panel.close))  # fmt: skip
    assert panel.nbytes == sum(values.nbytes for values in panel.fields.values()) + own_bytes
    assert panel.bars[-1].ticker == panel.bars[len(lives) - 1].ticker
    with pytest.raises(IndexError):
        panel.bars[len(lives)]


FIELDS = ("open", "high", "low", "close", "volume")
_LIMITED = """
import resource, sys
from pathlib import Path
from forge_ray.data import CacheFolder, in_files, read_raw
from forge_ray.data.build import in_memory

source, cache, how, *names = sys.argv[1:]
folder, fields = CacheFolder(Path(cache)), ("open", "high", "low", "close", "volume")
read_raw(source, names[:1], fields=fields, parsed=folder).panel(in_files(folder))
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + 16 * 2**20,) * 2)
panel = read_raw(source, names, fields=fields, parsed=folder).panel(in_files(folder) if how == "files" else in_memory)
print(panel.fingerprint, sum(values.nbytes for values in panel.fields.values()))
"""


def test_a_panel_larger_than_the_memory_that_a_process_may_have(tmp_path: Path):
    """32 MB of fields, from tickers that are parsed, with 16 MiB to spare: enough in files, too little in memory."""
    names = [ticker(k) for k in range(100)]
    source, cache = make_market(tmp_path / "market", len(names), 8_000), tmp_path / "cache"
    market = read_raw(source, names, fields=FIELDS, parsed=CacheFolder(cache))

    def run(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _LIMITED, str(source), str(cache), how, *names]
        return subprocess.run(command, capture_output=True, text=True)

    assert run("files").stdout.split() == [market.panel().fingerprint, str(100 * 8_000 * 5 * 8)]
    assert "MemoryError" in run("memory").stderr

"""How kernels compile: nothing at import, once per thread pool and machine, never from a damaged cache."""

from __future__ import annotations

import fcntl
import inspect
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numba
import numpy as np
import pytest
from numba import types
from numba.core.event import install_recorder

import forge_ray.kernels
import forge_ray.kernels.compile as compiling
from forge_ray.data import OwnBars
from forge_ray.engine import formulas
from forge_ray.kernels import averages
from forge_ray.kernels.compile import KERNELS, Kernel, argument_types, kernel, warm
from forge_ray.tree.formulas import OF_ONE, OF_TWO, ROLLING, read_formula

SIGNATURE = "in f8[:], in f8, out f8[:]"
MODULES = [import_module(f"forge_ray.kernels.{found.name}") for found in iter_modules(forge_ray.kernels.__path__)]


def scaled(values, factor, out):
    for i in range(values.shape[0]):
        out[i] = values[i] * factor


def writes_to_its_input(values, factor, out):
    values[0] = factor


def fresh(at: Path) -> Kernel:
    """The kernel `scaled` as a new process meets it, compiled at `at` and called once."""
    made, out = Kernel(scaled, SIGNATURE), np.empty(3)
    made.compiled(at)(np.arange(3.0), 2.0, out)
    assert out.tolist() == [0.0, 2.0, 4.0]
    return made


def was_loaded(made: Kernel, at: Path) -> bool:
    return sum(made.compiled(at).stats.cache_hits.values()) == 1


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_every_kernel_compiles_nothing_and_touches_no_disk(tmp_path: Path):
    code = """
import os
from numba.core.event import install_recorder
with install_recorder("numba:compile") as compiled:
    from forge_ray.engine.indicator_kernels import averages
    from forge_ray.kernels import bits, finalize, simulate
    print(len(compiled.buffer), os.listdir(os.environ["FORGE_RAY_CACHE"]))
    import numpy
    averages.price(numpy.ones(2), 1, numpy.ones(2))
    print(len(compiled.buffer) > 0, os.listdir(os.environ["FORGE_RAY_CACHE"]))
"""
    assert python(code, FORGE_RAY_CACHE=str(tmp_path)).splitlines() == ["0 []", "True ['kernels']"]


def test_signature_means_readonly_contiguous_inputs_and_writable_outputs():
    assert argument_types("in f8[:,:], in i8,in u8[:], out b1[:]") == (
        types.Array(types.float64, 2, "C", readonly=True),
        types.int64,
        types.Array(types.uint64, 1, "C", readonly=True),
        types.Array(types.boolean, 1, "C"),
    )


@pytest.mark.parametrize("entry", ["f8[:]", "in f4[:]", "in f8[]", "in f8[:,]", "inout f8[:]", ""])
def test_unreadable_signature_entry_is_named(entry: str):
    with pytest.raises(ValueError, match="cannot read") as error:
        argument_types(entry)
    assert repr(entry) in str(error.value)


@pytest.mark.parametrize("name", KERNELS)
def test_signature_has_one_entry_per_argument(name: str):
    declared = KERNELS[name]
    assert len(argument_types(declared.signature)) == len(inspect.signature(declared.function).parameters)


def test_every_kernel_is_registered_under_its_name():
    found = {value.name: value for module in MODULES for value in vars(module).values() if isinstance(value, Kernel)}
    assert found == {name: made for name, made in KERNELS.items() if made.function.__module__.startswith("forge_ray.")}
    assert len(found) >= 10


@pytest.mark.parametrize("name", [*OF_ONE, *OF_TWO, *ROLLING])
def test_a_formula_names_every_kernel_that_it_calls(name: str, monkeypatch: pytest.MonkeyPatch):
    """Those that it does not name are not compiled before the workers start."""
    formula = read_formula(f"{name}(close{'' if name in OF_ONE else ', 3'})")
    called = set()
    run = Kernel.__call__
    monkeypatch.setattr(Kernel, "__call__", lambda kernel, *given: (called.add(kernel), run(kernel, *given))[1])
    days = np.arange(9)
    formulas.evaluate(formula, OwnBars("KO", days, days + 1.5, days, days > 9), lambda variable: days + 1.0)
    assert called == set(formulas.kernels_of(formula))


def test_two_kernels_of_one_name_are_refused():
    def price(close, out):
        out[:] = close

    with pytest.raises(
        ValueError, match=r"'price' of .*test_kernel_compile.* declared in forge_ray\.kernels\.averages"
    ):
        kernel("in f8[:], out f8[:]")(price)


def test_readonly_and_writable_inputs_share_one_compilation(tmp_path: Path):
    made = fresh(tmp_path)
    values, out = np.arange(3.0), np.empty(3)
    values.flags.writeable = False
    made(values, 3.0, out)
    assert out.tolist() == [0.0, 3.0, 6.0]
    assert len(made.compiled(tmp_path).signatures) == 1
    with pytest.raises(TypeError, match="No matching definition"):
        made(np.arange(6.0)[::2], 3.0, out)
    with pytest.raises(TypeError, match="No matching definition"):
        made(values, 3.0, values)


def test_writing_to_an_input_does_not_compile(tmp_path: Path):
    with pytest.raises(numba.TypingError, match="readonly"):
        Kernel(writes_to_its_input, SIGNATURE).compiled(tmp_path)


def test_threads_that_meet_at_the_first_call_compile_once(tmp_path: Path):
    made, n = Kernel(scaled, SIGNATURE), 6
    barrier, outs, codes = threading.Barrier(n), np.zeros((n, 3)), []

    def call(i: int) -> None:
        barrier.wait()
        codes.append(made.compiled(tmp_path))
        codes[-1](np.arange(3.0), float(i), outs[i])

    with install_recorder("numba:compile") as compiled:
        threads = [threading.Thread(target=call, args=(i,)) for i in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (outs == np.outer(np.arange(n), np.arange(3))).all()
    assert len(codes) == n
    assert len(set(codes)) == 1
    assert len([event for _, event in compiled.buffer if event.is_start]) == 1


def test_compiling_leaves_the_cache_folder_of_other_numba_code_alone(tmp_path: Path):
    folder_of_others = numba.config.CACHE_DIR
    fresh(tmp_path)
    assert folder_of_others == numba.config.CACHE_DIR


def test_second_process_loads_what_the_first_compiled(tmp_path: Path):
    assert not was_loaded(fresh(tmp_path), tmp_path)
    assert was_loaded(fresh(tmp_path), tmp_path)


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("suffix", ["nbi", "nbc", "seal"])
@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:-3], lambda content: bytes(len(content)), flip_a_bit, None],
    ids=["empty", "cut", "zeros", "flipped bit", "missing"],
)
def test_damaged_cache_file_is_compiled_again_once(tmp_path: Path, suffix: str, damage):
    fresh(tmp_path)
    (file,) = tmp_path.rglob(f"*.{suffix}")
    if damage:
        file.write_bytes(damage(file.read_bytes()))
    else:
        file.unlink()
    assert not was_loaded(fresh(tmp_path), tmp_path)
    assert was_loaded(fresh(tmp_path), tmp_path)


def test_damage_to_one_kernel_leaves_the_others_cached(tmp_path: Path):
    other = Kernel(averages.price.function, averages.price.signature)
    other.compiled(tmp_path)
    fresh(tmp_path)
    next(tmp_path.rglob("*scaled*.nbc")).write_bytes(b"")
    fresh(tmp_path)
    assert was_loaded(Kernel(other.function, other.signature), tmp_path)


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_numba_alone_does_not_get_over_a_file_that_was_cut(tmp_path: Path, suffix: str):
    fresh(tmp_path)
    next(tmp_path.rglob(f"*.{suffix}")).write_bytes(b"")
    with pytest.raises(EOFError):
        Kernel(scaled, SIGNATURE)._compile(tmp_path)


def unused(at: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Why a folder was not used for a kernel that compiles all the same, told once."""
    compiling._tell_unused.cache_clear()
    for _ in range(2):
        assert not fresh(at).compiled(at).stats.cache_path
    (record,) = caplog.records
    assert record.getMessage().startswith(f"kernels are compiled anew by each process: {at}: ")
    assert record.getMessage().endswith("; set FORGE_RAY_CACHE")
    return record.getMessage()


def test_a_folder_that_cannot_be_made_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").touch()
    assert "Not a directory" in unused(tmp_path / "file" / "key", caplog)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_folder_that_others_could_write_is_not_used(mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    fresh(tmp_path)
    tmp_path.chmod(mode)
    assert f"mode {mode:04o}; others could write there" in unused(tmp_path, caplog)
    tmp_path.chmod(0o700)
    assert was_loaded(fresh(tmp_path), tmp_path)


def test_a_folder_of_another_user_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    fresh(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert f"belongs to user {tmp_path.stat().st_uid}" in unused(tmp_path, caplog)


def test_a_full_disk_stops_no_kernel_and_what_it_cut_short_is_not_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        assert "File too large" in unused(tmp_path, caplog)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not was_loaded(fresh(tmp_path), tmp_path)
    assert was_loaded(fresh(tmp_path), tmp_path)


def test_a_process_that_does_not_end_compiling_is_not_waited_for_forever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Such as one that is stopped."""
    monkeypatch.setattr(compiling, "LOCK_SECONDS", 0.1)
    with (tmp_path / "scaled.seal").open("wb") as seal:
        fcntl.flock(seal, fcntl.LOCK_EX)
        assert "another process has been compiling scaled for 0.1 s" in unused(tmp_path, caplog)
    assert not was_loaded(fresh(tmp_path), tmp_path)


def test_processes_that_start_together_compile_a_kernel_once(tmp_path: Path):
    code = """
import sys
from forge_ray.kernels.compile import folder
from forge_ray.kernels.returns import rate_of_change
print(sum(rate_of_change.compiled(folder()).stats.cache_misses.values()))
"""
    environment = {**os.environ, "FORGE_RAY_CACHE": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    outputs = [process.communicate()[0].strip() for process in started]
    assert sorted(outputs) == ["0", "0", "1"]


@pytest.fixture
def unwarmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that does not exist, and kernels that are not compiled."""
    final = tmp_path / "kernels" / "key"
    monkeypatch.setattr(compiling, "folder", lambda: final)
    declared = {"scaled": (scaled, SIGNATURE), "wrong": (writes_to_its_input, SIGNATURE)}
    declared |= {"price": (averages.price.function, averages.price.signature)}
    monkeypatch.setattr(compiling, "KERNELS", {name: Kernel(*entry) for name, entry in declared.items()})
    return final


def test_warm_makes_a_private_whole_folder_of_the_named_kernels(unwarmed: Path, monkeypatch: pytest.MonkeyPatch):
    load, existed = Kernel._load, []

    def watched(self: Kernel, at: Path):
        existed.append(unwarmed.exists())
        return load(self, at)

    monkeypatch.setattr(Kernel, "_load", watched)
    assert warm(["scaled", "price"]) == unwarmed
    assert existed == [False, False]
    assert [path.name for path in unwarmed.parent.iterdir()] == ["key"]
    assert {path.stem for path in unwarmed.glob("*.seal")} == {"scaled", "price"}
    assert stat.S_IMODE(unwarmed.stat().st_mode) == 0o700
    assert was_loaded(fresh(unwarmed), unwarmed)


def test_warm_adds_missing_kernels_to_a_folder_that_exists(unwarmed: Path):
    warm(["price"])
    warm(["price", "scaled"])
    assert {path.stem for path in unwarmed.glob("*.seal")} == {"scaled", "price"}
    assert was_loaded(fresh(unwarmed), unwarmed)


def test_warm_that_fails_leaves_no_folder_behind(unwarmed: Path):
    with pytest.raises(numba.TypingError):
        warm(["scaled", "wrong"])
    assert list(unwarmed.parent.iterdir()) == []


def test_warm_compiles_where_nothing_can_be_written(
    unwarmed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    unwarmed.parent.touch()
    compiling._tell_unused.cache_clear()
    warm(["scaled", "price"])
    assert all(declared._compiled for name, declared in compiling.KERNELS.items() if name != "wrong")
    assert len(caplog.records) == 1


def test_warm_that_comes_second_keeps_the_folder_of_the_first(unwarmed: Path, monkeypatch: pytest.MonkeyPatch):
    load = Kernel._load

    def overtaken(self: Kernel, at: Path):
        unwarmed.mkdir()
        (unwarmed / "first").touch()
        return load(self, at)

    monkeypatch.setattr(Kernel, "_load", overtaken)
    assert warm(["scaled"]) == unwarmed
    assert [path.name for path in unwarmed.parent.iterdir()] == ["key"]
    assert (unwarmed / "first").exists()


def test_warm_removes_what_nobody_has_used_for_long(unwarmed: Path):
    day, now = 86_400, time.time()
    for name, age in (("unused", 31 * day), ("other", 29 * day), (".new-killed", 2 * 3600), (".new-busy", 60)):
        (unwarmed.parent / name / "inner").mkdir(parents=True)
        os.utime(unwarmed.parent / name, (now - age,) * 2)
    warm(["scaled"])
    assert {path.name for path in unwarmed.parent.iterdir()} == {"key", "other", ".new-busy"}


def test_a_folder_that_is_asked_for_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORGE_RAY_CACHE", str(tmp_path))
    at = tmp_path / "kernels" / compiling._key()
    at.mkdir(parents=True)
    os.utime(at, (0, 0))
    assert compiling.folder.__wrapped__() == at
    assert at.stat().st_mtime > time.time() - 60


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    where, key = compiling.folder.__wrapped__, compiling._key()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("FORGE_RAY_CACHE", str(tmp_path / "own"))
    assert where() == tmp_path / "own" / "kernels" / key
    monkeypatch.setenv("FORGE_RAY_CACHE", "")
    assert where() == tmp_path / "xdg" / "forge_ray" / "kernels" / key
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert where() == tmp_path / "home" / ".cache" / "forge_ray" / "kernels" / key


def test_key_changes_with_the_cpu_and_with_any_kernel_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = Path(compiling.__file__).parent
    copy = shutil.copytree(source, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    key = compiling._key()
    monkeypatch.setattr(compiling, "__file__", str(copy / "compile.py"))
    assert compiling._key() == key
    edited_file = copy / "elementary.py"
    times = edited_file.stat()
    edited_file.write_text(edited_file.read_text().replace("0.5 * f * f", "0.6 * f * f"))
    os.utime(edited_file, ns=(times.st_atime_ns, times.st_mtime_ns))
    edited = compiling._key()
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    generic = compiling._key()
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "+sse2")
    few = compiling._key()
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    checked = compiling._key()
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert compiling._key() == checked
    assert len({key, edited, generic, few, checked}) == 5


def test_another_installation_of_the_same_code_loads_what_the_first_compiled(tmp_path: Path):
    """Newer, in another folder, and with Numba told to keep its own caches elsewhere."""
    package = Path(forge_ray.__file__).parent
    copy = shutil.copytree(package, tmp_path / "there" / "forge_ray", ignore=shutil.ignore_patterns("__pycache__"))
    for file in copy.rglob("*.py"):
        os.utime(file, (1, 1))
    code = """
import forge_ray
from forge_ray.kernels.averages import hull_moving_average as kernel
from forge_ray.kernels.compile import folder
at = folder()
print(forge_ray.__file__, at, sum(kernel.compiled(at).stats.cache_hits.values()))
"""
    settings = {"FORGE_RAY_CACHE": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1"}
    here, there = (
        python(code, **settings, **more).split()
        for more in (
            {"PYTHONPATH": str(package.parent)},
            {"PYTHONPATH": str(copy.parent), "NUMBA_CACHE_LOCATOR_CLASSES": "InTreeCacheLocator"},
        )
    )
    assert here[0] != there[0] == str(copy / "__init__.py")
    assert here[1] == there[1] and (here[2], there[2]) == ("0", "1")


def test_without_jit_kernels_are_plain_python_and_nothing_is_cached(tmp_path: Path):
    code = """
import numpy, types
from forge_ray.kernels.compile import KERNELS, folder, warm
from forge_ray.kernels.averages import price, window_means
out = numpy.empty(2)
price(numpy.array([1.0, 2.0]), 1, out)
warm(["exponential_moving_average"])
print(out.tolist(), price.compiled(folder()) is price.function, isinstance(window_means, types.FunctionType))
"""
    found = python(code, NUMBA_DISABLE_JIT="1", FORGE_RAY_CACHE=str(tmp_path))
    assert found == "[1.0, 2.0] True True"
    assert list(tmp_path.iterdir()) == []

"""Two runs in one folder; songs whose names a shell or a file system could misunderstand."""

import pytest

from tests.faults.recipe import Recipe, stage_param

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("stage", [stage_param(stage) for stage in (1, 2, 3, 4)])
def test_the_second_run_is_refused(recipe, stage):
    unbroken = recipe.unbroken(stage)
    recipe.restore(stage)
    first = recipe.start(stage)
    recipe.wait_for_lock(first)
    second = recipe.start(stage)
    code, line = second.end()
    assert code == 2, (second.errors, unbroken.seconds)
    assert line.startswith(f"error: {recipe.exp_dir}: another run is at work here")
    assert first.wait() == 0, first.errors
    recipe.assert_goes_on(stage)


def test_two_runs_that_prepare_the_same_songs(recipe):
    """The second waits for the first, and finds them."""
    recipe.restore(0)
    both = [recipe.start(0), recipe.start(0)]
    assert [running.wait() for running in both] == [0, 0]
    recipe.assert_goes_on(0)


NAMES = [
    "train/.. - up",
    "train/A 'single' and \"double\" - $(touch pwned) `touch pwned`",
    "train/a..b - ; touch pwned & # * ? [x] {y}",
    "train/Größe 日本 🎵",
    "test/-rf - $HOME % \\n | <b>&amp;",
    "test/ spaces   - ",
]


@pytest.mark.slow
def test_names_stay_names(tmp_path, server):
    """All stages; nothing is written but below the songs' and the experiment's folders."""
    recipe = Recipe(tmp_path / "a" / "b", server, NAMES)
    recipe.run_through()
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    allowed = {recipe.work / "exp", recipe.work / "data", tmp_path / "a" / "b" / "states"}
    outside = {
        path
        for path in written
        if not any((tmp_path / path).is_relative_to(folder) for folder in allowed)
    }
    assert outside == {
        recipe.work.relative_to(tmp_path),
        *recipe.work.relative_to(tmp_path).parents,
    } - {recipe.work.relative_to(tmp_path).parents[-1]}
    assert not [path for path in written if path.name == "pwned"]
    tests = sorted(name.removeprefix("test/") for name in NAMES if name.startswith("test/"))
    assert sorted(p.name for p in (recipe.exp_dir / "estimates" / "test").iterdir()) == tests
    scores = sorted(p.name for p in (recipe.exp_dir / "scores" / "test").iterdir())
    assert scores == [f"{name}.json" for name in tests]
    assert {p.name for p in (recipe.work / "exp").iterdir()} >= {"tiny", "mixture", "report.md"}
    assert "<b>" not in (recipe.work / "exp" / "report.html").read_text()

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.score import Profile, ProfileError, geometry
from modelward.score.choice import PLAIN, Choice
from modelward.score.store import ARRAYS


def training(rows=60):
    """Correlated features with tails, of which two views are taken."""
    x = np.random.default_rng(0).standard_t(2, (rows, 1)) * [1, 2, 3, 4, 5]
    x += np.random.default_rng(2).standard_normal(x.shape)
    return {"x": x, "c": np.array([["a"], ["b"], ["c"]] * (rows // 3))}


PROFILE = Profile.fit(training())
CELLS = len(PROFILE.geometry.cells.means)
ROWS = {"x": np.random.default_rng(1).standard_normal((40, 5)), "c": np.array([["a"], ["zz"]] * 20)}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "profile.npz"
    PROFILE.save(path)
    return path


def changed(path, **arrays):
    with np.load(path) as file:
        kept = {key: file[key] for key in file.files}
    np.savez(path, **{k: v for k, v in {**kept, **arrays}.items() if v is not None})
    return path


def test_a_saved_profile_comes_back_the_same(saved):
    again = Profile.load(saved)
    for one, other in zip(PROFILE._measure(ROWS), again._measure(ROWS), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.describe() == PROFILE.describe()
    assert again.explain({k: v[1:2] for k, v in ROWS.items()}) == PROFILE.explain({k: v[1:2] for k, v in ROWS.items()})


def test_the_profile_that_is_changed_here_has_two_views_and_several_cells():
    assert PROFILE.geometry.views is not None
    assert CELLS > 1


@pytest.mark.parametrize("features", [1, 5, 401])
def test_a_profile_of_plain_distances_comes_back_the_same(tmp_path, features):
    rows = np.random.default_rng(0).standard_normal((60, features))
    chosen = geometry.fit(rows, Choice(PLAIN, "five"), np.random.default_rng(0))
    profile = replace(Profile.fit(rows), geometry=chosen)
    profile.save(tmp_path / "p.npz")
    again = Profile.load(tmp_path / "p.npz")
    assert again.geometry.views is None
    np.testing.assert_array_equal(profile.score(rows * 2), again.score(rows * 2))


def test_saving_replaces_a_file_at_once_and_leaves_nothing_else(saved):
    before = saved.read_bytes()
    PROFILE.save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["profile.npz"]


def test_saving_where_there_is_no_directory_raises_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        PROFILE.save(tmp_path / "no" / "profile.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ARRAYS)
def test_a_file_without_one_of_the_arrays_is_refused(saved, key):
    with pytest.raises(ProfileError, match=f"no array '{key}'"):
        Profile.load(changed(saved, **{key: None}))


@pytest.mark.parametrize("key", ARRAYS)
def test_an_array_of_another_datatype_or_dimension_is_refused(saved, key):
    for strange in (np.zeros((1, 1, 1)), np.zeros(1, complex), np.array(["text"]), np.zeros(1, "M8[s]")):
        if strange.dtype.kind in ARRAYS[key][0] and strange.ndim == ARRAYS[key][1]:
            continue
        with pytest.raises(ProfileError, match=f"not a profile: {key} is"):
            Profile.load(changed(saved, **{key: strange}))


FLOATS = [key for key, (kinds, _) in ARRAYS.items() if kinds == "f"]


@pytest.mark.parametrize("key", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e308])
def test_numbers_that_would_poison_the_kernel_are_refused(saved, key, value):
    with np.load(saved) as file:
        array = file[key].astype(np.float64)
    array[(0,) * array.ndim] = value
    with pytest.raises(ProfileError, match="not a usable profile"):
        Profile.load(changed(saved, **{key: array}))


# of weights there may be one more or less
@pytest.mark.parametrize("key", [k for k, (_, dimensions) in ARRAYS.items() if dimensions > 0 and k != "weights"])
def test_arrays_of_contradicting_lengths_are_refused(saved, key):
    with np.load(saved) as file:
        array = file[key]
    for other in (array[:0], np.concatenate([array, array[-1:]])):
        with pytest.raises(ProfileError, match="not a usable profile"):
            Profile.load(changed(saved, **{key: other}))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"version": np.int64(1)}, "an earlier version of Modelward .format 1, this one reads 2.; fit it again"),
        ({"version": np.int64(3)}, "a later version of Modelward .format 3, this one reads 2.; fit it again"),
        ({"scale": np.zeros(5)}, "scale"),
        ({"counts": np.zeros(60, np.int64)}, "stand for no rows"),
        ({"counts": np.full(60, -1)}, "stand for no rows"),
        ({"counts": np.full(60, 1 << 50)}, "stand for no rows"),
        ({"trained_rows": np.int64(3)}, "more rows than it was trained on"),
        ({"quartile": np.zeros(5)}, "quartile is out of range"),
        ({"knots": np.linspace(1, -1, 5 * 32).reshape(5, 32)}, "view falls"),
        ({"knots": np.zeros((5, 32)), "normals": np.tile(np.linspace(-1, 1, 32), (5, 1))}, "too steep"),
        ({"weights": np.zeros(3)}, "weights are not positive"),
        ({"weights": np.ones(11)}, "11 weights"),
        ({"cell_radius": np.array([-1.0] * CELLS)}, "cell_radius is negative"),
        ({"cell_first": np.arange(CELLS + 1)}, "does not divide the prototypes"),
        ({"middle": np.zeros(0)}, "middle has shape"),
        ({"tail_index": np.float64(0)}, "tail"),
        ({"input_kind": np.array([0, 77])}, "unknown kind"),
        ({"input_kind": np.array([0, 0])}, "instead of"),
        ({"input_kind": np.array([1, 3])}, "shape"),
        ({"input_elements": np.array([-1, 1])}, "cannot be of kind"),
        ({"input_elements": np.array([5, 1 << 50])}, "impossible number"),
        ({"input_name": np.array(["x", "x"])}, "same name"),
        ({"words": np.array([0, 9, 2, 3], np.uint64)}, "words"),
        ({"words": np.array([0, 1, 2, 1 << 63], np.uint64)}, "words"),
        ({"column_words": np.array([0, 99])}, "column_words"),
        ({"column_words": np.array([-1, 3])}, "column_words"),
    ],
)
def test_arrays_that_cannot_be_a_profile_are_refused_with_the_reason(saved, arrays, message):
    with pytest.raises(ProfileError, match=message):
        Profile.load(changed(saved, **arrays))


def test_a_pickle_in_the_file_is_never_opened(saved):
    class Boom:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    with np.load(saved) as file:
        kept = {key: file[key] for key in file.files}
    np.savez(saved, **{**kept, "input_name": np.array([Boom()], object)}, allow_pickle=True)
    with pytest.raises(ProfileError, match="not a profile"):
        Profile.load(saved)


def test_a_small_file_that_would_unpack_to_gigabytes_is_refused_before_unpacking(saved):
    with zipfile.ZipFile(saved, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb.npy", "w") as member:
        for _ in range(600):
            member.write(bytes(1 << 20))
    assert saved.stat().st_size < 4 << 20
    with pytest.raises(ProfileError, match="would unpack"):
        Profile.load(saved)


def test_a_header_that_claims_a_huge_array_is_refused(saved):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 60,)})
    with np.load(saved) as file:
        kept = {key: file[key] for key in file.files if key != "mean"}
    np.savez(saved, **kept)
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("mean.npy", header.getvalue())
    with pytest.raises(ProfileError, match="not a profile"):
        Profile.load(saved)


def test_a_missing_file_is_told_by_name(tmp_path):
    with pytest.raises(ProfileError, match=r"none\.npz cannot be read: No such file"):
        Profile.load(tmp_path / "none.npz")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_file_is_refused_or_loads_but_never_does_worse(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "profile.npz"
    PROFILE.save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        profile = Profile.load(path)
    except ProfileError:
        return
    profile.kernel.measure(np.zeros((3, 5)), np.zeros((3, 1)))

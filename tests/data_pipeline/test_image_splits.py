"""An image keeps its split, whatever other images come, go or are renamed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfa_tf.data import DataError, DataSplits
from qfa_tf.data.division import HeldOutShares, by_content, by_content_and_class
from qfa_tf.data.membership import SPLITS, Changes, Membership, adopt
from qfa_tf.data.sources import ArrayImages
from qfa_tf.data.split import Split

HELD_OUT = ("search_validation", "test")


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 4, 4, 1)).astype(np.uint8), np.arange(count) % 5


def split_by_image(data):
    """{pixels: name of the split}; training includes calibration."""
    return {
        image.tobytes(): name
        for name in ("train", *HELD_OUT)
        for image in getattr(data, name).source.images[getattr(data, name).indices]
    }


def load(images, labels, **options):
    return DataSplits.from_arrays((images, labels), resolution=4, num_classes=5, **options)


@given(
    gone=st.sets(st.integers(0, 299), max_size=60),
    added=st.integers(0, 60),
    seed=st.integers(0, 9),
)
@settings(max_examples=25, deadline=None)
def test_others_that_come_and_go_move_no_image(gone, added, seed):
    images, labels = pictures(300)
    new_images, new_labels = pictures(added, seed=100 + seed)
    kept = np.setdiff1d(np.arange(300), sorted(gone))
    kept = np.random.default_rng(seed).permutation(kept)
    before = split_by_image(load(images, labels))
    after = split_by_image(
        load(np.concatenate([new_images, images[kept]]), np.concatenate([new_labels, labels[kept]]))
    )
    assert all(after[images[place].tobytes()] == before[images[place].tobytes()] for place in kept)
    assert len(after) == len(kept) + added


def test_the_usual_shares():
    images, labels = pictures(4000)
    data = load(images, labels)
    sizes = [len(getattr(data, name)) for name in ("train", *HELD_OUT)]
    assert sum(sizes) == 4000
    # Five standard deviations of a binomial distribution.
    assert abs(sizes[1] - 400) < 5 * np.sqrt(4000 * 0.1 * 0.9)
    assert abs(sizes[2] - 800) < 5 * np.sqrt(4000 * 0.2 * 0.8)
    assert len(data.calibration) == 2048
    assert set(data.calibration.indices) <= set(data.train.indices)
    for name in HELD_OUT:
        assert np.bincount(getattr(data, name).labels, minlength=5).min() > 0
    assert HeldOutShares.usual(1_281_167, with_test=False).search_validation * 1_281_167 <= 10_000
    assert HeldOutShares.usual(100_000, with_test=True) == HeldOutShares(0.1, 0.1)


@pytest.mark.parametrize("count", range(3, 12))
def test_few_images_still_fill_every_split(count):
    data = load(*pictures(count))
    assert min(len(getattr(data, name)) for name in ("train", "calibration", *HELD_OUT)) > 0


def test_copies_share_a_split():
    images, labels = pictures(200)
    data = load(np.concatenate([images, images]), np.concatenate([labels, labels]))
    seen = [
        {
            image.tobytes()
            for image in getattr(data, name).source.images[getattr(data, name).indices]
        }
        for name in ("train", *HELD_OUT)
    ]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]
    assert sum(map(len, seen)) == 200


@given(
    labels=st.lists(st.integers(0, 4), min_size=5, max_size=120).map(np.array),
    shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)),
)
@settings(max_examples=40, deadline=None)
def test_numbers_that_were_asked_for_are_exact_and_balanced(labels, shares):
    ids = np.random.default_rng(len(labels)).integers(0, 2**63, len(labels)).astype(np.uint64)
    counts = tuple(int(share * len(labels)) for share in shares)
    parts = by_content_and_class(ids, labels, counts)
    assert [len(part) for part in parts[:-1]] == list(counts)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    totals = np.bincount(labels, minlength=5)
    for part in parts:
        expected = totals * len(part) / len(labels)
        assert np.abs(np.bincount(labels[part], minlength=5) - expected).max() <= 5


def test_neighbours_are_of_several_classes():
    """Calibration takes batches of neighbours."""
    images, labels = pictures(500)
    order = np.argsort(labels, kind="stable")
    data = load(images[order], labels[order])
    for split in (data.train, data.calibration):
        assert min(len(set(split.labels[start : start + 20])) for start in range(0, 200, 20)) > 2


def test_positions_stay_those_of_earlier_releases():
    """As they were drawn before there was another rule."""
    images, labels = pictures(100)
    data = load(images, labels, rule="positions", search_validation=10, test_size=20)
    again = load(images, labels, search_validation=10, test_size=20).divided_again("positions")
    for name in ("train", "calibration", *HELD_OUT):
        np.testing.assert_array_equal(getattr(data, name).indices, getattr(again, name).indices)
    assert data.search_validation.indices.tolist() == POSITIONS["search_validation"]
    assert data.test.indices.tolist() == POSITIONS["test"]
    with pytest.raises(DataError, match=r"rule must be one of .*Received: 'size'"):
        load(images, labels, rule="size")


POSITIONS = {
    "search_validation": [17, 61, 63, 60, 34, 22, 96, 83, 85, 4],
    "test": [82, 51, 38, 15, 94, 47, 6, 48, 70, 19, 57, 66, 58, 75, 24, 67, 71, 98, 65, 64],
}


# What a workdir remembers.


def named(images, labels, names):
    """Training images with names, and test images beside them."""
    from qfa_tf.data.identity import array_ids, name_ids

    ids = array_ids(images, np.arange(len(images))), name_ids(names)
    source = ArrayImages(images, labels, ids)
    return Split(source, np.arange(len(source)), 4)


def names_of(count):
    return [f"train/{number:04}.png" for number in range(count)]


def of_files(images, labels, names, tests=None):
    test = None if tests is None else named(*tests)
    return DataSplits.divide("files", 5, named(images, labels, names), test)


@pytest.fixture
def files():
    return *pictures(200), names_of(200)


def test_a_record_tells_the_set_apart_whatever_its_order(files):
    images, labels, names = files
    one = Membership.of(of_files(*files))
    order = np.random.default_rng(0).permutation(200)
    other = Membership.of(of_files(images[order], labels[order], [names[place] for place in order]))
    assert one.fingerprint == other.fingerprint
    assert one.has_splits_of(other)
    assert one.changes(other) == Changes(0, 0, 0, 0)
    assert sum(one.count(split) for split in ("train", *HELD_OUT)) == 200
    labels = labels.copy()
    labels[3] = (labels[3] + 1) % 5
    assert Membership.of(of_files(images, labels, names)).fingerprint != one.fingerprint


def test_changes_are_counted(files):
    images, labels, names = files
    before = Membership.of(of_files(*files))
    changed = images.copy()
    changed[7] = 255 - changed[7]
    new_names = [*names[2:50], "train/other.png", *names[51:]]
    after = Membership.of(of_files(changed[2:], labels[2:], new_names))
    assert before.changes(after) == Changes(added=0, removed=2, changed=1, renamed=1)
    assert after.changes(before) == Changes(added=2, removed=0, changed=1, renamed=1)
    assert str(before.changes(after)) == "0 added, 2 removed, 1 changed, 1 renamed"


def test_changes_of_images_without_names():
    images, labels = pictures(50)
    before = Membership.of(load(images, labels))
    relabelled = labels.copy()
    relabelled[4] = (relabelled[4] + 1) % 5
    new_images, new_labels = pictures(3, seed=9)
    after = Membership.of(
        load(np.concatenate([images[1:], new_images]), np.concatenate([relabelled[1:], new_labels]))
    )
    assert before.changes(after) == Changes(added=3, removed=1, changed=1, renamed=0)


@given(
    seed=st.integers(0, 1000),
    with_test=st.booleans(),
    rule=st.sampled_from(("images", "positions")),
)
@settings(max_examples=30, deadline=None)
def test_no_held_out_image_is_ever_trained_on(seed, with_test, rule):
    """Images and names are removed, added, changed, renamed and moved between the folders."""
    rng = np.random.default_rng(seed)
    images, labels = pictures(120)
    tests = (*pictures(20, seed=1), [f"test/{number}.png" for number in range(20)])
    data = of_files(images, labels, names_of(120), tests if with_test else None)
    data = data.divided_again(rule)
    before = Membership.of(data)
    held_out = {
        key
        for name in HELD_OUT
        for split in (getattr(data, name),)
        for key in (*split.content_ids().tolist(), *split.name_ids().tolist())
    }
    trained = set(data.train.content_ids().tolist())
    keep = rng.permutation(120)[: rng.integers(60, 120)]
    changed_images, names = images[keep].copy(), [names_of(120)[place] for place in keep]
    for place in rng.choice(len(keep), 10, replace=False):
        changed_images[place] = rng.integers(0, 256, (4, 4, 1))
    for place in rng.choice(len(keep), 10, replace=False):
        names[place] = f"train/renamed-{place}.png"
    new = pictures(15, seed=2)
    moved = tests[0][:5]
    changed_images = np.concatenate([changed_images, new[0], moved])
    labels = np.concatenate([labels[keep], new[1], tests[1][:5]])
    names += [f"train/new-{number}.png" for number in range(20)]
    later_tests = None
    if with_test:
        stolen = images[keep[:4]]
        later_tests = (
            np.concatenate([tests[0][5:], stolen]),
            np.concatenate([tests[1][5:], labels[:4]]),
            [f"test/{number}.png" for number in range(5, 24)],
        )
    after = of_files(changed_images, labels, names, later_tests).divided_again(rule)
    adoption = adopt(before, after)
    now = adoption.data
    train = now.train
    assert not held_out & set(train.content_ids().tolist())
    assert not held_out & set(train.name_ids().tolist())
    for name in HELD_OUT:
        assert not trained & set(getattr(now, name).content_ids().tolist())
    assert set(now.calibration.indices) <= set(train.indices)
    # Once more, with what was noted of it: nothing moves any more.
    noted = Membership.of(now)
    again = adopt(noted, after).data
    assert Membership.of(again).has_splits_of(noted)
    assert noted.count("left_out") == adoption.left_out


def test_nothing_changes_where_nothing_changed(files):
    data = of_files(*files)
    same = adopt(Membership.of(data), of_files(*files)).data
    for name in ("train", "calibration", *HELD_OUT):
        np.testing.assert_array_equal(getattr(same, name).indices, getattr(data, name).indices)


def test_splits_that_a_loader_makes_itself(files):
    images, labels, names = files
    pool = named(images, labels, names)
    parts = np.split(np.arange(200), [100, 150])

    def by_hand(train, validation, test):
        return DataSplits(
            "hand",
            5,
            pool.take(train),
            pool.take(train[:50]),
            pool.take(validation),
            pool.take(test),
        )

    before = Membership.of(by_hand(*parts))
    assert [before.count(split) for split in SPLITS] == [100, 50, 50, 50, 0]
    fewer = by_hand(parts[0][1:], parts[1], parts[2])
    assert adopt(before, fewer).data is fewer
    mixed = by_hand(np.append(parts[0], parts[1][:3]), parts[1][3:], parts[2])
    with pytest.raises(DataError, match=r"3 images that were held out are training images now"):
        adopt(before, mixed)


def test_a_split_without_images_is_refused(files):
    data = of_files(*files)
    before = Membership.of(data)
    train = data.train.indices
    only = of_files(
        *(np.array(part)[train] for part in files[:2]), [files[2][place] for place in train]
    )
    with pytest.raises(DataError, match="No search validation images are left"):
        adopt(before, only)


def test_ids_are_spread_evenly():
    images, _ = pictures(5000)
    ids = ArrayImages(images, np.zeros(5000, int)).content_ids(np.arange(5000))
    counts = np.histogram(ids / 2.0**64, bins=10, range=(0, 1))[0]
    assert counts.sum() == 5000
    assert np.abs(counts - 500).max() < 5 * np.sqrt(450)
    validation, test, train = by_content(ids, HeldOutShares(0.1, 0.2))
    assert dataclasses.astuple(HeldOutShares(0.1, 0.2)) == (0.1, 0.2)
    assert len(validation) + len(test) + len(train) == 5000


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_one_hot_labels_and_columns(dtype):
    images, labels = pictures(40)
    expected = load(images, labels)
    for shaped in (np.eye(5, dtype=dtype)[labels], labels[:, None]):
        data = load(images, shaped)
        for name in ("train", "calibration", *HELD_OUT):
            np.testing.assert_array_equal(
                getattr(data, name).labels, getattr(expected, name).labels
            )
    soft = np.eye(5)[labels]
    soft[2] = 0.2
    with pytest.raises(ValueError, match=r"one-hot: a single 1 in each row.*row 2 is \[0.2 0.2"):
        load(images, soft)
    for wrong in (labels - 1, np.full(40, 5)):
        with pytest.raises(DataError, match=r"labels must be from 0 to 4"):
            load(images, wrong)

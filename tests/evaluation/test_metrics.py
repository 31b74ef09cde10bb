"""Rank-k, AP and mINP against a brute-force ranking by a stable sort, and by hand."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import in_order

from reidnb.evaluation import metrics
from reidnb.evaluation.distances import descriptor_blocks

# The random problems are small, so most queries are often without a match.
pytestmark = pytest.mark.filterwarnings("ignore:.*are left out of all scores")

evaluate, ranking = in_order(metrics.evaluate), in_order(metrics.ranking)
single_shot_cmc, evaluate_distances = in_order(metrics.single_shot_cmc), in_order(metrics.evaluate_distances, inputs=1)


def brute_force(distances, query_pids, query_camids, gallery_pids, gallery_camids, ignore_cameras=False):
    """For each query the gallery indices in order, and which of them match: one sort and one loop, as defined."""
    lists = []
    for i, (pid, camid) in enumerate(zip(query_pids, query_camids, strict=True)):
        order = np.argsort(distances[i], kind="stable")
        ranked = gallery_pids[order] != -1
        if not ignore_cameras:
            ranked &= ~((gallery_pids[order] == pid) & (gallery_camids[order] == camid))
        order = order[ranked]
        lists.append((order, gallery_pids[order] == pid))
    return lists


def trapezoid(matches):
    """Market-1501's evaluation code, step by step."""
    total, old_recall, old_precision, hits = 0.0, 0.0, 1.0, 0
    for at, is_match in enumerate(matches):
        hits += is_match
        recall, precision = hits / matches.sum(), hits / (at + 1)
        total += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return total


def expected(lists, max_rank=50):
    matches = [r for _, r in lists if r.any()]
    first = np.array([np.argmax(r) + 1 for r in matches])
    ranks = [np.flatnonzero(r) + 1 for r in matches]
    return {
        "cmc": np.array([(first <= k).mean() for k in range(1, max_rank + 1)]),
        "ap": np.array([np.mean([(i + 1) / rank for i, rank in enumerate(each)]) for each in ranks]),
        "ap_trapezoid": np.array([trapezoid(r) for r in matches]),
        "minp": np.mean([len(each) / each[-1] for each in ranks]),
        "first_rank": first,
        "valid": np.array([r.any() for _, r in lists]),
    }


def assert_scores(scores, values):
    for name, value in values.items():
        np.testing.assert_allclose(getattr(scores, name), value, rtol=1e-12, atol=1e-12, err_msg=name)
    assert scores.map == pytest.approx(values["ap"].mean())
    assert scores.map_trapezoid == pytest.approx(values["ap_trapezoid"].mean())
    assert (scores.queries, scores.left_out) == (values["valid"].sum(), (~values["valid"]).sum())


@st.composite
def problems(draw):
    """Descriptors of small integers, so that distances tie often and are exact in float32; labels with junk,
    distractors, few cameras and queries that nobody answers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, images = draw(st.integers(1, 8)), draw(st.integers(1, 40))
    dimensions, spread = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    query, gallery = (rng.integers(-spread, spread + 1, (n, dimensions)).astype(np.float32) for n in (queries, images))
    people = draw(st.integers(1, 6))
    query_pids, gallery_pids = rng.integers(1, people + 1, queries), rng.integers(-1, people + 1, images)
    cameras = draw(st.integers(1, 3))
    return (
        query,
        gallery,
        query_pids,
        rng.integers(cameras, size=queries),
        gallery_pids,
        rng.integers(cameras, size=images),
    )


def squared(query, gallery):
    return ((query[:, None].astype(np.float64) - gallery[None]) ** 2).sum(2)


@settings(max_examples=200, deadline=None)
@given(problem=problems(), ignore_cameras=st.booleans(), block_bytes=st.integers(1, 2000))
def test_scores_equal_brute_force(problem, ignore_cameras, block_bytes):
    query, gallery, *ids = problem
    distances = squared(query, gallery)
    lists = brute_force(distances, *ids, ignore_cameras)
    options = {"ignore_cameras": ignore_cameras, "block_bytes": block_bytes}
    if not any(right.any() for _, right in lists):
        with pytest.raises(ValueError, match="no query has a match"):
            evaluate(query, gallery, *ids, **options)
        return
    assert_scores(evaluate(query, gallery, *ids, **options), expected(lists))
    assert_scores(evaluate_distances(distances, *ids, **options), expected(lists))


@settings(max_examples=100, deadline=None)
@given(problem=problems(), top=st.integers(1, 45), block_bytes=st.integers(1, 2000))
def test_ranking_equals_brute_force(problem, top, block_bytes):
    query, gallery, *ids = problem
    result = ranking(query, gallery, *ids, top=top, block_bytes=block_bytes)
    assert result.shape == (len(query), top)
    for row, (order, _) in zip(result, brute_force(squared(query, gallery), *ids), strict=True):
        shown = order[:top]
        np.testing.assert_array_equal(row, np.pad(shown, (0, top - len(shown)), constant_values=-1))


@settings(max_examples=100, deadline=None)
@given(problem=problems(), fraction=st.floats(0, 1))
def test_counting_one_by_one_and_together_agree(problem, fraction):
    """The counting code for CPU and GPU, for a random subset of the images of each row, possibly none."""
    query, gallery, *_ = problem
    distances = squared(query, gallery)
    order = np.argsort(distances, axis=1, kind="stable")
    chosen = np.random.default_rng(0).random(distances.shape) < fraction
    ranks = (np.argsort(order, axis=1) + 1)[chosen]
    rows, columns = np.nonzero(chosen)
    places = (np.cumsum(chosen, 1) - 1)[chosen]
    for dtype in (np.float32, np.float64):
        block = distances.astype(dtype)
        np.testing.assert_array_equal(metrics._ranks_one_by_one(block, rows, columns), ranks)
        together = metrics._ranks_together(
            *map(torch.from_numpy, (block, rows, columns, places)), most=chosen.sum(1).max()
        )
        np.testing.assert_array_equal(together, ranks)


@settings(max_examples=50, deadline=None)
@given(problem=problems(), seed=st.integers(0, 100), block_bytes=st.integers(1, 2000))
def test_single_shot_equals_brute_force(problem, seed, block_bytes):
    """The same random draws, with each gallery sorted in a loop."""
    query, gallery, *ids = problem
    query_pids, _, gallery_pids, _ = ids
    distances = squared(query, gallery)
    matches = [order[match] for order, match in brute_force(distances, *ids)]
    valid = [row for row, match in enumerate(matches) if len(match)]
    if not valid:
        return
    rng = np.random.default_rng(seed)
    shuffles = [rng.permutation(len(gallery)).tolist() for _ in range(3)]
    choices = rng.integers([len(matches[row]) for row in valid], size=(3, len(valid)))
    curves = []
    for shuffled, choice in zip(shuffles, choices, strict=True):
        firsts = {gallery_pids[i]: i for i in reversed(shuffled) if gallery_pids[i] > 0}
        ranks = []
        for row, which in zip(valid, choice, strict=True):
            match = np.sort(matches[row])[which]
            drawn = {**firsts, query_pids[row]: match}.values()
            among = np.sort([*drawn, *np.flatnonzero(gallery_pids == 0)])
            order = among[np.argsort(distances[row][among], kind="stable")]
            ranks.append(np.flatnonzero(order == match)[0] + 1)
        curves.append([(np.array(ranks) <= k).mean() for k in range(1, 51)])
    result = single_shot_cmc(query, gallery, *ids, repeats=3, seed=seed, block_bytes=block_bytes)
    np.testing.assert_allclose(result.cmc, np.mean(curves, 0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("block_bytes", [None, 3000])
def test_a_gpu_scores_as_the_cpu_does(block_bytes):
    """Small integers: exact in any order of summing, with many ties."""
    rng = np.random.default_rng(0)
    query, gallery = (torch.from_numpy(rng.integers(-2, 3, (n, 4)).astype(np.float32)) for n in (60, 700))
    query_pids, gallery_pids = rng.integers(1, 20, 60), rng.integers(-1, 20, 700)
    ids = (query_pids, rng.integers(3, size=60), gallery_pids, rng.integers(3, size=700))
    for function in (evaluate, single_shot_cmc):
        cpu, gpu = (
            function(*x, *ids, block_bytes=block_bytes) for x in ((query, gallery), (query.cuda(), gallery.cuda()))
        )
        for name in vars(cpu):
            np.testing.assert_array_equal(getattr(gpu, name), getattr(cpu, name), err_msg=name)
    result = ranking(query.cuda(), gallery.cuda(), *ids, top=20, block_bytes=block_bytes)
    np.testing.assert_array_equal(result, ranking(query, gallery, *ids, top=20))


def people(seed=0, queries=20, images=80, dimensions=16):
    """A problem without ties: five people under three cameras, junk and distractors among them."""
    rng = np.random.default_rng(seed)
    query_pids, gallery_pids = rng.integers(1, 6, queries), rng.integers(-1, 6, images)
    centres = rng.normal(size=(7, dimensions))
    query, gallery = (centres[p + 1] + rng.normal(size=(len(p), dimensions)) for p in (query_pids, gallery_pids))
    query_camids, gallery_camids = rng.integers(3, size=queries), rng.integers(3, size=images)
    return query.astype(np.float32), gallery.astype(np.float32), query_pids, query_camids, gallery_pids, gallery_camids


def expected_scores(problem, distances):
    return expected(brute_force(distances, *problem[2:]))


def test_cosine_equals_brute_force():
    problem = people()
    query, gallery = problem[:2]
    query[3] = 0  # cosine 0 to all
    gallery[:4] = 0
    lengths = [np.linalg.norm(x, axis=1) for x in (query, gallery)]
    cosine = (query.astype(np.float64) @ gallery.T) / np.maximum(np.outer(*lengths), 1e-30)
    assert_scores(evaluate(*problem, metric="cosine"), expected_scores(problem, 1 - cosine))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_kinds_of_input(dtype, kind):
    query, gallery, *ids = people()
    query, gallery = query.astype(dtype), gallery.astype(dtype)
    reference = expected_scores((query, gallery, *ids), squared(query, gallery))
    assert_scores(evaluate(kind(query), kind(gallery), *map(kind, ids)), reference)
    assert_scores(evaluate_distances(kind(squared(query, gallery)), *ids), reference)


def test_awkward_arrays():
    """Read-only, Fortran-ordered and reversed memory, and plain lists; the arguments are not modified."""
    query, gallery, *ids = people()
    reference = expected_scores((query, gallery, *ids), squared(query, gallery))
    distances = squared(query, gallery)
    for array in (query, gallery, distances):
        array.setflags(write=False)
    assert_scores(evaluate(query, gallery, *ids), reference)
    assert_scores(evaluate_distances(distances, *(i.tolist() for i in ids)), reference)
    assert_scores(evaluate(np.asfortranarray(query), gallery[::-1], *ids[:2], *(i[::-1] for i in ids[2:])), reference)
    writable = torch.from_numpy(distances.copy())
    evaluate_distances(writable, *ids)
    np.testing.assert_array_equal(writable, distances)


@pytest.mark.parametrize("rows", [1, 3, 7, 20, 1000])
def test_block_size_does_not_matter(rows):
    problem = people()
    assert_scores(evaluate(*problem, block_bytes=rows * 80 * 4), expected_scores(problem, squared(*problem[:2])))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), power=st.integers(-20, 20))
def test_order_of_the_gallery_and_scale_do_not_matter(seed, power):
    query, gallery, query_pids, query_camids, gallery_pids, gallery_camids = people(seed)
    distances = squared(query, gallery)
    reference = expected_scores((query, gallery, query_pids, query_camids, gallery_pids, gallery_camids), distances)
    order = np.random.default_rng(seed).permutation(len(gallery))
    # Distances rather than descriptors, since a matrix product may round differently at another position.
    shuffled = (query_pids, query_camids, gallery_pids[order], gallery_camids[order])
    assert_scores(evaluate_distances(distances[:, order] * 2.0**power, *shuffled), reference)


@settings(max_examples=30, deadline=None)
@given(problem=problems())
def test_perfect_descriptors_score_one(problem):
    _, _, query_pids, query_camids, gallery_pids, gallery_camids = problem
    query, gallery = (np.eye(8, dtype=np.float32)[pids + 1] for pids in (query_pids, gallery_pids))
    gallery_pids[0], gallery_camids[0] = query_pids[0], query_camids[0] + 1  # at least one match
    gallery[0] = query[0]
    scores = evaluate(query, gallery, query_pids, query_camids, gallery_pids, gallery_camids)
    assert scores.map == scores.map_trapezoid == scores.minp == scores.rank(1) == 1


def test_by_hand():
    """One query; matches at ranks 1, 3 and 6 of 6."""
    distances = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]
    scores = evaluate_distances(distances, [1], [1], [1, 2, 1, 0, 3, 1], [2, 2, 2, 2, 2, 2], max_rank=6)
    assert scores.map == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 3)
    assert scores.map_trapezoid == pytest.approx(((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2 + (2 / 5 + 3 / 6) / 2) / 3)
    assert scores.minp == pytest.approx(3 / 6)
    assert scores.cmc.tolist() == [1] * 6


def test_protocol_by_hand():
    """Junk and the query's camera are not ranked, a distractor is, and a query without a match is left out."""
    distances = [[0, 1, 2, 3, 4.0]] * 2
    gallery_pids, gallery_camids = [-1, 7, 0, 7, 7], [2, 1, 1, 2, 3]
    scores = evaluate_distances(distances, [7, 8], [1, 1], gallery_pids, gallery_camids, max_rank=3)
    assert scores.ap.tolist() == [pytest.approx((1 / 2 + 2 / 3) / 2)]  # shown: 0, 7, 7
    assert scores.first_rank.tolist() == [2]
    assert scores.cmc.tolist() == [0, 1, 1]
    assert scores.valid.tolist() == [True, False]
    assert (scores.queries, scores.left_out) == (1, 1)
    everything = evaluate_distances(distances, [7, 8], [1, 1], gallery_pids, gallery_camids, ignore_cameras=True)
    assert everything.first_rank.tolist() == [1]


def test_ties_are_ranked_in_gallery_order():
    ids = ([1], [1], [2, 1, 2, 1], [2, 2, 2, 2])
    assert evaluate_distances([[1.0] * 4], *ids).ap.tolist() == [(1 / 2 + 2 / 4) / 2]


def test_rank_beyond_what_was_computed():
    scores = evaluate_distances([[1.0]], [1], [1], [1], [2], max_rank=5)
    assert scores.rank(5) == 1
    with pytest.raises(ValueError, match="rank-6 was not computed: k must be between 1 and max_rank = 5"):
        scores.rank(6)


# Single gallery shot


def test_single_shot_with_one_image_each_is_the_ordinary_cmc():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(2, 12, 5))
    ids = (np.arange(1, 13), np.ones(12, int), np.arange(1, 13), np.full(12, 2))
    result = single_shot_cmc(query, gallery, *ids, repeats=3, max_rank=12, block_bytes=500)
    np.testing.assert_allclose(result.cmc, evaluate(query, gallery, *ids, max_rank=12).cmc)
    np.testing.assert_array_equal(result.std, 0)
    assert (result.queries, result.left_out, result.rank(12)) == (12, 0, 1)


def test_single_shot_by_hand():
    """A query at 0; its identity at 1 and 3, one other at 2 and 4: rank 1 in three of four draws, so 3/4 on average."""
    gallery, gallery_pids = [[1.0], [3.0], [2.0], [4.0], [0.5], [0.1]], [1, 1, 2, 2, -1, 1]
    camids = [2, 2, 2, 2, 2, 1]  # the junk image and the one of the query's own camera are never drawn
    result = single_shot_cmc([[0.0], [0.0]], gallery, [1, 9], [1, 1], gallery_pids, camids, repeats=4000, max_rank=2)
    assert result.rank(1) == pytest.approx(0.75, abs=0.03)
    assert result.std[0] == pytest.approx(np.sqrt(0.75 * 0.25), abs=0.02)
    assert result.rank(2) == 1
    assert (result.queries, result.left_out) == (1, 1)


def test_single_shot_is_seeded_and_block_size_does_not_matter():
    problem = people()
    first, again, other = (
        single_shot_cmc(*problem, seed=s, block_bytes=b) for s, b in ((1, 999), (1, 10**6), (2, 999))
    )
    np.testing.assert_array_equal(first.cmc, again.cmc)
    np.testing.assert_array_equal(first.std, again.std)
    assert (first.cmc != other.cmc).any()


def test_single_shot_keeps_every_distractor():
    ids = ([1], [1], [1, 0, 0, 0], [2, 2, 2, 2])
    result = single_shot_cmc([[0.0]], [[4.0], [1.0], [2.0], [3.0]], *ids, repeats=2, max_rank=4)
    assert result.cmc.tolist() == [0, 0, 0, 1]


# Bad input


def broken(index, value):
    problem = list(people())
    problem[index] = value(problem[index])
    return problem


def put(at, value):
    def change(array):
        array = array.copy()
        array[at] = value
        return array

    return change


@pytest.mark.parametrize("function", [evaluate, ranking, single_shot_cmc])
@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda x: x[:19], "^19 query descriptors, but 20 query_pids$"),
        (1, lambda x: x[:79], "^79 gallery descriptors, but 80 gallery_pids$"),
        (1, lambda x: x[:, :9], "^query descriptors have 16 dimensions, gallery descriptors 9$"),
        (0, lambda x: x[0], r"^query descriptors must be \(images, dimensions\), found the shape \(16,\)$"),
        (0, lambda x: x[:0], "^the query is empty$"),
        (1, lambda x: x[:0], "^the gallery is empty$"),
        (0, put((5, 2), np.nan), "^query descriptor 5 holds NaN, infinity or a number too large to square$"),
        (1, put((slice(7, 9), 0), np.inf), "^gallery descriptor 7 holds NaN, infinity or a number too large"),
        (3, lambda x: x[:5], r"^query_pids have the shape \(20,\), query_camids \(5,\): expected one number for each"),
        (4, lambda x: x + 0.5, "^gallery_pids must be integers, found float64$"),
        (2, put(4, 0), r"^query 4 has pid 0: -1 \(junk\) and 0 \(distractor\) are for the gallery$"),
    ],
)
def test_bad_input(function, index, change, message):
    with pytest.raises(ValueError, match=message):
        function(*broken(index, change))


def test_bad_options():
    with pytest.raises(ValueError, match='metric must be "euclidean" or "cosine", found \'l1\''):
        evaluate(*people(), metric="l1")
    with pytest.raises(ValueError, match="max_rank must be at least 1, found 0"):
        evaluate(*people(), max_rank=0)
    with pytest.raises(ValueError, match="top must be at least 1, found 0"):
        ranking(*people(), top=0)
    with pytest.raises(ValueError, match="repeats must be at least 1, found 0"):
        single_shot_cmc(*people(), repeats=0)


def test_empty_labels():
    with pytest.raises(ValueError, match="the gallery is empty"):
        evaluate_distances(np.empty((1, 0)), [1], [1], np.empty(0, int), np.empty(0, int))


def test_no_query_has_a_match():
    with pytest.raises(ValueError, match="no query has a match: the gallery has none of the queries' identities"):
        evaluate_distances([[1.0, 2.0]], [1], [1], [2, 3], [2, 2])
    with pytest.raises(ValueError, match="identities under the queries' own cameras only"):
        evaluate_distances([[1.0, 2.0]], [1], [1], [1, 3], [1, 2])
    assert evaluate_distances([[1.0, 2.0]], [1], [1], [1, 3], [1, 2], ignore_cameras=True).map == 1


def test_bad_distances():
    ids = ([1, 1], [1, 1], [1, 2, 3], [2, 2, 2])
    with pytest.raises(ValueError, match=r"distances have the shape \(3, 2\), the labels 2 queries x 3 gallery images"):
        evaluate_distances(np.ones((3, 2)), *ids)
    distances = np.ones((2, 3))
    distances[1, 2] = np.nan
    for block_bytes in (1, 1000):
        with pytest.raises(ValueError, match="the distance of query 1 to gallery image 2 is NaN or infinite"):
            evaluate_distances(distances, *ids, block_bytes=block_bytes)


def test_labels_are_taken_by_name_alone():
    query, gallery, *labels = people()
    with pytest.raises(TypeError, match="positional argument"):
        metrics.evaluate(query, gallery, *labels)


def test_most_queries_left_out_is_a_warning():
    """As for labels in torchreid's order, which gave a perfect score for the single remaining query."""
    rng = np.random.default_rng(0)
    pids = np.arange(1, 21)
    query, gallery = rng.normal(size=(20, 4)), rng.normal(size=(20, 4))
    one, two = np.full(20, 1), np.full(20, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(query, gallery, pids, one, pids, two)
    with pytest.warns(UserWarning, match=r"1[0-9] of 20 queries .* are left out .* check that pids and camids"):
        scores = evaluate(query, gallery, pids, pids, one, two)
    assert scores.queries == 1


def test_training_precision_does_not_reach_the_distances():
    """Under autocast, as in a cell that trains, the product is still float32, and settings stay as they were."""
    rng = np.random.default_rng(0)
    query, gallery = (torch.from_numpy(rng.standard_normal((n, 64), np.float32)) for n in (20, 200))
    exact = next(descriptor_blocks(query, gallery, "euclidean"))[1].clone()
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(next(descriptor_blocks(query, gallery, "euclidean"))[1], exact)
            assert torch.is_autocast_enabled("cpu")
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before

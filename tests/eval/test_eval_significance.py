"""The clustered test against an independent formula, and where it ends. What it is worth: `test_eval_proof`."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from eval.significance import contrast, with_holm
from eval.statistics.clustered import clustered_se
from eval.statistics.permutation import smallest_flip_p


def codes(labels):
    return np.unique(labels, return_inverse=True)[1]


def crossed(images, people):
    """Cluster numbers of a study in which everyone describes every image."""
    return np.repeat(np.arange(images), people), np.tile(np.arange(people), images)


def reference_se(values, image, person):
    """Cameron, Gelbach and Miller (2011) for a mean: V(image) + V(person) - V(both), each with G / (G - 1)."""

    def variance(groups):
        residual = values - values.mean()
        sums = np.array([residual[groups == group].sum() for group in np.unique(groups)])
        return len(sums) / (len(sums) - 1) * (sums**2).sum() / len(values) ** 2

    one_way = variance(image), variance(person)
    two_way = sum(one_way) - variance(image * 10_000 + person)
    return np.sqrt(max(*one_way, two_way))


def clustered_noise(rng, image, person, icc_image, icc_person):
    parts = [rng.normal(size=groups.max() + 1)[groups] for groups in (image, person)]
    own = rng.normal(size=len(image))
    return np.sqrt(icc_image) * parts[0] + np.sqrt(icc_person) * parts[1] + np.sqrt(1 - icc_image - icc_person) * own


@pytest.mark.parametrize("icc", [(0.3, 0.05), (0.05, 0.3), (0.0, 0.0)])
def test_standard_error_is_that_of_cameron_gelbach_and_miller(icc):
    rng = np.random.default_rng(3)
    image, person = crossed(9, 7)
    keep = np.sort(rng.choice(63, 50, replace=False))
    image, person = codes(image[keep]), codes(person[keep])
    values = 0.2 + clustered_noise(rng, image, person, *icc)
    assert clustered_se(values, [image, person]) == pytest.approx(reference_se(values, image, person), rel=1e-9)


def test_p_and_interval_follow_from_the_standard_error():
    rng = np.random.default_rng(4)
    image, person = crossed(8, 5)
    base = rng.uniform(0.2, 0.6, 40)
    new = base + 0.05 + 0.1 * clustered_noise(rng, image, person, 0.3, 0.1)
    found = contrast(base, new, image, person)
    se = reference_se(new - base, image, person)
    assert found.df == 4 and found.clustering == "image x participant"
    assert found.diff == pytest.approx((new - base).mean())
    assert found.p_two_way == pytest.approx(2 * stats.t.sf(abs(found.diff) / se, 4))
    assert found.ci95 == pytest.approx(
        (found.diff - stats.t.ppf(0.975, 4) * se, found.diff + stats.t.ppf(0.975, 4) * se)
    )
    assert found.pct == pytest.approx(100 * (new.mean() / base.mean() - 1))
    assert found.pct_ci95[0] < found.pct < found.pct_ci95[1]
    assert found.p_naive == pytest.approx(stats.ttest_rel(new, base).pvalue)
    assert found.dz == pytest.approx((new - base).mean() / (new - base).std(ddof=1))
    assert found.win_rate == pytest.approx(((new > base) + 0.5 * (new == base)).mean())
    assert (found.n, found.n_images, found.n_participants) == (40, 8, 5)


def test_percent_interval_scales_with_the_scores_and_not_with_their_unit():
    rng = np.random.default_rng(5)
    image, person = crossed(8, 5)
    base, new = rng.uniform(0.2, 0.4, 40), rng.uniform(0.3, 0.5, 40)
    small, large = contrast(base, new, image, person), contrast(2 * base, 2 * new, image, person)
    assert small.pct_ci95 == pytest.approx(large.pct_ci95)
    assert np.multiply(2, small.ci95) == pytest.approx(large.ci95)


def test_equal_scores():
    image, person = crossed(4, 3)
    scores = np.linspace(0.1, 0.9, 12)
    found = contrast(scores, scores, image, person)
    assert (found.diff, found.pct, found.p_two_way, found.win_rate) == (0, 0, 1.0, 0.5)
    assert found.ci95 is None and found.p_naive is None and found.p_naive_wilcoxon is None and found.dz is None
    assert found.mde is None
    assert "every difference is 0" in found.reason


def test_a_constant_difference_is_no_certainty():
    image, person = crossed(4, 3)
    found = contrast(np.full(12, 0.25), np.full(12, 0.5), image, person)
    assert found.diff == 0.25 and found.pct == 100 and found.win_rate == 1
    assert found.p_two_way is None and found.ci95 is None and "every difference is 0.25" in found.reason


@pytest.mark.parametrize(
    ("images", "people", "clustering", "df"),
    [(1, 6, "participant", 5), (6, 1, "image", 5), (2, 3, "image x participant", 1)],
)
def test_clustering_falls_back_to_what_there_is(images, people, clustering, df):
    rng = np.random.default_rng(6)
    image, person = crossed(images, people)
    found = contrast(rng.random(len(image)), rng.random(len(image)), image, person)
    assert (found.clustering, found.df) == (clustering, df)
    assert 0 < found.p_two_way < 1


def test_unknown_participants_leave_clustering_by_image():
    rng = np.random.default_rng(6)
    image, _ = crossed(5, 4)
    found = contrast(rng.random(20), rng.random(20), image, None)
    assert found.clustering == "image" and found.n_participants is None and found.p_two_way is not None


def test_one_cluster_gives_no_p():
    found = contrast(np.array([0.1, 0.2]), np.array([0.3, 0.5]), ["a", "a"], ["x", "x"])
    assert found.p_two_way is None and found.ci95 is None and found.clustering == "none"
    assert found.diff == pytest.approx(0.25) and "nothing to tell chance by" in found.reason


def test_no_percent_of_nothing():
    image, person = crossed(4, 3)
    found = contrast(np.zeros(12), np.random.default_rng(1).random(12), image, person)
    assert found.pct is None and found.pct_ci95 is None and found.p_two_way is not None


def test_holm_within_the_family():
    rng = np.random.default_rng(8)
    image, person = crossed(6, 6)
    base = rng.random(36)
    family = [contrast(base, base + shift + 0.1 * rng.normal(size=36), image, person) for shift in (0.0, 0.05, 0.2)]
    equal = contrast(base, base + 0.5, image, person)
    corrected = with_holm([*family, equal])
    p = [one.p_two_way for one in family]
    order = np.argsort(p)
    expected = np.empty(3)
    expected[order] = np.minimum(1, np.maximum.accumulate([p[i] * (3 - rank) for rank, i in enumerate(order)]))
    assert [one.p_holm for one in corrected[:3]] == pytest.approx(list(expected))
    assert corrected[3].p_holm is None


def test_smallest_sign_flip_p():
    assert smallest_flip_p(6) == pytest.approx(0.03125)
    assert smallest_flip_p(18) < 1e-5 < smallest_flip_p(17)

"""What the tests are worth: simulated studies whose truth is known, and p values against other ways to compute them."""

from __future__ import annotations

from itertools import product
from math import erfc, sqrt

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS

from eval.significance import contrast
from eval.statistics.clustered import clustered_se
from eval.statistics.mixed import mixed_fit
from eval.statistics.permutation import RESAMPLES, image_flip
from eval.statistics.planning import Design, detectable, variance_components


STUDIES = 2_000  # for each setting; the standard error of a rate of 5% is then 0.5%


def crossed(images, people):
    """Cluster numbers of a study in which everyone describes every image."""
    return np.repeat(np.arange(images), people), np.tile(np.arange(people), images)


def incomplete(rng, images, people, captions):
    """The same with captions missing at random."""
    keep = np.sort(rng.choice(images * people, captions, replace=False))
    image, person = crossed(images, people)
    return image[keep], person[keep]


def noise(rng, image, person, icc_image, icc_person, studies=1):
    """(studies, rows) of variance 1, correlated within images and within people."""
    of_image, of_person = (rng.normal(size=(studies, groups.max() + 1))[:, groups] for groups in (image, person))
    own = rng.normal(size=(studies, len(image)))
    return sqrt(icc_image) * of_image + sqrt(icc_person) * of_person + sqrt(1 - icc_image - icc_person) * own


@pytest.mark.parametrize("icc_image", [0.1, 0.2])
def test_error_rate_and_coverage_of_the_headline_test(icc_image):
    """The paper's design, 778 captions of 30 images by 29 people, without an effect and with one of 30%."""
    rng = np.random.default_rng(11)
    wrong = naive = holds = holds_percent = wrong_percent = 0
    for _ in range(STUDIES):
        image, person = incomplete(rng, 30, 29, 778)
        base = 0.25 + 0.05 * noise(rng, image, person, 0.3, 0.1)[0]
        without = base + 0.1 * noise(rng, image, person, icc_image, 0.05)[0]
        found = contrast(base, without, image, person)
        wrong += found.p_two_way < 0.05
        naive += found.p_naive < 0.05
        wrong_percent += not found.pct_ci95[0] < 0 < found.pct_ci95[1]
        found = contrast(base, without + 0.075, image, person)
        holds += found.ci95[0] < 0.075 < found.ci95[1]
        holds_percent += found.pct_ci95[0] < 30 < found.pct_ci95[1]
    assert 0.035 <= wrong / STUDIES <= 0.065
    assert 0.035 <= wrong_percent / STUDIES <= 0.065
    assert 0.935 <= holds / STUDIES <= 0.965
    assert 0.935 <= holds_percent / STUDIES <= 0.965
    assert naive / STUDIES > 0.25


@pytest.mark.parametrize("icc", [(0.2, 0.05), (0.05, 0.2), (0.0, 0.0)])
def test_standard_error_is_that_of_statsmodels(icc):
    """Of all samples at once, where pairs of image and person come up never, once or twice."""
    rng = np.random.default_rng(3)
    image, person = (np.append(codes, codes[:40]) for codes in incomplete(rng, 30, 29, 700))
    values = 0.2 + noise(rng, image, person, *icc, studies=5)
    found = clustered_se(values, [image, person])
    assert found.shape == (5,)
    for row, se in zip(values, found, strict=True):
        model = OLS(row, np.ones_like(row))
        fits = [
            model.fit(cov_type="cluster", cov_kwds={"groups": groups})
            for groups in (image, person, np.column_stack((image, person)))
        ]
        assert se == pytest.approx(max(sqrt(max(fit.cov_params().item(), 0)) for fit in fits), abs=1e-10)
        assert clustered_se(row, [image]) == pytest.approx(fits[0].bse[0], abs=1e-10)


def enumerated(sums):
    """Two-sided p of all flips: how many are at least as extreme, on the likelier side, doubled."""
    flips = np.array(list(product((1, -1), repeat=len(sums)))) @ sums
    slack = 1e-9 * abs(sums).sum()
    return min(1, 2 * min((flips >= sums.sum() - slack).mean(), (flips <= sums.sum() + slack).mean()))


def test_image_flip_is_exact_with_six_images():
    rng = np.random.default_rng(5)
    image, _ = crossed(6, 8)
    sums = np.array([[0.2, 0.4, 0.1, 0.3, 0.5, 0.7], *rng.normal(0.3, 0.5, (6, 6)), [0.1, -0.1, 0.1, -0.1, 0.1, 0.1]])
    differences = rng.normal(size=(8, 48))
    for row, wanted in zip(differences, sums, strict=True):
        row += (wanted - np.bincount(image, row))[image] / 8
    p, flip = image_flip(differences, image)
    assert flip == {"exact": True, "resamples": 64}
    assert p == pytest.approx([enumerated(row) for row in sums])
    assert p[0] == 1 / 32  # all images better: as small as it can be


def test_image_flip_by_chance_is_near_the_exact_one():
    rng = np.random.default_rng(6)
    image, _ = crossed(14, 2)
    differences = rng.normal(0.25, 1, (4, 28))
    p, flip = image_flip(differences, image)
    exact = np.array([enumerated(np.bincount(image, row)) for row in differences])
    assert flip == {"exact": False, "resamples": RESAMPLES}
    assert np.all(abs(p - exact) < 4 * np.sqrt(2 * exact / RESAMPLES) + 1e-3)
    again, _ = image_flip(differences[2:3], image)
    assert again == p[2]  # the same flips whatever stands beside it


def test_naive_tests_by_hand():
    """t with 4 degrees of freedom in closed form; five ranks have 32 signs, 4 of them as extreme as one small loss."""
    differences = np.array([-0.1, 0.2, 0.3, 0.4, 0.5])
    base = np.full(5, 0.3)
    found = contrast(base, base + differences, list("abcde"), None)
    t = 0.26 / sqrt(0.053 / 5)
    cosine = t / sqrt(4 + t**2)
    assert found.p_naive == pytest.approx(1 - 1.5 * cosine + 0.5 * cosine**3)
    assert found.p_naive_wilcoxon == pytest.approx(4 / 32)


def mean_squares(values, images, people):
    """Of a complete study: mean squares of images, people and the rest."""
    table = values.reshape(images, people)
    of_image, of_person = table.mean(1, keepdims=True), table.mean(0, keepdims=True)
    rest = table - of_image - of_person + table.mean()
    return (
        people * ((of_image - table.mean()) ** 2).sum() / (images - 1),
        images * ((of_person - table.mean()) ** 2).sum() / (people - 1),
        (rest**2).sum() / ((images - 1) * (people - 1)),
    )


def test_mixed_model_is_the_analysis_of_variance_of_a_complete_study():
    """With complete data and no negative variance, restricted maximum likelihood has this closed solution."""
    rng = np.random.default_rng(8)
    image, person = crossed(12, 9)
    values = 0.02 + 0.1 * noise(rng, image, person, 0.3, 0.2)[0]
    by_image, by_person, rest = mean_squares(values, 12, 9)
    parts = np.array([(by_image - rest) / 9, (by_person - rest) / 12, rest])
    assert parts.min() > 0
    z = values.mean() / sqrt((by_image + by_person - rest) / 108)
    fit = mixed_fit(values, image, person)
    assert fit.reason is None
    assert fit.p == pytest.approx(erfc(abs(z) / sqrt(2)), rel=1e-4)
    assert (fit.icc_image, fit.icc_participant) == pytest.approx(tuple(parts[:2] / parts.sum()), rel=1e-3)
    assert variance_components(values, image, person) == pytest.approx((sqrt(parts.sum()), *(parts[:2] / parts.sum())))


def test_mixed_model_where_nothing_clusters():
    """Variances of 0 lie on the border of what can be; the test is then that of independent values."""
    image, person = crossed(10, 8)
    values = 0.02 + 0.1 * np.random.default_rng(1).normal(size=80)
    by_image, by_person, rest = mean_squares(values, 10, 8)
    assert by_image < rest and by_person < rest
    fit = mixed_fit(values, image, person)
    z = values.mean() / sqrt(values.var(ddof=1) / 80)
    assert fit.p == pytest.approx(erfc(abs(z) / sqrt(2)), rel=1e-3)
    assert fit.icc_image < 1e-4 and fit.icc_participant < 1e-4


@pytest.mark.parametrize(
    ("values", "images", "people", "reason"),
    [
        (np.arange(6.0), [0, 0, 0, 1, 1, 1], None, "not known"),
        (np.arange(6.0), [0, 0, 0, 0, 0, 0], [0, 1, 2, 0, 1, 2], "no image effect"),
        (np.arange(6.0), [0, 0, 0, 1, 1, 1], [0, 1, 2, 3, 4, 5], "no participant effect"),
        (np.ones(6), [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], "no spread"),
        (np.arange(1000.0), np.arange(1000) // 2, np.arange(1000) % 2, "502 images and participants"),
    ],
)
def test_no_mixed_model_without_what_it_needs(values, images, people, reason):
    fit = mixed_fit(values, np.array(images), None if people is None else np.array(people))
    assert fit.p is None and fit.icc_image is None and reason in fit.reason


def test_variance_components_of_incomplete_studies_are_right_on_average():
    rng = np.random.default_rng(9)
    image, person = incomplete(rng, 30, 20, 350)
    parts = []
    for values in 0.3 + 0.2 * noise(rng, image, person, 0.2, 0.1, studies=400):
        sd, by_image, by_person = variance_components(values, image, person)
        parts.append(sd**2 * np.array([by_image, by_person, 1 - by_image - by_person]))
    error = np.std(parts, axis=0) / 20
    assert np.all(abs(np.mean(parts, axis=0) - 0.04 * np.array([0.2, 0.1, 0.7])) < 4 * error)


@pytest.mark.parametrize(
    ("images", "people", "icc", "missing", "effect"),
    [
        (30, 29, (0.1, 0.05), 0.1, 0.2),
        (60, 15, (0.1, 0.05), 0.3, 0.25),
        (15, 40, (0.2, 0.05), 0.0, 0.4),
        (6, 29, (0.1, 0.05), 0.1, 0.4),
        (30, 10, (0.05, 0.1), 0.3, 0.3),
    ],
)
def test_planned_power_is_that_of_simulated_studies(images, people, icc, missing, effect):
    rng = np.random.default_rng(10)
    found = 0
    for _ in range(10):
        image, person = incomplete(rng, images, people, round((1 - missing) * images * people))
        values = effect + noise(rng, image, person, *icc, studies=200)
        t = abs(values.mean(axis=1)) / clustered_se(values, [image, person])
        found += (t > stats.t.ppf(0.975, min(images, people) - 1)).sum()
    assert Design(images, people, *icc, missing).power(effect) == pytest.approx(found / 2000, abs=0.04)


@pytest.mark.parametrize("df", [1, 5, 28])
def test_detectable_difference_is_found_in_four_of_five_draws(df):
    rng = np.random.default_rng(12)
    t = (rng.normal(size=200_000) + detectable(2.0, df) / 2) / np.sqrt(rng.chisquare(df, 200_000) / df)
    assert (abs(t) > stats.t.ppf(0.975, df)).mean() == pytest.approx(0.8, abs=0.004)

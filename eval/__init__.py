"""Comparison of captions made with and without gaze: the paper's tables 1 and 2, its figure 2, and honest p values.

`python -m eval.compare --help` says how to run it, `python -m eval.power --help` how to plan a study for it. The
pieces, in the order in which they work:

inputs/         the data set and the systems' captions, joined
metrics/        one score per caption, each with a signature that says how it was computed
scoring/        every metric for every system, in one pass over the texts
significance.py differences, intervals and p values that respect that captions share images and people
statistics/     the tests behind it, and the planning of a study
results/        everything put together as `results.json`
report/         what a reader sees of it

Import as `from eval.x import y`: a bare `import eval` would hide Python's built-in function of that name.
"""

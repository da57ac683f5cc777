"""The tests behind `eval.significance`, one kind in each file, and the planning of a study.

- `clustered`: the headline test, a t-test with a standard error clustered by image and by participant;
- `permutation`: signs of whole images flipped;
- `mixed`: random effects of image and of participant;
- `planning`: power and minimum detectable effect of the headline test, variance components.
"""

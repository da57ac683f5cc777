"""Studies: many variants of one training, with several seeds, compared in one table. `llamafactory-gaze study`.

definition.py  what a STUDY.yaml says
plan.py        its runs as steps: base, stages, predictions, comparison, all by `llamafactory-cli` and `eval.compare`
moved.py       a control: the map moved by hand from one thing to another
words.py       how probable the words for the looked-at things are
records.py     what came of each run
tables.py      what came of each variant, over seeds
figures.py     loss curves after the paper's figure 3, and the other pictures
report.py      study.json and study.md
run.py         all of it
"""

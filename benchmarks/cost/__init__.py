"""What the gaze model costs, by arithmetic: docs/cost_model.md says how each formula comes about.

shapes.py    the sizes of the 3B and the 7B
flops.py     floating-point operations of a forward run and of a training step
memory.py    weights, optimiser, what is kept for the backward run, files
counted.py   the same, counted on our own modules without computing anything
"""

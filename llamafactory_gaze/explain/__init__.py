"""What the model does with a saliency map.

measure.py  in numbers
draw.py     in pictures
report.py   both, as files in a folder
"""

from llamafactory_gaze.explain.measure import Effect, Explanation, explain, measure_effect


__all__ = ["Effect", "Explanation", "explain", "measure_effect"]

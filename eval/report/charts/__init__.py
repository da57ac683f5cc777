"""The charts of the report: geometry here, drawn as SVG by the templates.

All charts know the systems by number: the compared ones from 0 in the order of the results, then the controls. The
number gives the colour (`system0` ... `system4`), the dashes of a line (`dash0` ... `dash3`) and the mark (ten of
them), the same in every chart; the reference is grey and has a cross.
"""

from eval.report.charts.categories import CategoryBars
from eval.report.charts.distributions import Distributions
from eval.report.charts.forest import ForestPlot
from eval.report.charts.images import ImageDifferences


__all__ = ["CategoryBars", "Distributions", "ForestPlot", "ImageDifferences"]

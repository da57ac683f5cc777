"""All that a comparison found, as the plain dictionary that becomes `results.json` and from which the reports are made.

    reference, main                   what the others are compared with, and the first of those
    systems.<system>                  each compared system against the reference:
      .metrics.<metric>                 the fields of `significance.Contrast`, and `label`, `implementation`,
                                        `signature`
      .categories.<category>.<metric>   the same within one category of images
      .subgroups.<column>.<value>.<metric>  the same within the rows that have this value
    metrics, categories, subgroups    those of the main system
    controls.<name>.metrics.<metric>  `mean`; `vs_reference`: control - reference; `main_vs`: main system - control;
                                        without `p_mixed`
    human.<metric>                    people by the same measure: `mean` over `n` rows, `ci95`
    captions.<system>                 length and vocabulary (see `metrics.captions.describe`); `people` is one of them
    columns.<metric>                  what the scores are: `implementation`, `signature`, `notes`; `reason` why there
                                      are none, or why they are those of the second choice
    data, versions, commit, arguments, settings, warnings, created, schema_version

Scores are in [0, 1] (CIDEr's in [0, 10], rescaled ones at most 1), `pct` and `pct_ci95` in percent. A figure that
cannot be had is null, with a `reason` beside it. `schema/results.schema.json` says the same to programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from eval.inputs.joining import Joined
from eval.metrics.captions import describe
from eval.results import provenance
from eval.results.contrasts import Study
from eval.results.notes import notes
from eval.scoring.column import Column
from eval.statistics.clustered import LEVEL
from eval.statistics.permutation import RESAMPLES, SEED


SCHEMA_VERSION = 1


def build(
    joined: Joined,
    columns: dict[str, Column],
    files: dict[str, dict[str, str]],
    arguments: dict[str, Any],
    settings: dict[str, Any],
    simulated: str | None = None,
    by: Sequence[str] = (),
) -> dict[str, Any]:
    """Compare all systems on all metrics.

    Args:
        files: what was read, by name (see `provenance.files`).
        arguments: of the command, as they were given.
        settings: what the figures depend on beside the files: `references`, `reference` (see `References`), and more.
        simulated: the sentence that says that the data are simulated; it goes before the data set's own.
        by: columns for subgroup reports, as `joined` was read with.
    """
    study = Study(joined, columns)
    categories, subgroups = study.categories(), {column: study.subgroups(column) for column in by}
    overall, of_category = study.overall(), study.by_group(categories)
    of_subgroup = {column: study.by_group(groups) for column, groups in subgroups.items()}
    human = study.human()
    systems: dict[str, dict[str, Any]] = {
        name: {
            "metrics": overall[name],
            "categories": of_category[name],
            "subgroups": {column: table[name] for column, table in of_subgroup.items()},
        }
        for name in joined.compared
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "reference": joined.reference,
        "main": joined.compared[0],
        **systems[joined.compared[0]],
        "systems": systems,
        "controls": {name: {"metrics": study.control(name)} for name in joined.controls},
        "human": human,
        "captions": {
            name: describe(captions)
            for name, captions in {**joined.captions, "people": [row.target for row in joined.rows]}.items()
        },
        "columns": {
            name: {key: getattr(column, key) for key in ("implementation", "signature", "notes", "reason")}
            for name, column in columns.items()
        },
        "data": {
            "files": files,
            "n_rows": len(joined.rows),
            "n_rows_dataset": joined.n_dataset,
            "n_images": len(set(study.images.tolist())),
            "n_participants": None if study.participants is None else len(set(study.participants.tolist())),
            "n_categories": len(categories),
            "predictions": {name: counts.as_dict() for name, counts in joined.counts.items()},
            "empty_captions": {name: captions.count("") for name, captions in joined.captions.items()},
            "simulated": simulated or joined.simulated,
        },
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "arguments": arguments,
        "settings": {"confidence": LEVEL, "flip_resamples": RESAMPLES, "flip_seed": SEED, **settings},
        "warnings": notes(study, human, subgroups),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

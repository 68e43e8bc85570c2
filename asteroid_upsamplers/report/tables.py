"""The comparison as tables of text for people, and the notes below them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..dsp.spectra import NOTHING_DB
from ..evaluation import METRICS
from ..probe.style import Section
from .facts import PROVENANCE
from .models import Reading
from .song_by_song import LEAST_SONGS, LEVEL, MOST_MODELS_IN_ALL_PAIRS

UNUSUAL = ("noise", "sweep", "voice", "quiet song")
"""Sounds unlike the training songs, as stage 4 names them."""

MISSING = "-"
MARK = "*"

_MODELS = {
    "mean SDR": ("SDR_mean", "{:.2f}"),
    **{metric: (f"{metric}_mean", "{:.2f}") for metric in METRICS if metric != "SDR"},
    "SDR, mean of medians": ("SDR_mean_mean_of_medians", "{:.2f}"),
    "seeds": ("seeds", "{:,}"),
    "songs": ("songs", "{:,}"),
    "NaN frames": ("nan_frames", "{:,}"),
    "parameters": ("parameters", "{:,}"),
    "s/epoch": ("seconds_per_epoch", "{:.1f}"),
    "real-time factor": ("real_time_factor", "{:.3f}"),
    "paper: SDR": ("paper_sdr", "{:.2f}"),
    "paper: s/epoch": ("paper_seconds_per_epoch", "{:.0f}"),
    "paper: parameters": ("paper_parameters", "{}"),
}
_PAIRS = {
    "first": ("first", "{}"),
    "second": ("second", "{}"),
    "songs": ("counts", "{}"),
    "difference (dB)": ("difference", "{:.2f}"),
    "95 % interval": ("interval", "{}"),
    "median (dB)": ("median_difference", "{:.2f}"),
    "p": ("p", "{:.2g}"),
    "p (Holm)": ("p_holm", "{:.2g}"),
    "verdict": ("verdict", "{}"),
}

SCORE_NOTE = (
    "SDR, ISR, SIR and SAR are museval's (BSS Eval v4, one-second frames), in dB: median over "
    "frames, then median over songs, then mean over the {} stems {} (the paper's Table 1, "
    "footnote 3). Mean of medians: the mean over songs instead. Frames in which a stem is silent "
    "are NaN and left out; those of the stem that has the most are counted."
)
SUMS_NOTE = "Stems that are sums of others are in the score files, but in no table and mean: {}."
SONGS_NOTE = (
    "The models were not scored on the same songs: each row is over a model's own songs, of which "
    "all models have {}. Song by song, the songs that both have are compared."
)
UNRELIABLE_NOTE = (
    "* The references of some songs (of {} for a stem, at most) do not determine the filters of "
    "BSS Eval: inaudible noise on them, at -120 dB, moves a median of ISR, SIR or SAR by over 0.1 "
    "dB. Marked values say little of the estimates. SDR does not depend on these filters."
)
SEEDS_NOTE = (
    "Values of several seeds: mean ± standard deviation over the seeds (n - 1); of songs the least "
    "count, of NaN frames the greatest."
)
PAIRS_NOTE = (
    "Song by song: difference of the songs' median SDR, averaged over the stems, first minus "
    "second model; mean and median over the songs that both have. The 95 % interval of the mean is "
    "from a bootstrap (BCa) over the songs; p is of Wilcoxon's signed-rank test, then after Holm's "
    "correction for the number of pairs. Within noise: the interval contains 0, or the corrected p "
    f"is at least {LEVEL}. Too few songs: fewer than {LEAST_SONGS}. Up to "
    f"{MOST_MODELS_IN_ALL_PAIRS} models are compared in all pairs, more than that each with the "
    "first. The intervals do not include the variation between seeds: with one seed each, a "
    "difference is one of two trained networks, not yet of two designs."
)
REPAIRED_NOTE = (
    "Repaired: the trained model of the row before, with the tones taken out of the weights of its "
    "upsampling layers (equal phase sums), and not trained again."
)
PAPER_NOTE = (
    "The columns of the paper and the rows marked (quoted) are from its Table 1: models of 700 M "
    "parameters on the 50 test songs of MUSDB18, seconds an epoch on four V100 GPUs."
)
ARTIFACT_NOTES = [
    "Silence: the output of the trained network for an input of zeros, without its mean: rms in dB "
    "against the level that mixtures are normalised to, and how much of its power is at multiples "
    "of the sample rate / stride of the last upsampling layer.",
    "Silent windows: tones at multiples of the sample rate / 16 (for a last stride above 16: / "
    "stride) in the estimates where their source is silent, or quietest if it never is. SDR leaves "
    "silent windows out. In dB against 1, median over songs and sources; in brackets: before "
    "training.",
    "Tones: at how many of these frequencies the estimates for a sound unlike the training songs "
    "have a steady tone (Thomson's F-test, false alarm rate 1e-3 for each frequency); in brackets: "
    "before training. Networks on spectrograms do not upsample in time and serve as a control.",
]


def make_tables(results: pd.DataFrame, pairs: pd.DataFrame, stems: Sequence[str]) -> list[Section]:
    """Tables of text, without columns that hold nothing.

    ``results`` is of :func:`tabulate`, ``pairs`` of :func:`compare_models`.
    """
    measured = results[~_is_quoted(results)]
    columns = {stem: (f"SDR_{stem}", "{:.2f}") for stem in stems}
    tables = {"Models": _formatted(results, columns | _MODELS).reset_index()}
    if len(pairs):
        tables["Song by song"] = _pairs(pairs[pairs["stem"] == "mean"])
    if "silence_db" in results:
        tables["Artifacts"] = _artifacts(measured[measured["silence_db"].notna()])
    tables["Per stem"] = _stems(measured, [*stems, "mean"])
    return [
        Section(title, rows=table.loc[:, (table != MISSING).any()].to_dict("records"))
        for title, table in tables.items()
    ]


def _formatted(values: pd.DataFrame, columns: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """Columns as text: from heading to column and format; standard deviations where they are."""
    return pd.DataFrame(
        {
            heading: _text(values, key, form)
            + _text(values, f"{key}_std", " ± {:.2f}").replace(MISSING, "")
            + _marks(values, key)
            for heading, (key, form) in columns.items()
        }
    )


def _text(values: pd.DataFrame, key: str, form: str) -> pd.Series:
    column = values.get(key, pd.Series(index=values.index, dtype=object))
    return column.map(form.format, na_action="ignore").astype(object).fillna(MISSING)


def _marks(values: pd.DataFrame, key: str) -> pd.Series:
    """A mark for scores that say nothing, because the filters of BSS Eval are not determined."""
    marked = _unreliable(values) & values.get(key, pd.Series(index=values.index)).notna()
    return marked.map({True: MARK, False: ""}) if key.startswith(METRICS[1:]) else ""


def _unreliable(results: pd.DataFrame) -> pd.Series:
    counts = results.get("unreliable", pd.Series(0, index=results.index))
    return counts.gt(0).fillna(False).astype(bool)


def _stems(results: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    rows = {}
    for metric in METRICS:
        for word, ending in (("median", ""), ("mean", "_mean_of_medians")):
            keys = {group: (f"{metric}_{group}{ending}", "{:.2f}") for group in groups}
            rows[f"{metric}, {word} of medians"] = _formatted(results, keys)
    for words, count in (("songs", "songs"), ("NaN frames", "nan_frames")):
        rows[words] = _formatted(results, {g: (f"{count}_{g}", "{:,}") for g in groups})
    table = pd.concat(rows, names=["value"]).swaplevel()
    return table.reindex(results.index, level=0).reset_index()


def _pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    counts = pairs["songs"].astype(str)
    some = pairs["songs"] < pairs["songs_either"]
    counts = counts.mask(some, counts + " of " + pairs["songs_either"].astype(str))
    interval = _text(pairs, "low", "{:.2f}") + _text(pairs, "high", " to {:.2f}")
    interval = interval.where(pairs["low"].notna())
    return _formatted(pairs.assign(counts=counts, interval=interval), _PAIRS)


def _artifacts(results: pd.DataFrame) -> pd.DataFrame:
    silence = _text(results, "silence_db", "{:.0f} dB, ")
    silence += _text(100 * results[["silence_tones"]], "silence_tones", "{:.0f} % tones")
    table = pd.DataFrame({"silence": silence.mask(results["silence_db"] <= NOTHING_DB, "silent")})
    now, before = (
        _text(results, f"{prefix}silent_windows_tones_db", "{:.0f} dB").mask(
            results[f"{prefix}silent_windows_tones_db"] < -300, "none"
        )
        for prefix in ("", "untrained_")
    )
    table["silent windows"] = now + " (" + before + ")"
    for sound in UNUSUAL:
        key = sound.replace(" ", "_")
        found = _text(results, f"{key}_tones", "{:.0f}")
        found += _text(results, f"{key}_frequencies", " of {:.0f}")
        found += _text(results, f"untrained_{key}_tones", " ({:.0f})")
        table[f"tones: {sound}"] = found.replace(3 * MISSING, MISSING)
    return table.reset_index()


def make_notes(results: pd.DataFrame, pairs: pd.DataFrame, reading: Reading) -> list[str]:
    """What the values in the tables mean, and what they were made with."""
    stems, tracks = reading.models[0].stems, [model.tracks for model in reading.models]
    notes = [SCORE_NOTE.format(len(stems), ", ".join(stems))]
    if reading.sums:
        notes.append(SUMS_NOTE.format(", ".join(reading.sums)))
    notes.append(_scored(results[~_is_quoted(results)], stems))
    common = set.intersection(*tracks)
    if any(common != own for own in tracks):
        notes.append(SONGS_NOTE.format(len(common)))
    if _unreliable(results).any():
        notes.append(UNRELIABLE_NOTE.format(results["unreliable"].max()))
    if results["seeds"].max() > 1:
        notes.append(SEEDS_NOTE)
    if len(pairs):
        notes.append(PAIRS_NOTE)
    if any(model.is_repaired for model in reading.models):
        notes.append(REPAIRED_NOTE)
    if "silence_db" in results:
        notes += ARTIFACT_NOTES
    if "paper_sdr" in results:
        notes.append(PAPER_NOTE)
    if reading.outdated:
        notes.append(f"Out of date: {'; '.join(reading.outdated)}.")
    if left_out := reading.left_out:
        more = [f"and {len(left_out) - 5} more"] if len(left_out) > 6 else []
        notes.append(f"Left out: {'; '.join(left_out[:5] + (more or left_out[5:]))}.")
    facts = {key: _text(results, key, "{}").unique() for key in (*PROVENANCE, "seed", "epochs")}
    known = {key: [v for v in values if v != MISSING] for key, values in facts.items()}
    if any(known.values()):
        words = [f"{key} {' / '.join(values) or 'unknown'}" for key, values in known.items()]
        notes.append(f"Made with: {', '.join(words)}.")
    return notes


def _scored(results: pd.DataFrame, stems: Sequence[str]) -> str:
    """How many songs and frames are behind each model's values, and where a mean is missing."""
    counts = _text(results, "songs", "{:,}") + _text(results, "songs_total", " of {:,} songs")
    for stem in stems:
        fewer = results[f"songs_{stem}"] < results["songs"]
        counts += _text(results, f"songs_{stem}", f" ({{:,}} of {stem})").where(fewer, "")
    counts += _text(results, "nan_frames", ", {:,}") + _text(
        results, "frames", " of {:,} frames NaN"
    )
    counts = counts.where(results["SDR_mean"].notna(), counts + ", so that there is no mean")
    groups = counts.groupby(counts, sort=False).groups.items()
    words = [f"{count} ({', '.join(map(str, names))})" for count, names in groups]
    return f"Scored: {'; '.join(words)}."


def _is_quoted(results: pd.DataFrame) -> pd.Series:
    return results.get("quoted", pd.Series(False, index=results.index))

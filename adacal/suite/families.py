"""Networks that are versions of another one, trained for conversion: whose, and what that took."""

from __future__ import annotations

from typing import Any

from adacal.suite.records import RunRecord


def base_of(record: RunRecord) -> str | None:
    """Returns the name of the model whose trained weights this network's training began with."""
    base = _model(record).get("base")
    return None if base is None else str(base)


def family_of(record: RunRecord) -> str:
    """Returns the base or plain counterpart of a network trained for conversion, or its own name.

    Rows of one family, dataset and test samples are what a reader with a trained base chooses
    from, those of its retrained versions for the price of the training.
    """
    counterpart = _model(record).get("counterpart")
    return base_of(record) or (record.model if counterpart is None else str(counterpart))


def retraining(record: RunRecord) -> str:
    """Returns what a network trained for conversion took, as a sentence; empty for any other.

    >>> retraining(RunRecord.model_construct(config={"model": {"type": "lenet"}}))
    ''
    """
    base, model = base_of(record), _model(record)
    family = base or model.get("counterpart")
    if family is None:
        return ""
    epochs = (model.get("schedule") or {}).get("epochs")
    levels = model.get("levels")
    what = f" with activations of {levels} levels above 0" if levels else ""
    took = f" for {epochs} epochs" if epochs else ""
    if base is None:
        return (
            f"The network was trained from scratch{took}{what}: it is no converted `{family}`, and "
            "drops are against this ANN. "
        )
    return (
        f"The network was retrained from `{base}`{took}{what}: every row owes that training to "
        f"those of `{base}`, and drops are against the retrained ANN. "
    )


def _model(record: RunRecord) -> dict[str, Any]:
    return dict(record.config.get("model") or {})

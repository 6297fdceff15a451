"""The command that turns checkpoints of OpenMMLab into plain tensors."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from adacal.suite.cli_base import examples, shared_options


@click.command(
    name="convert-checkpoint",
    epilog=examples(
        "adacal convert-checkpoint retinanet_r50_fpn_1x_coco.pth retinanet.safetensors",
        "adacal convert-checkpoint work_dirs/mine/epoch_12.pth mine.safetensors --overwrite",
        "adacal run detection/coco_retinanet_r50_adaptive_T8 --cfg-options"
        " model.checkpoint=retinanet.safetensors",
    ),
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")
@shared_options()
def convert_checkpoint(source: Path, target: Path, overwrite: bool) -> None:
    """Write the weights of SOURCE, a checkpoint of mmdet or mmseg, to TARGET.

    SOURCE is a .pth file, which is a pickle: of it only tensors are taken and nothing is run; a
    file that names anything else is refused. TARGET is a .safetensors file, which a config takes
    as model.checkpoint.
    """
    # By name: the suite imports no task.
    checkpoints = importlib.import_module("tasks.openmmlab.checkpoints")
    written = checkpoints.convert_checkpoint(source, target, overwrite=overwrite)
    click.echo(
        f"wrote {written.path}: {written.tensors} tensors, {written.values:,} values, "
        f"{written.size_mb:.1f} MB"
    )
    parts = ", ".join(f"{part} {count}" for part, count in written.parts.items())
    click.echo(f"tensors by part: {parts}")
    click.echo(f"sha256 {written.sha256}")

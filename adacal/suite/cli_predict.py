"""`adacal predict`: pictures of what a network and its conversions answer to given images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from adacal.suite.cli_base import SpreadOverrides, examples, shared_options

_SPREAD = ("--images", "--T")


class SpreadWords(SpreadOverrides):
    """A command whose `--images` and `--T` take any number of words, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeats the option before each further word that follows it."""
        spread: list[str] = []
        option = ""
        for i, word in enumerate(args):
            if word.startswith("-"):
                option = word if word in _SPREAD else ""
            elif option and args[i - 1] != option:
                spread.append(option)
            spread.append(word)
        return super().parse_args(ctx, spread)


@click.command(
    cls=SpreadWords,
    epilog=examples(
        "adacal predict detection/digit_scenes_digit_atss_burst --images photo.jpg --out /tmp/out",
        "adacal predict my_config.py --images holiday/ more/*.png --out /tmp/out --T 2 4 8",
        "adacal predict my_config.py --images holiday/ --out /tmp/out --samples 20 --device cuda",
    ),
)
@click.argument("config")
@click.option(
    "--images", multiple=True, required=True, type=click.Path(path_type=Path),
    metavar="PATH …", help="Image files, or folders of images.",
)  # fmt: skip
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pictures, one an image.",
)  # fmt: skip
@click.option(
    "--T", "steps", type=click.IntRange(min=1), multiple=True, metavar="STEPS …",
    help="Numbers of steps; the config's own without it.",
)  # fmt: skip
@click.option("--samples", type=click.IntRange(min=1), help="Only the first so many images.")
@shared_options("cfg", "device", "threads")
def predict(
    config: str,
    images: Sequence[Path],
    out: Path,
    steps: Sequence[int],
    samples: int | None,
    overrides: Sequence[str],
    device: str,
    threads: int | None,
) -> None:
    """Draw what the network of a CONFIG and its conversions answer to images, side by side.

    For every T the network is converted and calibrated as a run would; then each image goes through
    the dataset's own test pipeline. For detection and segmentation. Configs are code.
    """
    from adacal.suite import config as configs
    from adacal.suite import console
    from adacal.suite.predictions import predict_images
    from adacal.suite.session import pick_device

    loaded = configs.load(config, overrides)
    with console.progress_bars() as bars:
        written = predict_images(
            loaded,
            images,
            out,
            T=steps,
            samples=samples,
            device=pick_device(device),
            threads=threads,
            progress=bars.stage(loaded.label()),
        )
    for picture in written:
        click.echo(picture.line())

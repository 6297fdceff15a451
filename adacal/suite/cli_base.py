"""How every command behaves: shared options, errors as one sentence, exit codes."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from adacal.core.errors import AdacalError

EXIT_FAILED = 1
EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 130
DEBUG_KEY = "adacal.debug"


class SpreadOverrides(click.Command):
    """A command whose `--cfg-options` takes any number of key=value words, as in OpenMMLab."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeats `--cfg-options` before each further key=value word that follows it."""
        spread: list[str] = []
        for i, word in enumerate(args):
            follows = len(spread) >= 2 and spread[-2] == "--cfg-options"
            if follows and "=" in word and not word.startswith("-") and args[i - 1] == spread[-1]:
                spread.append("--cfg-options")
            spread.append(word)
        return super().parse_args(ctx, spread)


class OneSentence(click.Group):
    """A group that ends every error with one sentence and an exit code, no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; tracebacks only with --debug."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except KeyboardInterrupt:
            several = ctx.invoked_subcommand == "matrix"
            kept = "what was finished is recorded" if several else "nothing was recorded"
            self._say(f"stopped; {kept}, run it again{' to go on' if several else ''}")
            ctx.exit(EXIT_INTERRUPTED)
        except AdacalError as error:
            self._trace(ctx)
            self._say(f"error: {error}")
            ctx.exit(EXIT_WRONG_INPUT)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            self._trace(ctx)
            hint = "" if ctx.meta.get(DEBUG_KEY) else "; run it with --debug for the traceback"
            if _out_of_memory(error):
                self._say(
                    "error: out of memory; lower evaluation.batch_size, conversion.T or "
                    "calibration.n_samples"
                )
                ctx.exit(EXIT_FAILED)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._say(
                    f"error: the disk is full ({error.filename or error.strerror}); free space and "
                    "run the same command again, what is finished is recorded"
                )
                ctx.exit(EXIT_FAILED)
            text = " ".join(str(error).split()) or "no message"
            self._say(f"unexpected error: {type(error).__name__}: {text}{hint}")
            ctx.exit(EXIT_FAILED)

    @staticmethod
    def _trace(ctx: click.Context) -> None:
        if ctx.meta.get(DEBUG_KEY):
            traceback.print_exc()

    @staticmethod
    def _say(sentence: str) -> None:
        click.echo(sentence, err=True)


def _out_of_memory(error: Exception) -> bool:
    # Torch has a class for this on GPUs only; on CPUs it is a RuntimeError with these words.
    words = ("can't allocate memory", "not enough memory")
    named = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, MemoryError) or named or any(word in str(error) for word in words)


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG_KEY] = True


def shared_options(*wanted: str) -> Callable[[Any], Any]:
    """Adds the shared options named, and --debug, to a command."""
    shared = {
        "device": click.option(
            "--device", default="auto", show_default=True, help="Torch device: auto, cpu, cuda:0 …"
        ),
        "threads": click.option(
            "--threads",
            type=click.IntRange(min=1),
            default=None,
            help="Torch threads; torch decides without it.",
        ),
        "results": click.option(
            "--results",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("results"),
            show_default=True,
            help="Folder of records and leaderboards.",
        ),
        "cfg": click.option(
            "--cfg-options",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE …",
            help="Override config values: conversion.T=4 method.max_spikes=2.",
        ),
        "debug": click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            callback=_set_debug,
            help="Show tracebacks.",
        ),
    }

    def add(function: Any) -> Any:
        for name in reversed((*wanted, "debug")):
            function = shared[name](function)
        return function

    return add


def examples(*lines: str) -> str:
    """Returns the text below a command's help: example calls, one a line."""
    # A line of one backspace character tells click to leave the lines as they are.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])

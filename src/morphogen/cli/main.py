"""`morphogen`: the verbs, and what happens when one fails.

Exit status: 0 done, 1 the work failed, 2 wrong usage, 141 (128 + SIGPIPE) where whoever read the output has gone. A
failure is one paragraph on standard error; `--debug`, anywhere on the line, shows the traceback too. Nothing heavy is
imported before a verb needs it, so that help and wrong usage answer at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, cast

import typer

from morphogen import MorphogenError, MorphogenWarning, UsageError, __version__
from morphogen.cli import browse, chains, judge, latents, making, pictures, recalling, restoring, words
from morphogen.cli.console import print_error, print_text
from morphogen.cli.options import checked

CLOSED = 141

app = typer.Typer(
    name="morphogen",
    help="Train generative models on your own data, use them, and answer for them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Look at data.", no_args_is_help=True)
app.command("quickstart")(making.quickstart)
app.command("families")(browse.families)
data.command("inspect")(browse.inspect)
app.add_typer(data, name="data")
app.command("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(making.train)
app.command("sample")(pictures.sample)
app.command("draw")(words.draw)
app.command("attention")(words.attention)
app.command("recall")(recalling.recall)
app.command("reconstruct")(pictures.reconstruct)
app.command("interpolate")(pictures.interpolate)
app.command("levels")(pictures.levels)
app.command("manifold")(pictures.manifold)
app.command("walk")(latents.walk)
app.command("directions")(latents.directions)
app.command("edit-latent")(latents.edit_latent)
app.command("chain")(chains.chain)
app.command("variances")(chains.variances)
app.command("edit")(restoring.edit)
app.command("upscale")(restoring.upscale)
app.command("restore")(restoring.restore)
app.command("evaluate")(judge.evaluate)
app.command("evaluate-samples")(judge.evaluate_samples)
app.command("alignment")(judge.alignment)
app.command("show")(browse.show)
app.command("verify")(judge.verify)
app.command("check")(judge.check)


for verb in [*app.registered_commands, *data.registered_commands]:
    verb.callback = checked(cast(Any, verb.callback), verb.callback is not making.train)  # its numbers are the recipe's


def _version(wanted: bool) -> None:
    if wanted:
        print_text(f"morphogen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure; anywhere.")] = False,
) -> None:
    pass  # --debug is read by `run`, which needs it when nothing else could be parsed


def main() -> None:
    """The entry point of the `morphogen` command."""
    out, err = sys.stdout, sys.stderr
    for stream in (out, err):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    status = run(sys.argv[1:])
    failed = _flush(out)
    _flush(err)  # what could not be said is no failure of the work
    sys.exit(status or failed)


def _flush(stream: Any) -> int:
    """Write out what waits in a stream of ours, or forget it, so that the interpreter does not try again; a status."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return CLOSED if isinstance(error, BrokenPipeError) else 1
    return 0


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    debug = "--debug" in arguments
    warnings.simplefilter("ignore", MorphogenWarning)  # verbs print them with their results
    try:
        status = app([a for a in arguments if a != "--debug"], prog_name="morphogen", standalone_mode=False)
        if status == 130:  # what typer makes of Ctrl-C
            return _failed("stopped before the work was done.", 1, debug=False)
        return int(status or 0)
    except UsageError as error:
        return _failed(str(error), 2, debug)
    except MorphogenError as error:
        return _failed(str(error), 1, debug)
    except typer.TyperException as error:
        if not error.format_message():  # no verb was given: the help that was shown says it all
            return error.exit_code
        context = getattr(error, "ctx", None)
        hint = f" Try `{context.command_path} --help`." if context is not None else ""
        return _failed(error.format_message() + hint, error.exit_code, debug)
    except (BrokenPipeError, SystemExit):  # typer and rich exit where whoever read the output has gone
        return CLOSED
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename is None:  # of `os.getcwd`
            return _failed("the working directory does not exist any more: change into one that does.", 1, debug)
        where = f": {error.filename}" if error.filename else ""
        return _failed(f"{error.strerror or error}{where}.", 1, debug)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return _failed(f"this is a fault in morphogen: {reason}. Add --debug to see where it arose.", 1, debug)


def _failed(message: str, status: int, debug: bool) -> int:
    if debug:
        print_error(traceback.format_exc())
    print_error(f"Error: {message}")
    return status
